package io.filterd.kmip.ttlv;

import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * One item of a message: a tag, a type, and a value. Items are immutable and safe for many threads;
 * but see {@link Content} on who owns the bytes of texts and byte strings.
 *
 * <p>The text of an item is for logs: it never shows key material, passwords, or byte strings other
 * than a few that are known to be harmless.
 *
 * <p>Everything here throws {@link IllegalArgumentException} when a value does not fit its type.
 */
public sealed interface Item permits Structure, Scalar, Content {
  /** The bytes before each value: tag, type and length. */
  int HEADER_BYTES = 8;

  /** The largest number that is a tag. */
  int MAX_TAG = 0xFFFFFF;

  /** The tag's number, 24 bits; see {@link Tag#of}. */
  int tag();

  /** The type on the wire. */
  ItemType type();

  /** What stands in the length field: the bytes of the value without its padding. */
  int lengthBytes();

  /** All bytes of this item on the wire: header, value and padding. A multiple of 8. */
  default int encodedBytes() {
    return HEADER_BYTES + padded(lengthBytes());
  }

  /** Whether this is an item with that tag. */
  default boolean is(Tag tag) {
    return tag() == tag.code();
  }

  /** A length with the padding after it. */
  private static int padded(int lengthBytes) {
    return Math.addExact(lengthBytes, 7) & ~7;
  }

  /** A structure of these items, in this order. */
  static Structure structure(Tag tag, Item... items) {
    return new Structure(tag.code(), List.of(items));
  }

  /** A structure of these items, in this order. */
  static Structure structure(Tag tag, List<? extends Item> items) {
    return new Structure(tag.code(), List.copyOf(items));
  }

  /** A signed number of 32 bits. */
  static Scalar integer(Tag tag, int value) {
    return new Scalar(tag.code(), ItemType.INTEGER, value);
  }

  /** A signed number of 64 bits. */
  static Scalar longInteger(Tag tag, long value) {
    return new Scalar(tag.code(), ItemType.LONG_INTEGER, value);
  }

  /** One of a list of values, an unsigned number of 32 bits. */
  static Scalar enumeration(Tag tag, int value) {
    return new Scalar(tag.code(), ItemType.ENUMERATION, Integer.toUnsignedLong(value));
  }

  /** True or false. */
  static Scalar bool(Tag tag, boolean value) {
    return new Scalar(tag.code(), ItemType.BOOLEAN, value ? 1 : 0);
  }

  /** A point in time, in seconds since 1970 UTC. */
  static Scalar dateTime(Tag tag, long seconds) {
    return new Scalar(tag.code(), ItemType.DATE_TIME, seconds);
  }

  /** A length of time in seconds, an unsigned number of 32 bits. */
  static Scalar interval(Tag tag, long seconds) {
    return new Scalar(tag.code(), ItemType.INTERVAL, seconds);
  }

  /** A text without lone surrogates. */
  static Content text(Tag tag, String value) {
    try {
      ByteBuffer utf8 = StandardCharsets.UTF_8.newEncoder().encode(CharBuffer.wrap(value));
      return new Content(tag.code(), ItemType.TEXT_STRING, MemorySegment.ofBuffer(utf8));
    } catch (CharacterCodingException loneSurrogate) {
      throw new IllegalArgumentException(
          tag + ": a lone surrogate (expected: a text that UTF-8 can hold)", loneSurrogate);
    }
  }

  /** A text that is there in UTF-8, for instance a password that shall not become a String. */
  static Content text(Tag tag, MemorySegment utf8) {
    return new Content(tag.code(), ItemType.TEXT_STRING, utf8);
  }

  /** Bytes, which are not copied: they must stay as they are while the item is used. */
  static Content bytes(Tag tag, MemorySegment value) {
    return new Content(tag.code(), ItemType.BYTE_STRING, value);
  }
}
