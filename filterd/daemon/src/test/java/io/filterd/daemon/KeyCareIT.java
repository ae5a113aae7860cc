package io.filterd.daemon;

import static io.filterd.daemon.RunningFilterd.tool;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.daemon.control.KeyCare;
import io.filterd.daemon.control.Operation;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.Requests;
import io.filterd.daemon.control.Results;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.awaitility.Awaitility;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Disks and their keys, with a provider that fails, is slow or hangs when it is told to. */
class KeyCareIT {
  private static final Requests.None NOTHING = new Requests.None();

  @TempDir Path folder;
  private Path kms = Path.of("");

  @BeforeEach
  void prepare() throws IOException {
    kms = ScriptedDaemon.prepare(folder);
  }

  private void provider(String script) throws IOException {
    ScriptedProvider.tell(kms, script);
  }

  private ScriptedDaemon start() throws IOException, OperationException {
    return ScriptedDaemon.start(folder);
  }

  private static void awaitAttached(ScriptedDaemon daemon, String disk) {
    Awaitility.await()
        .atMost(Duration.ofSeconds(10))
        .pollInterval(Duration.ofMillis(50))
        .until(() -> daemon.isAttached(disk));
  }

  private static void awaitLocked(ScriptedDaemon daemon, String disk) {
    Awaitility.await()
        .atMost(Duration.ofSeconds(20))
        .pollInterval(Duration.ofMillis(50))
        .until(() -> daemon.disk(disk).state().equals("locked"));
  }

  @Test
  void aDiskThatRunsNeverNoticesThatItsProviderIsAway() throws Exception {
    try (ScriptedDaemon daemon = start()) {
      daemon.create("vm1/disk0", "encrypted");
      daemon.attach("vm1/disk0");
      String uri = daemon.uri("vm1/disk0");

      provider("fail");
      tool("qemu-io", "-f", "raw", "-c", "write -P 0x41 0 1M", uri);
      provider("hang");
      tool("qemu-io", "-f", "raw", "-c", "read -P 0x41 0 1M", uri);

      // A new one is refused at once, and nothing of it is left.
      provider("fail");
      assertThatThrownBy(() -> daemon.create("vm1/disk1", "encrypted"))
          .hasMessageContaining("told to fail");
      assertThat(daemon.call(Operation.DISK_LIST, NOTHING).disks()).hasSize(1);
      assertThat(daemon.isAttached("vm1/disk0")).isTrue();
      provider("ok");
    }
  }

  @Test
  void disksAreLockedUntilTheirProviderAnswersAndItIsAskedForOneKeyOnly() throws Exception {
    try (ScriptedDaemon daemon = start()) {
      for (int i = 0; i < 12; i++) {
        daemon.create("vm" + i + "/disk0", "encrypted");
        daemon.attach("vm" + i + "/disk0");
      }
      tool("qemu-io", "-f", "raw", "-c", "write -P 0x42 0 1M", daemon.uri("vm7/disk0"));
    }
    provider("fail");
    Files.delete(kms.resolve("fetches"));
    try (ScriptedDaemon daemon = start()) {
      for (int i = 0; i < 12; i++) {
        awaitLocked(daemon, "vm" + i + "/disk0");
      }
      assertThat(daemon.disk("vm7/disk0").reason())
          .isEqualTo("waits for key provider kms: provider kms was told to fail");
      Results.Provider status =
          daemon.call(Operation.PROVIDER_STATUS, NOTHING).providers().getFirst();
      assertThat(status.waitingDisks()).isBetween(11, 12); // One may be having its turn.
      assertThat(
              RunningFilterd.run(
                      "qemu-io", "-r", "-f", "raw", "-c", "read 0 512", daemon.uri("vm7/disk0"))
                  .output())
          .contains("waits for key provider kms");
      assertThatThrownBy(() -> daemon.attach("vm7/disk0")).hasMessageContaining("told to fail");
      // At first as many as have their turn at a time, and then one now and then.
      int asked = ScriptedProvider.fetches(kms).size();
      assertThat(asked).isLessThanOrEqualTo(8);

      provider("ok");

      for (int i = 0; i < 12; i++) {
        awaitAttached(daemon, "vm" + i + "/disk0");
      }
      tool("qemu-io", "-f", "raw", "-c", "read -P 0x42 0 1M", daemon.uri("vm7/disk0"));
      assertThat(
              daemon.call(Operation.PROVIDER_STATUS, NOTHING).providers().getFirst().waitingDisks())
          .isZero();
      assertThat(daemon.call(KeyCare.PROVIDER_PROBE, NOTHING).providers().getFirst().health())
          .isEqualTo("green");
    }
  }

  @Test
  void manyDisksAreFetchedAFewAtATime() throws Exception {
    int disks = Integer.getInteger("locked.disks", 300);
    try (ScriptedDaemon daemon = start()) {
      for (int i = 0; i < disks; i++) {
        String name = "vm%d/disk%d".formatted(i / 10, i % 10);
        daemon.create(name, "encrypted");
        daemon.attach(name);
      }
    }
    Files.delete(kms.resolve("fetches"));
    provider("slow 40");
    long begin = System.nanoTime();
    try (ScriptedDaemon daemon = start()) {
      // Whoever comes first waits, and is served when it is there.
      tool("nbdinfo", "--size", daemon.uri("vm0/disk0"));
      assertThat(
              daemon.call(Operation.DISK_LIST, NOTHING).disks().stream()
                  .map(Results.Disk::state)
                  .distinct())
          .contains("attaching");
      Awaitility.await()
          .atMost(Duration.ofMinutes(2))
          .pollInterval(Duration.ofMillis(100))
          .until(
              () ->
                  daemon.host().attachments().disks().stream()
                      .allMatch(name -> daemon.isAttached(name.toString())));
      System.getLogger(KeyCareIT.class.getName())
          .log(
              System.Logger.Level.INFO,
              disks
                  + " disks after "
                  + Duration.ofNanos(System.nanoTime() - begin).toMillis()
                  + " ms");
    }
    List<ScriptedProvider.Fetch> fetches = ScriptedProvider.fetches(kms);
    assertThat(fetches).hasSize(disks).allMatch(ScriptedProvider.Fetch::succeeded);
    for (ScriptedProvider.Fetch each : fetches) {
      long atOnce =
          fetches.stream()
              .filter(
                  other ->
                      other.beginNanos() <= each.beginNanos()
                          && each.beginNanos() < other.endNanos())
              .count();
      assertThat(atOnce).isLessThanOrEqualTo(ProviderLine.AT_ONCE);
    }
  }

  @Test
  void saysOfEveryKeyHowItIs() throws Exception {
    try (ScriptedDaemon daemon = start()) {
      daemon.create("vm1/disk0", "encrypted");
      daemon.attach("vm1/disk0");
      assertThat(daemon.onlyKey())
          .satisfies(
              key -> {
                assertThat(key.status()).isEqualTo("available");
                assertThat(key.state()).isEqualTo("active");
                assertThat(key.here()).isEqualTo("all");
                assertThat(key.disks()).containsExactly("vm1/disk0");
                assertThat(key.links()).hasSize(1);
                assertThat(key.vms()).containsExactly("vm1");
              });
      Path key = kms.resolve("keys").resolve(daemon.onlyKey().keyId());
      Path state = Path.of(key + ".state");

      Files.writeString(state, "DEACTIVATED");
      assertThat(daemon.onlyKey().status()).isEqualTo("not-active");
      assertThat(daemon.onlyKey().state()).isEqualTo("deactivated");
      assertThatThrownBy(() -> daemon.create("vm1/disk1", "encrypted"))
          .hasMessageContaining("only active keys wrap");
      Files.writeString(state, "DESTROYED");
      assertThat(daemon.onlyKey().status()).isEqualTo("missing-in-provider");
      Files.delete(state);

      Path away = Files.move(key, key.resolveSibling("away"));
      assertThat(daemon.onlyKey().status()).isEqualTo("missing-in-provider");
      assertThat(daemon.call(KeyCare.KEY_STATUS, NOTHING).exitStatus()).isEqualTo(5);
      assertThatThrownBy(() -> daemon.create("vm1/disk1", "encrypted"))
          .isInstanceOfSatisfying(
              OperationException.class,
              failure -> assertThat(failure.code()).isEqualTo(OperationException.Code.KEY))
          .hasMessageContaining("filterd key recrypt");
      try (var left = Files.list(kms.resolve("keys"))) {
        assertThat(left).containsExactly(away);
      }

      Files.write(key, new byte[32]);
      assertThat(daemon.onlyKey().status()).isEqualTo("wrong-check-value");
      Files.delete(key);
      Files.move(away, key);
      provider("fail");
      assertThat(daemon.onlyKey().status()).isEqualTo("provider-unavailable");
      provider("hang");
      assertThat(daemon.onlyKey().detail()).contains("no answer within 10 s");
      provider("ok");
      assertThat(daemon.call(KeyCare.KEY_STATUS, NOTHING).exitStatus()).isZero();
    }
  }

  @Test
  void aKeyThatIsMissingLocksItsDisksOnlyAndIsTriedAgainByCommand() throws Exception {
    try (ScriptedDaemon daemon = start()) {
      for (String disk : List.of("vm1/disk0", "vm2/disk0")) {
        daemon.create(disk, "own");
        daemon.attach(disk);
      }
    }
    Path key;
    try (var keys = Files.list(kms.resolve("keys"))) {
      key = keys.filter(each -> each.toString().contains("vm1")).findFirst().orElseThrow();
    }
    Path away = Files.move(key, folder.resolve("away"));
    try (ScriptedDaemon daemon = start()) {
      awaitAttached(daemon, "vm2/disk0");
      awaitLocked(daemon, "vm1/disk0");
      assertThat(daemon.disk("vm1/disk0").reason()).contains("has no key");
      assertThat(unlock(daemon, "vm1").unlockExitStatus()).isEqualTo(5);

      Files.move(away, key);

      assertThat(unlock(daemon, "vm1").disks())
          .containsExactly(new KeyCare.DiskState("vm1/disk0", "attached", null));
      assertThat(unlock(daemon, null).unlockExitStatus()).isZero();
      assertThatThrownBy(() -> unlock(daemon, "vm9")).hasMessageContaining("no VM or disk vm9");
    }
  }

  private static KeyCare.DiskStates unlock(ScriptedDaemon daemon, @Nullable String target)
      throws OperationException {
    return daemon.call(KeyCare.KEY_UNLOCK, new KeyCare.Target(target));
  }

  @Test
  void tenantsShareAKeyAndSomeKeysAreKept() throws Exception {
    try (ScriptedDaemon daemon = start()) {
      daemon.create("vm1/disk0", "tenant");
      daemon.create("vm2/disk0", "tenant");
      assertThat(daemon.call(KeyCare.KEY_STATUS, NOTHING).keys())
          .singleElement()
          .satisfies(
              key -> {
                assertThat(key.disks()).containsExactly("vm1/disk0", "vm2/disk0");
                assertThat(key.tenants()).containsExactly("acme");
                assertThat(key.vms()).isEmpty();
              });
      daemon.create("vm3/disk0", "kept");

      provider("fail");
      daemon.create("vm3/disk1", "kept");
      daemon.attach("vm3/disk1");
      assertThatThrownBy(() -> daemon.create("vm2/disk1", "tenant"))
          .hasMessageContaining("told to fail");

      // What is locked by command keeps nothing.
      var _ = daemon.call(KeyCare.KEY_LOCK, new KeyCare.Target("vm3"));
      assertThatThrownBy(() -> daemon.create("vm3/disk2", "kept"))
          .hasMessageContaining("told to fail");
      provider("ok");
    }
  }

  @Test
  void saysBeforehandWhatWouldSurviveWhichLoss() throws Exception {
    try (ScriptedDaemon daemon = start()) {
      daemon.create("vm1/disk0", "encrypted");
      daemon.create("vm2/disk0", "own");

      Map<String, Boolean> vm1 = survives(daemon, "vm1");
      assertThat(vm1)
          .containsEntry("server kms one:5696", false)
          .containsEntry("server kms two:5696", true)
          .containsEntry("provider kms", false)
          .containsEntry("all-providers null", false)
          .containsEntry("host-disk null", true);
      boolean inMemory = Files.getFileStore(folder).type().equals("tmpfs");
      assertThat(vm1).containsEntry("reboot null", !inMemory);

      try (var keys = Files.list(kms.resolve("keys"))) {
        Files.delete(
            keys.filter(each -> each.toString().contains("vm2")).findFirst().orElseThrow());
      }
      assertThat(survives(daemon, "vm2"))
          .containsEntry("reboot null", false)
          .containsEntry("host-disk null", false);
      assertThat(daemon.call(KeyCare.KEY_PREFLIGHT, NOTHING).exitStatus()).isEqualTo(1);
    }
  }

  private static Map<String, Boolean> survives(ScriptedDaemon daemon, String vm)
      throws OperationException {
    return daemon.call(KeyCare.KEY_PREFLIGHT, NOTHING).vms().stream()
        .filter(each -> each.vm().equals(vm))
        .flatMap(each -> each.losses().stream())
        .collect(Collectors.toMap(loss -> loss.loss() + " " + loss.what(), KeyCare.Loss::survives));
  }
}
