package io.filterd.daemon.cli;

import static io.filterd.nbd.wire.Protocol.IHAVEOPT;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_DISC;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_READ;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_FIXED_NEWSTYLE;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_NO_ZEROES;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_EXPORT_NAME;
import static io.filterd.nbd.wire.Protocol.REQUEST_MAGIC;

import io.filterd.daemon.Daemon;
import io.filterd.daemon.DaemonConfig;
import io.filterd.daemon.control.Operation;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.Progress;
import io.filterd.daemon.control.Requests;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;

/**
 * {@code filterd rehearse}: does once what a daemon does when it starts, in a folder of its own,
 * and ends. The launcher has the JVM archive the classes that this takes, so that later starts need
 * not load them one by one.
 */
@Command(
    name = "rehearse",
    hidden = true,
    description = "Start, serve a read, and end: for the launcher.")
final class Rehearse implements Callable<Integer> {
  private static final String DISK = "vm1/disk0";
  private static final long SIZE_BYTES = 1L << 30;
  private static final int READ_BYTES = 4096;

  @Override
  public Integer call() throws OperationException, IOException {
    Path folder = Files.createTempDirectory("filterd-rehearsal-");
    try {
      DaemonConfig config = DemoFolder.prepare(folder, "[{unix: nbd.sock}]");
      DemoFolder.makeDisk(config, DISK, SIZE_BYTES);
      try (Daemon first = Daemon.start(config)) {
        first
            .host()
            .call(Operation.DISK_ATTACH, new Requests.AttachDisk(DISK, null), Progress.NONE);
      }
      // The start that counts: with a disk that is attached again.
      try (Daemon again = Daemon.start(config)) {
        again.host().call(Operation.DISK_LIST, new Requests.None(), Progress.NONE);
        readOnce(folder.resolve("nbd.sock"));
      }
    } finally {
      DemoFolder.remove(folder);
    }
    return 0;
  }

  private static void readOnce(Path socket) throws IOException {
    try (SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX)) {
      channel.connect(UnixDomainSocketAddress.of(socket));
      DataInputStream in = new DataInputStream(Channels.newInputStream(channel));
      DataOutputStream out = new DataOutputStream(Channels.newOutputStream(channel));
      in.readNBytes(18);
      byte[] name = DISK.getBytes(StandardCharsets.UTF_8);
      out.writeInt(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
      out.writeLong(IHAVEOPT);
      out.writeInt(NBD_OPT_EXPORT_NAME);
      out.writeInt(name.length);
      out.write(name);
      in.readNBytes(10);
      request(out, NBD_CMD_READ, READ_BYTES);
      in.readNBytes(16 + READ_BYTES);
      request(out, NBD_CMD_DISC, 0);
    }
  }

  private static void request(DataOutputStream out, int command, int length) throws IOException {
    out.writeInt(REQUEST_MAGIC);
    out.writeShort(0);
    out.writeShort(command);
    out.writeLong(1);
    out.writeLong(0);
    out.writeInt(length);
  }
}
