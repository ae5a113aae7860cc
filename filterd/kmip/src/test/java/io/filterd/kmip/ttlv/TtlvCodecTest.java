package io.filterd.kmip.ttlv;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.HexFormat;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class TtlvCodecTest {
  static List<Vectors.Captured> captured() {
    return Vectors.captured();
  }

  static List<Vectors.Malformed> malformed() {
    return Vectors.malformed();
  }

  @ParameterizedTest
  @MethodSource("captured")
  void writesACapturedMessageAsItWasRead(Vectors.Captured message) throws TtlvException {
    Item item = read(message.bytes());

    assertThat(Vectors.encode(item)).isEqualTo(message.bytes());
    assertThat(read(Vectors.encode(item))).isEqualTo(item);
  }

  @ParameterizedTest
  @MethodSource("captured")
  void framesACapturedMessage(Vectors.Captured message) throws TtlvException {
    Tag tag = message.isRequest() ? Tag.REQUEST_MESSAGE : Tag.RESPONSE_MESSAGE;
    ByteBuffer stream = ByteBuffer.wrap(message.bytes());

    assertThat(TtlvReader.messageBytes(stream, tag, TtlvLimits.DEFAULT))
        .isEqualTo(message.bytes().length);
    assertThat(stream.position()).isZero();
  }

  @ParameterizedTest
  @MethodSource("malformed")
  void judgesMalformedBytes(Vectors.Malformed malformed) throws TtlvException {
    if (malformed.expect().equals("reject")) {
      assertThatExceptionOfType(TtlvException.class)
          .isThrownBy(() -> read(malformed.bytes()))
          .withMessageMatching("byte \\d+: .*\\(expected: .+\\)");
      return;
    }
    Item item = read(malformed.bytes());

    assertThat(read(Vectors.encode(item))).isEqualTo(item);
    if (malformed.expect().equals("accept")) {
      assertThat(Vectors.encode(item)).isEqualTo(malformed.bytes());
    }
  }

  @Test
  void writesTheExamplesOfTheSpecification() {
    // KMIP 1.4 section 9.1.2; the tag there is 42 00 20 for all of them.
    Tag tag = Tag.COMPROMISE_DATE;

    assertHex(Item.integer(tag, 8), "42002002000000040000000800000000");
    assertHex(Item.longInteger(tag, 123456789000000000L), "420020030000000801B69B4BA5749200");
    assertHex(
        new Content(
            tag.code(),
            ItemType.BIG_INTEGER,
            segment(HexFormat.of().parseHex("0000000003FD35EB6BC2DF4618080000"))),
        "42002004000000100000000003FD35EB6BC2DF4618080000");
    assertHex(Item.enumeration(tag, 255), "4200200500000004000000FF00000000");
    assertHex(Item.bool(tag, true), "42002006000000080000000000000001");
    assertHex(Item.text(tag, "Hello World"), "420020070000000B48656C6C6F20576F726C640000000000");
    assertHex(Item.bytes(tag, segment(new byte[] {1, 2, 3})), "42002008000000030102030000000000");
    assertHex(Item.dateTime(tag, 0x47DA67F8), "42002009000000080000000047DA67F8");
    assertHex(Item.interval(tag, 864000), "4200200A00000004000D2F0000000000");
    assertHex(
        Item.structure(
            tag, Item.enumeration(Tag.APPLICATION_SPECIFIC_INFORMATION, 254), integer5(255)),
        "42002001000000204200040500000004000000FE000000004200050200000004000000FF00000000");
  }

  @Test
  void readsNumbersAtTheirEnds() throws TtlvException {
    Tag tag = Tag.BATCH_COUNT;
    for (Item item :
        List.of(
            Item.integer(tag, Integer.MIN_VALUE),
            Item.integer(tag, -1),
            Item.longInteger(tag, Long.MIN_VALUE),
            Item.enumeration(tag, -1),
            Item.interval(tag, 0xFFFFFFFFL),
            Item.dateTime(tag, -1),
            new Scalar(0x540000, ItemType.DATE_TIME_EXTENDED, Long.MAX_VALUE),
            new Scalar(Item.MAX_TAG, ItemType.BOOLEAN, 0))) {
      assertThat(read(Vectors.encode(item))).isEqualTo(item);
    }
    assertThat(Item.enumeration(tag, -1).value()).isEqualTo(0xFFFFFFFFL);
    assertThat(
            new Content(
                    tag.code(),
                    ItemType.BIG_INTEGER,
                    segment(BigInteger.valueOf(Long.MIN_VALUE).toByteArray()))
                .bigInteger())
        .isEqualTo(BigInteger.valueOf(Long.MIN_VALUE));
  }

  @Test
  void refusesValuesThatDoNotFitTheirType() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new Scalar(1, ItemType.INTEGER, 1L << 31))
        .withMessageContaining("2147483648");
    assertThatIllegalArgumentException().isThrownBy(() -> new Scalar(1, ItemType.BOOLEAN, 2));
    assertThatIllegalArgumentException().isThrownBy(() -> Item.interval(Tag.LEASE_TIME, 1L << 32));
    assertThatIllegalArgumentException().isThrownBy(() -> new Scalar(1 << 24, ItemType.INTEGER, 1));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> Item.text(Tag.NAME_VALUE, "\uD800"))
        .withMessageContaining("lone surrogate");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> Item.text(Tag.NAME_VALUE, segment(new byte[] {(byte) 0xC0})));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new Content(1, ItemType.BIG_INTEGER, segment(new byte[7])));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new Content(1, ItemType.INTEGER, segment(new byte[4])));
  }

  @Test
  void refusesToNestTooDeep() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> nested(Structure.MAX_DEPTH + 1))
        .withMessageContaining("deeper than 64");
  }

  @Test
  void keepsToItsLimits() throws TtlvException {
    assertThat(read(Vectors.encode(nested(32)))).isEqualTo(nested(32));
    assertThatExceptionOfType(TtlvException.class)
        .isThrownBy(() -> read(Vectors.encode(nested(33))))
        .withMessageContaining("at most 32 deep");

    byte[] many = Vectors.encode(Item.structure(Tag.OPERATIONS, integers(9_999)));
    assertThat(read(many).encodedBytes()).isEqualTo(many.length);
    byte[] tooMany = Vectors.encode(Item.structure(Tag.OPERATIONS, integers(10_000)));
    assertThatExceptionOfType(TtlvException.class)
        .isThrownBy(() -> read(tooMany))
        .withMessageContaining("at most 10000");

    Item large = Item.bytes(Tag.DATA, segment(new byte[(1 << 20) - 8]));
    assertThat(read(Vectors.encode(large))).isEqualTo(large);
    Item tooLarge = Item.bytes(Tag.DATA, segment(new byte[(1 << 20) - 7]));
    assertThatExceptionOfType(TtlvException.class)
        .isThrownBy(() -> read(Vectors.encode(tooLarge)))
        .withMessageContaining("at most 1048576");
  }

  @Test
  void saysWhereTheFaultIs() {
    Item response =
        Item.structure(
            Tag.RESPONSE_MESSAGE,
            Item.structure(Tag.RESPONSE_HEADER, Item.integer(Tag.BATCH_COUNT, 1)),
            Item.structure(Tag.BATCH_ITEM, Item.enumeration(Tag.OPERATION, 1)));
    byte[] bytes = Vectors.encode(response);
    bytes[40 + 7] = 8; // the length of Operation

    assertThatExceptionOfType(TtlvException.class)
        .isThrownBy(() -> read(bytes))
        .withMessage(
            "byte 40: ResponseMessage/BatchItem/Operation: length: 8 bytes"
                + " (expected: 4 for Enumeration)")
        .satisfies(
            e -> {
              assertThat(e.byteOffset()).isEqualTo(40);
              assertThat(e.path()).isEqualTo("ResponseMessage/BatchItem/Operation");
              assertThat(e.actual()).isEqualTo("length: 8 bytes");
              assertThat(e.expected()).isEqualTo("4 for Enumeration");
            });
  }

  @Test
  void refusesFramesThatAreNoMessage() {
    assertFrame("4200780100000008", "tag of a ResponseMessage");
    assertFrame("42007B0200000004", "a Structure");
    assertFrame("42007B01FFFFFFF8", "at most 1048568");
    assertFrame("42007B0100100000", "at most 1048568");
    assertFrame("42007B0100000004", "a multiple of 8");
    assertFrame("485454502F312E31", "tag of a ResponseMessage"); // HTTP/1.1
    assertFrame("1503030002022800", "tag of a ResponseMessage"); // a TLS alert
  }

  @Test
  void keepsBytesAndTextsInTheMemoryTheyWereReadFrom() throws TtlvException {
    ByteBuffer message = ByteBuffer.allocateDirect(64).order(ByteOrder.LITTLE_ENDIAN);
    message.position(8);
    Item written =
        Item.structure(
            Tag.KEY_VALUE, Item.bytes(Tag.KEY_MATERIAL, segment(new byte[] {1, 2, 3, 4, 5})));
    TtlvWriter.write(written, message);
    message.flip().position(8);

    Structure read = (Structure) TtlvReader.read(message, TtlvLimits.DEFAULT);
    Content key = (Content) read.items().getFirst();

    assertThat(read).isEqualTo(written);
    assertThat(key.bytes().isNative()).isTrue();
    assertThat(key.bytes().address()).isEqualTo(MemorySegment.ofBuffer(message).address() + 16);
    assertThat(key.bytes().isReadOnly()).isTrue();
    MemorySegment.ofBuffer(message).fill((byte) 0);
    assertThat(key.copyOfBytes()).isEqualTo(new byte[5]);
  }

  @Test
  void writesAPasswordThatIsNoString() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment password = arena.allocateFrom("héslo", StandardCharsets.UTF_8);
      Item item = Item.text(Tag.PASSWORD, password.asSlice(0, password.byteSize() - 1));

      assertHex(item, "4200A1070000000668C3A9736C6F0000");
      assertThat(item).hasToString("Password TextString (6 bytes hidden)");
    }
  }

  @Test
  void refusesToWriteWithoutRoom() {
    ByteBuffer small = ByteBuffer.allocate(15);

    assertThatIllegalArgumentException()
        .isThrownBy(() -> TtlvWriter.write(Item.integer(Tag.BATCH_COUNT, 1), small))
        .withMessage("15 bytes of room (expected: at least 16)");
    assertThat(small.position()).isZero();
  }

  private static Item nested(int depth) {
    Structure inner = Item.structure(Tag.ATTRIBUTES);
    for (int level = 1; level < depth; level++) {
      inner = Item.structure(Tag.ATTRIBUTES, inner);
    }
    return inner;
  }

  private static List<Item> integers(int count) {
    return Collections.nCopies(count, Item.integer(Tag.BATCH_COUNT, 1));
  }

  private static Item integer5(int value) {
    return new Scalar(0x420005, ItemType.INTEGER, value);
  }

  private static void assertFrame(String header, String expected) {
    ByteBuffer bytes = ByteBuffer.wrap(HexFormat.of().parseHex(header));
    assertThatExceptionOfType(TtlvException.class)
        .isThrownBy(() -> TtlvReader.messageBytes(bytes, Tag.RESPONSE_MESSAGE, TtlvLimits.DEFAULT))
        .withMessageContaining(expected);
  }

  private static void assertHex(Item item, String hex) {
    assertThat(HexFormat.of().withUpperCase().formatHex(Vectors.encode(item))).isEqualTo(hex);
  }

  private static Item read(byte[] bytes) throws TtlvException {
    return TtlvReader.read(ByteBuffer.wrap(bytes), TtlvLimits.DEFAULT);
  }

  private static MemorySegment segment(byte[] bytes) {
    return MemorySegment.ofArray(bytes);
  }
}
