package io.filterd.kmip.ttlv;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * Reads items from bytes (KMIP 1.4 section 9.1, KMIP 2.1 section 10.1). Whatever the bytes are, the
 * answer is an item or a {@link TtlvException}, and what it costs is within the {@link TtlvLimits}:
 * each length is compared with what is really there before it is used.
 *
 * <p>Unknown tags are accepted, and so is any padding; unknown types and wrong lengths are not.
 */
public final class TtlvReader {
  private static final ValueLayout.OfInt INT =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.BIG_ENDIAN);
  private static final ValueLayout.OfLong LONG =
      ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.BIG_ENDIAN);
  private static final int MULTIPLE = 8;

  private final MemorySegment message;
  private final TtlvLimits limits;
  // The tags from the outside in, for errors: at most as deep as the structures, and the item.
  private final int[] path;
  private int depth;
  private int items;

  private TtlvReader(MemorySegment message, TtlvLimits limits) {
    this.message = message;
    this.limits = limits;
    this.path = new int[limits.depth() + 1];
  }

  /**
   * How long the message is that starts with this header: all there is to framing. The buffer's
   * position does not move.
   *
   * @param header at least {@link Item#HEADER_BYTES} bytes
   * @param expected the tag the message must have: requests and responses have their own
   * @return the bytes of the whole message, the header with them
   * @throws TtlvException if this is no such message, or it is longer than the limit
   */
  public static int messageBytes(ByteBuffer header, Tag expected, TtlvLimits limits)
      throws TtlvException {
    if (header.remaining() < Item.HEADER_BYTES) {
      throw new IllegalArgumentException(
          "%d bytes (expected: a header of %d)".formatted(header.remaining(), Item.HEADER_BYTES));
    }
    ByteBuffer in = header.slice().order(ByteOrder.BIG_ENDIAN);
    int tagAndType = in.getInt();
    int tag = tagAndType >>> 8;
    int type = tagAndType & 0xFF;
    if (tag != expected.code()) {
      throw new TtlvException(0, "", "0x%06X".formatted(tag), "the tag of a " + expected);
    }
    if (type != ItemType.STRUCTURE.code()) {
      throw new TtlvException(0, expected.toString(), "type " + type, "a Structure");
    }
    long length = Integer.toUnsignedLong(in.getInt());
    int most = limits.messageBytes() - Item.HEADER_BYTES;
    if (length > most) {
      throw new TtlvException(
          0, expected.toString(), "length: %d bytes".formatted(length), "at most " + most);
    }
    if (length % MULTIPLE != 0) {
      throw new TtlvException(
          0, expected.toString(), "length: %d bytes".formatted(length), "a multiple of 8");
    }
    return Item.HEADER_BYTES + (int) length;
  }

  /**
   * Reads the one item that fills the buffer from its position to its limit, neither of which
   * moves. Texts and byte strings are views of the buffer, which must stay as it is while they are
   * used; whoever wipes it, wipes them.
   */
  public static Item read(ByteBuffer message, TtlvLimits limits) throws TtlvException {
    return read(MemorySegment.ofBuffer(message), limits);
  }

  /** The same, of the whole segment. */
  public static Item read(MemorySegment message, TtlvLimits limits) throws TtlvException {
    if (message.byteSize() > limits.messageBytes()) {
      throw new TtlvException(
          0, "", "%d bytes".formatted(message.byteSize()), "at most " + limits.messageBytes());
    }
    TtlvReader reader = new TtlvReader(message, limits);
    int end = (int) message.byteSize();
    Item item = reader.item(0, end);
    if (item.encodedBytes() != end) {
      throw new TtlvException(
          item.encodedBytes(),
          "",
          "%d bytes after the message".formatted(end - item.encodedBytes()),
          "nothing");
    }
    return item;
  }

  private Item item(int at, int end) throws TtlvException {
    if (end - at < Item.HEADER_BYTES) {
      throw wrong(at, depth, "%d bytes left".formatted(end - at), "a header of 8");
    }
    int tagAndType = message.get(INT, at);
    int tag = tagAndType >>> 8;
    path[depth] = tag;
    int inside = depth + 1;
    ItemType type = ItemType.of(tagAndType & 0xFF);
    if (type == null) {
      throw wrong(at, inside, "type %d".formatted(tagAndType & 0xFF), "1 to 11");
    }
    if (++items > limits.items()) {
      throw wrong(at, inside, "one more item", "at most %d".formatted(limits.items()));
    }
    int length = length(at, end, type);
    int valueAt = at + Item.HEADER_BYTES;
    return switch (type) {
      case STRUCTURE -> structure(at, tag, valueAt + length);
      case INTEGER -> new Scalar(tag, type, message.get(INT, valueAt));
      case ENUMERATION, INTERVAL ->
          new Scalar(tag, type, Integer.toUnsignedLong(message.get(INT, valueAt)));
      case LONG_INTEGER, DATE_TIME, DATE_TIME_EXTENDED ->
          new Scalar(tag, type, message.get(LONG, valueAt));
      case BOOLEAN -> {
        long value = message.get(LONG, valueAt);
        if (value != 0 && value != 1) {
          throw wrong(at, inside, "0x%X".formatted(value), "0 or 1");
        }
        yield new Scalar(tag, type, value);
      }
      case TEXT_STRING -> {
        MemorySegment utf8 = message.asSlice(valueAt, length);
        int invalidAt = Utf8.invalidAt(utf8);
        if (invalidAt >= 0) {
          throw wrong(at, inside, "no UTF-8 from byte %d of it".formatted(invalidAt), "UTF-8");
        }
        yield Content.checked(tag, type, utf8);
      }
      case BYTE_STRING, BIG_INTEGER -> Content.checked(tag, type, message.asSlice(valueAt, length));
    };
  }

  /** The length field, compared with its type and with what is left before {@code end}. */
  private int length(int at, int end, ItemType type) throws TtlvException {
    long length = Integer.toUnsignedLong(message.get(INT, at + 4));
    String actual = "length: %d bytes".formatted(length);
    if (type.fixedBytes() != ItemType.ANY_LENGTH && length != type.fixedBytes()) {
      throw wrong(at, depth + 1, actual, "%d for %s".formatted(type.fixedBytes(), type));
    }
    if (type == ItemType.STRUCTURE && length % MULTIPLE != 0) {
      throw wrong(at, depth + 1, actual, "a multiple of 8");
    }
    if (type == ItemType.BIG_INTEGER && (length == 0 || length % MULTIPLE != 0)) {
      throw wrong(at, depth + 1, actual, "a multiple of 8, and not 0");
    }
    long padded = (length + MULTIPLE - 1) / MULTIPLE * MULTIPLE;
    int left = end - at - Item.HEADER_BYTES;
    if (padded > left) {
      throw wrong(at, depth + 1, actual, "at most the %d left".formatted(left));
    }
    return (int) length;
  }

  private Structure structure(int at, int tag, int end) throws TtlvException {
    if (depth >= limits.depth()) {
      throw wrong(at, depth, "one more structure", "at most %d deep".formatted(limits.depth()));
    }
    depth++;
    List<Item> inner = new ArrayList<>();
    int next = at + Item.HEADER_BYTES;
    while (next < end) {
      Item item = item(next, end);
      inner.add(item);
      next += item.encodedBytes();
    }
    depth--;
    return new Structure(tag, inner);
  }

  private TtlvException wrong(int at, int tags, String actual, String expected) {
    String names =
        IntStream.of(path).limit(tags).mapToObj(Tag::nameOf).collect(Collectors.joining("/"));
    return new TtlvException(at, names, actual, expected);
  }
}
