package io.filterd.daemon;

import static io.filterd.daemon.RunningFilterd.tool;
import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The ways to serve a disk, as clients see them, and the clients, as operators see them. */
class ExportKindsIT {
  private static final String DISK = "vm1/disk0";
  private static final Path LAUNCHER = RunningFilterd.LAUNCHER;

  /** What every script begins with: a client that checks nothing by itself, and commands. */
  private static final String PRELUDE =
      """
      import errno, subprocess
      def filterd(*arguments):
          return subprocess.run(["LAUNCHER", *arguments, "-c", "CONFIG"], check=True,
                                stdout=subprocess.PIPE, text=True).stdout
      def expect(error, call):
          try:
              call()
          except nbd.Error as e:
              assert e.errnum == error, e
          else:
              raise AssertionError("no error")
      h.set_strict_mode(0)
      h.add_meta_context("base:allocation")
      """;

  @TempDir Path folder;

  @BeforeEach
  void makeProvider() throws IOException {
    RunningFilterd.configure(folder, 0);
    assertThat(RunningFilterd.filterd(folder, "provider", "init").exitCode()).isZero();
  }

  private RunningFilterd withDisk(String... options) throws IOException {
    RunningFilterd running = RunningFilterd.start(folder);
    running.filterd("disk", "create", DISK, "--size", "64MiB", "--policy", "encrypted");
    running.filterd("disk", "attach", DISK);
    nbdsh(running, "h.connect_uri('URI')\nh.pwrite(b'x' * 65536, 1 << 20)\n");
    running.filterd("disk", "detach", DISK);
    attach(running, options);
    return running;
  }

  private static void attach(RunningFilterd running, String... options) throws IOException {
    String[] command = new String[options.length + 3];
    System.arraycopy(new String[] {"disk", "attach", DISK}, 0, command, 0, 3);
    System.arraycopy(options, 0, command, 3, options.length);
    running.filterd(command);
  }

  /** Runs a script of nbdsh, whose {@code h} is not connected yet. */
  private String nbdsh(RunningFilterd running, String script) throws IOException {
    return tool(
        // Debian's Python, which has nbdsh's module, whatever is first in the path.
        "env",
        "PATH=/usr/bin:/bin",
        "JAVA_HOME=" + System.getProperty("java.home"),
        "nbdsh",
        "-c",
        (PRELUDE + script)
            .replace("LAUNCHER", LAUNCHER.toString())
            .replace("CONFIG", folder.resolve("filterd.yaml").toString())
            .replace("URI", running.uri(DISK)));
  }

  private byte[] file() throws IOException {
    return Files.readAllBytes(folder.resolve("disks/vm1/disk0.vmdk"));
  }

  @Test
  void copyOnWriteLeavesTheFileAsItWas() throws IOException {
    try (RunningFilterd running = withDisk("--cow", "--cow-memory", "8MiB")) {
      byte[] before = file();

      nbdsh(
          running,
          """
          h.connect_uri("URI")
          other = nbd.NBD()
          other.connect_uri("URI")
          assert h.can_multi_conn() and h.can_trim() and h.can_fast_zero() and not h.is_read_only()
          assert h.pread(65536, 1 << 20) == b"x" * 65536
          h.pwrite(b"y" * 1000, (1 << 20) + 100, nbd.CMD_FLAG_FUA)
          h.trim(4096, (1 << 20) + 8192)
          expected = b"x" * 100 + b"y" * 1000 + b"x" * 7092 + bytes(4096) + b"x" * 53248
          assert other.pread(65536, 1 << 20) == expected
          h.pwrite(b"z" * 4096, 32 << 20)
          found = []
          h.block_status(64 << 20, 0, lambda name, at, entries, error: found.extend(entries))
          MiB = 1 << 20
          assert found == [MiB, 3, 8192, 0, 4096, 3, 53248, 0, 31 * MiB - 65536, 3, 4096, 0,
                           32 * MiB - 4096, 3], found
          expect(errno.ENOSPC, lambda: h.pwrite(b"w" * (16 << 20), 40 << 20))
          h.flush()
          assert other.pread(4096, 32 << 20) == b"z" * 4096
          """);

      assertThat(running.filterd("disk", "info", DISK))
          .containsPattern("access +read-write, copy-on-write with .* of 8 MiB used");
      assertThat(file()).isEqualTo(before);
      running.filterd("disk", "detach", DISK);
      attach(running, "--cow");
      nbdsh(running, "h.connect_uri('URI')\nassert h.pread(65536, 1 << 20) == b'x' * 65536\n");
      assertThat(file()).isEqualTo(before);
    }
  }

  @Test
  void readOnlyStaysSoAfterARestart() throws IOException {
    String script =
        """
        h.connect_uri("URI")
        assert h.is_read_only()
        expect(errno.EPERM, lambda: h.pwrite(b"y" * 512, 0))
        expect(errno.EPERM, lambda: h.trim(512, 0))
        expect(errno.EPERM, lambda: h.zero(512, 0))
        assert h.pread(65536, 1 << 20) == b"x" * 65536
        """;
    byte[] before;
    try (RunningFilterd running = withDisk("--read-only")) {
      before = file();
      nbdsh(running, script);
      assertThat(running.filterd("disk", "info", DISK)).containsPattern("access +read-only");
    }
    try (RunningFilterd again = RunningFilterd.start(folder)) {
      nbdsh(again, script);
      assertThat(file()).isEqualTo(before);
      RunningFilterd.Result refused =
          RunningFilterd.filterd(folder, "disk", "set-read-only", DISK, "--off");
      assertThat(refused.output()).contains("opened for reading only");
    }
  }

  @Test
  void turnsReadOnlyUnderItsClientsAndBack() throws IOException {
    try (RunningFilterd running = withDisk()) {
      nbdsh(
          running,
          """
          h.connect_uri("URI")
          h.pwrite(b"1" * 512, 0)
          filterd("disk", "set-read-only", "vm1/disk0")
          expect(errno.EPERM, lambda: h.pwrite(b"2" * 512, 0))
          assert h.pread(512, 0) == b"1" * 512
          reader = nbd.NBD()
          reader.connect_uri("URI")
          assert reader.is_read_only()
          filterd("disk", "set-read-only", "vm1/disk0", "--off")
          h.pwrite(b"3" * 512, 0)
          """);
    }
  }

  @Test
  void servesOneClientAtATime() throws IOException {
    try (RunningFilterd running = withDisk("--max-clients", "1")) {
      nbdsh(
          running,
          """
          h.connect_uri("URI")
          assert not h.can_multi_conn()
          other = nbd.NBD()
          other.set_opt_mode(True)
          other.connect_uri("URI")
          try:
              other.opt_go()
          except nbd.Error as e:
              assert "server replied with error to opt_go" in str(e), e
          else:
              raise AssertionError("a second client")
          h.shutdown()
          other.opt_go()
          assert other.pread(65536, 1 << 20) == b"x" * 65536
          """);
    }
  }

  @Test
  void listsClientsAndHowLongTheirRequestsTook() throws IOException {
    try (RunningFilterd running = withDisk()) {
      String shown =
          nbdsh(
              running,
              """
              import json
              h.connect_uri("URI")
              for i in range(100):
                  h.pwrite(bytes(4096), i << 12)
                  h.pread(8192, i << 12)
              h.flush()
              expect(errno.EINVAL, lambda: h.pread(512, 64 << 20))
              clients = json.loads(filterd("connection", "list", "--json"))["connections"]
              assert len(clients) == 1, clients
              assert clients[0]["requests"] == 202 and clients[0]["errors"] == 1, clients
              assert clients[0]["bytesRead"] == 100 << 13, clients
              assert clients[0]["bytesWritten"] == 100 << 12, clients
              print(filterd("connection", "list"))
              print(filterd("connection", "show", str(clients[0]["id"])))
              """);

      assertThat(shown)
          .contains("ID  CLIENT", "127.0.0.1:", DISK, "read-write", "structured-replies")
          .contains("read: 101 requests, mean ", "write: 100 requests", "flush: 1 requests")
          .containsPattern("< \\d+ us +\\d+ #");
      assertThat(RunningFilterd.filterd(folder, "connection", "show", "999").output())
          .contains("no connection 999: `filterd connection list` shows those there are");
      assertThat(running.filterd("connection", "list")).contains("No client uses a disk now.");
    }
    assertThat(RunningFilterd.filterd(folder, "connection", "list").exitCode()).isEqualTo(8);
  }

  @Test
  void listsExportsWithWhatThereIsToSayOfThem() throws IOException {
    try (RunningFilterd running = withDisk()) {
      running.filterd("disk", "create", "vm1/broken", "--size", "1MiB", "--policy", "encrypted");
      running.filterd("disk", "attach", "vm1/broken");
    }
    Files.writeString(
        folder.resolve("disks/vm1/broken.vmdk"), "no disk", StandardCharsets.US_ASCII);
    try (RunningFilterd again = RunningFilterd.start(folder)) {
      RunningFilterd.Result refused =
          RunningFilterd.run("qemu-img", "info", again.uri("vm1/broken"));
      assertThat(refused.exitCode()).isNotZero();
      assertThat(refused.output()).contains("is locked: ");
      assertThat(tool("nbdinfo", again.uri(DISK)))
          .contains("description: 64 MiB, policy encrypted, read-write");

      assertThat(
              nbdsh(
                  again,
                  """
                  h.set_opt_mode(True)
                  h.connect_uri("URI")
                  h.opt_list(lambda name, description: print(name, description, sep=": "))
                  h.opt_abort()
                  """))
          .contains("vm1/broken: locked: ", "vm1/disk0: 64 MiB, policy encrypted, read-write");
    }
  }
}
