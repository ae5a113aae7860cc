package io.filterd.nbd;

import static io.filterd.nbd.wire.Protocol.NBD_EINVAL;

import io.netty.buffer.ByteBuf;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The payload of a block status: its range's real length, and the contexts of those chosen that are
 * asked for now (extension-ext-header, "NBD_CMD_BLOCK_STATUS").
 *
 * @param lengthBytes the length of the range, unsigned
 * @param asked the places in the list of chosen contexts, as bits; 0 if the payload names a context
 *     that was not chosen, or one twice
 */
record ContextFilter(long lengthBytes, long asked) {
  /** The most contexts that one client may choose: there are bits for them. */
  static final int MAX_CONTEXTS = 32;

  /** Why a payload of this length is refused, or null. */
  static @Nullable Refusal refusal(long payloadBytes, int contexts) {
    long most = Long.BYTES + (long) contexts * Integer.BYTES;
    return payloadBytes >= Long.BYTES + Integer.BYTES
            && payloadBytes <= most
            && payloadBytes % Integer.BYTES == 0
        ? null
        : new Refusal(
            NBD_EINVAL,
            "payload: "
                + Long.toUnsignedString(payloadBytes)
                + " bytes (expected: a length and 1.."
                + contexts
                + " context ids)");
  }

  /** Reads all of {@code payload}, whose length is not refused. */
  static ContextFilter read(ByteBuf payload, List<ChosenContext> chosen) {
    long lengthBytes = payload.readLong();
    long asked = 0;
    boolean right = true;
    while (payload.isReadable()) {
      long bit = bitOf(payload.readInt(), chosen);
      right &= bit != 0 && (asked & bit) == 0;
      asked |= bit;
    }
    return new ContextFilter(lengthBytes, right ? asked : 0);
  }

  private static long bitOf(int id, List<ChosenContext> chosen) {
    for (int i = 0; i < chosen.size(); i++) {
      if (chosen.get(i).id() == id) {
        return 1L << i;
      }
    }
    return 0;
  }

  /** All of so many contexts. */
  static long all(int contexts) {
    return (1L << contexts) - 1;
  }
}
