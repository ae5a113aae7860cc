package io.filterd.daemon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.filterd.daemon.control.KeyOperations;
import io.filterd.daemon.control.KeyOperations.RecryptedDisk;
import io.filterd.daemon.control.Operation;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import io.filterd.daemon.control.Progress;
import io.filterd.daemon.control.Requests;
import io.filterd.daemon.control.Results;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** New key-encryption keys for disks that no daemon serves. */
class RecryptIT {
  /** A clock that goes when it is told to. */
  private static final class ManualClock extends Clock {
    private final AtomicReference<Instant> now =
        new AtomicReference<>(Instant.parse("2026-01-01T00:00:00Z"));

    void advance(Duration time) {
      now.updateAndGet(instant -> instant.plus(time));
    }

    @Override
    public Instant instant() {
      return now.get();
    }

    @Override
    public ZoneId getZone() {
      return ZoneOffset.UTC;
    }

    @Override
    public Clock withZone(ZoneId zone) {
      return this;
    }
  }

  @TempDir Path folder;
  private final ManualClock clock = new ManualClock();
  private Host host;

  @BeforeEach
  void openHost() throws Exception {
    Path passphrase = folder.resolve("passphrase");
    Files.createFile(
        passphrase,
        PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
    Files.writeString(passphrase, "correct horse battery staple\n");
    Path policies = Files.createDirectory(folder.resolve("policies"));
    Files.writeString(
        policies.resolve("vm.yaml"),
        "version: 1\nname: vm\nencryption: {}\nrotation: {kek: 90d, auto: true}\n");
    Files.writeString(
        policies.resolve("disk.yaml"),
        "version: 1\nname: disk\nencryption: {kek: per-disk}\nrotation: {kek: 30d}\n");
    Files.writeString(policies.resolve("plain.yaml"), "version: 1\nname: plain\n");
    String one = "{type: native, backup: waived, passphraseFile: passphrase}";
    Files.writeString(
        folder.resolve("filterd.yaml"),
        "version: 1\nstate: .\npolicies: policies\ncontrol: {socket: control.sock}\n"
            + "nbd: {listen: [{unix: nbd.sock}]}\n"
            + "keys: {providers: {a: %s, b: %s, never: %s}}\n".formatted(one, one, one));
    open();
    call(Operation.PROVIDER_INIT, new Requests.Provider("a"));
    call(Operation.PROVIDER_INIT, new Requests.Provider("b"));
  }

  private void open() throws OperationException {
    host = Host.open(DaemonConfig.load(folder.resolve("filterd.yaml")), clock);
  }

  @AfterEach
  void closeHost() throws OperationException {
    host.close();
  }

  private <A, R> R call(Operation<A, R> operation, A arguments) throws OperationException {
    return host.call(operation, arguments, Progress.NONE);
  }

  private void create(String disk, String policy, int snapshots) throws OperationException {
    call(Operation.DISK_CREATE, new Requests.CreateDisk(disk, 1 << 20, policy, null, false));
    for (int i = 0; i < snapshots; i++) {
      call(Operation.SNAPSHOT_CREATE, new Requests.CreateSnapshot(disk, null));
    }
  }

  private static KeyOperations.Recrypt of(String target, @Nullable String to) {
    return new KeyOperations.Recrypt(target, null, null, to, false, false);
  }

  private static KeyOperations.Recrypt ofProvider(String provider, @Nullable String to) {
    return new KeyOperations.Recrypt(null, null, provider, to, false, false);
  }

  private KeyOperations.Recrypted recrypt(KeyOperations.Recrypt request) throws OperationException {
    return call(KeyOperations.KEY_RECRYPT, request);
  }

  private String key(String disk) throws OperationException {
    Results.Encryption encryption = call(Operation.DISK_INFO, new Requests.Disk(disk)).encryption();
    return encryption == null ? "none" : encryption.provider() + "/" + encryption.keyId();
  }

  private String compliance(String disk) throws OperationException {
    Results.DiskDetails details = call(Operation.DISK_INFO, new Requests.Disk(disk));
    return details.compliance() + details.complianceReasons();
  }

  private List<String> uses(String key) throws OperationException {
    return call(KeyOperations.KEY_USES, new KeyOperations.Key(key)).uses().stream()
        .map(KeyOperations.KeyUse::name)
        .toList();
  }

  @Test
  void givesAVmOneNewKeyAndDisksOnTheirOwnOneEach() throws Exception {
    create("vm1/disk0", "vm", 2);
    create("vm1/disk1", "vm", 0);
    create("vm1/disk2", "disk", 1);
    create("vm1/disk3", "plain", 0);
    create("vm2/disk0", "vm", 0);
    String shared = key("vm1/disk0");
    String alone = key("vm1/disk2");
    String other = key("vm2/disk0");
    List<Long> steps = new ArrayList<>();

    KeyOperations.Recrypted done =
        host.call(
            KeyOperations.KEY_RECRYPT,
            of("vm1", null),
            (links, total) -> steps.add(links) && total == 6);

    assertThat(done.exitStatus()).isZero();
    assertThat(done.what()).isEqualTo("VM vm1");
    assertThat(done.disks())
        .extracting(RecryptedDisk::disk, RecryptedDisk::state, RecryptedDisk::links)
        .containsExactly(
            org.assertj.core.api.Assertions.tuple("vm1/disk0", "done", 3),
            org.assertj.core.api.Assertions.tuple("vm1/disk1", "done", 1),
            org.assertj.core.api.Assertions.tuple("vm1/disk2", "done", 2));
    assertThat(done.disks().getFirst().from()).containsExactly(shared);
    assertThat(done.disks().getFirst().to()).isEqualTo(key("vm1/disk0")).isNotEqualTo(shared);
    assertThat(key("vm1/disk1")).isEqualTo(key("vm1/disk0"));
    assertThat(key("vm1/disk2")).isNotEqualTo(alone).isNotEqualTo(key("vm1/disk0"));
    assertThat(key("vm2/disk0")).isEqualTo(other);
    assertThat(steps).contains(0L, 1L, 2L, 3L, 4L, 5L, 6L).isSorted();
    assertThat(uses(shared)).isEmpty();
    assertThat(uses(key("vm1/disk0")))
        .containsExactly("vm1/disk0", "vm1/disk0", "vm1/disk0", "vm1/disk1", "vm1");
    create("vm1/disk4", "vm", 0);
    assertThat(key("vm1/disk4")).isEqualTo(key("vm1/disk0"));
    assertThat(folder.resolve("recrypt.json")).doesNotExist();
  }

  @Test
  void movesAllDisksToAnotherProvider() throws Exception {
    create("vm1/disk0", "vm", 1);
    create("vm2/disk0", "disk", 0);

    assertThat(recrypt(ofProvider("a", "b")).disks()).hasSize(2);
    assertThat(recrypt(ofProvider("a", "b")).disks()).isEmpty();
    assertThat(recrypt(KeyOperations.Recrypt.resumed()).disks()).isEmpty();

    host.close();
    Files.delete(folder.resolve("a.provider"));
    open();
    for (String disk : List.of("vm1/disk0", "vm2/disk0")) {
      assertThat(key(disk)).startsWith("b/");
      call(
          Operation.DISK_EXPORT,
          new Requests.ExportDisk(
              disk, folder.resolve(disk.replace('/', '-') + ".raw").toString(), "raw"));
    }
  }

  @Test
  void selectsDisksByTheirKey() throws Exception {
    create("vm1/disk0", "vm", 0);
    create("vm2/disk0", "vm", 0);
    String key = key("vm1/disk0");

    KeyOperations.Recrypted done =
        recrypt(new KeyOperations.Recrypt(null, key, null, null, false, false));

    assertThat(done.disks()).extracting(RecryptedDisk::disk).containsExactly("vm1/disk0");
    assertThat(recrypt(new KeyOperations.Recrypt(null, key, null, null, false, false)).disks())
        .isEmpty();
  }

  @Test
  void refusesWhatItCantFind() throws Exception {
    create("vm1/disk0", "plain", 0);
    assertRefused(of("vm9", null), Code.NOT_FOUND, "no VM vm9");
    assertRefused(of("vm1/disk9", null), Code.NOT_FOUND, "no disk vm1/disk9");
    assertRefused(of("vm1/disk0", null), Code.INVALID, "vm1/disk0 is not encrypted");
    assertRefused(of("vm1", "c"), Code.KEY, "no key provider c");
    assertRefused(
        new KeyOperations.Recrypt(null, "k-1", null, null, false, false),
        Code.INVALID,
        "expected: PROVIDER/KEYID");
    assertThatThrownBy(() -> new KeyOperations.Recrypt("vm1", null, "a", null, false, false))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith("recrypt: 2 of target, key, provider");
  }

  private void assertRefused(KeyOperations.Recrypt request, Code code, String message) {
    OperationException refusal =
        catchThrowableOfType(OperationException.class, () -> recrypt(request));
    assertThat(refusal).hasMessageContaining(message);
    assertThat(refusal.code()).isEqualTo(code);
  }

  @Test
  void goesOnWithTheOthersWhereOneFails() throws Exception {
    create("vm1/disk0", "vm", 0);
    create("vm1/disk1", "vm", 0);
    create("vm1/disk2", "vm", 0);
    String old = key("vm1/disk1");
    Path file = folder.resolve("disks/vm1/disk1.vmdk");
    KeyOperations.Recrypted done;
    // As another process that reads the file.
    try (io.filterd.vmdk.VmdkDisk reader =
        io.filterd.vmdk.VmdkDisk.open(file, io.filterd.vmdk.Access.READ_ONLY)) {
      assertThat(reader.encryption()).isPresent();
      done = recrypt(of("vm1", null));
    }

    assertThat(done.exitStatus()).isEqualTo(Code.IO.exitStatus());
    assertThat(done.disks())
        .extracting(RecryptedDisk::state)
        .containsExactly("done", "failed", "done");
    assertThat(done.disks().get(1).reason()).contains("disk1.vmdk", "in use");
    assertThat(key("vm1/disk1")).isEqualTo(old);
    assertThat(uses(old)).containsExactly("vm1/disk1", "recrypt");
    assertThat(uses(key("vm1/disk0"))).contains("vm1");

    KeyOperations.Recrypted again = recrypt(KeyOperations.Recrypt.resumed());

    assertThat(again.exitStatus()).isZero();
    // The same new key as the others have.
    assertThat(key("vm1/disk1")).isEqualTo(key("vm1/disk0")).isNotEqualTo(old);
    assertThat(folder.resolve("recrypt.json")).doesNotExist();
  }

  @Test
  void makesNewKeysAgainWhereOneDiskAlwaysFails() throws Exception {
    create("vm1/disk0", "vm", 0);
    create("vm1/disk1", "vm", 0);
    Files.delete(folder.resolve("disks/vm1/disk1.vmdk"));

    assertThat(recrypt(of("vm1", null)).exitStatus()).isEqualTo(Code.NOT_FOUND.exitStatus());
    String next = key("vm1/disk0");
    assertThat(recrypt(of("vm1", null)).exitStatus()).isEqualTo(Code.NOT_FOUND.exitStatus());

    assertThat(key("vm1/disk0")).isNotEqualTo(next);
  }

  @Test
  void losesNothingWhenTheNewProviderIsAway() throws Exception {
    create("vm1/disk0", "vm", 1);
    create("vm2/disk0", "vm", 0);
    String old = key("vm1/disk0");

    KeyOperations.Recrypted done = recrypt(ofProvider("a", "never"));

    assertThat(done.exitStatus()).isEqualTo(Code.KEY.exitStatus());
    assertThat(done.disks())
        .allSatisfy(disk -> assertThat(disk.reason()).contains("there is no state file"));
    assertThat(key("vm1/disk0")).isEqualTo(old);

    call(Operation.PROVIDER_INIT, new Requests.Provider("never"));
    assertThat(recrypt(KeyOperations.Recrypt.resumed()).exitStatus()).isZero();
    assertThat(key("vm1/disk0")).startsWith("never/");
  }

  @Test
  void stopsWhenNobodyWaitsAnyMoreAndGoesOn() throws Exception {
    create("vm1/disk0", "vm", 0);
    create("vm1/disk1", "vm", 0);

    OperationException stopped =
        catchThrowableOfType(
            OperationException.class,
            () ->
                host.call(
                    KeyOperations.KEY_RECRYPT, of("vm1", null), (links, total) -> links == 0));

    assertThat(stopped.code()).isEqualTo(Code.CANCELLED);
    assertThat(stopped).hasMessageContaining("1 of 2 disks are done", "--resume");
    String next = key("vm1/disk0");
    assertThat(recrypt(KeyOperations.Recrypt.resumed()).exitStatus()).isZero();
    assertThat(key("vm1/disk1")).isEqualTo(next);
    assertThat(key("vm1/disk0")).isEqualTo(next);
  }

  @Test
  void doesNotBeginAnotherWhereOneWasInterrupted() throws Exception {
    create("vm1/disk0", "vm", 0);
    RecryptJournal interrupted =
        new RecryptJournal(1, "VM vm1", "2026-01-01T00:00:00Z", false, false, List.of());
    interrupted.store(folder);

    assertRefused(of("vm1", null), Code.CONFLICT, "--resume");
    recrypt(new KeyOperations.Recrypt(null, null, null, null, false, true));
    assertThat(recrypt(of("vm1", null)).exitStatus()).isZero();
    Files.writeString(folder.resolve("recrypt.json"), "{}");
    assertRefused(of("vm1", null), Code.CONFLICT, "not a readable journal");
  }

  @Test
  void rotatesWhatItsPolicyWantsRotated() throws Exception {
    create("vm1/disk0", "vm", 1);
    create("vm1/disk1", "disk", 0);
    String shared = key("vm1/disk0");
    String alone = key("vm1/disk1");
    clock.advance(Duration.ofDays(90));
    host.rotation().check();
    assertThat(key("vm1/disk0")).isEqualTo(shared);
    assertThat(compliance("vm1/disk0")).isEqualTo("compliant[]");
    assertThat(compliance("vm1/disk1"))
        .isEqualTo("non-compliant[key-encryption key is 90 d old (policy: 30 d)]");

    clock.advance(Duration.ofDays(7));
    assertThat(compliance("vm1/disk0"))
        .isEqualTo("non-compliant[key-encryption key is 97 d old (policy: 90 d)]");
    host.rotation().check();

    assertThat(key("vm1/disk0")).isNotEqualTo(shared);
    assertThat(key("vm1/disk1")).isEqualTo(alone);
    assertThat(uses(shared)).isEmpty();
    assertThat(compliance("vm1/disk0")).isEqualTo("compliant[]");
    String now = key("vm1/disk0");
    host.rotation().check();
    assertThat(key("vm1/disk0")).isEqualTo(now);
  }

  @Test
  void countsTheAgeOfAStrangersKeyFromWhenItWasSeen() throws Exception {
    create("vm1/disk0", "vm", 0);
    host.close();
    Path inventory = folder.resolve("inventory.json");
    String text = Files.readString(inventory);
    Files.writeString(inventory, text.substring(0, text.indexOf("\"keys\"")) + "\"keys\": []}");
    open();
    clock.advance(Duration.ofDays(1000));
    assertThat(compliance("vm1/disk0")).isEqualTo("compliant[]");

    host.rotation().check();
    clock.advance(Duration.ofDays(91));

    assertThat(compliance("vm1/disk0")).contains("91 d old");
  }

  @Test
  void resumesByItselfWhatACrashStopped() throws Exception {
    create("vm1/disk0", "vm", 0);
    String old = key("vm1/disk0");
    new RecryptJournal(
            1,
            "VM vm1",
            "2026-01-01T00:00:00Z",
            false,
            false,
            List.of(
                new RecryptJournal.Item(
                    "vm1/disk0", "vm1", "b", List.of(old), null, 1, false, null, null)))
        .store(folder);
    assertThat(uses(old)).containsExactly("vm1/disk0", "vm1", "recrypt");

    host.rotation().check();

    assertThat(key("vm1/disk0")).startsWith("b/");
    assertThat(folder.resolve("recrypt.json")).doesNotExist();
  }

  @Test
  void refusesToEndAKeyThatIsNamed() throws Exception {
    create("vm1/disk0", "vm", 1);
    create("vm2/disk0", "vm", 0);
    String key = key("vm1/disk0");
    Files.delete(folder.resolve("disks/vm2/disk0.vmdk"));

    OperationException refused =
        catchThrowableOfType(
            OperationException.class,
            () -> call(KeyOperations.KEY_DESTROY, new KeyOperations.EndKey(key, false, null)));
    assertThat(refused.code()).isEqualTo(Code.CONFLICT);
    assertThat(refused.details()).hasSize(4);
    assertThat(refused.details().get(0)).startsWith("vm1/disk0: its link ");
    assertThat(refused.details().get(1)).startsWith("vm1/disk0: its link ");
    assertThat(refused.details().get(2)).startsWith("perhaps vm2/disk0: can't be read now: ");
    assertThat(refused.details().get(3)).isEqualTo("vm1: its next disk would have the key");

    OperationException changed =
        catchThrowableOfType(
            OperationException.class,
            () -> call(KeyOperations.KEY_DESTROY, new KeyOperations.EndKey(key, true, 3)));
    assertThat(changed).hasMessageContaining("4 things name it or may (expected: the 3");
    OperationException never =
        catchThrowableOfType(
            OperationException.class,
            () -> call(KeyOperations.KEY_DESTROY, new KeyOperations.EndKey(key, true, 4)));
    assertThat(never)
        .hasMessage("key provider a: its kind never destroys keys (expected: a KMS or an HSM)");
    OperationException unknown =
        catchThrowableOfType(
            OperationException.class,
            () -> call(KeyOperations.KEY_REVOKE, new KeyOperations.EndKey("a/x", true, null)));
    assertThat(unknown.code()).isEqualTo(Code.NOT_FOUND);
  }
}
