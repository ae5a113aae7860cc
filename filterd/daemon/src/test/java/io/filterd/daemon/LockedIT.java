package io.filterd.daemon;

import static io.filterd.daemon.RunningFilterd.tool;
import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.keys.BackupRule;
import io.filterd.keys.KeyEncryptionKey;
import io.filterd.keys.KeyReference;
import io.filterd.keys.NativeProvider;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HexFormat;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Disks whose keys can't be had, or must not, served by the real daemon to real clients. */
class LockedIT {
  private static final String DISK = "vm1/disk0";

  /** Looks for 16-byte parts of the secrets in a process's memory that can be written to. */
  private static final String SEARCH =
      """
      import sys
      pid, secret = sys.argv[1], bytes.fromhex(sys.argv[2])
      parts = [secret[i:i + 16] for i in range(0, len(secret), 16)]
      looked = hits = 0
      with open('/proc/%s/mem' % pid, 'rb', 0) as memory:
          for line in open('/proc/%s/maps' % pid):
              where, mode = line.split()[:2]
              if not mode.startswith('rw'):
                  continue
              start, end = (int(each, 16) for each in where.split('-'))
              while start < end:
                  try:
                      memory.seek(start)
                      content = memory.read(min(end - start, 16 << 20))
                  except (OSError, ValueError):
                      content = b''
                  looked += len(content)
                  hits += sum(content.count(part) for part in parts)
                  start += max(len(content), 4096)
      print('%d MiB looked at, %d found' % (looked >> 20, hits))
      """;

  @TempDir Path folder;

  private RunningFilterd withDisk() throws Exception {
    RunningFilterd.configure(folder, 0);
    assertThat(RunningFilterd.filterd(folder, "provider", "init").exitCode()).isZero();
    RunningFilterd running = RunningFilterd.start(folder);
    running.filterd("disk", "create", DISK, "--size", "64MiB", "--policy", "encrypted");
    running.filterd("disk", "attach", DISK);
    tool("qemu-io", "-f", "raw", "-c", "write -P 0x43 0 8M", running.uri(DISK));
    return running;
  }

  private static String refused(RunningFilterd running) throws Exception {
    RunningFilterd.Result result =
        RunningFilterd.run("qemu-io", "-r", "-f", "raw", "-c", "read 0 512", running.uri(DISK));
    assertThat(result.exitCode()).isNotZero();
    return result.output();
  }

  @Test
  void aDiskWhoseProviderIsGoneIsLockedUntilItIsBack() throws Exception {
    Path state = folder.resolve("native.provider");
    Path away = folder.resolve("away");
    RunningFilterd before = withDisk();
    before.kill();
    Files.move(state, away);

    try (RunningFilterd running = RunningFilterd.start(folder)) {
      assertThat(refused(running)).contains("waits for key provider native");
      assertThat(
              RunningFilterd.run("nbdinfo", "--list", "nbd://127.0.0.1:" + running.port()).output())
          .contains(DISK);
      assertThat(running.filterd("disk", "list")).contains("locked", "there is no state file");
      assertThat(running.filterd("provider", "status", "--json"))
          .contains("\"health\" : \"red\"", "\"waitingDisks\" : 1");
      assertThat(RunningFilterd.filterd(folder, "key", "status").exitCode()).isEqualTo(5);
      assertThat(RunningFilterd.filterd(folder, "key", "unlock", "--all").exitCode()).isEqualTo(5);
      assertThat(RunningFilterd.filterd(folder, "key", "unlock").exitCode()).isEqualTo(2);

      Files.move(away, state);

      Awaitility.await()
          .atMost(Duration.ofSeconds(10))
          .pollInterval(Duration.ofMillis(100))
          .until(() -> RunningFilterd.run("nbdinfo", "--size", running.uri(DISK)).exitCode() == 0);
      tool("qemu-io", "-r", "-f", "raw", "-c", "read -P 0x43 0 8M", running.uri(DISK));
      assertThat(running.log().split("disk=vm1/disk0 is locked", -1)).as("alarms").hasSize(2);
      assertThat(running.filterd("provider", "status", "--probe")).contains("green");
      assertThat(running.filterd("key", "status")).contains("available", "all", DISK);

      // Moved away again, it still runs, but would not survive a reboot.
      Files.move(state, away);
      tool("qemu-io", "-r", "-f", "raw", "-c", "read -P 0x43 0 8M", running.uri(DISK));
      assertThat(running.filterd("provider", "status", "--probe")).contains("yellow");
      RunningFilterd.Result preflight = RunningFilterd.filterd(folder, "key", "preflight");
      assertThat(preflight.exitCode()).isEqualTo(1);
      assertThat(preflight.output()).contains("could not be opened again");
    }
  }

  @Test
  void aDiskThatIsLockedByCommandIsUnreadableAtOnceAndAfterARestart() throws Exception {
    RunningFilterd before = withDisk();
    String kek = kekHex(before);
    Process busy =
        new ProcessBuilder(
                "fio",
                "--name=busy",
                "--ioengine=nbd",
                "--uri=" + before.uri(DISK),
                "--rw=randrw",
                "--bs=4k",
                "--size=16m",
                "--offset=16m",
                "--time_based",
                "--runtime=120",
                "--iodepth=8")
            .redirectErrorStream(true)
            .redirectOutput(folder.resolve("fio.log").toFile())
            .start();
    Awaitility.await().until(() -> before.filterd("connection", "list").contains("read-write"));
    // An idle daemon has no key-encryption key, though its disk is in use.
    assertThat(found(before, kek)).endsWith(" 0 found");

    assertThat(before.filterd("key", "lock", "vm1")).contains("locked by command");

    assertThat(busy.onExit().join().exitValue()).as("fio's exit").isNotZero();
    assertThat(refused(before)).contains("locked by command");
    assertThat(before.filterd("key", "status", "--json")).contains("\"here\" : \"none\"");
    assertThat(RunningFilterd.filterd(folder, "disk", "attach", DISK).exitCode()).isEqualTo(5);
    Path file = folder.resolve("disks/vm1/disk0.vmdk");
    assertThat(
            RunningFilterd.filterd(folder, "disk", "attach", "x/y", "--file", file.toString())
                .exitCode())
        .isEqualTo(5);
    assertThat(
            RunningFilterd.filterd(
                    folder, "disk", "export", DISK, folder.resolve("out.raw").toString())
                .exitCode())
        .isEqualTo(5);
    before.kill();

    try (RunningFilterd running = RunningFilterd.start(folder)) {
      assertThat(refused(running)).contains("locked by command");
      assertThat(running.filterd("disk", "list")).contains("locked by command");

      assertThat(running.filterd("key", "unlock", DISK)).contains("attached");

      tool("qemu-io", "-r", "-f", "raw", "-c", "read -P 0x43 0 8M", running.uri(DISK));
      assertThat(running.filterd("key", "preflight")).contains("this host's disk", "NO");
    }
    assertThat(tool("qemu-img", "check", "-f", "vmdk", file.toString())).contains("No errors");
  }

  private static String found(RunningFilterd running, String hex) throws Exception {
    return tool("/usr/bin/python3", "-c", SEARCH, Long.toString(running.pid()), hex).strip();
  }

  private String kekHex(RunningFilterd running) throws Exception {
    String keys = running.filterd("key", "status", "--json");
    KeyReference kek = new KeyReference("native", field(keys, "keyId"), field(keys, "checkValue"));
    byte[] secret = new byte[KeyEncryptionKey.LENGTH_BYTES];
    try (NativeProvider provider =
            NativeProvider.open(
                "native",
                folder.resolve("native.provider"),
                folder.resolve("native.passphrase"),
                BackupRule.WAIVED);
        KeyEncryptionKey key = provider.open(kek)) {
      key.copySecretTo(secret);
    }
    return HexFormat.of().formatHex(secret);
  }

  private static String field(String json, String name) {
    Matcher found = Pattern.compile("\"" + name + "\" : \"([^\"]*)\"").matcher(json);
    assertThat(found.find()).as(name).isTrue();
    return found.group(1);
  }
}
