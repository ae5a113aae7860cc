package io.filterd.daemon.cli;

import io.filterd.daemon.control.OperationException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
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
    subcommands = {
      Serve.class,
      Demo.class,
      DiskCommand.class,
      PolicyCommand.class,
      ProviderCommand.class,
      VersionCommand.class,
      AutoComplete.GenerateCompletion.class
    },
    footer = {"", "Shell completion: source <(filterd generate-completion)"})
final class Filterd {
  private Filterd() {}

  /** Runs a command and ends the process with its exit code. */
  public static void main(String[] arguments) {
    int exitCode = run(arguments);
    // A daemon's exit is decided by its shutdown hooks.
    System.exit(exitCode);
  }

  static int run(String... arguments) {
    CommandLine commandLine = new CommandLine(new Filterd());
    commandLine.setOut(new PrintWriter(System.out, true, StandardCharsets.UTF_8));
    commandLine.setErr(new PrintWriter(System.err, true, StandardCharsets.UTF_8));
    commandLine
        .getSubcommands()
        .values()
        .forEach(group -> group.getSubcommands().values().forEach(command -> describe(command)));
    commandLine.getSubcommands().values().forEach(Filterd::describe);
    commandLine.setExecutionExceptionHandler(Filterd::fail);
    return commandLine.execute(arguments);
  }

  private static void describe(CommandLine command) {
    if (command.getSubcommands().isEmpty()) {
      command.getCommandSpec().mixinStandardHelpOptions(true);
    }
    command
        .getCommandSpec()
        .usageMessage()
        .exitCodeListHeading("%nExit codes:%n")
        .exitCodeList(
            CommandLine.Model.UsageMessageSpec.keyValuesMap(
                Common.exitCodes().toArray(String[]::new)));
  }

  private static int fail(Exception failure, CommandLine command, ParseResult parsed)
      throws Exception {
    boolean json = parsed.hasMatchedOption("--json");
    if (failure instanceof OperationException known) {
      Output.print(known, json, command.getOut(), command.getErr());
      return known.code().exitStatus();
    }
    throw failure;
  }
}
