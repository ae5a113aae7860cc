package io.filterd.daemon.cli;

import io.filterd.daemon.Failures;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Supplier;
import picocli.AutoComplete;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.ParseResult;

/** The command line's entry. */
@Command(
    name = "filterd",
    description = "VM encryption for QEMU and Linux: encrypted VMDK disks over NBD.",
    synopsisSubcommandLabel = "COMMAND",
    mixinStandardHelpOptions = true,
    version = "filterd " + VersionCommand.VERSION,
    footer = {"", "Shell completion: source <(filterd generate-completion)"})
final class Filterd {
  /** The commands by name, in the order in which they are listed. */
  private static final Map<String, Supplier<Object>> COMMANDS = new LinkedHashMap<>();

  static {
    COMMANDS.put("serve", Serve::new);
    COMMANDS.put("demo", Demo::new);
    COMMANDS.put("disk", DiskCommand::new);
    COMMANDS.put("vm", VmCommand::new);
    COMMANDS.put("snapshot", SnapshotCommand::new);
    COMMANDS.put("connection", ConnectionCommand::new);
    COMMANDS.put("policy", PolicyCommand::new);
    COMMANDS.put("key", KeyCommand::new);
    COMMANDS.put("provider", ProviderCommand::new);
    COMMANDS.put("key", KeyCommand::new);
    COMMANDS.put("version", VersionCommand::new);
    COMMANDS.put("rehearse", Rehearse::new);
    COMMANDS.put("generate-completion", AutoComplete.GenerateCompletion::new);
  }

  private Filterd() {}

  /** Runs a command and ends the process with its exit code. */
  public static void main(String[] arguments) {
    int exitCode = run(arguments);
    // A daemon's exit is decided by its shutdown hooks.
    System.exit(exitCode);
  }

  static int run(String... arguments) {
    CommandLine commandLine = new CommandLine(new Filterd());
    // Describing all commands takes longer than most of them do: only the one that is meant, where
    // that is plain, and all for help, completion and mistakes.
    String first = arguments.length == 0 ? "" : arguments[0];
    boolean plain = COMMANDS.containsKey(first) && !first.equals("generate-completion");
    COMMANDS.forEach(
        (name, command) -> {
          if (!plain || name.equals(first)) {
            commandLine.addSubcommand(name, command.get());
          }
        });
    commandLine.setOut(new PrintWriter(System.out, true, StandardCharsets.UTF_8));
    commandLine.setErr(new PrintWriter(System.err, true, StandardCharsets.UTF_8));
    commandLine.getSubcommands().values().forEach(Filterd::describe);
    commandLine.setExecutionExceptionHandler(Filterd::fail);
    return commandLine.execute(arguments);
  }

  private static void describe(CommandLine command) {
    command.getSubcommands().values().forEach(Filterd::describe);
    command.getCommandSpec().mixinStandardHelpOptions(true);
    command
        .getCommandSpec()
        .usageMessage()
        .exitCodeListHeading("%nExit codes:%n")
        .exitCodeList(
            CommandLine.Model.UsageMessageSpec.keyValuesMap(
                Common.exitCodes().toArray(String[]::new)));
  }

  private static int fail(Exception failure, CommandLine command, ParseResult parsed) {
    OperationException told =
        switch (failure) {
          case OperationException known -> known;
          case IOException file ->
              new OperationException(Failures.code(file), Failures.sentence(file), file);
          case InterruptedException stop ->
              new OperationException(Code.CANCELLED, "stopped before the end", stop);
          default -> new OperationException(Code.INTERNAL, "a bug in filterd: " + failure, failure);
        };
    Output.print(told, parsed.hasMatchedOption("--json"), command.getOut(), command.getErr());
    if (told.code() == Code.INTERNAL) {
      // For whoever mends it.
      failure.printStackTrace(command.getErr());
    }
    return told.code().exitStatus();
  }
}
