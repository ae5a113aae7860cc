package io.filterd.kmip.ttlv;

/**
 * What a message from outside may cost. Each is checked before anything is allocated for it.
 *
 * @param messageBytes the longest message with its header, 8 bytes to 1 GiB
 * @param depth the most structures inside each other, 1 to {@link Structure#MAX_DEPTH}
 * @param items the most items in one message, at least 1
 */
public record TtlvLimits(int messageBytes, int depth, int items) {
  /** 1 MiB, 32 levels, 10,000 items: far above what any server is known to send. */
  public static final TtlvLimits DEFAULT = new TtlvLimits(1 << 20, 32, 10_000);

  /** Checks the ranges. */
  public TtlvLimits {
    check("messageBytes", messageBytes, Item.HEADER_BYTES, Structure.MAX_LENGTH_BYTES);
    check("depth", depth, 1, Structure.MAX_DEPTH);
    check("items", items, 1, Integer.MAX_VALUE);
  }

  private static void check(String name, int value, int least, int most) {
    if (value < least || value > most) {
      throw new IllegalArgumentException(
          "%s: %d (expected: %d to %d)".formatted(name, value, least, most));
    }
  }
}
