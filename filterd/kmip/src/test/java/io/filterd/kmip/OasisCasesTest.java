package io.filterd.kmip;

import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.kmip.ttlv.Item;
import io.filterd.kmip.ttlv.Structure;
import io.filterd.kmip.ttlv.Tag;
import io.filterd.kmip.ttlv.TtlvDump;
import io.filterd.kmip.ttlv.TtlvException;
import io.filterd.kmip.ttlv.TtlvLimits;
import io.filterd.kmip.ttlv.TtlvReader;
import io.filterd.kmip.ttlv.Vectors;
import java.nio.ByteBuffer;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;

@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class OasisCasesTest {
  /** What some of the cases use and our requests have no word for. */
  private static final Set<Tag> NEVER_WRITTEN =
      EnumSet.of(
          Tag.STORAGE_STATUS_MASK,
          Tag.OFFSET_ITEMS,
          Tag.OBJECT_GROUP_MEMBER,
          Tag.KEY_WRAP_TYPE,
          Tag.KEY_COMPRESSION_TYPE,
          Tag.MAC_SIGNATURE_KEY_INFORMATION,
          Tag.USAGE_LIMITS_COUNT,
          Tag.LEASE_TIME,
          Tag.ATTRIBUTE_INDEX, // of 0
          Tag.NAME); // of a template

  private List<OasisCases.Message> messages = List.of();

  @BeforeAll
  void readCases() throws Exception {
    messages = OasisCases.all();
  }

  @Test
  void writesAndReadsEachMessage() throws Exception {
    assertThat(messages).hasSize(5_310);
    for (OasisCases.Message message : messages) {
      byte[] bytes = Vectors.encode(message.item());
      Item read = TtlvReader.read(ByteBuffer.wrap(bytes), TtlvLimits.DEFAULT);

      assertThat(read).as(message.id()).isEqualTo(message.item());
      assertThat(Vectors.encode(read)).as(message.id()).isEqualTo(bytes);
      assertThat(TtlvDump.of(read)).as(message.id()).isNotEmpty();
    }
  }

  @Test
  void makesTheRequestsOfItsOperations() throws Exception {
    Map<Operation, Integer> same = new EnumMap<>(Operation.class);
    for (OasisCases.Message message : messages) {
      if (!message.isRequest()) {
        continue;
      }
      KmipVersion version = CapturedMessagesTest.versionOf(message.item());
      List<@Nullable KmipRequest<?>> requests = RequestReading.all(message.item());
      int position = 0;
      for (Item part : message.item().items()) {
        if (!(part instanceof Structure item) || !item.is(Tag.BATCH_ITEM)) {
          continue;
        }
        KmipRequest<?> request = requests.get(position++);
        if (request == null) {
          continue;
        }
        Structure payload = Payloads.of(request, version);
        Item original = Objects.requireNonNull(item.first(Tag.REQUEST_PAYLOAD));
        if (NEVER_WRITTEN.stream().noneMatch(tag -> holds(original, tag))) {
          assertThat(payload).as(message.id()).isEqualTo(original);
          same.merge(request.operation(), 1, Integer::sum);
        }
      }
    }
    assertThat(same.values().stream().mapToInt(Integer::intValue).sum())
        .as("%s", same)
        .isGreaterThan(2_000);
  }

  @Test
  void understandsTheAnswersToItsOperations() throws Exception {
    Map<Operation, Integer> succeeded = new EnumMap<>(Operation.class);
    Map<Operation, Integer> failed = new EnumMap<>(Operation.class);
    Map<String, Integer> refused = new TreeMap<>();
    for (OasisCases.Message message : messages) {
      if (message.isRequest()) {
        continue;
      }
      for (Fields item :
          Fields.message(message.item(), Tag.RESPONSE_MESSAGE).structures(Tag.BATCH_ITEM)) {
        KmipRequest<?> request =
            CapturedMessagesTest.requestFor(Item.structure(Tag.BATCH_ITEM, item.items()));
        if (request == null) {
          continue;
        }
        byte[] alone =
            Vectors.encode(
                Item.structure(
                    Tag.RESPONSE_MESSAGE,
                    Item.structure(
                        Tag.RESPONSE_HEADER,
                        RequestMessage.toItem(KmipVersion.V1_4),
                        Item.integer(Tag.BATCH_COUNT, 1)),
                    Item.structure(Tag.BATCH_ITEM, item.items())));
        try {
          ResponseMessage response =
              ResponseMessage.read(ByteBuffer.wrap(alone), TtlvLimits.DEFAULT);
          assertThat(response.answerTo(request)).isNotNull();
          succeeded.merge(request.operation(), 1, Integer::sum);
        } catch (KmipException e) {
          failed.merge(request.operation(), 1, Integer::sum);
        } catch (TtlvException e) {
          refused.merge(e.path() + ": " + e.actual(), 1, Integer::sum);
        }
      }
    }
    assertThat(refused.keySet())
        .as("succeeded %s, failed %s", succeeded, failed)
        .containsExactlyInAnyOrder(
            // Objects that are no symmetric keys.
            "ResponseMessage/BatchItem/ResponsePayload/ObjectType: CERTIFICATE",
            "ResponseMessage/BatchItem/ResponsePayload/ObjectType: PGP_KEY",
            "ResponseMessage/BatchItem/ResponsePayload/ObjectType: PRIVATE_KEY",
            "ResponseMessage/BatchItem/ResponsePayload/ObjectType: PUBLIC_KEY",
            "ResponseMessage/BatchItem/ResponsePayload/ObjectType: SPLIT_KEY",
            "ResponseMessage/BatchItem/ResponsePayload/ObjectType: TEMPLATE",
            // A key that is elsewhere, and a variable in place of a key.
            "ResponseMessage/BatchItem/ResponsePayload/SymmetricKey/KeyBlock: no KeyValue",
            "ResponseMessage/BatchItem/ResponsePayload/SymmetricKey/KeyBlock/CryptographicLength:"
                + " 256 bits");
    assertThat(succeeded.keySet())
        .containsAll(
            CapturedMessagesTest.requestsOf("1", false).stream()
                .map(KmipRequest::operation)
                .toList());
  }

  private static boolean holds(Item item, Tag tag) {
    return item.is(tag)
        || (item instanceof Structure structure
            && structure.items().stream().anyMatch(inner -> holds(inner, tag)));
  }
}
