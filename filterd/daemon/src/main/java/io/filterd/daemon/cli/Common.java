package io.filterd.daemon.cli;

import io.filterd.daemon.DaemonConfig;
import io.filterd.daemon.Host;
import io.filterd.daemon.control.ControlClient;
import io.filterd.daemon.control.Operation;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.Progress;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** The options of every command that asks for something, and how it is asked. */
final class Common {
  /** Where a configuration is looked for when none is named. */
  static final Path SYSTEM_CONFIG = Path.of("/etc/filterd/filterd.yaml");

  @Spec(Spec.Target.MIXEE)
  private @Nullable CommandSpec spec;

  @Option(
      names = {"-c", "--config"},
      paramLabel = "FILE",
      description = {
        "The configuration. Default: $FILTERD_CONFIG, else /etc/filterd/filterd.yaml.",
      })
  private @Nullable Path config;

  @Option(names = "--json", description = "Print JSON for programs instead of text.")
  private boolean json;

  boolean json() {
    return json;
  }

  PrintWriter out() {
    return commandLine().getOut();
  }

  Output output() {
    return new Output(out(), json);
  }

  private CommandLine commandLine() {
    CommandSpec mixee = spec;
    if (mixee == null) {
      throw new IllegalStateException("not a mixin of a command");
    }
    return mixee.commandLine();
  }

  /** The configuration that is named, or found. */
  DaemonConfig loadConfig() throws OperationException {
    return DaemonConfig.load(configFile());
  }

  private Path configFile() throws OperationException {
    Path named = config;
    if (named != null) {
      return named;
    }
    String environment = System.getenv("FILTERD_CONFIG");
    if (environment != null && !environment.isEmpty()) {
      return Path.of(environment);
    }
    if (Files.exists(SYSTEM_CONFIG)) {
      return SYSTEM_CONFIG;
    }
    throw new OperationException(
        OperationException.Code.INVALID,
        "no configuration: name one with -c (a commented sample is conf/filterd.yaml)");
  }

  /** Asks the running daemon, or does it in this process where none runs. */
  <A, R> R call(Operation<A, R> operation, A arguments, String label) throws OperationException {
    return call(operation, arguments, ProgressBar.on(System.err, label));
  }

  /** As {@link #call}, for what is counted in other things than bytes. */
  <A, R> R count(Operation<A, R> operation, A arguments, String label, String things)
      throws OperationException {
    return call(operation, arguments, ProgressBar.counting(System.err, label, things));
  }

  private <A, R> R call(Operation<A, R> operation, A arguments, Progress progress)
      throws OperationException {
    DaemonConfig loaded = loadConfig();
    ControlClient daemon = new ControlClient(loaded.control().socket());
    if (daemon.answers()) {
      return daemon.call(operation, arguments, progress);
    }
    try (Host host = Host.openOffline(loaded)) {
      return host.call(operation, arguments, progress);
    }
  }

  /** A path as the daemon, which has another working folder, can use it. */
  static String absolute(Path path) {
    return path.toAbsolutePath().normalize().toString();
  }

  static @Nullable String absoluteOrNull(@Nullable Path path) {
    return path == null ? null : absolute(path);
  }

  /** The exit codes, for the footer of the help. */
  static List<String> exitCodes() {
    return List.of(
        "0:done",
        "1:a check found only warnings: disk check and repair, key status and preflight",
        "2:wrong arguments or configuration",
        "3:what was named does not exist",
        "4:exists already, or in use",
        "5:a key can't be had",
        "6:damaged or unsupported file",
        "7:input/output error, or no space",
        "8:no daemon answers",
        "9:stopped before the end",
        "70:a bug in filterd",
        "130, 143:ended by SIGINT, SIGTERM");
  }
}
