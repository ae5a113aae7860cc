package io.filterd.daemon;

import static io.filterd.daemon.RunningFilterd.tool;
import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.vmdk.CheckReport;
import io.filterd.vmdk.DiskCheck;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Disks that are checked, repaired, grown and compacted by the real daemon and its commands. */
class DiskCareIT {
  private static final String DISK = "vm1/disk0";

  @TempDir Path folder;

  private RunningFilterd withDisk() throws IOException {
    RunningFilterd.configure(folder, 0);
    assertThat(RunningFilterd.filterd(folder, "provider", "init").exitCode()).isZero();
    RunningFilterd running = RunningFilterd.start(folder);
    // The end cuts short a grain, a data unit and a block of the file system.
    running.filterd("disk", "create", DISK, "--size", "67109376B", "--policy", "encrypted");
    running.filterd("disk", "attach", DISK);
    return running;
  }

  private Path disk() {
    return folder.resolve("disks/vm1/disk0.vmdk");
  }

  @Test
  void growsAnEncryptedDiskUnderItsClients() throws Exception {
    try (RunningFilterd running = withDisk()) {
      tool(
          "env",
          "PATH=/usr/bin:/bin",
          "JAVA_HOME=" + System.getProperty("java.home"),
          "/usr/bin/python3",
          "-c",
          """
          import nbd, subprocess, sys
          old = 67109376
          def connect():
              h = nbd.NBD()
              h.set_strict_mode(0)
              h.connect_uri(sys.argv[1])
              return h
          def grow(size):
              subprocess.run([sys.argv[2], 'disk', 'grow', 'vm1/disk0', size, '-c', sys.argv[3]],
                             check=True)
          h = connect()
          h.pwrite(b'a' * 9000, old - 9000)
          grow('200MiB')
          assert h.get_size() == old
          assert h.pread(9000, old - 9000) == b'a' * 9000
          h.pwrite(b'b' * 700, old - 700)
          try:
              h.pread(512, old)
              sys.exit('read behind the end')
          except nbd.Error:
              pass
          g = connect()
          assert g.get_size() == 200 << 20
          assert g.pread(10000, old - 9000) == b'a' * 8300 + b'b' * 700 + bytes(1000)
          g.pwrite(b'c' * 100000, old - 50)
          assert h.pread(50, old - 50) == b'c' * 50
          grow('3GiB')
          g.pwrite(b'd' * 4096, (200 << 20) - 4096)
          i = connect()
          assert i.get_size() == 3 << 30
          assert i.pread(100000, old - 50) == b'c' * 100000
          i.pwrite(b'e' * 4096, (3 << 30) - 4096)
          i.flush()
          assert g.pread(4096, (200 << 20) - 4096) == b'd' * 4096
          for each in (h, g, i):
              each.shutdown()
          """,
          running.uri(DISK),
          RunningFilterd.LAUNCHER.toString(),
          folder.resolve("filterd.yaml").toString());
      assertThat(running.filterd("disk", "info", DISK)).contains("3 GiB");
    }
    assertThat(DiskCheck.check(disk()).findings()).isEmpty();
    assertThat(tool("qemu-img", "check", "-f", "vmdk", disk().toString())).contains("No errors");
    try (RunningFilterd again = RunningFilterd.start(folder)) {
      assertThat(
              tool(
                  "qemu-io",
                  "-f",
                  "raw",
                  "-c",
                  "read -P 0x63 67109888 64k",
                  "-c",
                  "read -P 0x65 3221221376 4k",
                  "-c",
                  "read -P 0 1G 1M",
                  again.uri(DISK)))
          .doesNotContain("verification failed");
    }
  }

  @Test
  void compactsAnEncryptedDiskToWhatItNeeds() throws Exception {
    Path before = folder.resolve("before.raw");
    Path after = folder.resolve("after.raw");
    try (RunningFilterd running = withDisk()) {
      tool(
          "qemu-io",
          "-f",
          "raw",
          "-c",
          "write -P 0x41 8M 4M",
          "-c",
          "write -P 0 20M 8M",
          "-c",
          "write -P 0x42 1M 64k",
          "-c",
          "discard 9M 1M",
          running.uri(DISK));
      tool("nbdcopy", running.uri(DISK), before.toString());
      refuses(4, "detach it first", RunningFilterd.filterd(folder, "disk", "compact", DISK));
      running.filterd("disk", "detach", DISK);
      CheckReport.Totals full = DiskCheck.check(disk()).totals();

      assertThat(running.filterd("disk", "compact", DISK)).contains("Compacted vm1/disk0");

      CheckReport report = DiskCheck.check(disk());
      assertThat(report.findings()).isEmpty();
      assertThat(full.grains() - report.totals().grains()).isEqualTo((8 << 20) >> 16);
      assertThat(tool("qemu-img", "check", "-f", "vmdk", disk().toString())).contains("No errors");
      running.filterd("disk", "attach", DISK);
      tool("nbdcopy", running.uri(DISK), after.toString());
      assertThat(Files.mismatch(before, after)).isEqualTo(-1);
    }
  }

  @Test
  void checksAndRepairsByNameAndByFile() throws Exception {
    try (RunningFilterd running = withDisk()) {
      tool("qemu-io", "-f", "raw", "-c", "write -P 0x41 0 4M", running.uri(DISK));
      refuses(4, "detach it first", RunningFilterd.filterd(folder, "disk", "check", DISK));
      running.filterd("disk", "detach", DISK);
      assertThat(running.filterd("disk", "check", DISK)).contains("clean");

      // 64 MiB have two tables and more: the redundant ones stand behind a directory in sector 41.
      tool("dd", "if=/dev/zero", "of=" + disk(), "bs=512", "seek=42", "count=4", "conv=notrunc");
      refuses(6, "redundant grain table 0", RunningFilterd.filterd(folder, "disk", "check", DISK));
      assertThat(running.filterd("disk", "repair", DISK)).contains("before-repair-1", "clean");
      Path backup = folder.resolve("disks/vm1/disk0.vmdk.before-repair-1");
      refuses(
          6,
          "taken back",
          RunningFilterd.filterd(folder, "disk", "repair", DISK, "--undo", backup.toString()));

      // By file it takes no configuration.
      String launcher = RunningFilterd.LAUNCHER.toString();
      String file = disk().toString();
      RunningFilterd.Result json =
          RunningFilterd.run(launcher, "disk", "check", "--file", file, "--json");
      assertThat(json.exitCode()).isEqualTo(6);
      assertThat(json.output()).contains("\"verdict\" : \"damaged\"", "\"repairable\" : true");
      Path second = folder.resolve("second.backup");
      RunningFilterd.Result repaired =
          RunningFilterd.run(
              launcher, "disk", "repair", "--file", file, "--backup", second.toString());
      assertThat(repaired.exitCode()).as(repaired.output()).isZero();
      refuses(3, "no such file", RunningFilterd.run(launcher, "disk", "check", "-f", "/none"));
      refuses(2, "Missing", RunningFilterd.run(launcher, "disk", "check"));
    }
  }

  private static void refuses(int exitCode, String sentence, RunningFilterd.Result result) {
    assertThat(result.output()).contains(sentence).doesNotContain("\tat ", "Exception");
    assertThat(result.exitCode()).as("%s", result.output()).isEqualTo(exitCode);
  }
}
