package io.filterd.daemon.cli;

import io.filterd.daemon.Daemon;
import io.filterd.daemon.DaemonConfig;
import io.filterd.daemon.Host;
import io.filterd.daemon.control.Operation;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import io.filterd.daemon.control.Progress;
import io.filterd.daemon.control.Requests;
import java.io.IOException;
import java.io.PrintWriter;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code filterd demo}. */
@Command(
    name = "demo",
    description = {
      "Serve an encrypted disk, and print commands to try it with.",
      "A new thin disk of 1 GiB, or one with the content of your own VMDK. Ctrl-C ends it, and",
      "removes what it made."
    })
final class Demo implements Callable<Integer> {
  private static final String DISK = "vm1/disk0";
  private static final long SIZE_BYTES = 1L << 30;
  private static final int NBD_PORT = 10809;

  @Spec private @Nullable CommandSpec spec;

  @Option(
      names = "--import",
      paramLabel = "FILE.vmdk",
      description = "Serve an encrypted copy of this disk; the file is only read.")
  private @Nullable Path source;

  @Option(
      names = "--port",
      paramLabel = "PORT",
      description = "The TCP port. Default: 10809, or a free one if that is in use.")
  private int port = -1;

  @Option(
      names = "--state",
      paramLabel = "FOLDER",
      description = "Keep the disk and its keys in this folder, and go on with them next time.")
  private @Nullable Path state;

  @Override
  public Integer call() throws OperationException, IOException, InterruptedException {
    CommandSpec command = spec;
    if (command == null) {
      throw new IllegalStateException("not a command");
    }
    PrintWriter out = command.commandLine().getOut();
    Path kept = state;
    Path folder = kept == null ? Files.createTempDirectory("filterd-demo-") : kept.toAbsolutePath();
    if (kept == null) {
      // First registered, last thing done: the hooks wait for each other by the daemon's close.
      removeAtExit(folder);
    }
    Files.createDirectories(folder);
    DaemonConfig config =
        DemoFolder.prepare(folder, "[{tcp: 127.0.0.1:%d}, {unix: nbd.sock}]".formatted(freePort()));
    Path disk = config.disks().resolve("vm1").resolve("disk0.vmdk");
    boolean fresh = !Files.exists(disk);
    if (fresh) {
      make(config, out);
    }
    Daemon daemon = Daemon.start(config);
    running = daemon;
    Serve.closeOnSignal(daemon);
    if (fresh) {
      daemon.host().call(Operation.DISK_ATTACH, new Requests.AttachDisk(DISK, null), Progress.NONE);
    }
    print(daemon, disk, folder, out);
    daemon.awaitStop();
    return 0;
  }

  private volatile @Nullable Daemon running;

  private void removeAtExit(Path folder) {
    Runtime.getRuntime()
        .addShutdownHook(
            Thread.ofPlatform()
                .name("remove")
                .unstarted(
                    () -> {
                      Daemon daemon = running;
                      try {
                        if (daemon != null) {
                          daemon.close();
                          daemon.awaitStop();
                        }
                        DemoFolder.remove(folder);
                      } catch (OperationException | IOException failure) {
                        System.err.println("filterd: " + failure.getMessage());
                      } catch (InterruptedException stop) {
                        Thread.currentThread().interrupt();
                      }
                    }));
  }

  private int freePort() throws OperationException {
    int wanted = port < 0 ? NBD_PORT : port;
    if (wanted > 65_535) {
      throw new OperationException(
          Code.INVALID, "--port: " + wanted + " (expected: 0..65535, and 0 takes a free one)");
    }
    try (ServerSocket probe = new ServerSocket()) {
      probe.setReuseAddress(true);
      probe.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), wanted));
      return probe.getLocalPort();
    } catch (IOException busy) {
      if (port >= 0) {
        throw new OperationException(
            Code.CONFLICT, "port " + port + " is in use: name another with --port", busy);
      }
    }
    try (ServerSocket any = new ServerSocket(0)) {
      return any.getLocalPort();
    } catch (IOException failure) {
      throw new OperationException(Code.IO, "no free port: " + failure.getMessage(), failure);
    }
  }

  private void make(DaemonConfig config, PrintWriter out) throws OperationException {
    Path from = source;
    if (from == null) {
      DemoFolder.makeDisk(config, DISK, SIZE_BYTES);
      out.println("Made " + DISK + ": 1 GiB, thin, encrypted.");
    } else {
      DemoFolder.makeProvider(config);
      try (Host host = Host.openOffline(config)) {
        host.call(
            Operation.DISK_IMPORT,
            new Requests.ImportDisk(DISK, Common.absolute(from), "vmdk", "encrypted", null, true),
            ProgressBar.on(System.err, "import"));
      }
      out.println("Imported " + from + " as " + DISK + ": encrypted.");
    }
  }

  private void print(Daemon daemon, Path disk, Path folder, PrintWriter out) {
    List<String> uris = daemon.uris(DISK);
    String tcp = uris.getFirst();
    String unix = uris.getLast();
    int tcpPort = ((InetSocketAddress) daemon.addresses().getFirst()).getPort();
    out.printf(
        """

        Serving it at %1$s
                  and %2$s

        Look at it:
          nbdinfo %1$s
          nbdinfo --map "%2$s"
          qemu-img info %1$s

        Put something on it, and take it off again:
          qemu-io -f raw -c 'write -P 0x61 0 1M' -c 'read -P 0x61 0 1M' %1$s
          nbdcopy %1$s copy.raw
          qemu-img convert -n -f raw -O raw IMAGE.raw %1$s

        Boot from it, or attach it to a running guest:
          qemu-system-x86_64 -m 1G -drive file=%1$s,format=raw,if=virtio

        Use it as a disk of this machine (as root):
          modprobe nbd && nbd-client 127.0.0.1 %3$d /dev/nbd0 -N %4$s -b 4096
          mkfs.ext4 /dev/nbd0 && mount /dev/nbd0 /mnt      # nbd-client -d /dev/nbd0 ends it

        See that the file holds ciphertext only (after the qemu-io above; there is no "aaaa"):
          grep -c aaaaaaaaaaaaaaaa %5$s
          cp --sparse=always %5$s stored.vmdk
          qemu-img convert -f vmdk -O raw stored.vmdk stored.raw && hexdump -Cn 64 stored.raw
          filterd/bin/filterd disk info %4$s -c %6$s

        """,
        tcp, unix, tcpPort, DISK, disk, folder.resolve("filterd.yaml"));
    out.println(
        state == null
            ? "Ctrl-C ends it and removes " + folder + "."
            : "Ctrl-C ends it; " + folder + " stays.");
    out.flush();
  }
}
