package io.filterd.daemon;

import static io.filterd.daemon.RunningFilterd.tool;
import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Who may use which disk, as clients and the log have it. */
class AccessIT {
  @TempDir Path folder;

  @BeforeEach
  void makeDisks() throws IOException {
    RunningFilterd.configure(folder, 0);
    assertThat(RunningFilterd.filterd(folder, "provider", "init").exitCode()).isZero();
    try (RunningFilterd running = RunningFilterd.start(folder)) {
      for (String disk : List.of("vm1/disk0", "vm2/disk0")) {
        running.filterd("disk", "create", disk, "--size", "1MiB", "--policy", "encrypted");
        running.filterd("disk", "attach", disk);
      }
    }
    Path keys =
        Files.createFile(
            folder.resolve("keys.psk"),
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
    Files.writeString(keys, "alice:00112233445566778899aabbccddeeff\n");
    Files.writeString(
        folder.resolve(RunningFilterd.MORE_OF_NBD),
        """
        , tls: {mode: on, psk: keys.psk}, access: [
          {unixUser: %s, exports: ["vm1/*"], allow: read-only},
          {pskIdentity: alice, exports: ["vm2/*"], allow: read-write}]
        """
            .formatted(Files.getAttribute(folder, "unix:uid")));
  }

  @Test
  void showsEachClientItsDisksOnly() throws IOException {
    try (RunningFilterd running = RunningFilterd.start(folder)) {
      String alice =
          "nbds://alice@127.0.0.1:%d/vm2/disk0?tls-psk-file=%s"
              .formatted(running.port(), folder.resolve("keys.psk"));
      assertThat(tool("nbdinfo", "--list", running.unixUri("")))
          .contains("export=\"vm1/disk0\"", "is_read_only: true")
          .doesNotContain("vm2/disk0");
      assertThat(tool("nbdinfo", "--list", alice))
          .contains("export=\"vm2/disk0\"", "is_read_only: false")
          .doesNotContain("vm1/disk0");
      tool("qemu-io", "-f", "raw", "-r", "-c", "read 0 4096", running.unixUri("vm1/disk0"));
      assertThat(RunningFilterd.run("qemu-img", "info", running.unixUri("vm2/disk0")).output())
          .contains("TLS");
      assertThat(RunningFilterd.run("nbdinfo", running.uri("vm1/disk0")).exitCode()).isNotZero();

      // Who may not have it does not find out whether it is there.
      String theirs = alice.replace("vm2/disk0", "vm1/disk0");
      String none = alice.replace("vm2/disk0", "vm3/disk0");
      assertThat(RunningFilterd.run("qemu-img", "info", theirs).output().replace("vm1", "vm3"))
          .isEqualTo(RunningFilterd.run("qemu-img", "info", none).output());
      String write = "h.connect_uri('%s')\nh.pwrite(b'x' * 512, 0)\n";
      assertThat(nbdsh(write.formatted(running.unixUri("vm1/disk0"))).output())
          .contains("Operation not permitted");
      assertThat(nbdsh("h.set_uri_allow_local_file(True)\n" + write.formatted(alice)).exitCode())
          .isZero();
      assertThat(running.log()).contains("vm1/disk0");
    }
  }

  private static RunningFilterd.Result nbdsh(String script) throws IOException {
    // Debian's Python, which has nbdsh's module, whatever is first in the path.
    return RunningFilterd.run("env", "PATH=/usr/bin:/bin", "nbdsh", "-c", script);
  }
}
