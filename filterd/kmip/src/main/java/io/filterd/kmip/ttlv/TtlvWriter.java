package io.filterd.kmip.ttlv;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Writes items as bytes (KMIP 1.4 section 9.1, KMIP 2.1 section 10.1). Padding is zeros.
 *
 * <p>Nothing of the content is copied elsewhere: written into a direct buffer, a secret is in
 * native memory only, and the caller wipes the buffer.
 */
public final class TtlvWriter {
  private static final long TYPE_UNIT = 1L << 32;
  private static final long TAG_UNIT = 1L << 40;

  private TtlvWriter() {}

  /**
   * Writes at the buffer's position, whatever its byte order, and moves it on by {@link
   * Item#encodedBytes}.
   *
   * @throws IllegalArgumentException if there is less room; nothing is written then
   */
  public static void write(Item item, ByteBuffer target) {
    if (target.remaining() < item.encodedBytes()) {
      throw new IllegalArgumentException(
          "%d bytes of room (expected: at least %d)"
              .formatted(target.remaining(), item.encodedBytes()));
    }
    ByteBuffer out = target.duplicate().order(ByteOrder.BIG_ENDIAN);
    put(item, out);
    target.position(out.position());
  }

  private static void put(Item item, ByteBuffer out) {
    out.putLong(item.tag() * TAG_UNIT + item.type().code() * TYPE_UNIT + item.lengthBytes());
    switch (item) {
      case Structure structure -> structure.items().forEach(inner -> put(inner, out));
      case Scalar scalar when scalar.lengthBytes() == Integer.BYTES ->
          out.putInt(scalar.intValue()).putInt(0);
      case Scalar scalar -> out.putLong(scalar.value());
      case Content content -> {
        out.put(content.bytes().asByteBuffer());
        for (int written = content.lengthBytes(); written % 8 != 0; written++) {
          out.put((byte) 0);
        }
      }
    }
  }
}
