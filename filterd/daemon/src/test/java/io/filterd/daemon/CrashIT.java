package io.filterd.daemon;

import static io.filterd.daemon.RunningFilterd.tool;
import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** kill -9 in the middle of random writes with flushes, again and again on one disk. */
class CrashIT {
  private static final int ROUNDS = Integer.getInteger("crash.rounds", 50);
  private static final String DISK = "vm1/disk0";
  private static final Path SCRIPT =
      RunningFilterd.HOME.resolve("filterd/daemon/src/test/scripts/crash-writer.py");

  @TempDir Path folder;

  @Test
  void whatWasFlushedSurvivesAndAllElseIsOldNewOrZero() throws Exception {
    RunningFilterd.configure(folder, 0);
    assertThat(RunningFilterd.filterd(folder, "provider", "init").exitCode()).isZero();
    Path journal = folder.resolve("journal");
    Path disk = folder.resolve("disks/vm1/disk0.vmdk");
    RunningFilterd running = RunningFilterd.start(folder);
    running.filterd("disk", "create", DISK, "--size", "64MiB", "--policy", "encrypted");
    running.filterd("disk", "attach", DISK);
    for (int round = 0; round < ROUNDS; round++) {
      Process writer =
          new ProcessBuilder(
                  "/usr/bin/python3",
                  SCRIPT.toString(),
                  "write",
                  running.uri(DISK),
                  journal.toString(),
                  Integer.toString(round))
              .redirectErrorStream(true)
              .redirectOutput(folder.resolve("writer.log").toFile())
              .start();
      long before = Files.exists(journal) ? Files.size(journal) : 0;
      // Killed at another point of its work each time, once it has flushed at least once.
      long entries = 40 + 37L * (round % 11);
      Awaitility.await()
          .atMost(Duration.ofSeconds(60))
          .pollInterval(Duration.ofMillis(5))
          .until(
              () ->
                  !writer.isAlive()
                      || (Files.exists(journal) && Files.size(journal) > before + entries * 20));
      running.kill();
      writer.onExit().join();

      running = RunningFilterd.start(folder);
      tool(
          "/usr/bin/python3",
          SCRIPT.toString(),
          "check",
          running.uri(DISK),
          journal.toString(),
          Integer.toString(round));
    }
    running.close();
    assertThat(tool("qemu-img", "check", "-f", "vmdk", disk.toString())).contains("No errors");
  }
}
