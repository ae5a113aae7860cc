package io.filterd.keys.pkcs11;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/** A template: attributes of an object, as an array of {@code CK_ATTRIBUTE}. For one thread. */
final class Attributes {
  static final long CLASS = 0;
  static final long TOKEN = 1;
  static final long PRIVATE = 2;
  static final long LABEL = 3;
  static final long KEY_TYPE = 0x100;
  static final long ID = 0x102;
  static final long SENSITIVE = 0x103;
  static final long ENCRYPT = 0x104;
  static final long DECRYPT = 0x105;
  static final long WRAP = 0x106;
  static final long UNWRAP = 0x107;
  static final long DERIVE = 0x10c;
  static final long VALUE_LEN = 0x161;
  static final long EXTRACTABLE = 0x162;

  static final long SECRET_KEY = 4;
  static final long AES = 0x1f;

  private static final long ATTRIBUTE_BYTES = 24;
  private static final long VALUE_AT = 8;
  private static final long LENGTH_AT = 16;

  private final Arena arena;
  private final List<Long> types = new ArrayList<>();
  private final List<MemorySegment> values = new ArrayList<>();

  /** Values are allocated in {@code arena}, which outlives this. */
  Attributes(Arena arena) {
    this.arena = arena;
  }

  Attributes with(long type, long value) {
    return with(type, arena.allocateFrom(JAVA_LONG, value));
  }

  Attributes with(long type, byte[] value) {
    return with(type, arena.allocateFrom(JAVA_BYTE, value));
  }

  Attributes withTrue(long type) {
    return with(type, arena.allocateFrom(JAVA_BYTE, (byte) 1));
  }

  Attributes withFalse(long type) {
    return with(type, arena.allocateFrom(JAVA_BYTE, (byte) 0));
  }

  private Attributes with(long type, MemorySegment value) {
    types.add(type);
    values.add(value);
    return this;
  }

  int count() {
    return types.size();
  }

  /** Whether the token has put true into a value. */
  boolean isTrue(int index) {
    return values.get(index).get(JAVA_BYTE, 0) != 0;
  }

  /** The array itself. */
  MemorySegment segment() {
    MemorySegment array = arena.allocate(ATTRIBUTE_BYTES * count(), JAVA_LONG.byteAlignment());
    for (int i = 0; i < count(); i++) {
      long at = ATTRIBUTE_BYTES * i;
      array.set(JAVA_LONG, at, types.get(i));
      array.set(ADDRESS, at + VALUE_AT, values.get(i));
      array.set(JAVA_LONG, at + LENGTH_AT, values.get(i).byteSize());
    }
    return array;
  }
}
