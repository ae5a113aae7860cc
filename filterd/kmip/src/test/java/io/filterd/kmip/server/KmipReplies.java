package io.filterd.kmip.server;

import io.filterd.kmip.KmipVersion;
import io.filterd.kmip.Operation;
import io.filterd.kmip.ResultReason;
import io.filterd.kmip.ttlv.Content;
import io.filterd.kmip.ttlv.Item;
import io.filterd.kmip.ttlv.Scalar;
import io.filterd.kmip.ttlv.Structure;
import io.filterd.kmip.ttlv.Tag;
import io.filterd.kmip.ttlv.TtlvException;
import io.filterd.kmip.ttlv.TtlvLimits;
import io.filterd.kmip.ttlv.TtlvReader;
import io.filterd.kmip.ttlv.TtlvWriter;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import org.jspecify.annotations.Nullable;

/**
 * Answers for a {@link ScriptedKmipServer}, one rule for each operation. An operation without a
 * rule is not supported. Rules are made before the server starts.
 */
public final class KmipReplies implements ScriptedKmipServer.Answers {
  /** What a server does with one kind of request. */
  @FunctionalInterface
  public interface Rule {
    /** The reply, or null to close the connection without one. */
    @Nullable Reply to(KmipVersion version, Structure payload);
  }

  /** What a batch item of an answer says. */
  public sealed interface Reply {
    /** It is done. */
    record Done(List<Item> payload) implements Reply {}

    /** It failed. */
    record Refused(ResultReason reason, String words) implements Reply {}

    /** The server could not even read the message: it answers in version 1.0, to no operation. */
    record NotRead(ResultReason reason, String words) implements Reply {}

    /** A whole message, as it is. */
    record Whole(Structure message) implements Reply {}

    /** Done, with these items in the answer. */
    static Reply done(Item... payload) {
      return new Done(List.of(payload));
    }

    /** Failed for this reason. */
    static Reply refused(ResultReason reason) {
      return new Refused(reason, "no");
    }

    /** Not read. */
    static Reply notRead(ResultReason reason) {
      return new NotRead(reason, "what?");
    }
  }

  private final Map<Operation, Rule> rules = new ConcurrentHashMap<>();
  private final List<Operation> asked = new CopyOnWriteArrayList<>();

  /** Says what is done with this operation. */
  public KmipReplies on(Operation operation, Rule rule) {
    rules.put(operation, rule);
    return this;
  }

  /** A server that speaks these versions. */
  public KmipReplies speaking(KmipVersion... versions) {
    return on(
        Operation.DISCOVER_VERSIONS,
        (version, payload) ->
            new Reply.Done(List.of(versions).stream().<Item>map(KmipReplies::item).toList()));
  }

  /** What was asked for so far. */
  public List<Operation> asked() {
    return List.copyOf(asked);
  }

  /** How often this was asked for. */
  public long asked(Operation operation) {
    return asked.stream().filter(operation::equals).count();
  }

  /** The text of this field in a payload. */
  public static String text(Structure payload, Tag tag) {
    return ((Content) Objects.requireNonNull(payload.first(tag))).text();
  }

  @Override
  public byte @Nullable [] answer(byte[] request) {
    try {
      Structure message = (Structure) TtlvReader.read(ByteBuffer.wrap(request), TtlvLimits.DEFAULT);
      Structure version = inside(inside(message, Tag.REQUEST_HEADER), Tag.PROTOCOL_VERSION);
      KmipVersion spoken =
          new KmipVersion(
              number(version, Tag.PROTOCOL_VERSION_MAJOR),
              number(version, Tag.PROTOCOL_VERSION_MINOR));
      Structure item = inside(message, Tag.BATCH_ITEM);
      int code = number(item, Tag.OPERATION);
      Operation operation =
          List.of(Operation.values()).stream()
              .filter(o -> o.code() == code)
              .findFirst()
              .orElseThrow();
      asked.add(operation);
      Rule rule =
          rules.getOrDefault(
              operation, (v, p) -> Reply.refused(ResultReason.OPERATION_NOT_SUPPORTED));
      Reply reply = rule.to(spoken, inside(item, Tag.REQUEST_PAYLOAD));
      return reply == null ? null : bytes(answer(spoken, operation, reply));
    } catch (TtlvException e) {
      throw new IllegalStateException("request for a test", e);
    }
  }

  private static Structure answer(KmipVersion version, Operation operation, Reply reply) {
    return switch (reply) {
      case Reply.Done(var payload) ->
          answer(
              version,
              Item.enumeration(Tag.OPERATION, operation.code()),
              Item.enumeration(Tag.RESULT_STATUS, 0),
              Item.structure(Tag.RESPONSE_PAYLOAD, payload));
      case Reply.Whole(var message) -> message;
      case Reply.Refused(var reason, var words) ->
          answer(
              version,
              Item.enumeration(Tag.OPERATION, operation.code()),
              Item.enumeration(Tag.RESULT_STATUS, 1),
              Item.enumeration(Tag.RESULT_REASON, reason.code()),
              Item.text(Tag.RESULT_MESSAGE, words));
      case Reply.NotRead(var reason, var words) ->
          answer(
              KmipVersion.V1_0,
              Item.enumeration(Tag.RESULT_STATUS, 1),
              Item.enumeration(Tag.RESULT_REASON, reason.code()),
              Item.text(Tag.RESULT_MESSAGE, words));
    };
  }

  private static Structure answer(KmipVersion version, Item... batchItem) {
    List<Item> header = new ArrayList<>();
    header.add(item(version));
    header.add(Item.dateTime(Tag.TIME_STAMP, 1_700_000_000));
    header.add(Item.integer(Tag.BATCH_COUNT, 1));
    return Item.structure(
        Tag.RESPONSE_MESSAGE,
        Item.structure(Tag.RESPONSE_HEADER, header),
        Item.structure(Tag.BATCH_ITEM, batchItem));
  }

  /** A message as bytes. */
  public static byte[] bytes(Structure message) {
    ByteBuffer bytes = ByteBuffer.allocate(message.encodedBytes());
    TtlvWriter.write(message, bytes);
    return bytes.array();
  }

  private static Structure item(KmipVersion version) {
    return Item.structure(
        Tag.PROTOCOL_VERSION,
        Item.integer(Tag.PROTOCOL_VERSION_MAJOR, version.major()),
        Item.integer(Tag.PROTOCOL_VERSION_MINOR, version.minor()));
  }

  private static Structure inside(Structure outer, Tag tag) {
    return (Structure) Objects.requireNonNull(outer.first(tag));
  }

  private static int number(Structure structure, Tag tag) {
    return ((Scalar) Objects.requireNonNull(structure.first(tag))).intValue();
  }
}
