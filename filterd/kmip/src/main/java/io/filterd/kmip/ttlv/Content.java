package io.filterd.kmip.ttlv;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import org.jspecify.annotations.Nullable;

/**
 * A text, a byte string or a big integer: an item whose value is bytes of any length.
 *
 * <p>The bytes are a view, not a copy: of the message that was read, or of the memory the item was
 * made of. So a secret stays in that memory and nowhere else, and whoever owns the memory wipes it.
 * After that, or after a change of the memory, this item must not be used any more; if the memory
 * belongs to a closed arena, it throws {@link IllegalStateException}.
 *
 * <p>{@link #equals} compares the bytes, and not in constant time.
 */
public final class Content implements Item {
  private final int tag;
  private final ItemType type;
  private final MemorySegment bytes;

  /**
   * An item over these bytes.
   *
   * @param type TEXT_STRING (the bytes are UTF-8), BYTE_STRING, or BIG_INTEGER (two's complement,
   *     big-endian, a multiple of 8 bytes)
   */
  public Content(int tag, ItemType type, MemorySegment bytes) {
    this(tag, type, bytes, true);
  }

  private Content(int tag, ItemType type, MemorySegment bytes, boolean check) {
    if (check) {
      check(tag, type, bytes);
    }
    this.tag = tag;
    this.type = type;
    this.bytes = bytes.asReadOnly();
  }

  /** For the reader, which has checked everything and can say where. */
  static Content checked(int tag, ItemType type, MemorySegment bytes) {
    return new Content(tag, type, bytes, false);
  }

  private static void check(int tag, ItemType type, MemorySegment bytes) {
    Structure.checkTag(tag);
    long length = bytes.byteSize();
    if (length > Structure.MAX_LENGTH_BYTES) {
      throw new IllegalArgumentException(
          "%s: %d bytes (expected: at most %d)"
              .formatted(Tag.nameOf(tag), length, Structure.MAX_LENGTH_BYTES));
    }
    String problem =
        switch (type) {
          case BYTE_STRING -> null;
          case TEXT_STRING -> Utf8.invalidAt(bytes) < 0 ? null : "not UTF-8";
          case BIG_INTEGER -> length > 0 && length % 8 == 0 ? null : length + " bytes";
          default -> "type " + type;
        };
    if (problem != null) {
      throw new IllegalArgumentException(
          "%s: %s (expected: a text in UTF-8, bytes, or a number of a multiple of 8 bytes)"
              .formatted(Tag.nameOf(tag), problem));
    }
  }

  @Override
  public int tag() {
    return tag;
  }

  @Override
  public ItemType type() {
    return type;
  }

  @Override
  public int lengthBytes() {
    return (int) bytes.byteSize();
  }

  /** The value without padding: a read-only view of the memory this item was made of. */
  public MemorySegment bytes() {
    return bytes;
  }

  /** A copy of the bytes on the heap, so not for secrets. */
  public byte[] copyOfBytes() {
    return bytes.toArray(ValueLayout.JAVA_BYTE);
  }

  /** The text, as a String on the heap, so not for secrets. Only for TEXT_STRING. */
  public String text() {
    require(ItemType.TEXT_STRING);
    return new String(copyOfBytes(), StandardCharsets.UTF_8);
  }

  /** The number, on the heap, so not for secrets. Only for BIG_INTEGER. */
  public BigInteger bigInteger() {
    require(ItemType.BIG_INTEGER);
    return new BigInteger(copyOfBytes());
  }

  private void require(ItemType wanted) {
    if (type != wanted) {
      throw new IllegalStateException(
          "%s: %s (expected: %s)".formatted(Tag.nameOf(tag), type, wanted));
    }
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof Content that
        && tag == that.tag
        && type == that.type
        && bytes.mismatch(that.bytes) < 0;
  }

  /** Says nothing of the bytes. */
  @Override
  public int hashCode() {
    return 31 * (31 * tag + type.code()) + lengthBytes();
  }

  @Override
  public String toString() {
    return TtlvDump.of(this);
  }
}
