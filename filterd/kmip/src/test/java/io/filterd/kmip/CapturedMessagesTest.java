package io.filterd.kmip;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import io.filterd.kmip.ttlv.Content;
import io.filterd.kmip.ttlv.Item;
import io.filterd.kmip.ttlv.Scalar;
import io.filterd.kmip.ttlv.Structure;
import io.filterd.kmip.ttlv.Tag;
import io.filterd.kmip.ttlv.TtlvException;
import io.filterd.kmip.ttlv.TtlvLimits;
import io.filterd.kmip.ttlv.TtlvReader;
import io.filterd.kmip.ttlv.Vectors;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/** Every captured request can be made, and every captured answer to one is understood. */
class CapturedMessagesTest {
  /** Requests which PyKMIP writes otherwise than the specification says, or we on purpose. */
  private static final List<String> WRITTEN_OTHERWISE =
      List.of(
          "own-0272" // an attribute's index of 0, which is left out
          );

  @Test
  void writesTheRequestsAsTheyWereSent() throws TtlvException {
    Map<Operation, Integer> written = new EnumMap<>(Operation.class);
    for (Vectors.Captured message : Vectors.captured()) {
      if (!message.isRequest()) {
        continue;
      }
      Structure captured = read(message);
      int position = -1;
      for (Item part : captured.items()) {
        if (!(part instanceof Structure item) || !item.is(Tag.BATCH_ITEM)) {
          continue;
        }
        position++;
        KmipRequest<?> request = requestIn(captured, position);
        if (request == null || hasEmptyTemplate(item)) {
          continue;
        }
        KmipVersion version = versionOf(captured);
        Structure payload = Payloads.of(request, version);
        written.merge(request.operation(), 1, Integer::sum);
        if (!WRITTEN_OTHERWISE.contains(message.id())) {
          assertThat(payload)
              .as("%s: %s", message, request)
              .isEqualTo(item.first(Tag.REQUEST_PAYLOAD));
        }
      }
    }
    assertThat(written.keySet())
        .contains(
            Operation.DISCOVER_VERSIONS,
            Operation.QUERY,
            Operation.CREATE,
            Operation.REGISTER,
            Operation.ACTIVATE,
            Operation.GET,
            Operation.GET_ATTRIBUTES,
            Operation.ADD_ATTRIBUTE,
            Operation.MODIFY_ATTRIBUTE,
            Operation.LOCATE,
            Operation.CHECK,
            Operation.REVOKE,
            Operation.DESTROY);
    assertThat(written.values().stream().mapToInt(Integer::intValue).sum()).isGreaterThan(100);
  }

  @Test
  void writesWholeMessagesAsTheyWereSent() throws TtlvException {
    int compared = 0;
    for (Vectors.Captured message : Vectors.captured()) {
      Structure captured = read(message);
      Structure header = (Structure) captured.items().getFirst();
      if (!message.isRequest()
          || header.items().size() != 2
          || captured.items().size() != 2
          || WRITTEN_OTHERWISE.contains(message.id())) {
        continue;
      }
      KmipRequest<?> request = requestIn(captured, 0);
      if (request != null) {
        RequestMessage ours = new RequestMessage(versionOf(captured), 0, null, List.of(request));
        assertThat(Vectors.encode(ours.toItem())).as("%s", message).isEqualTo(message.bytes());
        compared++;
      }
    }
    assertThat(compared).isGreaterThan(20);
  }

  @Test
  void understandsTheAnswersOfEachOperation() throws TtlvException {
    Map<Operation, Integer> succeeded = new EnumMap<>(Operation.class);
    Map<Operation, Integer> failed = new EnumMap<>(Operation.class);
    for (Vectors.Captured message : Vectors.captured()) {
      if (message.isRequest() || message.operations().size() != 1) {
        continue;
      }
      ResponseMessage response =
          ResponseMessage.read(ByteBuffer.wrap(message.bytes()), TtlvLimits.DEFAULT);
      Structure item = (Structure) Objects.requireNonNull(read(message).first(Tag.BATCH_ITEM));
      KmipRequest<?> request = requestFor(item);
      if (request == null) {
        continue;
      }
      try {
        KmipAnswer answer = response.answerTo(request);
        succeeded.merge(request.operation(), 1, Integer::sum);
        if (answer instanceof KmipAnswer.Key key) {
          assertThat(key.lengthBits()).as("%s", message).isIn(128, 256);
          assertThat(key.material().byteSize())
              .as("%s", message)
              .isEqualTo(key.lengthBits() / 8 + (key.wrapping() == null ? 0 : 8));
        }
      } catch (KmipException e) {
        assertThat(e.reason()).as("%s", message).isNotNull();
        failed.merge(request.operation(), 1, Integer::sum);
      }
    }
    assertThat(succeeded.keySet())
        .contains(
            Operation.DISCOVER_VERSIONS,
            Operation.QUERY,
            Operation.CREATE,
            Operation.REGISTER,
            Operation.ACTIVATE,
            Operation.GET,
            Operation.GET_ATTRIBUTES,
            Operation.MODIFY_ATTRIBUTE,
            Operation.LOCATE,
            Operation.REVOKE,
            Operation.DESTROY);
    assertThat(failed.keySet()).contains(Operation.REKEY, Operation.CHECK, Operation.GET);
  }

  @Test
  void saysWhyAnUnreadableRequestFailed() throws TtlvException {
    // A request of a version the server does not speak: answered as 1.0 and without an operation.
    ResponseMessage response = ResponseMessage.read(bytesOf("own-0248"), TtlvLimits.DEFAULT);

    assertThat(response.version()).isEqualTo(KmipVersion.V1_0);
    assertThatExceptionOfType(KmipException.class)
        .isThrownBy(() -> response.answerTo(new KmipRequest.Get("1")))
        .satisfies(
            e -> {
              assertThat(e.is(ResultReason.INVALID_MESSAGE)).isTrue();
              assertThat(e.operation()).isEqualTo(Operation.GET);
              assertThat(e.status().is(ResultStatus.OPERATION_FAILED)).isTrue();
              assertThat(e.serverMessage()).isNotEmpty();
              assertThat(e).hasMessageStartingWith("GET: the server answers OPERATION_FAILED");
            });
  }

  private static ByteBuffer bytesOf(String id) {
    return ByteBuffer.wrap(
        Vectors.captured().stream()
            .filter(message -> message.id().equals(id))
            .findFirst()
            .orElseThrow()
            .bytes());
  }

  private static boolean hasEmptyTemplate(Structure item) {
    return item.first(Tag.REQUEST_PAYLOAD) instanceof Structure payload
        && payload.first(Tag.TEMPLATE_ATTRIBUTE) instanceof Structure template
        && template.items().isEmpty();
  }

  private static @Nullable KmipRequest<?> requestIn(Structure message, int position)
      throws TtlvException {
    return RequestReading.all(message).get(position);
  }

  static KmipVersion versionOf(Structure message) throws TtlvException {
    Tag header = message.is(Tag.REQUEST_MESSAGE) ? Tag.REQUEST_HEADER : Tag.RESPONSE_HEADER;
    return ResponseMessage.version(
        Fields.message(
                message,
                message.is(Tag.REQUEST_MESSAGE) ? Tag.REQUEST_MESSAGE : Tag.RESPONSE_MESSAGE)
            .structure(header)
            .structure(Tag.PROTOCOL_VERSION));
  }

  private static Structure read(Vectors.Captured message) throws TtlvException {
    return (Structure) TtlvReader.read(ByteBuffer.wrap(message.bytes()), TtlvLimits.DEFAULT);
  }

  /** A request that this could be the answer to. */
  static @Nullable KmipRequest<?> requestFor(Structure batchItem) {
    if (!(batchItem.first(Tag.OPERATION) instanceof Scalar operation)) {
      return null;
    }
    Structure payload =
        batchItem.first(Tag.RESPONSE_PAYLOAD) instanceof Structure there
            ? there
            : Item.structure(Tag.RESPONSE_PAYLOAD);
    String id = payload.first(Tag.UNIQUE_IDENTIFIER) instanceof Content text ? text.text() : "none";
    Map<Operation, KmipRequest<?>> requests = new HashMap<>();
    for (KmipRequest<?> request : requestsOf(id, isWrapped(payload))) {
      requests.put(request.operation(), request);
    }
    return requests.get(EnumValue.of(operation.intValue(), Operation.class).known());
  }

  private static boolean isWrapped(Structure structure) {
    return structure.first(Tag.KEY_WRAPPING_DATA) != null
        || structure.items().stream()
            .anyMatch(item -> item instanceof Structure inner && isWrapped(inner));
  }

  static List<KmipRequest<?>> requestsOf(String id, boolean wrapped) {
    List<KmipRequest<?>> all = new ArrayList<>();
    all.add(new KmipRequest.DiscoverVersions(List.of()));
    all.add(new KmipRequest.Query(Set.of(QueryFunction.OPERATIONS)));
    all.add(new KmipRequest.Create(List.of()));
    all.add(
        new KmipRequest.Register(
            List.of(), CryptographicAlgorithm.AES, MemorySegment.ofArray(new byte[32])));
    all.add(new KmipRequest.Activate(id));
    all.add(new KmipRequest.Get(id, null, wrapped ? KeyWrapping.aesKeyWrap("1") : null));
    all.add(new KmipRequest.GetAttributes(id, List.of()));
    all.add(new KmipRequest.AddAttribute(id, Attribute.custom("x-a", "b")));
    all.add(new KmipRequest.ModifyAttribute(id, Attribute.name("b")));
    all.add(new KmipRequest.Locate(0, List.of()));
    all.add(new KmipRequest.Check(id, 0));
    all.add(new KmipRequest.Revoke(id, RevocationReasonCode.CESSATION_OF_OPERATION, "", null));
    all.add(new KmipRequest.Destroy(id));
    all.add(new KmipRequest.ReKey(id, -1, List.of()));
    return all;
  }
}
