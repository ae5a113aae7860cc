package io.filterd.daemon;

import static io.filterd.daemon.RunningFilterd.tool;
import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Changed blocks, as qemu, libnbd and operators see them. */
class DiskChangesIT {
  private static final String DISK = "vm1/disk0";

  @TempDir Path folder;

  @BeforeEach
  void makeProvider() throws IOException {
    RunningFilterd.configure(folder, 0);
    assertThat(RunningFilterd.filterd(folder, "provider", "init").exitCode()).isZero();
  }

  private static void write(RunningFilterd running, String command) throws IOException {
    tool("qemu-io", "-f", "raw", "-c", command, "-c", "flush", running.uri(DISK));
  }

  private static String changes(RunningFilterd running, String point) throws IOException {
    return running.filterd("disk", "changes", DISK, "--since", point);
  }

  @Test
  void qemuAndLibnbdSeeWhatChangedSinceAPoint() throws IOException {
    try (RunningFilterd running = RunningFilterd.start(folder)) {
      running.filterd("disk", "create", DISK, "--size", "256MiB", "--policy", "encrypted");
      running.filterd("disk", "attach", DISK);
      write(running, "write 0 1M");
      assertThat(running.filterd("disk", "changes", DISK)).contains("No points");
      running.filterd("disk", "mark", DISK, "monday"); // The first: tracking begins meanwhile.
      write(running, "write 10M 100k");
      running.filterd("disk", "mark", DISK, "tuesday");
      write(running, "write -z 200M 64k");
      write(running, "discard 255M 1M");

      assertThat(changes(running, "monday"))
          .containsPattern("10485760 +131072")
          .containsPattern("209715200 +65536")
          .containsPattern("267386880 +1048576");
      assertThat(changes(running, "tuesday"))
          .doesNotContain("10485760 ")
          .containsPattern("209715200 +65536");
      String map = tool("nbdinfo", "--map=qemu:dirty-bitmap:monday", running.uri(DISK));
      assertThat(map).containsPattern("10485760 +131072 +1 ").containsPattern("10616832 +\\d+ +0 ");
      // qemu tells what is dirty as holes of its map.
      String qemu =
          tool(
              "qemu-img",
              "map",
              "--output=json",
              "--image-opts",
              "driver=nbd,export="
                  + DISK
                  + ",server.type=unix,server.path="
                  + folder.resolve("nbd.sock")
                  + ",x-dirty-bitmap=qemu:dirty-bitmap:tuesday");
      assertThat(qemu)
          .containsPattern("\"start\": 209715200, \"length\": 65536, .*\"data\": false");
      assertThat(RunningFilterd.filterd(folder, "disk", "mark", DISK, "monday").exitCode())
          .isNotZero();
    }
    // The next start knows it all; a kill in between makes it know more, never less.
    try (RunningFilterd again = RunningFilterd.start(folder)) {
      assertThat(changes(again, "tuesday")).doesNotContain("10485760 ");
      write(again, "write 100M 4k");
      again.kill();
    }
    try (RunningFilterd after = RunningFilterd.start(folder)) {
      assertThat(changes(after, "tuesday"))
          .contains("67108864 ") // The region that was written, whole.
          .containsPattern("209715200 +65536")
          .doesNotContain("10485760 ");
      after.filterd("disk", "unmark", DISK, "monday");
      assertThat(after.filterd("disk", "changes", DISK)).contains("tuesday").doesNotContain("mon");
    }
  }

  @Test
  void pointsOutlastSnapshotsAndGrowth() throws IOException {
    try (RunningFilterd running = RunningFilterd.start(folder)) {
      running.filterd("disk", "create", DISK, "--size", "64MiB", "--policy", "encrypted");
      running.filterd("disk", "attach", DISK);
      write(running, "write 0 1M");
      running.filterd("disk", "mark", DISK, "monday");
      write(running, "write 10M 64k");
      running.filterd("snapshot", "create", DISK, "before");
      write(running, "write 20M 64k");
      running.filterd("disk", "grow", DISK, "128MiB");
      write(running, "write 30M 64k");
      running.filterd("snapshot", "delete", DISK, "before");
      write(running, "write 100M 64k");
    }
    try (RunningFilterd again = RunningFilterd.start(folder)) {
      String changed = changes(again, "monday");
      assertThat(changed)
          .containsPattern("\\b10485760 +65536")
          .containsPattern("\\b20971520 +65536")
          .containsPattern("\\b31457280 +65536")
          .containsPattern("\\b67108864 +67108864"); // What it grew.
      again.filterd("disk", "unmark", DISK, "monday");
      assertThat(folder.resolve("disks/vm1/disk0.changes")).doesNotExist();
      write(again, "write 1M 64k");
      again.filterd("disk", "mark", DISK, "tuesday");
      write(again, "write 2M 64k");
      assertThat(changes(again, "tuesday"))
          .containsPattern("\\b2097152 +65536")
          .doesNotContain("1048576 ");
    }
  }

  @Test
  void damagedTrackingNeverKeepsADiskFromItsUsers() throws IOException {
    try (RunningFilterd running = RunningFilterd.start(folder)) {
      running.filterd("disk", "create", DISK, "--size", "16MiB", "--policy", "encrypted");
      running.filterd("disk", "mark", DISK, "offline");
      running.filterd("disk", "attach", DISK);
      write(running, "write 1M 4k");
      assertThat(changes(running, "offline")).containsPattern("1048576 +65536");
      running.filterd("disk", "detach", DISK);
      Path file = folder.resolve("disks/vm1/disk0.changes");
      Files.write(file, new byte[100]);
      running.filterd("disk", "attach", DISK);
      write(running, "write 2M 4k");
      RunningFilterd.Result lost =
          RunningFilterd.filterd(folder, "disk", "changes", DISK, "--since", "offline");
      assertThat(lost.exitCode()).isNotZero();
    }
  }
}
