package io.filterd.daemon;

import static io.filterd.daemon.RunningFilterd.tool;
import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Snapshots of disks that are served, by the commands that users give. */
class SnapshotIT {
  private static final String DISK = "vm1/disk0";
  private static final Path SCRIPT =
      RunningFilterd.HOME.resolve("filterd/daemon/src/test/scripts/crash-writer.py");

  @TempDir Path folder;

  private RunningFilterd start() throws IOException {
    RunningFilterd.configure(folder, 0);
    assertThat(RunningFilterd.filterd(folder, "provider", "init").exitCode()).isZero();
    RunningFilterd running = RunningFilterd.start(folder);
    running.filterd("disk", "create", DISK, "--size", "64MiB", "--policy", "encrypted");
    running.filterd("disk", "attach", DISK);
    return running;
  }

  private static void io(RunningFilterd running, String... commands) throws IOException {
    List<String> line = new ArrayList<>(List.of("qemu-io", "-f", "raw"));
    for (String command : commands) {
      line.add("-c");
      line.add(command);
    }
    line.add(running.uri(DISK));
    assertThat(tool(line.toArray(String[]::new))).doesNotContain("verification failed");
  }

  /** The links whose keys are in the cache, as the log says. */
  private static Set<String> unlockedLinks(String log) {
    Set<String> unlocked = new TreeSet<>();
    Matcher line = Pattern.compile("DataKeys - .*?link=([-0-9a-f]{36})(.*)").matcher(log);
    while (line.find()) {
      if (line.group(2).endsWith(": locked")) {
        unlocked.remove(line.group(1));
      } else {
        unlocked.add(line.group(1));
      }
    }
    return unlocked;
  }

  @Test
  void takesDeletesAndRevertsToSnapshots() throws Exception {
    try (RunningFilterd running = start()) {
      io(running, "write -P 0x11 0 1M", "write -P 0x12 4M 1M");
      running.filterd("snapshot", "create", DISK, "one");
      io(running, "write -P 0x22 0 64k", "write -z 4M 64k", "flush");
      assertThat(running.filterd("snapshot", "create", DISK)).contains("snapshot-1", "one");
      io(running, "write -P 0x33 64k 4k", "flush");
      io(running, "read -P 0x22 0 64k", "read -P 0x33 64k 4k", "read -P 0x11 68k 60k");
      io(running, "read -P 0 4M 64k", "read -P 0x12 4160k 64k");

      String map = tool("nbdinfo", "--map=qemu:allocation-depth", running.uri(DISK));
      assertThat(map).containsPattern("65536 +65536 +1 ").containsPattern("0 +65536 +2 ");
      assertThat(running.filterd("snapshot", "list", DISK, "--json"))
          .contains("\"name\" : \"one\"", "\"depth\" : 2");
      // Each link has a key of its own, and none holds plaintext.
      for (String link : List.of("disk0.vmdk", "disk0-000001.vmdk", "disk0-000002.vmdk")) {
        byte[] stored = Files.readAllBytes(folder.resolve("disks/vm1").resolve(link));
        String text = new String(stored, StandardCharsets.ISO_8859_1);
        assertThat(text).doesNotContain("\021".repeat(64), "\042".repeat(64));
        assertThat(text).contains("ddb.filterd.linkId");
      }

      assertThat(running.filterd("snapshot", "delete", DISK, "snapshot-1")).contains("one");
      io(running, "read -P 0x22 0 64k", "read -P 0x33 64k 4k", "read -P 0x11 68k 60k");
      io(running, "read -P 0 4M 64k", "read -P 0x12 4160k 64k");
      RunningFilterd.Result refused =
          RunningFilterd.filterd(folder, "snapshot", "revert", DISK, "one");
      assertThat(refused.exitCode()).isEqualTo(4);
      assertThat(refused.output()).contains("detach it first");
      running.filterd("disk", "detach", DISK);
      running.filterd("snapshot", "create", DISK, "detached");
      running.filterd("snapshot", "delete", DISK, "detached");
      String copy = folder.resolve("copy.raw").toString();
      running.filterd("disk", "export", DISK, copy, "--format", "raw");
      assertThat(unlockedLinks(running.log())).isEmpty();
      assertThat(running.filterd("snapshot", "revert", DISK, "one", "--discard"))
          .contains("Deleted: ");
      running.filterd("disk", "attach", DISK);
      io(running, "read -P 0x11 0 1M", "read -P 0x12 4M 1M");
    }
    // Without a daemon.
    RunningFilterd.Result deleted =
        RunningFilterd.filterd(folder, "snapshot", "delete", DISK, "one");
    assertThat(deleted.exitCode()).as("%s", deleted.output()).isZero();
    assertThat(folder.resolve("disks/vm1/disk0.vmdk")).exists();
    try (RunningFilterd running = RunningFilterd.start(folder)) {
      io(running, "read -P 0x11 0 1M", "read -P 0x12 4M 1M");
      assertThat(running.filterd("snapshot", "list", DISK)).contains("No snapshots");
    }
  }

  @Test
  void keepsWhatIsWrittenWhileSnapshotsComeAndGoAndTheDaemonIsKilled() throws Exception {
    RunningFilterd running = start();
    Path journal = folder.resolve("journal");
    for (int round = 0; round < 8; round++) {
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
      awaitWritten(writer, journal, 3000);
      running.filterd("snapshot", "create", DISK, "round " + round);
      awaitWritten(writer, journal, 3000);
      Process delete =
          new ProcessBuilder(
                  RunningFilterd.LAUNCHER.toString(),
                  "snapshot",
                  "delete",
                  DISK,
                  "round " + round,
                  "-c",
                  folder.resolve("filterd.yaml").toString())
              .redirectErrorStream(true)
              .redirectOutput(folder.resolve("delete.log").toFile())
              .start();
      if (round % 2 == 0) {
        // Somewhere in the middle of it, or at its end.
        awaitWritten(writer, journal, 500L * round);
      } else {
        assertThat(delete.onExit().join().exitValue())
            .as("%s", Files.readString(folder.resolve("delete.log")))
            .isZero();
        awaitWritten(writer, journal, 1000);
      }
      running.kill();
      writer.onExit().join();
      delete.onExit().join();

      running = RunningFilterd.start(folder);
      tool(
          "/usr/bin/python3",
          SCRIPT.toString(),
          "check",
          running.uri(DISK),
          journal.toString(),
          Integer.toString(round));
      if (running.filterd("snapshot", "list", DISK).contains("round " + round)) {
        running.filterd("snapshot", "delete", DISK, "round " + round);
      }
    }
    running.close();
    RunningFilterd.Result left = RunningFilterd.filterd(folder, "snapshot", "list", DISK);
    assertThat(left.output()).contains("No snapshots");
  }

  private static void awaitWritten(Process writer, Path journal, long moreBytes)
      throws IOException {
    long before = Files.exists(journal) ? Files.size(journal) : 0;
    Awaitility.await()
        .atMost(Duration.ofSeconds(60))
        .pollInterval(Duration.ofMillis(5))
        .until(
            () ->
                !writer.isAlive()
                    || (Files.exists(journal) && Files.size(journal) > before + moreBytes));
    assertThat(writer.isAlive()).as("the writer is at work").isTrue();
  }
}
