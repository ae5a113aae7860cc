package io.filterd.kmip.ttlv;

import java.util.Arrays;
import java.util.List;
import java.util.random.RandomGenerator;
import java.util.random.RandomGeneratorFactory;

/** Seeded damage to valid messages. */
public final class Mutations {
  private static final int[] INTERESTING_LENGTHS = {
    0, 1, 4, 7, 8, 9, 16, 0x7FFFFFF8, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF8, 0xFFFFFFF9, 0xFFFFFFFF
  };

  private Mutations() {}

  /** The same sequence for the same seed, on every JDK. */
  public static RandomGenerator generator(long seed) {
    return RandomGeneratorFactory.of("L64X128MixRandom").create(seed);
  }

  /** One of the messages, with one to four changes. */
  public static byte[] mutate(List<byte[]> messages, RandomGenerator random) {
    byte[] bytes = messages.get(random.nextInt(messages.size())).clone();
    for (int changes = 1 + random.nextInt(4); changes > 0 && bytes.length > 8; changes--) {
      bytes = change(bytes, messages, random);
    }
    return bytes;
  }

  private static byte[] change(byte[] bytes, List<byte[]> messages, RandomGenerator random) {
    int at = random.nextInt(bytes.length);
    int item = at / 8 * 8; // where an item, or the second half of one, starts
    switch (random.nextInt(8)) {
      case 0 -> bytes[at] ^= (byte) (1 << random.nextInt(8));
      case 1 -> bytes[at] = (byte) random.nextInt();
      case 2 -> bytes[Math.min(item + 3, bytes.length - 1)] = (byte) random.nextInt(13);
      case 3 -> putInt(bytes, item + 4, INTERESTING_LENGTHS[random.nextInt(13)]);
      case 4 -> putInt(bytes, item + 4, random.nextInt(64));
      case 5 -> {
        return Arrays.copyOf(bytes, at);
      }
      case 6 -> {
        // Eight bytes of another message: often a header where a value should be.
        byte[] other = messages.get(random.nextInt(messages.size()));
        int from = random.nextInt(other.length / 8) * 8;
        System.arraycopy(other, from, bytes, item, Math.min(8, bytes.length - item));
      }
      default -> {
        // A tag of the table, where it does not belong.
        Tag[] tags = Tag.values();
        int tag = tags[random.nextInt(tags.length)].code();
        bytes[Math.min(item + 1, bytes.length - 1)] = (byte) (tag >>> 8);
        bytes[Math.min(item + 2, bytes.length - 1)] = (byte) tag;
      }
    }
    return bytes;
  }

  private static void putInt(byte[] bytes, int at, int value) {
    for (int i = 0; i < 4 && at + i < bytes.length; i++) {
      bytes[at + i] = (byte) (value >>> (24 - 8 * i));
    }
  }
}
