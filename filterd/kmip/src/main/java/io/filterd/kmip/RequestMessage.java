package io.filterd.kmip;

import io.filterd.kmip.ttlv.Item;
import io.filterd.kmip.ttlv.Structure;
import io.filterd.kmip.ttlv.Tag;
import io.filterd.kmip.ttlv.TtlvLimits;
import io.filterd.kmip.ttlv.TtlvWriter;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A message to a server (KMIP 1.4 sections 6 and 7, KMIP 2.1 sections 8 and 9): one request, or
 * several that are done in order until one fails. Immutable. No time stamp is sent, and no
 * placeholder for an identifier is relied on: servers disagree on both.
 *
 * @param maximumResponseBytes the longest answer the server may send; 0 for no limit
 * @param credential null for none beside the TLS certificate
 * @param requests 1 to {@link #MAX_REQUESTS}
 */
public record RequestMessage(
    KmipVersion version,
    int maximumResponseBytes,
    @Nullable Credential credential,
    List<KmipRequest<?>> requests) {
  /** The most requests in one message. */
  public static final int MAX_REQUESTS = 256;

  private static final ValueLayout.OfInt ID =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.BIG_ENDIAN);

  /** Checks the numbers. */
  public RequestMessage {
    requests = List.copyOf(requests);
    if (requests.isEmpty() || requests.size() > MAX_REQUESTS) {
      throw new IllegalArgumentException(
          "requests: %d (expected: 1 to %d)".formatted(requests.size(), MAX_REQUESTS));
    }
    if (maximumResponseBytes < 0) {
      throw new IllegalArgumentException(
          "maximumResponseBytes: %d (expected: from 0)".formatted(maximumResponseBytes));
    }
  }

  /** A message with one request, the limit of {@link TtlvLimits#DEFAULT}, and no credential. */
  public static RequestMessage of(KmipVersion version, KmipRequest<?> request) {
    return new RequestMessage(version, TtlvLimits.DEFAULT.messageBytes(), null, List.of(request));
  }

  /** The message as an item, to be written or shown; see {@link Item#encodedBytes}. */
  public Structure toItem() {
    List<Item> items = new ArrayList<>();
    items.add(header());
    for (int position = 0; position < requests.size(); position++) {
      KmipRequest<?> request = requests.get(position);
      List<Item> item = new ArrayList<>();
      item.add(Item.enumeration(Tag.OPERATION, request.operation().code()));
      if (requests.size() > 1) {
        item.add(Item.bytes(Tag.UNIQUE_BATCH_ITEM_ID, idOf(position)));
      }
      item.add(Payloads.of(request, version));
      items.add(Item.structure(Tag.BATCH_ITEM, item));
    }
    return Item.structure(Tag.REQUEST_MESSAGE, items);
  }

  /**
   * Writes the message at the buffer's position and moves it on. With a password or a key in it the
   * buffer should be direct, and its owner wipes it.
   *
   * @throws IllegalArgumentException if there is too little room: see {@link Item#encodedBytes}
   */
  public void write(ByteBuffer target) {
    TtlvWriter.write(toItem(), target);
  }

  private Structure header() {
    List<Item> header = new ArrayList<>();
    header.add(toItem(version));
    if (maximumResponseBytes > 0) {
      header.add(Item.integer(Tag.MAXIMUM_RESPONSE_SIZE, maximumResponseBytes));
    }
    if (credential != null) {
      header.add(credential.toItem());
    }
    // In 2.x this is what is meant without it; in 1.x the server may do them in any order.
    if (requests.size() > 1 && !version.tagsAttributes()) {
      header.add(Item.bool(Tag.BATCH_ORDER_OPTION, true));
    }
    header.add(Item.integer(Tag.BATCH_COUNT, requests.size()));
    return Item.structure(Tag.REQUEST_HEADER, header);
  }

  static Structure toItem(KmipVersion version) {
    return Item.structure(
        Tag.PROTOCOL_VERSION,
        Item.integer(Tag.PROTOCOL_VERSION_MAJOR, version.major()),
        Item.integer(Tag.PROTOCOL_VERSION_MINOR, version.minor()));
  }

  /** The identifier of a request among several: its number, from 1. */
  static MemorySegment idOf(int position) {
    MemorySegment id = MemorySegment.ofArray(new byte[Integer.BYTES]);
    id.set(ID, 0, position + 1);
    return id;
  }

  /** Not the requests' content. */
  @Override
  public String toString() {
    return "RequestMessage[%s, %s]"
        .formatted(version, requests.stream().map(KmipRequest::operation).toList());
  }
}
