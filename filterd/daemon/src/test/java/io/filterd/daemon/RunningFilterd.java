package io.filterd.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.daemon.control.ControlClient;
import io.filterd.daemon.control.Operation;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.Progress;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.awaitility.Awaitility;

/** The real daemon in a process of its own, by the launcher that users start. */
final class RunningFilterd implements AutoCloseable {
  static final Path HOME = Path.of("../..").toAbsolutePath().normalize();
  static final Path LAUNCHER = HOME.resolve("filterd/bin/filterd");

  /** A file whose text goes into the configuration, behind {@code listen}. */
  static final String MORE_OF_NBD = "nbd.more";

  /** A file whose text is the configuration's section of keys. */
  static final String KEYS = "keys.section";

  /** What a command printed, and how it ended. */
  record Result(int exitCode, String output) {}

  private final Path folder;
  private final int port;
  private final Process process;

  private RunningFilterd(Path folder, int port, Process process) {
    this.folder = folder;
    this.port = port;
    this.process = process;
  }

  /**
   * Writes a configuration, and a passphrase if there is none. The policies are those in the
   * folder, or else those that come with filterd.
   */
  static Path configure(Path folder, int port) throws IOException {
    Path passphrase = folder.resolve("native.passphrase");
    if (!Files.exists(passphrase)) {
      Files.createFile(
          passphrase,
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
      Files.writeString(passphrase, "correct horse battery staple\n");
    }
    Path own = folder.resolve("policies");
    Path more = folder.resolve(MORE_OF_NBD);
    Path keys = folder.resolve(KEYS);
    return Files.writeString(
        folder.resolve("filterd.yaml"),
        """
        version: 1
        state: .
        policies: %s
        control: {socket: control.sock}
        nbd: {listen: [{tcp: "127.0.0.1:%d"}, {unix: nbd.sock}]%s}
        keys: %s
        """
            .formatted(
                Files.exists(own) ? own : HOME.resolve("conf/policies"),
                port,
                Files.exists(more) ? Files.readString(more).replace("\n", " ") : "",
                Files.exists(keys)
                    ? Files.readString(keys)
                    : "{providers: {native: {type: native, backup: waived}}}"));
  }

  static int freePort() throws IOException {
    try (ServerSocket any = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      return any.getLocalPort();
    }
  }

  /** Starts the daemon in a folder with its state, and waits until it listens. */
  static RunningFilterd start(Path folder) throws IOException {
    return start(folder, List.of());
  }

  /** Starts the daemon by a command that runs the one that it is given. */
  static RunningFilterd start(Path folder, List<String> by) throws IOException {
    int port = freePort();
    Path config = configure(folder, port);
    List<String> command = new ArrayList<>(by);
    command.addAll(List.of(LAUNCHER.toString(), "serve", "-c", config.toString()));
    Process process =
        new ProcessBuilder(command)
            .redirectErrorStream(true)
            .redirectOutput(ProcessBuilder.Redirect.appendTo(folder.resolve("daemon.log").toFile()))
            .start();
    RunningFilterd running = new RunningFilterd(folder, port, process);
    Awaitility.await()
        .atMost(Duration.ofSeconds(60))
        .pollInterval(Duration.ofMillis(50))
        .until(() -> !process.isAlive() || (running.listens() && running.takesCommands()));
    assertThat(process.isAlive()).as("daemon: %s", running.log()).isTrue();
    return running;
  }

  private boolean listens() {
    try (Socket probe = new Socket()) {
      probe.connect(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 1000);
      return true;
    } catch (IOException notYet) {
      return false;
    }
  }

  private boolean takesCommands() {
    // A daemon that was killed has left its socket.
    return new ControlClient(folder.resolve("control.sock")).answers();
  }

  String log() throws IOException {
    return Files.readString(folder.resolve("daemon.log"));
  }

  long pid() {
    return process.pid();
  }

  /** Asks the daemon, in less time than the command takes to start. */
  <A, R> R call(Operation<A, R> operation, A arguments) throws OperationException {
    return new ControlClient(folder.resolve("control.sock"))
        .call(operation, arguments, Progress.NONE);
  }

  String uri(String export) {
    return "nbd://127.0.0.1:" + port + "/" + export;
  }

  String unixUri(String export) {
    return "nbd+unix:///" + export + "?socket=" + folder.resolve("nbd.sock");
  }

  int port() {
    return port;
  }

  /** Runs a command of filterd with this configuration. */
  static Result filterd(Path folder, String... arguments) throws IOException {
    List<String> command = new ArrayList<>(List.of(LAUNCHER.toString()));
    command.addAll(List.of(arguments));
    command.addAll(List.of("-c", folder.resolve("filterd.yaml").toString()));
    return run(command.toArray(String[]::new));
  }

  /** Runs a command of filterd that must succeed. */
  String filterd(String... arguments) throws IOException {
    Result result = filterd(folder, arguments);
    assertThat(result.exitCode()).as("%s", result.output()).isZero();
    return result.output();
  }

  /** Runs a tool of the system. */
  static Result run(String... command) throws IOException {
    Process tool = new ProcessBuilder(command).redirectErrorStream(true).start();
    tool.getOutputStream().close();
    String output = new String(tool.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    int exitCode = tool.onExit().orTimeout(5, TimeUnit.MINUTES).join().exitValue();
    return new Result(exitCode, output);
  }

  /** Runs a tool of the system that must succeed. */
  static String tool(String... command) throws IOException {
    Result result = run(command);
    assertThat(result.exitCode()).as("%s: %s", String.join(" ", command), result.output()).isZero();
    return result.output();
  }

  /** Ends it as a power cut would. */
  void kill() {
    process.destroyForcibly().onExit().join();
  }

  /** Stops it as an operator does. */
  @Override
  public void close() {
    process.destroy();
    assertThat(process.onExit().orTimeout(60, TimeUnit.SECONDS).join().isAlive()).isFalse();
  }
}
