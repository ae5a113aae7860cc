package io.filterd.block;

/**
 * The request sizes a device takes, in bytes.
 *
 * @param minimum requests start and end at multiples of it; a power of two, at most 64 KiB
 * @param preferred requests of multiples of it are cheapest; a power of two, at least {@code
 *     minimum} and 512
 * @param maximum the longest read or write; a multiple of {@code minimum}, at least {@code
 *     preferred}
 */
public record BlockSizes(int minimum, int preferred, int maximum) {
  /** The largest minimum block: what NBD allows (proto.md, "Block size constraints"). */
  public static final int LARGEST_MINIMUM_BYTES = 1 << 16;

  /** Checks the rules of the parameters. */
  public BlockSizes {
    if (Integer.bitCount(minimum) != 1 || minimum < 1 || minimum > LARGEST_MINIMUM_BYTES) {
      throw new IllegalArgumentException(
          "minimum: " + minimum + " (expected: a power of two in 1..65536)");
    }
    if (Integer.bitCount(preferred) != 1 || preferred < Math.max(minimum, 512)) {
      throw new IllegalArgumentException(
          "preferred: "
              + preferred
              + " (expected: a power of two >= "
              + Math.max(minimum, 512)
              + ")");
    }
    if (maximum < preferred || maximum % minimum != 0) {
      throw new IllegalArgumentException(
          "maximum: "
              + maximum
              + " (expected: a multiple of "
              + minimum
              + " >= "
              + preferred
              + ")");
    }
  }

  /** These sizes, with every one at least {@code bytes}, a power of two. */
  public BlockSizes atLeast(int bytes) {
    return new BlockSizes(
        Math.max(minimum, bytes),
        Math.max(preferred, bytes),
        Math.max(maximum, bytes) / bytes * bytes);
  }
}
