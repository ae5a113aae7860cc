package io.filterd.kmip;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.filterd.kmip.ttlv.Content;
import io.filterd.kmip.ttlv.Item;
import io.filterd.kmip.ttlv.Structure;
import io.filterd.kmip.ttlv.Tag;
import io.filterd.kmip.ttlv.TtlvException;
import io.filterd.kmip.ttlv.TtlvLimits;
import io.filterd.kmip.ttlv.TtlvWriter;
import io.filterd.kmip.ttlv.Vectors;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class KmipMessagesTest {
  private static final byte[] KEY = new byte[32];

  static {
    for (int i = 0; i < KEY.length; i++) {
      KEY[i] = (byte) (i + 1);
    }
  }

  @Test
  void givesTheKeyAsAViewOfTheMessage() throws Exception {
    ByteBuffer message = direct(response(Operation.GET, keyPayload("7", rawBlock(KEY, 256))));

    KmipAnswer.Key key =
        ResponseMessage.read(message, TtlvLimits.DEFAULT).answerTo(new KmipRequest.Get("7"));

    assertThat(key.material().isNative()).isTrue();
    assertThat(key.material().toArray(ValueLayout.JAVA_BYTE)).isEqualTo(KEY);
    assertThat(key.type()).isEqualTo(ObjectType.SYMMETRIC_KEY);
    assertThat(key.format().is(KeyFormatType.RAW)).isTrue();
    assertThat(key.lengthBits()).isEqualTo(256);
    assertThat(key)
        .hasToString(
            "Key[SYMMETRIC_KEY, id=7, format=RAW, algorithm=AES, 256 bits, 32 bytes, wrapping=null]");
    MemorySegment.ofBuffer(message).fill((byte) 0);
    assertThat(key.material().toArray(ValueLayout.JAVA_BYTE)).isEqualTo(new byte[32]);
  }

  @Test
  void readsTransparentKeys() throws Exception {
    Item material =
        Item.structure(Tag.KEY_MATERIAL, Item.bytes(Tag.KEY, MemorySegment.ofArray(KEY)));
    Item block =
        block(
            KeyFormatType.TRANSPARENT_SYMMETRIC_KEY, Item.structure(Tag.KEY_VALUE, material), 256);

    KmipAnswer.Key key =
        answer(response(Operation.GET, keyPayload("7", block)), new KmipRequest.Get("7"));

    assertThat(key.material().toArray(ValueLayout.JAVA_BYTE)).isEqualTo(KEY);
  }

  @Test
  void readsWrappedKeysInBothEncodings() throws Exception {
    KmipRequest.Get get = new KmipRequest.Get("7", null, KeyWrapping.aesKeyWrap("1"));
    MemorySegment wrapped = MemorySegment.ofArray(new byte[40]);
    Item data =
        Item.structure(
            Tag.KEY_WRAPPING_DATA,
            Item.enumeration(Tag.WRAPPING_METHOD, WrappingMethod.ENCRYPT.code()),
            Item.structure(Tag.ENCRYPTION_KEY_INFORMATION, Item.text(Tag.UNIQUE_IDENTIFIER, "1")));
    for (Item value :
        List.of(
            Item.bytes(Tag.KEY_VALUE, wrapped),
            Item.structure(Tag.KEY_VALUE, Item.bytes(Tag.KEY_MATERIAL, wrapped)))) {
      Item block = block(KeyFormatType.RAW, value, 256, data);

      KmipAnswer.Key key = answer(response(Operation.GET, keyPayload("7", block)), get);

      assertThat(key.material().byteSize()).isEqualTo(40);
      assertThat(key.wrapping())
          .isEqualTo(new KeyWrapping(EnumValue.of(WrappingMethod.ENCRYPT), "1", null, null));
      assertRefused(
          response(Operation.GET, keyPayload("7", block)),
          new KmipRequest.Get("7"),
          "KeyWrappingData: a wrapped key (expected: one in the clear)");
    }
    assertRefused(
        response(Operation.GET, keyPayload("7", rawBlock(KEY, 256))), get, "a key in the clear");
    assertRefused(
        response(
            Operation.GET,
            keyPayload("7", block(KeyFormatType.RAW, Item.bytes(Tag.KEY_VALUE, wrapped), 256))),
        new KmipRequest.Get("7"),
        "KeyValue: ByteString (expected: Structure)");
  }

  @Test
  void refusesAKeyThatIsNotWhatWasAskedFor() {
    KmipRequest.Get get = new KmipRequest.Get("7");

    assertRefused(
        response(Operation.GET, keyPayload("8", rawBlock(KEY, 256))),
        get,
        "UniqueIdentifier: 8 (expected: 7)");
    assertRefused(
        response(Operation.GET, keyPayload("7", rawBlock(KEY, 128))),
        get,
        "CryptographicLength: 128 bits (expected: 256, as much as the key material)");
    assertRefused(
        response(Operation.GET, keyPayload("7", rawBlock(new byte[0], 256))),
        get,
        "KeyMaterial: no bytes");
    assertRefused(
        response(Operation.DESTROY, keyPayload("7", rawBlock(KEY, 256))),
        get,
        "Operation: DESTROY (expected: GET)");
    assertRefused(
        response(
            Operation.GET,
            Item.structure(
                Tag.RESPONSE_PAYLOAD,
                Item.text(Tag.UNIQUE_IDENTIFIER, "7"),
                Item.enumeration(Tag.OBJECT_TYPE, ObjectType.CERTIFICATE.code()))),
        get,
        "ObjectType: CERTIFICATE (expected: SYMMETRIC_KEY or SECRET_DATA)");
  }

  @Test
  void locatesErrorsInTheMessage() {
    // 8 + header (8 + 40 + 16 = 64) + 8 + 16 + 16 + 8 = 120
    assertThatExceptionOfType(TtlvException.class)
        .isThrownBy(
            () ->
                answer(
                    response(
                        Operation.ACTIVATE,
                        Item.structure(
                            Tag.RESPONSE_PAYLOAD, Item.integer(Tag.UNIQUE_IDENTIFIER, 7))),
                    new KmipRequest.Activate("7")))
        .withMessage(
            "byte 120: ResponseMessage/BatchItem/ResponsePayload/UniqueIdentifier: Integer"
                + " (expected: TextString)");
  }

  @Test
  void boundsIdentifiers() {
    for (String bad : List.of("", "a\nb", "x".repeat(257), "\u202E", "a".repeat(100_000))) {
      assertRefused(
          response(
              Operation.CREATE,
              Item.structure(
                  Tag.RESPONSE_PAYLOAD,
                  Item.enumeration(Tag.OBJECT_TYPE, ObjectType.SYMMETRIC_KEY.code()),
                  Item.text(Tag.UNIQUE_IDENTIFIER, bad))),
          new KmipRequest.Create(List.of()),
          "1 to 256 characters");
      assertThatIllegalArgumentException().isThrownBy(() -> new KmipRequest.Get(bad));
    }
  }

  @Test
  void checksBatchCounts() {
    Item two = Item.structure(Tag.RESPONSE_MESSAGE, header(2), item(Operation.GET, "7"));

    assertRefused(two, new KmipRequest.Activate("7"), "BatchCount: 2 (expected: 1, as many");
    assertRefused(
        Item.structure(Tag.RESPONSE_MESSAGE, header(0)),
        new KmipRequest.Activate("7"),
        "0 answers (expected: 1)");
  }

  @Test
  void findsAnswersInABatchByTheirId() throws Exception {
    RequestMessage request =
        new RequestMessage(
            KmipVersion.V1_4,
            0,
            null,
            List.of(
                new KmipRequest.Activate("a"),
                new KmipRequest.Destroy("b"),
                new KmipRequest.Destroy("c")));
    List<MemorySegment> ids = new ArrayList<>();
    for (Item part : request.toItem().items()) {
      if (part instanceof Structure item
          && item.first(Tag.UNIQUE_BATCH_ITEM_ID) instanceof Content id) {
        ids.add(id.bytes());
      }
    }
    assertThat(ids).hasSize(3);
    Item failed =
        Item.structure(
            Tag.BATCH_ITEM,
            Item.enumeration(Tag.OPERATION, Operation.DESTROY.code()),
            Item.bytes(Tag.UNIQUE_BATCH_ITEM_ID, ids.get(1)),
            Item.enumeration(Tag.RESULT_STATUS, ResultStatus.OPERATION_FAILED.code()),
            Item.enumeration(Tag.RESULT_REASON, 0x7777),
            Item.text(Tag.RESULT_MESSAGE, "no\u0007pe" + "e".repeat(1_000)));
    Item done =
        Item.structure(
            Tag.BATCH_ITEM,
            Item.enumeration(Tag.OPERATION, Operation.ACTIVATE.code()),
            Item.bytes(Tag.UNIQUE_BATCH_ITEM_ID, ids.get(0)),
            Item.enumeration(Tag.RESULT_STATUS, 0),
            Item.structure(Tag.RESPONSE_PAYLOAD, Item.text(Tag.UNIQUE_IDENTIFIER, "a")));
    ResponseMessage response =
        ResponseMessage.read(
            direct(Item.structure(Tag.RESPONSE_MESSAGE, header(2), failed, done)),
            TtlvLimits.DEFAULT);

    assertThat(response.answerTo(0, new KmipRequest.Activate("a")).id()).isEqualTo("a");
    assertThatExceptionOfType(KmipException.class)
        .isThrownBy(() -> response.answerTo(1, new KmipRequest.Destroy("b")))
        .satisfies(
            e -> {
              assertThat(e.reason()).hasToString("0x7777");
              assertThat(e.serverMessage()).startsWith("no?pe").hasSizeLessThan(310);
              assertThat(e.getMessage()).hasSizeLessThan(400);
            });
    assertThatExceptionOfType(KmipException.class)
        .isThrownBy(() -> response.answerTo(2, new KmipRequest.Destroy("c")))
        .withMessageContaining("not answered");
  }

  @Test
  void ignoresFieldsOfNewerVersions() throws Exception {
    Item payload =
        Item.structure(
            Tag.RESPONSE_PAYLOAD,
            new Structure(0x42FFFF, List.of(Item.text(Tag.UNIQUE_IDENTIFIER, "other"))),
            Item.text(Tag.UNIQUE_IDENTIFIER, "7"),
            Item.text(Tag.COMMENT, "new"));

    assertThat(answer(response(Operation.ACTIVATE, payload), new KmipRequest.Activate("7")).id())
        .isEqualTo("7");
  }

  @Test
  void writesAttributesInBothForms() throws TtlvException {
    List<Attribute> attributes =
        List.of(
            Attribute.algorithm(CryptographicAlgorithm.AES),
            Attribute.length(256),
            Attribute.usageMask(UsageMask.ENCRYPT | UsageMask.DECRYPT),
            Attribute.name("kek"),
            Attribute.objectGroup("group"),
            Attribute.applicationSpecificInformation("filterd", "data"),
            Attribute.custom("x-Product", "filterd"));
    for (KmipVersion version : List.of(KmipVersion.V1_4, KmipVersion.V2_1)) {
      Structure item = Attributes.toItem(attributes, version);
      Fields payload =
          Fields.message(Item.structure(Tag.RESPONSE_PAYLOAD, item), Tag.RESPONSE_PAYLOAD);
      Attributes read =
          version.equals(KmipVersion.V1_4)
              ? Attributes.read(payload.structure(Tag.TEMPLATE_ATTRIBUTE))
              : Attributes.read(payload);

      assertThat(read.all()).containsExactlyInAnyOrderElementsOf(attributes);
      assertThat(read.lengthBits()).hasValue(256);
      assertThat(read.usageMask()).hasValue(12);
      assertThat(read.names()).containsExactly("kek");
      assertThat(read.text("x-Product")).hasValue("filterd");
      assertThat(read.text("Object Group")).hasValue("group");
      assertThat(read.state()).isEmpty();
    }
    assertThatIllegalArgumentException()
        .isThrownBy(
            () ->
                new Attribute("", "Foo", 0, Item.integer(Tag.ATTRIBUTE_VALUE, 1))
                    .toItem(KmipVersion.V2_0))
        .withMessageContaining("Foo");
  }

  @Test
  void readsStatesAndDatesAndKeepsUnknownNumbers() throws Exception {
    Item payload =
        Item.structure(
            Tag.RESPONSE_PAYLOAD,
            Item.text(Tag.UNIQUE_IDENTIFIER, "7"),
            Item.structure(
                Tag.ATTRIBUTES,
                Item.enumeration(Tag.STATE, 99),
                Item.dateTime(Tag.ACTIVATION_DATE, 1_000),
                Item.dateTime(Tag.DEACTIVATION_DATE, Long.MAX_VALUE),
                Item.integer(Tag.CRYPTOGRAPHIC_ALGORITHM, 3),
                Item.structure(
                    Tag.ATTRIBUTE,
                    Item.text(Tag.VENDOR_IDENTIFICATION, "VMware, Inc."),
                    Item.text(Tag.ATTRIBUTE_NAME, "x-Product"),
                    Item.text(Tag.ATTRIBUTE_VALUE, "VMware vSphere"))));

    Attributes attributes =
        answer(
                response(Operation.GET_ATTRIBUTES, payload),
                new KmipRequest.GetAttributes("7", List.of()))
            .attributes();

    assertThat(attributes.state())
        .hasValueSatisfying(state -> assertThat(state.code()).isEqualTo(99));
    assertThat(attributes.date(Tag.ACTIVATION_DATE)).hasValue(Instant.ofEpochSecond(1_000));
    assertThat(attributes.date(Tag.DEACTIVATION_DATE)).isEmpty();
    assertThat(attributes.algorithm()).isEmpty();
    assertThat(attributes.all())
        .anySatisfy(attribute -> assertThat(attribute.vendor()).isEqualTo("VMware, Inc."));
  }

  @Test
  void refusesRequestsThatMakeNoSense() {
    assertThatIllegalArgumentException()
        .isThrownBy(
            () -> new KmipRequest.Revoke("1", RevocationReasonCode.KEY_COMPROMISE, "", null));
    assertThatIllegalArgumentException()
        .isThrownBy(
            () ->
                new KmipRequest.Revoke(
                    "1", RevocationReasonCode.SUPERSEDED, "", Instant.ofEpochSecond(1)));
    assertThatIllegalArgumentException().isThrownBy(() -> new KmipRequest.Locate(-1, List.of()));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new KmipRequest.ReKey("1", 1L << 32, List.of()));
    assertThatIllegalArgumentException().isThrownBy(() -> Attribute.custom("Product", "filterd"));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new RequestMessage(KmipVersion.V1_4, 0, null, List.of()));
  }

  @Test
  void neverShowsSecretsOfRequests() {
    MemorySegment password = MemorySegment.ofArray("hunter2".getBytes(StandardCharsets.US_ASCII));
    RequestMessage message =
        new RequestMessage(
            KmipVersion.V1_4,
            0,
            new Credential("filterd", password),
            List.of(
                new KmipRequest.Register(
                    List.of(), CryptographicAlgorithm.AES, MemorySegment.ofArray(KEY))));

    assertThat(message.toString() + message.toItem() + message.requests() + message.credential())
        .contains("filterd")
        .doesNotContain("hunter2")
        .doesNotContain("01020304");
  }

  private static Item rawBlock(byte[] key, int lengthBits) {
    return block(
        KeyFormatType.RAW,
        Item.structure(Tag.KEY_VALUE, Item.bytes(Tag.KEY_MATERIAL, MemorySegment.ofArray(key))),
        lengthBits);
  }

  private static Item block(KeyFormatType format, Item value, int lengthBits, Item... more) {
    List<Item> items = new ArrayList<>();
    items.add(Item.enumeration(Tag.KEY_FORMAT_TYPE, format.code()));
    items.add(value);
    items.add(Item.enumeration(Tag.CRYPTOGRAPHIC_ALGORITHM, CryptographicAlgorithm.AES.code()));
    items.add(Item.integer(Tag.CRYPTOGRAPHIC_LENGTH, lengthBits));
    items.addAll(List.of(more));
    return Item.structure(Tag.KEY_BLOCK, items);
  }

  private static Item keyPayload(String id, Item block) {
    return Item.structure(
        Tag.RESPONSE_PAYLOAD,
        Item.enumeration(Tag.OBJECT_TYPE, ObjectType.SYMMETRIC_KEY.code()),
        Item.text(Tag.UNIQUE_IDENTIFIER, id),
        Item.structure(Tag.SYMMETRIC_KEY, block));
  }

  private static Item header(int count) {
    return Item.structure(
        Tag.RESPONSE_HEADER,
        RequestMessage.toItem(KmipVersion.V1_4),
        Item.integer(Tag.BATCH_COUNT, count));
  }

  private static Item item(Operation operation, String id) {
    return Item.structure(
        Tag.BATCH_ITEM,
        Item.enumeration(Tag.OPERATION, operation.code()),
        Item.enumeration(Tag.RESULT_STATUS, 0),
        Item.structure(Tag.RESPONSE_PAYLOAD, Item.text(Tag.UNIQUE_IDENTIFIER, id)));
  }

  private static Item response(Operation operation, Item payload) {
    return Item.structure(
        Tag.RESPONSE_MESSAGE,
        header(1),
        Item.structure(
            Tag.BATCH_ITEM,
            Item.enumeration(Tag.OPERATION, operation.code()),
            Item.enumeration(Tag.RESULT_STATUS, 0),
            payload));
  }

  private static ByteBuffer direct(Item item) {
    ByteBuffer buffer = ByteBuffer.allocateDirect(item.encodedBytes());
    TtlvWriter.write(item, buffer);
    return buffer.flip();
  }

  private static <A extends KmipAnswer> A answer(Item response, KmipRequest<A> request)
      throws KmipException, TtlvException {
    return ResponseMessage.read(ByteBuffer.wrap(Vectors.encode(response)), TtlvLimits.DEFAULT)
        .answerTo(request);
  }

  private static void assertRefused(Item response, KmipRequest<?> request, String message) {
    assertThatExceptionOfType(TtlvException.class)
        .isThrownBy(() -> answer(response, request))
        .withMessageContaining(message);
  }
}
