package io.filterd.nbd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.filterd.block.MemoryDevice;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Clients that do more than copy: FUSE, qemu over a restart, nbdkit as a proxy, and scripts. */
// In a thread of its own: reading from a program can't be interrupted.
@Timeout(value = 120, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class MoreToolsIT {
  private static final int SIZE_BYTES = 16 << 20;

  @TempDir Path folder;

  private final MemoryDevice device = new MemoryDevice(SIZE_BYTES);

  @SuppressWarnings("NullAway.Init") // Started before every test.
  private NbdServer server;

  private Path socket = Path.of("");
  private String uri = "";

  @BeforeEach
  void start() throws IOException {
    socket = folder.resolve("nbd.sock");
    uri = "nbd+unix:///disk?socket=" + socket;
    server = listen();
  }

  private NbdServer listen() throws IOException {
    return NbdServer.start(
        NbdServerConfig.on(List.of(UnixDomainSocketAddress.of(socket))),
        Exports.of("disk", device));
  }

  @AfterEach
  void stop() {
    server.close();
  }

  private static byte[] random(int length, long seed) {
    byte[] bytes = new byte[length];
    new Random(seed).nextBytes(bytes);
    return bytes;
  }

  private byte[] stored(long offset, int length) throws IOException {
    try (RawClient client = new RawClient(UnixDomainSocketAddress.of(socket)).go("disk", false)) {
      return client.read(offset, length);
    }
  }

  @Test
  void isAFileByNbdfuse() throws IOException, InterruptedException {
    Path mount = Files.createDirectory(folder.resolve("mount"));
    Path file = mount.resolve("nbd");
    byte[] data = random(1 << 20, 1);
    Process nbdfuse =
        Tool.builder("nbdfuse", mount.toString(), uri)
            .redirectOutput(folder.resolve("nbdfuse.log").toFile())
            .start();
    try {
      await()
          .until(
              () -> {
                assertThat(nbdfuse.isAlive())
                    .as(Files.readString(folder.resolve("nbdfuse.log")))
                    .isTrue();
                return Files.exists(file);
              });
      assertThat(Files.size(file)).isEqualTo(SIZE_BYTES);
      try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
        channel.write(ByteBuffer.wrap(data), 12_345);
        channel.force(true);
      }
      assertThat(stored(12_345, data.length)).isEqualTo(data);
      byte[] whole = Files.readAllBytes(file);
      assertThat(Arrays.copyOfRange(whole, 12_345, 12_345 + data.length)).isEqualTo(data);
    } finally {
      Tool.run(folder, "fusermount3", "-u", "-z", mount.toString());
      assertThat(nbdfuse.waitFor(20, TimeUnit.SECONDS)).isTrue();
    }
    assertThat(nbdfuse.exitValue()).isZero();
  }

  @Test
  void isFoundAgainByQemuAfterARestart() throws IOException, InterruptedException {
    Process qemu =
        Tool.builder(
                // Says each line at once.
                "stdbuf",
                "-oL",
                "qemu-io",
                "--image-opts",
                "driver=nbd,server.type=unix,server.path="
                    + socket
                    + ",export=disk,reconnect-delay=30")
            .start();
    try (BufferedWriter commands = qemu.outputWriter();
        BufferedReader said = qemu.inputReader()) {
      tell(commands, "write -P 7 0 64k");
      assertThat(lineWith(said, "wrote")).contains("wrote 65536/65536 bytes at offset 0");
      server.close();
      // Asked for while nobody is there.
      tell(commands, "read -P 7 0 64k");
      server = listen();

      assertThat(lineWith(said, "read ")).contains("read 65536/65536 bytes at offset 0");
      // One command after another: it waits for its input by poll, and reads it by stdio.
      tell(commands, "write -P 8 64k 64k");
      assertThat(lineWith(said, "wrote")).contains("wrote 65536/65536 bytes at offset 65536");
      tell(commands, "quit");
      assertThat(qemu.waitFor(20, TimeUnit.SECONDS)).isTrue();
    } finally {
      qemu.destroyForcibly();
    }
    assertThat(stored(65_536, 65_536)).containsOnly(8);
  }

  static void tell(BufferedWriter commands, String command) throws IOException {
    commands.write(command + "\n");
    commands.flush();
  }

  static String lineWith(BufferedReader said, String word) throws IOException {
    StringBuilder all = new StringBuilder();
    for (String line = said.readLine(); line != null; line = said.readLine()) {
      all.append(line).append('\n');
      if (line.contains("failed") || line.contains("error") || line.contains(word)) {
        return line;
      }
    }
    return "ended after: " + all;
  }

  @Test
  void isServedOnByNbdkit() throws IOException, InterruptedException {
    Path content = folder.resolve("content.raw");
    byte[] bytes = random(SIZE_BYTES, 2);
    Arrays.fill(bytes, 4 << 20, 8 << 20, (byte) 0);
    Files.write(content, bytes);
    String map =
        Tool.run(
            folder,
            "nbdkit",
            "--exit-with-parent",
            "--unix=-",
            "nbd",
            "uri=" + uri,
            "shared=true",
            "--run",
            "nbdcopy --connections=4 "
                + content
                + " \"$uri\" && qemu-img compare -f raw -F raw "
                + content
                + " \"$uri\" && nbdinfo --map \"$uri\"");

    assertThat(map).contains("Images are identical", "hole,zero");
    assertThat(stored(0, SIZE_BYTES)).isEqualTo(bytes);
  }

  /** Every command with every flag, also where it may not stand, in both kinds of replies. */
  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void answersEveryCommandWithEveryFlag(boolean structured)
      throws IOException, InterruptedException {
    String script =
        """
        import errno
        STRUCTURED = %s
        h.set_request_structured_replies(STRUCTURED)
        if STRUCTURED:
            h.add_meta_context("base:allocation")
        h.connect_uri("%s")
        assert h.get_structured_replies_negotiated() == STRUCTURED
        h.set_strict_mode(0)
        FUA, NO_HOLE, DF, REQ_ONE, FAST = 1, 2, 4, 8, 16
        assert (nbd.CMD_FLAG_FUA, nbd.CMD_FLAG_NO_HOLE, nbd.CMD_FLAG_DF, nbd.CMD_FLAG_REQ_ONE,
                nbd.CMD_FLAG_FAST_ZERO) == (FUA, NO_HOLE, DF, REQ_ONE, FAST)
        data = bytes(range(256)) * 16
        h.pwrite(data * 4, 0)
        def status(flags):
            found = []
            h.block_status(65536, 0, lambda name, offset, entries, error: found.extend(entries),
                           flags)
            assert found[:2] == [16384, 0], found
            assert len(found) == 2 or not flags & REQ_ONE, found
        def read(flags):
            assert h.pread(4096, 4096, flags) == data
        commands = [
            ("read", FUA | (DF if STRUCTURED else 0), read),
            ("write", FUA, lambda flags: h.pwrite(data, 8192, flags)),
            ("flush", FUA, lambda flags: h.flush(flags)),
            ("trim", FUA, lambda flags: h.trim(4096, 131072, flags)),
            ("cache", FUA, lambda flags: h.cache(4096, 0, flags)),
            ("zero", FUA | NO_HOLE | FAST, lambda flags: h.zero(4096, 131072, flags)),
        ]
        if STRUCTURED:
            commands.append(("status", FUA | REQ_ONE, status))
        for name, allowed, call in commands:
            for flags in range(64):
                if flags & ~allowed:
                    try:
                        call(flags)
                    except nbd.Error as e:
                        assert e.errnum == errno.EINVAL, (name, flags, e)
                    else:
                        raise AssertionError((name, flags))
                else:
                    call(flags)
            assert h.pread(16384, 0) == data * 4, name
        """
            .formatted(structured ? "True" : "False", uri);

    Tool.run(folder, "nbdsh", "-c", script);
  }

  /** Many requests at once on one connection, seen on another one after a flush. */
  @Test
  void showsWhatWasFlushedOnEveryConnection() throws IOException, InterruptedException {
    String script =
        """
        import os
        h.connect_uri("URI")
        assert h.can_multi_conn()
        others = [nbd.NBD() for i in range(3)]
        for other in others:
            other.connect_uri("URI")
        blocks = [os.urandom(4096) for i in range(512)]
        buffers = [nbd.Buffer.from_bytearray(bytearray(block)) for block in blocks]
        for i, buffer in enumerate(buffers):
            while h.aio_in_flight() >= 64:
                h.poll(-1)
            h.aio_pwrite(buffer, i * 4096)
        while h.aio_in_flight() > 0:
            h.poll(-1)
        h.flush()
        for other in others:
            assert other.pread(512 * 4096, 0) == b"".join(blocks)
            other.shutdown()
        h.shutdown()
        """
            .replace("URI", uri);

    Tool.run(folder, "nbdsh", "-c", script);
  }
}
