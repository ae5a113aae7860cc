package io.filterd.keys;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/** A TPM 2.0 in software (Debian's swtpm) of the test's own, behind a Unix socket. */
final class SoftTpm implements AutoCloseable {
  private final Path folder;

  /** Starts it with a state in {@code folder}: a new one, or the one that is there. */
  SoftTpm(Path folder) throws IOException, InterruptedException {
    this.folder = Files.createDirectories(folder);
    start();
  }

  private void start() throws IOException, InterruptedException {
    // Returns when the sockets are there.
    OutsideTool.run(
        "swtpm",
        "socket",
        "--daemon",
        "--tpm2",
        "--tpmstate",
        "dir=" + folder,
        "--server",
        "type=unixio,path=" + socket(),
        "--ctrl",
        "type=unixio,path=" + folder.resolve("socket.ctrl"),
        "--pid",
        "file=" + folder.resolve("pid"),
        "--flags",
        "startup-clear,not-need-init");
  }

  private Path socket() {
    return folder.resolve("socket");
  }

  String tcti() {
    return "swtpm:path=" + socket();
  }

  /** Runs one of tpm2-tools on it. */
  void tool(String program, String... arguments) throws IOException, InterruptedException {
    List<String> command = new ArrayList<>(List.of(program, "-T", tcti()));
    command.addAll(List.of(arguments));
    OutsideTool.run(command.toArray(String[]::new));
  }

  /** Off and on again: PCRs are as after a reset. */
  void restart() throws IOException, InterruptedException {
    stop();
    start();
  }

  @Override
  public void close() throws IOException {
    stop();
  }

  /** Off. */
  void stop() throws IOException {
    Path file = folder.resolve("pid");
    if (Files.exists(file)) {
      long pid = Long.parseLong(Files.readString(file).strip());
      Files.delete(file);
      ProcessHandle.of(pid)
          .map(
              process -> {
                CompletableFuture<ProcessHandle> end = process.onExit();
                process.destroy();
                return end;
              })
          .ifPresent(CompletableFuture::join);
    }
    Files.deleteIfExists(socket());
  }
}
