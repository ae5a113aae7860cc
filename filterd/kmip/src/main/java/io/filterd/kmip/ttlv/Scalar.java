package io.filterd.kmip.ttlv;

/**
 * An item whose value is one number of fixed length.
 *
 * <p>{@code value} by type: INTEGER 32 bits signed, LONG_INTEGER 64 bits signed, ENUMERATION 32
 * bits unsigned, BOOLEAN 0 or 1, DATE_TIME seconds since 1970 (signed), INTERVAL seconds (32 bits
 * unsigned), DATE_TIME_EXTENDED microseconds since 1970 (signed, KMIP 2.0 and later).
 */
public record Scalar(int tag, ItemType type, long value) implements Item {
  private static final long MAX_UNSIGNED_INT = 0xFFFFFFFFL;

  /** Checks that the value fits the type. */
  public Scalar {
    boolean fits =
        switch (type) {
          case INTEGER -> value == (int) value;
          case ENUMERATION, INTERVAL -> value >= 0 && value <= MAX_UNSIGNED_INT;
          case BOOLEAN -> value == 0 || value == 1;
          case LONG_INTEGER, DATE_TIME, DATE_TIME_EXTENDED -> true;
          case STRUCTURE, BIG_INTEGER, TEXT_STRING, BYTE_STRING ->
              throw new IllegalArgumentException(type + " (expected: a type of fixed length)");
        };
    if (!fits) {
      throw new IllegalArgumentException(
          "%s: %d (expected: what fits the type %s)".formatted(Tag.nameOf(tag), value, type));
    }
    Structure.checkTag(tag);
  }

  @Override
  public int lengthBytes() {
    return type.fixedBytes();
  }

  /** As the writer and enumerations want it: the low 32 bits. */
  public int intValue() {
    return (int) value;
  }

  @Override
  public String toString() {
    return TtlvDump.of(this);
  }
}
