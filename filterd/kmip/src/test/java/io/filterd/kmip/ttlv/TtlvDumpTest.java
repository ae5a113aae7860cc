package io.filterd.kmip.ttlv;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;

class TtlvDumpTest {
  private static final MemorySegment SECRET =
      MemorySegment.ofArray("supersecret".getBytes(StandardCharsets.US_ASCII));

  @Test
  void showsStructureAndNames() {
    Item item =
        Item.structure(
            Tag.BATCH_ITEM,
            Item.enumeration(Tag.OPERATION, 10),
            Item.bytes(Tag.UNIQUE_BATCH_ITEM_ID, MemorySegment.ofArray(new byte[] {1, -1})),
            Item.structure(Tag.REQUEST_PAYLOAD, Item.text(Tag.UNIQUE_IDENTIFIER, "a\nb\u202E")),
            new Scalar(0x540001, ItemType.BOOLEAN, 1));

    assertThat(TtlvDump.of(item))
        .isEqualTo(
            """
            BatchItem Structure
              Operation Enumeration 0x0000000A
              UniqueBatchItemID ByteString 01ff
              RequestPayload Structure
                UniqueIdentifier TextString "a?b?"
              0x540001 Boolean true""");
  }

  @Test
  void neverShowsWhatMayBeSecret() {
    List<Item> items = new ArrayList<>();
    for (Tag tag : List.of(Tag.KEY_MATERIAL, Tag.KEY, Tag.PASSWORD, Tag.KEY_VALUE, Tag.DATA)) {
      items.add(Item.bytes(tag, SECRET));
      items.add(Item.text(tag, SECRET));
      items.add(Item.structure(tag, Item.bytes(Tag.UNIQUE_BATCH_ITEM_ID, SECRET)));
    }
    items.add(Item.bytes(Tag.ATTRIBUTE_VALUE, SECRET));
    items.add(new Content(0x540001, ItemType.BYTE_STRING, SECRET));
    for (Tag tag : List.of(Tag.KEY_BLOCK, Tag.CREDENTIAL, Tag.AUTHENTICATION)) {
      items.add(
          Item.structure(
              tag,
              Item.bytes(Tag.UNIQUE_BATCH_ITEM_ID, SECRET),
              Item.bytes(Tag.DIGEST_VALUE, SECRET),
              Item.text(Tag.COMMENT, SECRET)));
    }
    items.add(
        Item.structure(
            Tag.KEY_MATERIAL, Item.text(Tag.COMMENT, SECRET), Item.integer(Tag.J, 4711)));

    String dump = TtlvDump.of(Item.structure(Tag.RESPONSE_MESSAGE, items));

    assertThat(dump)
        .doesNotContain("supersecret")
        .doesNotContain("4711")
        .doesNotContain(HexFormat.of().formatHex(SECRET.toArray(ValueLayout.JAVA_BYTE)));
    for (Item item : items) {
      assertThat(item.toString()).isNotEmpty().doesNotContain("supersecret");
    }
  }

  @Test
  void showsTheUserButNotThePassword() {
    Item credential =
        Item.structure(
            Tag.CREDENTIAL_VALUE,
            Item.text(Tag.USERNAME, "filterd"),
            Item.text(Tag.PASSWORD, SECRET));

    assertThat(TtlvDump.of(Item.structure(Tag.CREDENTIAL, credential)))
        .contains("Username TextString \"filterd\"")
        .contains("Password TextString (11 bytes hidden)");
  }

  @Test
  void cutsLongTexts() {
    assertThat(TtlvDump.of(Item.text(Tag.COMMENT, "x".repeat(100_000))))
        .hasSizeLessThan(300)
        .endsWith("...\"");
  }

  @Test
  void hidesTheKeysOfCapturedMessages() throws TtlvException {
    for (Vectors.Captured message : Vectors.captured()) {
      Item item = TtlvReader.read(ByteBuffer.wrap(message.bytes()), TtlvLimits.DEFAULT);
      String dump = TtlvDump.of(item);
      forEachKey(item, key -> assertThat(dump).as(message.toString()).doesNotContain(key));
    }
  }

  private static void forEachKey(Item item, Consumer<String> check) {
    if (item instanceof Structure structure) {
      structure.items().forEach(inner -> forEachKey(inner, check));
    } else if (item instanceof Content content && item.is(Tag.KEY_MATERIAL)) {
      check.accept(HexFormat.of().formatHex(content.copyOfBytes()));
    }
  }

  @Test
  void namesTagsAsTheSpecificationDoes() {
    assertThat(Tag.nameOf(0x420093)).isEqualTo("UniqueBatchItemID");
    assertThat(Tag.nameOf(0x42003D)).isEqualTo("IVCounterNonce");
    assertThat(Tag.nameOf(0x42FFFF)).isEqualTo("0x42FFFF");
    assertThat(Tag.of(0x420078)).isEqualTo(Tag.REQUEST_MESSAGE);
  }
}
