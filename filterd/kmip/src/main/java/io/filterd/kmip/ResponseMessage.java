package io.filterd.kmip;

import io.filterd.kmip.ttlv.Content;
import io.filterd.kmip.ttlv.Item;
import io.filterd.kmip.ttlv.Tag;
import io.filterd.kmip.ttlv.TtlvException;
import io.filterd.kmip.ttlv.TtlvLimits;
import io.filterd.kmip.ttlv.TtlvReader;
import java.nio.ByteBuffer;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A server's answer to a {@link RequestMessage} (KMIP 1.4 sections 6 and 7). Read tolerantly: a
 * server that cannot read a request answers in version 1.0, without an operation; fields of newer
 * minor versions are ignored. But what is used is checked, and it must answer what was asked.
 *
 * <p>A view of the buffer it was read from, which must stay as it is until the answers are taken.
 * Immutable, so safe for many threads.
 */
public final class ResponseMessage {
  private static final int MAX_MINOR = 1_000;

  private final KmipVersion version;
  private final List<Fields> items;

  private ResponseMessage(KmipVersion version, List<Fields> items) {
    this.version = version;
    this.items = items;
  }

  /**
   * Reads the message that fills the buffer from its position to its limit.
   *
   * @throws TtlvException if it is no response; the connection is of no use any more
   */
  public static ResponseMessage read(ByteBuffer message, TtlvLimits limits) throws TtlvException {
    Item item = TtlvReader.read(message, limits);
    Fields response = Fields.message(item, Tag.RESPONSE_MESSAGE);
    Fields header = response.structure(Tag.RESPONSE_HEADER);
    KmipVersion version = version(header.structure(Tag.PROTOCOL_VERSION));
    List<Fields> items = response.structures(Tag.BATCH_ITEM);
    int count = header.integer(Tag.BATCH_COUNT, 0, limits.items());
    if (count != items.size()) {
      throw header.wrong(
          Tag.BATCH_COUNT, String.valueOf(count), "%d, as many as follow".formatted(items.size()));
    }
    return new ResponseMessage(version, items);
  }

  static KmipVersion version(Fields fields) throws TtlvException {
    return new KmipVersion(
        fields.integer(Tag.PROTOCOL_VERSION_MAJOR, 0, MAX_MINOR),
        fields.integer(Tag.PROTOCOL_VERSION_MINOR, 0, MAX_MINOR));
  }

  /**
   * The version in the header: 1.0 if the server could not read the request, whatever it speaks.
   */
  public KmipVersion version() {
    return version;
  }

  /**
   * The answer to the only request of a message.
   *
   * @throws KmipException if the operation failed, or is not done yet
   * @throws TtlvException if the answer is not one to this request
   */
  public <A extends KmipAnswer> A answerTo(KmipRequest<A> request)
      throws KmipException, TtlvException {
    if (items.size() != 1) {
      throw new TtlvException(
          0, Tag.RESPONSE_MESSAGE.toString(), "%d answers".formatted(items.size()), "1");
    }
    return answer(items.getFirst(), request);
  }

  /**
   * The answer to one of several requests.
   *
   * @param position of the request in its message, from 0
   * @throws KmipException if the operation failed, is not done yet, or was not tried because one
   *     before it failed
   * @throws TtlvException if the answer is not one to this request
   */
  public <A extends KmipAnswer> A answerTo(int position, KmipRequest<A> request)
      throws KmipException, TtlvException {
    for (Fields item : items) {
      Content id = item.optionalBytes(Tag.UNIQUE_BATCH_ITEM_ID);
      boolean refusalOfAll = id == null && items.size() == 1;
      if (refusalOfAll || (id != null && id.bytes().mismatch(RequestMessage.idOf(position)) < 0)) {
        return answer(item, request);
      }
    }
    throw new KmipException(
        request.operation(),
        EnumValue.of(ResultStatus.OPERATION_UNDONE),
        null,
        "not answered, because one before it failed");
  }

  private static <A extends KmipAnswer> A answer(Fields item, KmipRequest<A> request)
      throws KmipException, TtlvException {
    EnumValue<ResultStatus> status = item.enumeration(Tag.RESULT_STATUS, ResultStatus.class);
    @Nullable EnumValue<Operation> operation =
        item.optionalEnumeration(Tag.OPERATION, Operation.class);
    if (operation != null && !operation.is(request.operation())) {
      throw item.wrong(Tag.OPERATION, operation.toString(), request.operation().toString());
    }
    if (!status.is(ResultStatus.SUCCESS)) {
      throw new KmipException(
          request.operation(),
          status,
          item.optionalEnumeration(Tag.RESULT_REASON, ResultReason.class),
          item.words(Tag.RESULT_MESSAGE, Answers.MAX_WORDS_CHARS));
    }
    return request.answerType().cast(Answers.read(request, item.structure(Tag.RESPONSE_PAYLOAD)));
  }
}
