package io.filterd.crypto;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Nothing of a key is left in the process's memory after whatever used it was closed. */
class KeyResidueTest {
  private static final int UNIT = 4096;
  private static final int THREADS = 8;
  private static final byte[] ASSOCIATED_DATA = "what it is bound to".getBytes(UTF_8);

  static List<String> enginesThatKeepKeysOffHeap() {
    return XtsEngines.available().stream()
        .filter(name -> XtsEngines.byName(name).keepsKeysOffHeap())
        .toList();
  }

  @ParameterizedTest
  @MethodSource("enginesThatKeepKeysOffHeap")
  void aClosedCipherLeavesNothingOfItsKey(String engine) throws IOException {
    ProcessMemory memory;
    SectorCipher cipher;
    try (SecretBytes dek = SecretBytes.random(XtsEngine.DEK_BYTES)) {
      memory = ProcessMemory.searchFor(dek);
      cipher = XtsEngines.byName(engine).cipher(dek, UNIT);
    }
    try (cipher) {
      inThreads(
          () -> {
            ByteBuffer source = ByteBuffer.allocateDirect(4 * UNIT);
            ByteBuffer target = ByteBuffer.allocateDirect(4 * UNIT);
            for (int i = 0; i < 200; i++) {
              cipher.encipher(i, source, target);
              cipher.decipher(i, target);
            }
          });
      assertThat(memory.hits()).as("the search finds a key that is in use").isNotEmpty();
    }
    assertThat(memory.hits()).isEmpty();
  }

  @ParameterizedTest
  @MethodSource("enginesThatKeepKeysOffHeap")
  void aCipherThatIsClosedInUseLeavesNothingOfItsKey(String engine) throws IOException {
    ProcessMemory memory;
    SectorCipher cipher;
    try (SecretBytes dek = SecretBytes.random(XtsEngine.DEK_BYTES)) {
      memory = ProcessMemory.searchFor(dek);
      cipher = XtsEngines.byName(engine).cipher(dek, UNIT);
    }
    inThreads(
        () -> {
          ByteBuffer buffer = ByteBuffer.allocateDirect(4 * UNIT);
          try {
            for (int i = 0; i < 1000; i++) {
              cipher.decipher(i, buffer);
            }
            cipher.close();
          } catch (IllegalStateException closed) {
            assertThat(closed).hasMessageContaining("closed");
          }
        });
    assertThat(memory.hits()).isEmpty();
  }

  @Test
  void wrappingLeavesNothingOfEitherKey() throws IOException {
    ProcessMemory keys;
    ProcessMemory keks;
    try (SecretBytes dek = SecretBytes.random(XtsEngine.DEK_BYTES);
        SecretBytes kek = SecretBytes.random(KeyWrap.KEK_BYTES)) {
      keys = ProcessMemory.searchFor(dek);
      keks = ProcessMemory.searchFor(kek);
      inThreads(
          () -> {
            for (int i = 0; i < 100; i++) {
              unwrap(kek, KeyWrap.wrap(kek, dek, ASSOCIATED_DATA));
            }
          });
    }
    assertThat(keys.hits()).isEmpty();
    assertThat(keks.hits()).isEmpty();
  }

  private static void unwrap(SecretBytes kek, byte[] wrapped) {
    try {
      KeyWrap.unwrap(kek, wrapped, ASSOCIATED_DATA).close();
    } catch (WrapException wrong) {
      throw new AssertionError(wrong);
    }
  }

  /** Threads that stay until all are done, so that each has stack and heap of its own. */
  private static void inThreads(Runnable step) {
    try (ExecutorService threads = Executors.newFixedThreadPool(THREADS)) {
      CompletableFuture.allOf(
              Stream.generate(() -> CompletableFuture.runAsync(step, threads))
                  .limit(THREADS)
                  .toArray(CompletableFuture[]::new))
          .join();
    }
  }
}
