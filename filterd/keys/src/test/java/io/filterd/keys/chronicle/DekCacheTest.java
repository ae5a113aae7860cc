package io.filterd.keys.chronicle;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.crypto.SecretBytes;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class DekCacheTest {
  private static final String ID = "5f0c3f6e-3a55-4f2a-9d57-6d4e6f1e9a01";
  private static final String OTHER_ID = "5f0c3f6e-3a55-4f2a-9d57-6d4e6f1e9a02";

  @Test
  void opensACopyOfWhatWasPut() {
    try (DekCache cache = new DekCache(16);
        SecretBytes dek = SecretBytes.random(DekCache.DEK_BYTES)) {
      assertThat(cache.put(ID, dek)).isTrue();

      try (SecretBytes copy = cache.open(ID).orElseThrow()) {
        assertThat(copy.sameAs(dek)).isTrue();
        assertThat(copy).isNotSameAs(dek);
      }
      assertThat(cache.contains(ID)).isTrue();
      assertThat(cache.size()).isEqualTo(1);
    }
  }

  @Test
  void hasNothingUnderAnotherId() {
    try (DekCache cache = new DekCache(16);
        SecretBytes dek = SecretBytes.random(DekCache.DEK_BYTES)) {
      cache.put(ID, dek);

      assertThat(cache.open(OTHER_ID)).isEmpty();
      assertThat(cache.contains(OTHER_ID)).isFalse();
      assertThat(cache.evict(OTHER_ID)).isFalse();
    }
  }

  @Test
  void keepsTheLaterOfTwoKeysOfOneId() {
    try (DekCache cache = new DekCache(16);
        SecretBytes first = SecretBytes.random(DekCache.DEK_BYTES);
        SecretBytes second = SecretBytes.random(DekCache.DEK_BYTES)) {
      cache.put(ID, first);
      cache.put(ID, second);

      try (SecretBytes copy = cache.open(ID).orElseThrow()) {
        assertThat(copy.sameAs(second)).isTrue();
      }
      assertThat(cache.size()).isEqualTo(1);
    }
  }

  @Test
  void forgetsWhatIsEvictedAndAllWhenCleared() {
    try (DekCache cache = new DekCache(16);
        SecretBytes dek = SecretBytes.random(DekCache.DEK_BYTES)) {
      cache.put(ID, dek);
      cache.put(OTHER_ID, dek);

      assertThat(cache.evict(ID)).isTrue();
      assertThat(cache.open(ID)).isEmpty();
      assertThat(cache.size()).isEqualTo(1);

      cache.clear();
      assertThat(cache.size()).isZero();
      assertThat(cache.open(OTHER_ID)).isEmpty();
    }
  }

  @Test
  void takesNoMoreThanItsBound() {
    try (DekCache cache = new DekCache(3);
        SecretBytes dek = SecretBytes.random(DekCache.DEK_BYTES)) {
      for (int i = 0; i < 3; i++) {
        assertThat(cache.put("x".repeat(63) + i, dek)).isTrue();
      }

      assertThat(cache.put(ID, dek)).isFalse();
      assertThat(cache.contains(ID)).isFalse();
      assertThat(cache.put("x".repeat(63) + "0", dek)).isTrue();
      assertThat(cache.evict("x".repeat(63) + "1")).isTrue();
      assertThat(cache.put(ID, dek)).isTrue();
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {-1, 0, DekCache.MAX_ENTRIES + 1})
  void refusesABoundThatIsNone(int maxEntries) {
    assertThatThrownBy(() -> new DekCache(maxEntries).close())
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("maxEntries: " + maxEntries);
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 65})
  void refusesIdsThatDoNotFit(int length) {
    try (DekCache cache = new DekCache(16);
        SecretBytes dek = SecretBytes.random(DekCache.DEK_BYTES)) {
      String id = "x".repeat(length);

      assertThatThrownBy(() -> cache.put(id, dek)).isInstanceOf(IllegalArgumentException.class);
      assertThatThrownBy(() -> cache.open(id)).isInstanceOf(IllegalArgumentException.class);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 32, 63, 65})
  void refusesKeysOfAnotherLength(int lengthBytes) {
    try (DekCache cache = new DekCache(16);
        SecretBytes dek = SecretBytes.random(lengthBytes)) {
      assertThatThrownBy(() -> cache.put(ID, dek))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage("dek: " + lengthBytes + " bytes (expected: 64)");
    }
  }

  @Test
  void opensNoEntryThatWasChangedOrMovedBehindItsBack() {
    DekMap map = DekMap.create(16, DekCache.MAX_ID_BYTES, DekCache.SEALED_BYTES);
    try (DekCache cache = new DekCache(16, map);
        SecretBytes dek = SecretBytes.random(DekCache.DEK_BYTES)) {
      cache.put(ID, dek);
      byte[] sealed = Objects.requireNonNull(map.get(ID));
      byte[] changed = sealed.clone();
      changed[20] ^= 1;

      map.put(OTHER_ID, sealed);
      map.put(ID, changed);

      for (String id : List.of(ID, OTHER_ID)) {
        assertThatThrownBy(() -> cache.open(id))
            .isInstanceOf(IllegalStateException.class)
            .hasMessage("data key " + id + ": its cache entry is damaged");
      }
    }
  }

  @Test
  void keepsNoKeyInTheClear() {
    DekMap map = DekMap.create(16, DekCache.MAX_ID_BYTES, DekCache.SEALED_BYTES);
    try (DekCache cache = new DekCache(16, map);
        SecretBytes zeros = SecretBytes.allocate(DekCache.DEK_BYTES)) {
      cache.put(ID, zeros);

      byte[] sealed = Objects.requireNonNull(map.get(ID));
      assertThat(sealed).hasSize(DekCache.SEALED_BYTES);
      assertThat(new String(sealed, StandardCharsets.ISO_8859_1))
          .doesNotContain("\0\0\0\0\0\0\0\0");
    }
  }

  @Test
  void refusesEveryUseAfterClose() {
    DekCache cache = new DekCache(16);
    cache.close();
    cache.close();

    try (SecretBytes dek = SecretBytes.random(DekCache.DEK_BYTES)) {
      List<ThrowingCallable> uses =
          List.of(
              () -> cache.put(ID, dek),
              () -> cache.open(ID),
              () -> cache.contains(ID),
              () -> cache.evict(ID),
              cache::clear,
              cache::size);
      assertThat(uses)
          .allSatisfy(
              use ->
                  assertThatThrownBy(use)
                      .isInstanceOf(IllegalStateException.class)
                      .hasMessage("the data key cache is closed"));
    }
  }

  @Test
  void closesUnderUseByManyThreads()
      throws ExecutionException, InterruptedException, TimeoutException {
    for (int round = 0; round < 20; round++) {
      closeUnderUse(round % 2 == 0 ? Thread.ofVirtual().factory() : Thread.ofPlatform().factory());
    }
  }

  private static void closeUnderUse(ThreadFactory threads)
      throws ExecutionException, InterruptedException, TimeoutException {
    DekCache cache = new DekCache(64);
    CountDownLatch used = new CountDownLatch(400);
    List<Consumer<String>> uses =
        List.of(
            id -> {
              try (SecretBytes dek = SecretBytes.random(DekCache.DEK_BYTES)) {
                cache.put(id, dek);
              }
            },
            id -> cache.open(id).ifPresent(SecretBytes::close),
            cache::evict,
            id -> cache.clear());
    try (ExecutorService executor = Executors.newThreadPerTaskExecutor(threads)) {
      List<Future<?>> users = new ArrayList<>();
      for (int thread = 0; thread < 8; thread++) {
        Consumer<String> use = uses.get(thread % uses.size());
        users.add(executor.submit(() -> useUntilClosed(use, used)));
      }
      assertThat(used.await(30, TimeUnit.SECONDS)).isTrue();

      cache.close();

      for (Future<?> user : users) {
        user.get(30, TimeUnit.SECONDS);
      }
    }
  }

  private static void useUntilClosed(Consumer<String> use, CountDownLatch used) {
    for (int i = 0; ; i++) {
      try {
        use.accept("id-" + i % 32);
      } catch (IllegalStateException closed) {
        assertThat(closed).hasMessage("the data key cache is closed");
        return;
      }
      used.countDown();
    }
  }

  @Test
  void namesNoKeyInItsText() {
    try (DekCache cache = new DekCache(16)) {
      assertThat(cache).hasToString("DekCache[at most 16 entries]");
    }
  }
}
