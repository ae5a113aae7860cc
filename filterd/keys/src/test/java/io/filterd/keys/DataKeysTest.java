package io.filterd.keys;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.crypto.SecretBytes;
import io.filterd.keys.KeyException.Reason;
import io.filterd.keys.chronicle.DekCache;
import java.util.List;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class DataKeysTest {
  private static final String DISK = "vm1/disk0";
  private static final KeyLabel LABEL = new KeyLabel(KeyLabel.Scope.VM, "vm1");
  private static final DekBinding BINDING =
      new DekBinding("disk-1", "link-1", DekBinding.AES_256_XTS, 4096);

  private final MapProvider first = new MapProvider("first");
  private final MapProvider second = new MapProvider("second");
  private DataKeys keys;

  @BeforeEach
  void open() {
    keys = new DataKeys(List.of(first, second), new DekCache(2));
  }

  @AfterEach
  void close() {
    keys.close();
  }

  private static void assertFails(ThrowingCallable call, Reason reason, String message) {
    assertThatThrownBy(call)
        .isInstanceOfSatisfying(
            KeyException.class, failure -> assertThat(failure.reason()).isEqualTo(reason))
        .hasMessage(message);
  }

  @Test
  void unlocksWhatItMade() throws KeyException {
    WrappedDek locker = keys.create(DISK, BINDING, keys.createKek("first", LABEL));
    try (SecretBytes made = keys.open("link-1")) {
      keys.evict("link-1");
      assertThat(keys.isUnlocked("link-1")).isFalse();

      keys.unlock(DISK, BINDING, List.of(locker));

      assertThat(keys.isUnlocked("link-1")).isTrue();
      try (SecretBytes unlocked = keys.open("link-1")) {
        assertThat(unlocked.sameAs(made)).isTrue();
        assertThat(unlocked.lengthBytes()).isEqualTo(64);
      }
    }
  }

  @Test
  void makesAnotherKeyForEachLink() throws KeyException {
    KeyReference kek = keys.createKek("first", LABEL);
    WrappedDek one = keys.create(DISK, BINDING, kek);
    DekBinding other = new DekBinding("disk-1", "link-2", DekBinding.AES_256_XTS, 4096);
    WrappedDek two = keys.create(DISK, other, kek);

    try (SecretBytes oneKey = keys.open("link-1");
        SecretBytes twoKey = keys.open("link-2")) {
      assertThat(oneKey.sameAs(twoKey)).isFalse();
    }
    assertThat(one.kek()).isEqualTo(two.kek());
    assertThat(one.wrapped()).isNotEqualTo(two.wrapped());
  }

  @Test
  void doesNotOpenALinkThatIsLocked() {
    assertFails(
        () -> keys.open("link-1"),
        Reason.NOT_FOUND,
        "link link-1 is locked: unlock its disk first");
  }

  @Test
  void triesTheNextLockerWhenOneDoesNotOpen() throws KeyException {
    WrappedDek stale = keys.create(DISK, BINDING, keys.createKek("first", LABEL));
    WrappedDek good = keys.create(DISK, BINDING, keys.createKek("second", LABEL));
    keys.evict("link-1");
    first.failure = Reason.UNAVAILABLE;

    keys.unlock(DISK, BINDING, List.of(stale, good));

    assertThat(keys.isUnlocked("link-1")).isTrue();
  }

  @Test
  void saysOfEachLockerWhyItDoesNotOpen() throws KeyException {
    WrappedDek one = keys.create(DISK, BINDING, keys.createKek("first", LABEL));
    WrappedDek two = keys.create(DISK, BINDING, keys.createKek("second", LABEL));
    keys.evict("link-1");
    first.failure = Reason.DENIED;
    second.failure = Reason.UNAVAILABLE;

    assertFails(
        () -> keys.unlock(DISK, BINDING, List.of(one, two)),
        Reason.UNAVAILABLE,
        "disk vm1/disk0 is locked: locker of provider first, key k-1: told to fail; "
            + "locker of provider second, key k-1: told to fail");
    assertThat(keys.isUnlocked("link-1")).isFalse();
  }

  @Test
  void makesNoNewKeyWhenOneIsMissing() throws KeyException {
    WrappedDek locker = keys.create(DISK, BINDING, keys.createKek("first", LABEL));
    keys.evict("link-1");
    first.keys.clear();

    assertFails(
        () -> keys.unlock(DISK, BINDING, List.of(locker)),
        Reason.NOT_FOUND,
        "disk vm1/disk0 is locked: locker of provider first, key k-1: no such key");

    assertThat(first.keys).isEmpty();
    assertThat(keys.isUnlocked("link-1")).isFalse();
  }

  @Test
  void refusesTheKeyOfTheSameNameFromAnotherPlace() throws KeyException {
    WrappedDek locker = keys.create(DISK, BINDING, keys.createKek("first", LABEL));
    keys.evict("link-1");
    first.keys.clear();
    first.create(LABEL);

    assertThatThrownBy(() -> keys.unlock(DISK, BINDING, List.of(locker)))
        .isInstanceOfSatisfying(
            KeyException.class, failure -> assertThat(failure.reason()).isEqualTo(Reason.WRONG_KEY))
        .hasMessageContaining("this is another key of the same name");
  }

  @Test
  void refusesALockerOfAnotherDisk() throws KeyException {
    WrappedDek locker = keys.create(DISK, BINDING, keys.createKek("first", LABEL));
    DekBinding other = new DekBinding("disk-2", "link-1", DekBinding.AES_256_XTS, 4096);

    // Even while the cache holds the key of that link.
    assertThatThrownBy(() -> keys.unlock("vm2/disk0", other, List.of(locker)))
        .isInstanceOfSatisfying(
            KeyException.class, failure -> assertThat(failure.reason()).isEqualTo(Reason.WRONG_KEY))
        .hasMessageStartingWith("disk vm2/disk0 is locked: locker of provider first, key k-1: ")
        .hasMessageContaining("does not authenticate");
  }

  @Test
  void refusesAWrappedKeyOfAnotherLength() throws KeyException {
    KeyReference kek = keys.createKek("first", LABEL);
    try (KeyEncryptionKey key = first.open(kek);
        SecretBytes shortDek = SecretBytes.random(32)) {
      WrappedDek locker = key.wrap(shortDek, BINDING);

      assertThatThrownBy(() -> keys.unlock(DISK, BINDING, List.of(locker)))
          .isInstanceOfSatisfying(
              KeyException.class,
              failure -> assertThat(failure.reason()).isEqualTo(Reason.PROTOCOL));
    }
  }

  @Test
  void verifiesALockerByTheOthersThatOpen() throws KeyException {
    WrappedDek old = keys.create(DISK, BINDING, keys.createKek("first", LABEL));
    WrappedDek next = keys.rewrap(DISK, BINDING, List.of(old), keys.createKek("second", LABEL));
    WrappedDek stranger = keys.create(DISK, BINDING, keys.createKek("second", LABEL));

    keys.verify(DISK, BINDING, next, List.of(old));
    assertFails(
        () -> keys.verify(DISK, BINDING, stranger, List.of(old)),
        Reason.WRONG_KEY,
        "disk vm1/disk0: its locker of key k-2 holds another data key than that of key k-1");
    first.failure = Reason.UNAVAILABLE;
    keys.verify(DISK, BINDING, next, List.of(old));
    second.failure = Reason.UNAVAILABLE;
    assertFails(
        () -> keys.verify(DISK, BINDING, next, List.of(old)),
        Reason.UNAVAILABLE,
        "disk vm1/disk0 is locked: locker of provider second, key k-1: told to fail");
  }

  @Test
  void revokesAndDestroysByTheProvider() throws KeyException {
    KeyReference kek = keys.createKek("first", LABEL);
    String told = "key provider first: its kind never %s keys (expected: a KMS or an HSM)";

    assertFails(() -> keys.revoke(kek), Reason.UNSUPPORTED, told.formatted("revokes"));
    assertFails(() -> keys.destroy(kek), Reason.UNSUPPORTED, told.formatted("destroys"));
  }

  @Test
  void refusesAnEmptyKeySafe() {
    assertFails(
        () -> keys.unlock(DISK, BINDING, List.of()),
        Reason.PROTOCOL,
        "disk vm1/disk0: its key safe is empty (expected: a locker)");
  }

  @Test
  void saysWhenAProviderIsNotOpenHere() throws KeyException {
    WrappedDek locker =
        WrappedDek.parse("elsewhere", "k-1", "0011223344556677", "AES-256-GCM", "AAAA");

    assertFails(
        () -> keys.unlock(DISK, BINDING, List.of(locker)),
        Reason.UNAVAILABLE,
        "disk vm1/disk0 is locked: locker of provider elsewhere, key k-1: "
            + "key provider elsewhere is not open on this host");
  }

  @Test
  void unlocksOnceAProviderIsAdded() throws KeyException {
    try (MapProvider late = new MapProvider("late")) {
      DataKeys elsewhere = new DataKeys(List.of(late), new DekCache(2));
      WrappedDek locker = elsewhere.create(DISK, BINDING, late.create(LABEL));
      assertThatThrownBy(() -> keys.unlock(DISK, BINDING, List.of(locker)))
          .isInstanceOf(KeyException.class);

      keys.add(late);
      keys.unlock(DISK, BINDING, List.of(locker));

      assertThat(keys.isUnlocked("link-1")).isTrue();
      assertThat(keys.providers())
          .extracting(ProviderStatus::name)
          .containsExactly("first", "late", "second");
      assertThatThrownBy(() -> keys.add(late)).isInstanceOf(IllegalArgumentException.class);
      elsewhere.close();
    }
  }

  @Test
  void refusesWhenTheCacheIsFull() throws KeyException {
    KeyReference kek = keys.createKek("first", LABEL);
    for (String link : List.of("link-1", "link-2")) {
      keys.create(DISK, new DekBinding("disk-1", link, DekBinding.AES_256_XTS, 4096), kek);
    }

    assertFails(
        () ->
            keys.create(
                DISK, new DekBinding("disk-1", "link-3", DekBinding.AES_256_XTS, 4096), kek),
        Reason.NO_ROOM,
        "disk vm1/disk0: the data key cache is full: detach a disk, or configure a larger cache");
  }

  @Test
  void closesWhatItOwns() throws KeyException {
    keys.create(DISK, BINDING, keys.createKek("first", LABEL));

    keys.close();

    assertThat(first.closed).isTrue();
    assertThat(second.closed).isTrue();
    assertThatThrownBy(() -> keys.open("link-1")).isInstanceOf(IllegalStateException.class);
  }

  @Test
  void rewrapsUnderAKeyOfAnotherProvider() throws KeyException {
    WrappedDek old = keys.create(DISK, BINDING, keys.createKek("first", LABEL));
    KeyReference kek = keys.createKek("second", LABEL);

    WrappedDek renewed = keys.rewrap(DISK, BINDING, List.of(old), kek);

    assertThat(renewed.kek()).isEqualTo(kek);
    try (SecretBytes before = keys.open("link-1")) {
      first.failure = Reason.UNAVAILABLE;
      keys.unlock(DISK, BINDING, List.of(renewed));
      try (SecretBytes after = keys.open("link-1")) {
        assertThat(after.sameAs(before)).isTrue();
      }
    }
  }

  @Test
  void rewrapsWithoutTheOldProviderWhatIsHere() throws KeyException {
    WrappedDek old = keys.create(DISK, BINDING, keys.createKek("first", LABEL));
    keys.unlock(DISK, BINDING, List.of(old));
    first.failure = Reason.UNAVAILABLE;
    KeyReference kek = keys.createKek("second", LABEL);

    WrappedDek renewed = keys.rewrap(DISK, BINDING, List.of(old), kek);

    try (SecretBytes before = keys.open("link-1")) {
      keys.evict("link-1");
      keys.unlock(DISK, BINDING, List.of(renewed));
      try (SecretBytes after = keys.open("link-1")) {
        assertThat(after.sameAs(before)).isTrue();
      }
    }
    keys.evict("link-1");
    assertThatThrownBy(() -> keys.rewrap(DISK, BINDING, List.of(old), kek))
        .isInstanceOf(KeyException.class)
        .hasMessageContaining("told to fail");
  }

  @Test
  void rewrapsADiskThatIsLockedAndLeavesItSo() throws KeyException {
    WrappedDek old = keys.create(DISK, BINDING, keys.createKek("first", LABEL));
    keys.evict("link-1");

    keys.rewrap(DISK, BINDING, List.of(old), keys.createKek("second", LABEL));

    assertThat(keys.isUnlocked("link-1")).isFalse();
  }

  @Test
  void usesProvidersThatNeverShowTheirKeys() throws KeyException {
    keys.add(new VaultProvider("vault"));
    WrappedDek locker = keys.create(DISK, BINDING, keys.createKek("vault", LABEL));

    assertThat(locker.algorithm()).isEqualTo("vault-v1");
    try (SecretBytes before = keys.open("link-1")) {
      keys.evict("link-1");
      keys.unlock(DISK, BINDING, List.of(locker));
      try (SecretBytes after = keys.open("link-1")) {
        assertThat(after.sameAs(before)).isTrue();
      }
    }
    assertFails(
        () ->
            keys.unlock(
                DISK,
                new DekBinding("disk-1", "link-2", DekBinding.AES_256_XTS, 4096),
                List.of(locker)),
        Reason.WRONG_KEY,
        "disk vm1/disk0 is locked: locker of provider vault, key v-1: it does not authenticate");
    assertFails(
        () ->
            keys.unlock(
                DISK,
                BINDING,
                List.of(new WrappedDek(locker.kek(), "AES-256-GCM", locker.wrapped()))),
        Reason.PROTOCOL,
        "disk vm1/disk0 is locked: locker of provider vault, key v-1: "
            + "algorithm: \"AES-256-GCM\" (expected: vault-v1)");
    assertFails(
        () ->
            keys.unlock(
                DISK, BINDING, List.of(new WrappedDek(locker.kek(), "vault-v1", "A".repeat(1028)))),
        Reason.PROTOCOL,
        "disk vm1/disk0 is locked: locker of provider vault, key v-1: "
            + "wrapped data key: 1028 characters (expected: at most 1024)");
  }
}
