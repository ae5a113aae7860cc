package io.filterd.crypto;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.ByteBuffer;
import java.nio.ReadOnlyBufferException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class SectorCipherTest {
  private static final int UNIT = 512;

  static List<String> engines() {
    return XtsEngines.names();
  }

  @ParameterizedTest
  @MethodSource("engines")
  void enciphersEachUnitUnderItsOwnNumber(String engine) {
    try (SecretBytes dek = SecretBytes.random(64);
        SectorCipher cipher = XtsEngines.byName(engine).cipher(dek, UNIT)) {
      ByteBuffer source = random(8 * UNIT, 1);
      byte[] before = copy(source);
      ByteBuffer target = ByteBuffer.allocateDirect(8 * UNIT);

      cipher.encipher(1000, source, target);

      assertThat(copy(source)).isEqualTo(before);
      assertThat(source.remaining()).isEqualTo(8 * UNIT);
      assertThat(target.remaining()).isEqualTo(8 * UNIT);
      for (int i = 0; i < 8; i++) {
        ByteBuffer one = target.duplicate().position(i * UNIT).limit((i + 1) * UNIT);
        cipher.decipher(1000 + i, one);
        assertThat(one.position()).isEqualTo(i * UNIT);
      }
      assertThat(copy(target)).isEqualTo(before);
    }
  }

  @ParameterizedTest
  @MethodSource("engines")
  void leavesTheBytesOutsideOfPositionAndLimit(String engine) {
    try (SecretBytes dek = SecretBytes.random(64);
        SectorCipher cipher = XtsEngines.byName(engine).cipher(dek, UNIT)) {
      ByteBuffer source = random(UNIT + 7, 2).position(7);
      ByteBuffer target = random(UNIT + 24, 3);
      byte[] before = copy(target);
      target.position(13).limit(13 + UNIT);

      cipher.encipher(0, source, target);
      cipher.decipher(0, target);

      assertThat(target.mismatch(source)).isEqualTo(-1);
      target.clear();
      for (int i = 0; i < 13; i++) {
        assertThat(target.get(i)).isEqualTo(before[i]);
      }
      for (int i = 13 + UNIT; i < before.length; i++) {
        assertThat(target.get(i)).isEqualTo(before[i]);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("engines")
  void hidesThatUnitsAreEqual(String engine) {
    try (SecretBytes dek = SecretBytes.random(64);
        SectorCipher cipher = XtsEngines.byName(engine).cipher(dek, UNIT)) {
      ByteBuffer target = ByteBuffer.allocateDirect(2 * UNIT);

      cipher.encipher(0, ByteBuffer.allocateDirect(2 * UNIT), target);

      assertThat(target.slice(0, UNIT)).isNotEqualTo(target.slice(UNIT, UNIT));
    }
  }

  @Test
  void enciphersTheSameInEveryEngine() {
    try (SecretBytes dek = SecretBytes.random(64)) {
      // The last unit is cut short, by the end of some device.
      ByteBuffer source = random(2 * 4096 + 512 + 16, 4);
      List<byte[]> results = new ArrayList<>();
      for (String engine : engines()) {
        try (SectorCipher cipher = XtsEngines.byName(engine).cipher(dek, 4096)) {
          ByteBuffer target = ByteBuffer.allocateDirect(source.capacity());
          cipher.encipher(77, source, target);
          results.add(copy(target));
          cipher.decipher(77, target);
          assertThat(target).isEqualTo(source);
        }
      }
      assertThat(results).allSatisfy(result -> assertThat(result).isEqualTo(results.get(0)));
    }
  }

  @ParameterizedTest
  @MethodSource("engines")
  void servesManyThreads(String engine) throws InterruptedException, ExecutionException {
    try (SecretBytes dek = SecretBytes.random(64);
        SectorCipher cipher = XtsEngines.byName(engine).cipher(dek, UNIT);
        ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
      Callable<Boolean> work =
          () -> {
            ByteBuffer source = random(4 * UNIT, Thread.currentThread().threadId());
            ByteBuffer target = ByteBuffer.allocateDirect(4 * UNIT);
            for (int unit = 0; unit < 100; unit++) {
              cipher.encipher(unit, source, target);
              cipher.decipher(unit, target);
              if (target.mismatch(source) >= 0) {
                return false;
              }
            }
            return true;
          };
      for (Future<Boolean> result : threads.invokeAll(Collections.nCopies(50, work))) {
        assertThat(result.get()).isTrue();
      }
    }
  }

  @ParameterizedTest
  @MethodSource("engines")
  void refusesEqualKeyHalves(String engine) {
    // IEEE 1619-2007 vector 1 has such a key; FIPS 140 forbids it.
    try (SecretBytes dek = SecretBytes.allocate(64)) {
      assertThatIllegalArgumentException()
          .isThrownBy(() -> XtsEngines.byName(engine).cipher(dek, UNIT))
          .withMessage("dek: its halves are equal (expected: two AES keys)");
    }
  }

  @Test
  void refusesWrongKeysUnitsAndBuffers() {
    XtsEngine engine = XtsEngines.byName("auto");
    try (SecretBytes dek = SecretBytes.random(64);
        SecretBytes half = SecretBytes.random(32);
        SectorCipher cipher = engine.cipher(dek, UNIT)) {
      ByteBuffer unit = ByteBuffer.allocateDirect(UNIT);
      ByteBuffer other = ByteBuffer.allocateDirect(UNIT);
      assertThatIllegalArgumentException()
          .isThrownBy(() -> engine.cipher(half, UNIT))
          .withMessage("dek: 32 bytes (expected: 64)");
      assertThatIllegalArgumentException()
          .isThrownBy(() -> engine.cipher(dek, 1024))
          .withMessage("unitBytes: 1024 (expected: 512 or 4096)");
      assertThatIllegalArgumentException().isThrownBy(() -> cipher.decipher(-1, unit));
      assertThatIllegalArgumentException()
          .isThrownBy(() -> cipher.decipher(0, ByteBuffer.allocateDirect(8)))
          .withMessage("buffer: 8 bytes (expected: a multiple of 16)");
      assertThatIllegalArgumentException()
          .isThrownBy(() -> cipher.decipher(0, ByteBuffer.allocate(UNIT)))
          .withMessage("buffer: on the heap (expected: direct)");
      assertThatIllegalArgumentException()
          .isThrownBy(() -> cipher.encipher(0, ByteBuffer.allocateDirect(2 * UNIT), unit))
          .withMessage("target: 512 bytes (expected: 1024)");
      assertThatThrownBy(() -> cipher.decipher(0, unit.asReadOnlyBuffer()))
          .isInstanceOf(ReadOnlyBufferException.class);
      assertThatThrownBy(() -> cipher.encipher(0, unit, other.asReadOnlyBuffer()))
          .isInstanceOf(ReadOnlyBufferException.class);
      cipher.encipher(0, unit.asReadOnlyBuffer(), other);
    }
  }

  @ParameterizedTest
  @MethodSource("engines")
  void refusesToWorkAfterClose(String engine) {
    long used = SecretBytes.memoryStatus().usedBytes();
    try (SecretBytes dek = SecretBytes.random(64)) {
      SectorCipher cipher = XtsEngines.byName(engine).cipher(dek, UNIT);
      cipher.close();
      cipher.close();

      assertThatIllegalStateException()
          .isThrownBy(() -> cipher.decipher(0, ByteBuffer.allocateDirect(UNIT)))
          .withMessage("cipher: closed (expected: open)");
      assertThat(dek.segment().byteSize()).isEqualTo(64);
    }
    assertThat(SecretBytes.memoryStatus().usedBytes()).isEqualTo(used);
  }

  @Test
  void wipesEveryScheduleOnceThoughThreadsStillWork() throws InterruptedException {
    for (int round = 0; round < 200; round++) {
      CountingMaker maker = new CountingMaker();
      try (SecretBytes dek = SecretBytes.random(64);
          ExecutorService threads = Executors.newFixedThreadPool(4)) {
        SectorCipher cipher = new PooledCipher(maker, dek, UNIT);
        for (int i = 0; i < 4; i++) {
          Future<?> _ =
              threads.submit(
                  () -> {
                    ByteBuffer buffer = ByteBuffer.allocateDirect(UNIT);
                    while (true) {
                      cipher.decipher(0, buffer);
                    }
                  });
        }
        cipher.close();
      }
      assertThat(maker.made).isNotEmpty().allSatisfy(c -> assertThat(c.closes).isEqualTo(1));
    }
  }

  /** Makes contexts that notice how they are used. */
  private static final class CountingMaker implements XtsContext.Maker {
    private final List<CountingContext> made = new ArrayList<>();

    @Override
    public XtsContext make(SecretBytes dek) {
      CountingContext context = new CountingContext();
      synchronized (made) {
        made.add(context);
      }
      return context;
    }
  }

  private static final class CountingContext implements XtsContext {
    private int closes;

    @Override
    public void encipher(
        long tweakLow, long tweakHigh, ByteBuffer source, ByteBuffer target, int unitBytes) {
      throw new AssertionError("not used");
    }

    @Override
    public void decipher(long tweakLow, long tweakHigh, ByteBuffer buffer, int unitBytes) {
      if (closes > 0) {
        closes += 100; // Used after it was wiped.
      }
    }

    @Override
    public void close() {
      closes++;
    }
  }

  private static ByteBuffer random(int length, long seed) {
    byte[] bytes = new byte[length];
    new Random(seed).nextBytes(bytes);
    return ByteBuffer.allocateDirect(length).put(bytes).flip();
  }

  private static byte[] copy(ByteBuffer buffer) {
    byte[] bytes = new byte[buffer.remaining()];
    buffer.get(buffer.position(), bytes);
    return bytes;
  }
}
