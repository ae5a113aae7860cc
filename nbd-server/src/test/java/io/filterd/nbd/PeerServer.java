package io.filterd.nbd;

import java.io.IOException;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SeekableByteChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.awaitility.Awaitility;

/** Another NBD server in a process of its own, on a Unix socket. Started again when it dies. */
final class PeerServer implements AutoCloseable {
  private final UnixDomainSocketAddress address;
  private final List<String> command;
  private Process process;
  private int deaths;

  private PeerServer(Path socket, List<String> command) throws IOException {
    this.address = UnixDomainSocketAddress.of(socket);
    this.command = command;
    this.process = launch();
  }

  /** Nbdkit with zeroed memory, one request at a time. */
  static PeerServer nbdkit(Path folder, String name, long sizeBytes, boolean readOnly)
      throws IOException {
    Path socket = folder.resolve(name + ".sock");
    return new PeerServer(
        socket,
        List.of(
            "nbdkit",
            "--foreground",
            "--exit-with-parent",
            "--threads=1",
            readOnly ? "--read-only" : "--newstyle",
            "--unix=" + socket,
            "memory",
            Long.toString(sizeBytes)));
  }

  /** Qemu-nbd with a raw file. */
  static PeerServer qemu(Path folder, String name, long sizeBytes, boolean readOnly)
      throws IOException {
    Path socket = folder.resolve(name + ".sock");
    Path file = Files.createFile(folder.resolve(name + ".raw"));
    try (SeekableByteChannel bytes = Files.newByteChannel(file, StandardOpenOption.WRITE)) {
      bytes.position(sizeBytes - 1).write(ByteBuffer.allocate(1));
    }
    return new PeerServer(
        socket,
        List.of(
            "qemu-nbd",
            "--persistent",
            "--shared=0",
            "--format=raw",
            "--cache=unsafe",
            "--export-name=disk",
            readOnly ? "--read-only" : "--verbose",
            "--socket=" + socket,
            file.toString()));
  }

  private Process launch() throws IOException {
    Files.deleteIfExists(address.getPath());
    Process started =
        new ProcessBuilder(command)
            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
            .redirectError(ProcessBuilder.Redirect.DISCARD)
            .start();
    Awaitility.await()
        .pollInterval(Duration.ofMillis(10))
        .ignoreExceptions()
        .until(
            () -> {
              new RawClient(address).close();
              return true;
            });
    return started;
  }

  UnixDomainSocketAddress address() {
    return address;
  }

  /** True if it has died, and runs again. */
  boolean revive() throws IOException, InterruptedException {
    // A process that has closed its sockets may take a moment to be gone.
    if (!process.waitFor(200, TimeUnit.MILLISECONDS)) {
      return false;
    }
    deaths++;
    process = launch();
    return true;
  }

  int deaths() {
    return deaths;
  }

  @Override
  public void close() {
    process.destroy();
  }
}
