package io.filterd.daemon;

import static io.filterd.daemon.RunningFilterd.tool;
import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** New keys for disks under their clients, by the commands that users give. */
class RecryptServedIT {
  private static final String DISK = "vm1/disk0";
  private static final Pattern KEY = Pattern.compile("key +(\\S+) \\(provider (\\S+)\\)");
  private static final Path SCRIPT =
      RunningFilterd.HOME.resolve("filterd/daemon/src/test/scripts/crash-writer.py");

  @TempDir Path folder;

  @Test
  void clientsWriteOnWhileKeysAreExchanged() throws IOException {
    TwoProviders providers = TwoProviders.ofTypeNative();
    providers.prepare(folder);
    Path journal = folder.resolve("journal");
    try (RunningFilterd running = RunningFilterd.start(folder)) {
      running.filterd("disk", "create", DISK, "--size", "64MiB", "--policy", "encrypted");
      running.filterd("disk", "create", "vm1/disk1", "--size", "1MiB", "--policy", "encrypted");
      running.filterd("disk", "attach", DISK);
      Process writer =
          new ProcessBuilder(
                  "/usr/bin/python3",
                  SCRIPT.toString(),
                  "write",
                  running.uri(DISK),
                  journal.toString(),
                  "1")
              .redirectErrorStream(true)
              .redirectOutput(folder.resolve("writer.log").toFile())
              .start();
      try {
        awaitMore(writer, journal);
        running.filterd("snapshot", "create", DISK);
        awaitMore(writer, journal);
        running.filterd("snapshot", "create", DISK);
        awaitMore(writer, journal);
        String old = key(running);

        String report = running.filterd("key", "recrypt", "vm1");
        assertThat(report).contains(DISK, "vm1/disk1", "done", "2 of 2 disks have new keys.");
        String next = key(running);
        assertThat(report).contains(old, next);
        awaitMore(writer, journal);
        assertThat(running.filterd("key", "uses", old)).contains("Nothing names key " + old);
        assertThat(running.filterd("provider", "migrate", "a", "b", "--json"))
            .contains("\"exitStatus\" : 0", "\"state\" : \"done\"", "\"" + next + "\"");
        awaitMore(writer, journal);
        running.filterd("snapshot", "create", DISK);
        assertThat(running.filterd("key", "recrypt", "--key", key(running), "--json"))
            .contains("\"links\" : 4");
        awaitMore(writer, journal);
        assertRefuses(key(running));
      } finally {
        writer.destroyForcibly().onExit().join();
      }
    }
    providers.loseA(folder);
    try (RunningFilterd running = RunningFilterd.start(folder)) {
      tool(
          "/usr/bin/python3",
          SCRIPT.toString(),
          "check",
          running.uri(DISK),
          journal.toString(),
          "1");
    }
  }

  private void assertRefuses(String key) throws IOException {
    RunningFilterd.Result refused = RunningFilterd.filterd(folder, "key", "destroy", key);
    assertThat(refused.exitCode()).as("%s", refused.output()).isEqualTo(4);
    assertThat(refused.output()).contains("disk0-000003.vmdk", "disk0.vmdk", "its next disk");
    RunningFilterd.Result unconfirmed =
        RunningFilterd.filterd(folder, "key", "destroy", key, "--force");
    assertThat(unconfirmed.exitCode()).as("%s", unconfirmed.output()).isEqualTo(2);
    assertThat(unconfirmed.output()).contains("--yes-destroy 6");
    RunningFilterd.Result never =
        RunningFilterd.filterd(folder, "key", "destroy", key, "--force", "--yes-destroy", "6");
    assertThat(never.exitCode()).as("%s", never.output()).isEqualTo(5);
    assertThat(never.output()).contains("its kind never destroys keys");
    RunningFilterd.Result both =
        RunningFilterd.filterd(folder, "key", "recrypt", "vm1", "--provider", "a");
    assertThat(both.exitCode()).isEqualTo(2);
    RunningFilterd.Result same = RunningFilterd.filterd(folder, "provider", "migrate", "a", "a");
    assertThat(same.exitCode()).isEqualTo(2);
  }

  private static String key(RunningFilterd running) throws IOException {
    String info = running.filterd("disk", "info", DISK);
    Matcher key = KEY.matcher(info);
    assertThat(key.find()).as("%s", info).isTrue();
    return key.group(2) + "/" + key.group(1);
  }

  private static void awaitMore(Process writer, Path journal) throws IOException {
    long before = Files.exists(journal) ? Files.size(journal) : 0;
    Awaitility.await()
        .atMost(Duration.ofSeconds(60))
        .pollInterval(Duration.ofMillis(5))
        .until(
            () ->
                !writer.isAlive()
                    || (Files.exists(journal) && Files.size(journal) > before + 2000));
    assertThat(writer.isAlive()).as("the writer is at work").isTrue();
  }
}
