package io.filterd.vmdk;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Reads the little-endian fields of a fixed-size record, and says which one was wrong and where.
 */
final class FieldReader {
  private final String file;
  private final long base;
  private final ByteBuffer bytes;

  /** Reads {@code bytes}, which start at byte {@code base} of {@code file}. */
  FieldReader(String file, long base, ByteBuffer bytes) {
    this.file = file;
    this.base = base;
    this.bytes = bytes.duplicate().order(ByteOrder.LITTLE_ENDIAN);
  }

  int u8(String field, int at) throws FormatException {
    need(field, at, Byte.BYTES);
    return Byte.toUnsignedInt(bytes.get(at));
  }

  int u16(String field, int at) throws FormatException {
    need(field, at, Short.BYTES);
    return Short.toUnsignedInt(bytes.getShort(at));
  }

  long u32(String field, int at) throws FormatException {
    need(field, at, Integer.BYTES);
    return Integer.toUnsignedLong(bytes.getInt(at));
  }

  /** A u64 as it is; may be negative as a Java long. */
  long u64(String field, int at) throws FormatException {
    need(field, at, Long.BYTES);
    return bytes.getLong(at);
  }

  /** A u64 that must be in {@code minimum..maximum}. */
  long bounded(String field, int at, long minimum, long maximum, String unit)
      throws FormatException {
    long value = u64(field, at);
    if (value < minimum || value > maximum) {
      throw bad(
          field,
          at,
          Long.toUnsignedString(value) + " " + unit,
          minimum + ".." + maximum + " " + unit);
    }
    return value;
  }

  /** Refuses a u32 that is not what it must be. */
  void expect(String field, int at, long expected) throws FormatException {
    long value = u32(field, at);
    if (value != expected) {
      throw bad(field, at, hex(value), hex(expected));
    }
  }

  /** Refuses a u64 that is not what it must be. */
  void expectLong(String field, int at, long expected) throws FormatException {
    long value = u64(field, at);
    if (value != expected) {
      throw bad(field, at, hex(value), hex(expected));
    }
  }

  private static String hex(long value) {
    return value >= 0 && value < 1000 ? Long.toString(value) : "0x" + Long.toHexString(value);
  }

  FormatException bad(String field, int at, String actual, String expected) {
    return new FormatException(file, base + at, field, actual, expected);
  }

  private void need(String field, int at, int length) throws FormatException {
    if (at > bytes.limit() - length) {
      throw bad(field, at, "the file ends at byte " + (base + bytes.limit()), length + " bytes");
    }
  }
}
