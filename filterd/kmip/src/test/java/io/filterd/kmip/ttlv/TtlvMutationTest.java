package io.filterd.kmip.ttlv;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.fail;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import java.util.List;
import java.util.random.RandomGenerator;
import org.junit.jupiter.api.Test;

/** Whatever the bytes are, reading them gives an item or a located error, at a bounded cost. */
class TtlvMutationTest {
  private static final int ROUNDS = 100_000;

  /** Far above what the longest of the messages, 10,000 items, could cost. */
  private static final long MOST_ALLOCATED_BYTES = 4 << 20;

  @Test
  void readsMutatedMessagesOrSaysWhatIsWrong() {
    long seed = Long.getLong("test.seed", System.nanoTime());
    RandomGenerator random = Mutations.generator(seed);
    List<byte[]> messages = Vectors.captured().stream().map(Vectors.Captured::bytes).toList();
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    int read = 0;
    for (int round = 0; round < ROUNDS; round++) {
      byte[] bytes = Mutations.mutate(messages, random);
      long before = threads.getCurrentThreadAllocatedBytes();
      try {
        Item item = TtlvReader.read(ByteBuffer.wrap(bytes), TtlvLimits.DEFAULT);
        assertThat(TtlvDump.of(item)).isNotEmpty();
        byte[] again = Vectors.encode(item);
        assertThat(again).hasSameSizeAs(bytes);
        read++;
      } catch (TtlvException e) {
        assertThat(e.byteOffset()).isBetween(0, bytes.length);
        assertThat(e.getMessage()).hasSizeLessThan(2_000);
      } catch (RuntimeException | StackOverflowError e) {
        fail("seed %d, round %d: %s".formatted(seed, round, HexFormat.of().formatHex(bytes)), e);
      }
      long allocated = threads.getCurrentThreadAllocatedBytes() - before;
      assertThat(allocated)
          .as("seed %d, round %d: bytes allocated", seed, round)
          .isLessThan(MOST_ALLOCATED_BYTES);
    }
    // Otherwise the mutations are so coarse that they try the first header only.
    assertThat(read).as("seed %d: messages that are still valid", seed).isBetween(1_000, 90_000);
  }
}
