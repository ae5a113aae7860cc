package io.filterd.kmip.ttlv;

import org.jspecify.annotations.Nullable;

/** The types of items (KMIP 1.4 section 9.1.1.2, KMIP 2.1 section 10.1.2). */
public enum ItemType {
  STRUCTURE(1, ItemType.ANY_LENGTH, "Structure"),
  INTEGER(2, 4, "Integer"),
  LONG_INTEGER(3, 8, "LongInteger"),
  BIG_INTEGER(4, ItemType.ANY_LENGTH, "BigInteger"),
  ENUMERATION(5, 4, "Enumeration"),
  BOOLEAN(6, 8, "Boolean"),
  TEXT_STRING(7, ItemType.ANY_LENGTH, "TextString"),
  BYTE_STRING(8, ItemType.ANY_LENGTH, "ByteString"),
  DATE_TIME(9, 8, "DateTime"),
  INTERVAL(10, 4, "Interval"),
  DATE_TIME_EXTENDED(11, 8, "DateTimeExtended");

  static final int ANY_LENGTH = -1;

  private static final ItemType[] TYPES = values();

  private final int code;
  private final int fixedBytes;
  private final String title;

  ItemType(int code, int fixedBytes, String title) {
    this.code = code;
    this.fixedBytes = fixedBytes;
    this.title = title;
  }

  /** The number on the wire, 1 to 11. */
  public int code() {
    return code;
  }

  /** The length every value of this type has, without padding, or {@link #ANY_LENGTH}. */
  int fixedBytes() {
    return fixedBytes;
  }

  static @Nullable ItemType of(int code) {
    return code >= 1 && code <= TYPES.length ? TYPES[code - 1] : null;
  }

  /** The name as the specification writes it, without spaces. */
  @Override
  public String toString() {
    return title;
  }
}
