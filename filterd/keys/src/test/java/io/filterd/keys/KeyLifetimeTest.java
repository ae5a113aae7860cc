package io.filterd.keys;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.keys.KeyException.Reason;
import io.filterd.keys.chronicle.DekCache;
import java.time.Duration;
import java.util.List;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What is kept of keys and for how long, and what their states allow. */
class KeyLifetimeTest {
  private static final KeyLabel LABEL = new KeyLabel(KeyLabel.Scope.VM, "vm1");
  private static final DekBinding ONE =
      new DekBinding("disk-1", "link-1", DekBinding.AES_256_XTS, 4096);
  private static final DekBinding TWO =
      new DekBinding("disk-2", "link-2", DekBinding.AES_256_XTS, 4096);

  private final MapProvider provider = new MapProvider("kms");
  private final DataKeys keys = new DataKeys(List.of(provider), new DekCache(8));

  @AfterEach
  void close() {
    keys.close();
  }

  @ParameterizedTest
  @EnumSource(
      value = KeyState.class,
      names = {"PRE_ACTIVE", "DEACTIVATED", "COMPROMISED"})
  void wrapsOnlyWithActiveKeysAndUnwrapsWithOthers(KeyState state) throws KeyException {
    KeyReference kek = keys.createKek("kms", LABEL);
    WrappedDek locker = keys.create("vm1/disk0", ONE, kek);
    keys.evict("link-1");
    provider.state = state;

    assertThatThrownBy(() -> keys.create("vm1/disk1", TWO, kek))
        .isInstanceOfSatisfying(
            KeyException.class,
            failure -> assertThat(failure.reason()).isEqualTo(Reason.NOT_ACTIVE))
        .hasMessageContaining("its state is " + state)
        .hasMessageContaining(state == KeyState.PRE_ACTIVE ? "activate" : "filterd key recrypt");
    assertThat(keys.isUnlocked("link-2")).isFalse();
    keys.unlock("vm1/disk0", ONE, List.of(locker));
    assertThat(keys.isUnlocked("link-1")).isTrue();
    assertThat(keys.describe(kek).state()).isEqualTo(state);
  }

  @Test
  void takesADataKeyFromTheCacheOnlyForTheVeryLockerItCameOutOf() throws KeyException {
    WrappedDek locker = keys.create("vm1/disk0", ONE, keys.createKek("kms", LABEL));
    WrappedDek other = keys.rewrap("vm1/disk0", ONE, List.of(locker), keys.createKek("kms", LABEL));
    provider.failure = Reason.UNAVAILABLE;

    keys.unlock("vm1/disk0", ONE, List.of(locker));
    keys.unlock("vm1/disk0", ONE, List.of(other, locker));

    assertThatThrownBy(() -> keys.unlock("vm1/disk0", ONE, List.of(other)))
        .hasMessageContaining("told to fail");
    keys.evict("link-1");
    assertThatThrownBy(() -> keys.unlock("vm1/disk0", ONE, List.of(locker)))
        .hasMessageContaining("told to fail");
  }

  @Test
  void fetchesAKeyForEachUseUnlessItIsToBeKept() throws KeyException {
    KeyReference kek = keys.createKek("kms", LABEL);
    var _ = keys.create("vm1/disk0", ONE, kek);
    var _ = keys.create("vm1/disk1", TWO, kek);
    assertThat(provider.opened).isEqualTo(2);

    keys.keepKek(kek, Duration.ofMinutes(10));
    WrappedDek locker = keys.create("vm1/disk0", ONE, kek);
    provider.failure = Reason.UNAVAILABLE;
    keys.evict("link-1");
    keys.unlock("vm1/disk0", ONE, List.of(locker));
    var _ = keys.create("vm1/disk1", TWO, kek);

    assertThat(provider.opened).isEqualTo(3);
    keys.dropKek(kek);
    assertThatThrownBy(() -> keys.create("vm1/disk1", TWO, kek))
        .hasMessageContaining("told to fail");
  }

  @Test
  void wipesAKeptKeyAfterItsTime() throws KeyException {
    KeyReference kek = keys.createKek("kms", LABEL);
    keys.keepKek(kek, Duration.ofMillis(50));
    var _ = keys.create("vm1/disk0", ONE, kek);
    provider.failure = Reason.UNAVAILABLE;

    Awaitility.await()
        .atMost(Duration.ofSeconds(10))
        .untilAsserted(
            () ->
                assertThatThrownBy(() -> keys.create("vm1/disk1", TWO, kek))
                    .hasMessageContaining("told to fail"));
  }

  @Test
  @SuppressWarnings("try") // Closed before its end, to see what is left.
  void keepsNoKeyAfterItIsClosed() throws KeyException {
    KekCache cache = new KekCache();
    try (MapProvider other = new MapProvider("other");
        cache) {
      KeyReference kek = other.create(LABEL);
      cache.keep(kek, Duration.ofMinutes(1));
      cache.open(other, kek).close();
      assertThat(cache.has(kek)).isTrue();

      cache.close();

      assertThat(cache.has(kek)).isFalse();
      cache.open(other, kek).close();
      assertThat(cache.has(kek)).isFalse();
    }
  }

  @Test
  void keepsDataKeysWhenAProviderIsOpenedAnew() throws KeyException {
    var _ = keys.create("vm1/disk0", ONE, keys.createKek("kms", LABEL));

    keys.remove("kms");

    assertThat(provider.closed).isTrue();
    assertThat(keys.isUnlocked("link-1")).isTrue();
    keys.add(new MapProvider("kms"));
  }
}
