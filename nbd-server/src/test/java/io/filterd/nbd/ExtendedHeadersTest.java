package io.filterd.nbd;

import static io.filterd.nbd.RawClient.bytes;
import static io.filterd.nbd.RawClient.contextData;
import static io.filterd.nbd.RawClient.extendedRequest;
import static io.filterd.nbd.RawClient.infoData;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_BLOCK_STATUS;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_CACHE;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_DISC;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLAG_DF;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLAG_REQ_ONE;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLUSH;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_READ;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_TRIM;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_WRITE;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_WRITE_ZEROES;
import static io.filterd.nbd.wire.Protocol.NBD_EINVAL;
import static io.filterd.nbd.wire.Protocol.NBD_ENOSPC;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_EXPORT_NAME;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_GO;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_LIST_META_CONTEXT;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_SET_META_CONTEXT;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_STRUCTURED_REPLY;
import static io.filterd.nbd.wire.Protocol.NBD_REPLY_TYPE_NONE;
import static io.filterd.nbd.wire.Protocol.NBD_REPLY_TYPE_OFFSET_DATA;
import static io.filterd.nbd.wire.Protocol.NBD_REPLY_TYPE_OFFSET_HOLE;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ACK;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_EXT_HEADER_REQD;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_INVALID;
import static io.filterd.nbd.wire.Protocol.NBD_REP_META_CONTEXT;
import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.block.Blocking;
import io.filterd.block.MemoryDevice;
import io.filterd.nbd.RawClient.Chunk;
import io.filterd.nbd.RawClient.OptionReply;
import io.filterd.nbd.RawClient.Reply;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Extended headers and several metadata contexts, as the proto.md of the branch
 * extension-ext-header says it; the server is asked by hand.
 */
final class ExtendedHeadersTest {
  private static final long TIB = 1L << 40;
  private static final long SIZE_BYTES = 8 * TIB;
  private static final int PAYLOAD_LEN = 1 << 5;
  private static final int FLAG_BLOCK_STAT_PAYLOAD = 1 << 12;
  private static final int BLOCK_STATUS_EXT = 6;

  /** Says of each MiB whether its number is odd. */
  private static final class Stripes implements MetaContext {
    @Override
    public String name() {
      return "test:stripes:mib";
    }

    @Override
    public boolean describe(long offset, long lengthBytes, Parts parts, Blocking blocking) {
      if (blocking == Blocking.FORBIDDEN) {
        parts.add(1, 77); // What is added before does not count.
        return false;
      }
      long at = offset;
      boolean more = true;
      while (more && at < offset + lengthBytes) {
        long next = ((at >> 20) + 1) << 20;
        more = parts.add(next - at, (int) ((at >> 20) & 1));
        at = next;
      }
      return true;
    }
  }

  private final MemoryDevice memory = new MemoryDevice(SIZE_BYTES);
  private final CountedExports exports =
      new CountedExports().with("plain", memory).with("disk", memory, new Stripes());

  @RegisterExtension
  final Serving serving =
      new Serving(exports, settings -> settings.drainTimeout(Duration.ofSeconds(5)));

  private RawClient extended() throws IOException {
    return serving.connect().goExtended("disk", "base:allocation", "test:stripes:mib");
  }

  private static int type(List<OptionReply> replies) {
    return replies.getLast().type();
  }

  private static Reply ask(RawClient client, int flags, int command, long offset, long length)
      throws IOException {
    client.send(extendedRequest(flags, command, 7, offset, length));
    return client.readReply();
  }

  private static Reply write(RawClient client, long offset, byte[] data) throws IOException {
    client.send(extendedRequest(PAYLOAD_LEN, NBD_CMD_WRITE, 8, offset, data.length, data));
    return client.readReply();
  }

  private static void isDone(Reply reply, long cookie, long offset) {
    assertThat(reply.error()).as(reply.message()).isZero();
    assertThat(reply.cookie()).isEqualTo(cookie);
    assertThat(reply.offset()).isEqualTo(offset);
    assertThat(reply.chunks()).extracting(Chunk::type).containsExactly(NBD_REPLY_TYPE_NONE);
  }

  @Test
  void negotiates() throws Exception {
    try (RawClient client = serving.connect()) {
      client.greet();
      assertThat(type(client.ask(11, (byte) 1))).isEqualTo(NBD_REP_ERR_INVALID);
      assertThat(type(client.ask(NBD_OPT_STRUCTURED_REPLY))).isEqualTo(NBD_REP_ACK);
      assertThat(type(client.ask(11))).isEqualTo(NBD_REP_ACK);
      assertThat(type(client.ask(11))).isEqualTo(NBD_REP_ACK);
      assertThat(type(client.ask(NBD_OPT_STRUCTURED_REPLY))).isEqualTo(NBD_REP_ERR_EXT_HEADER_REQD);
      assertThat(flags(client.ask(6, infoData("disk"))) & FLAG_BLOCK_STAT_PAYLOAD).isZero();

      // Extended headers alone are enough for contexts.
      client.ask(NBD_OPT_SET_META_CONTEXT, contextData("disk", "base:allocation"));
      assertThat(flags(client.ask(6, infoData("disk"))) & FLAG_BLOCK_STAT_PAYLOAD).isNotZero();
      assertThat(flags(client.ask(6, infoData("disk"))) & (1 << 7)).as("DF").isNotZero();
    }
  }

  /** "A client MUST NOT use NBD_OPT_EXPORT_NAME" then; it can't be answered with an error. */
  @Test
  void endsAClientThatOpensInTheOldWay() throws Exception {
    try (RawClient client = serving.connect().greet()) {
      client.ask(11);
      client.sendOption(NBD_OPT_EXPORT_NAME, "disk".getBytes(StandardCharsets.UTF_8));

      assertThat(client.atEnd()).isTrue();
    }
  }

  private static int flags(List<OptionReply> info) {
    return info.getFirst().data().getShort(10);
  }

  @Test
  void listsAndNumbersContexts() throws Exception {
    try (RawClient client = serving.connect()) {
      client.greet();
      assertThat(names(client.ask(NBD_OPT_LIST_META_CONTEXT, contextData("disk"))))
          .containsExactly("0 base:allocation", "0 test:stripes:mib");
      assertThat(names(client.ask(NBD_OPT_LIST_META_CONTEXT, contextData("disk", "test:"))))
          .containsExactly("0 test:stripes:mib");
      assertThat(names(client.ask(NBD_OPT_LIST_META_CONTEXT, contextData("disk", "test:stripes:"))))
          .containsExactly("0 test:stripes:mib");
      assertThat(names(client.ask(NBD_OPT_LIST_META_CONTEXT, contextData("plain", "test:"))))
          .isEmpty();
      client.ask(11);
      assertThat(names(client.ask(NBD_OPT_SET_META_CONTEXT, contextData("disk", "test:", "base:"))))
          .isEmpty();
      assertThat(
              names(
                  client.ask(
                      NBD_OPT_SET_META_CONTEXT,
                      contextData(
                          "disk", "test:stripes:mib", "base:allocation", "base:allocation"))))
          .containsExactlyInAnyOrder("1 base:allocation", "2 test:stripes:mib");
    }
  }

  private static List<String> names(List<OptionReply> replies) {
    assertThat(type(replies)).isEqualTo(NBD_REP_ACK);
    return replies.stream()
        .filter(each -> each.type() == NBD_REP_META_CONTEXT)
        .map(each -> each.data().getInt(0) + " " + each.text(4))
        .toList();
  }

  @Test
  void answersEveryCommandByChunks() throws Exception {
    byte[] data = new byte[9000];
    new Random(3).nextBytes(data);
    long offset = 5 * TIB + 123;
    try (RawClient client = extended()) {
      isDone(write(client, offset, data), 8, offset);

      Reply read = ask(client, NBD_CMD_FLAG_DF, NBD_CMD_READ, offset, data.length);
      assertThat(read.offset()).isEqualTo(offset);
      assertThat(read.chunks()).hasSize(1);
      assertThat(read.chunks().getFirst().type()).isEqualTo(NBD_REPLY_TYPE_OFFSET_DATA);
      assertThat(read.chunks().getFirst().payload().getLong(0)).isEqualTo(offset);
      assertThat(read.chunks().getFirst().bytes(8)).isEqualTo(data);

      Reply holes = ask(client, 0, NBD_CMD_READ, offset - 123, 1 << 20);
      assertThat(holes.chunks())
          .extracting(Chunk::type)
          .containsExactly(NBD_REPLY_TYPE_OFFSET_DATA, NBD_REPLY_TYPE_OFFSET_HOLE);
      assertThat(holes.chunks().getFirst().bytes(8 + 123)).startsWith(data);
      assertThat(
              holes.chunks().getFirst().payload().limit()
                  - 8
                  + holes.chunks().getLast().payload().getInt(8))
          .isEqualTo(1 << 20);

      isDone(ask(client, 0, NBD_CMD_FLUSH, 0, 0), 7, 0);
      isDone(ask(client, 0, NBD_CMD_READ, 4096, 0), 7, 4096);
      isDone(ask(client, 0, NBD_CMD_CACHE, offset, 1000), 7, offset);
      isDone(write(client, 99, new byte[0]), 8, 99);
    }
  }

  @Test
  void takesAWriteWithoutTheFlagAsQemuDoes() throws Exception {
    try (RawClient client = extended()) {
      client.send(extendedRequest(0, NBD_CMD_WRITE, 8, 0, 3, (byte) 1, (byte) 2, (byte) 3));
      isDone(client.readReply(), 8, 0);
    }
  }

  @Test
  void worksOnRangesOf64BitLengths() throws Exception {
    try (RawClient client = extended()) {
      write(client, 6 * TIB, new byte[] {1, 2, 3, 4});
      isDone(ask(client, 0, NBD_CMD_WRITE_ZEROES, 0, SIZE_BYTES), 7, 0);
      write(client, 6 * TIB, new byte[] {1, 2, 3, 4});
      isDone(ask(client, 0, NBD_CMD_TRIM, TIB, 6 * TIB), 7, TIB);

      Reply read = ask(client, 0, NBD_CMD_READ, 6 * TIB, 4096);
      assertThat(read.chunks()).extracting(Chunk::type).containsExactly(NBD_REPLY_TYPE_OFFSET_HOLE);
      isDone(ask(client, 0, NBD_CMD_CACHE, 0, SIZE_BYTES), 7, 0);
    }
  }

  @ParameterizedTest
  @ValueSource(longs = {SIZE_BYTES + 1, 1L << 62, Long.MIN_VALUE, -1})
  void refusesLengthsBeyondTheEnd(long length) throws Exception {
    try (RawClient client = extended()) {
      for (int command :
          new int[] {NBD_CMD_READ, NBD_CMD_TRIM, NBD_CMD_CACHE, NBD_CMD_BLOCK_STATUS}) {
        assertThat(ask(client, 0, command, 0, length).error()).isEqualTo(NBD_EINVAL);
        assertThat(ask(client, 0, command, SIZE_BYTES, length).error()).isEqualTo(NBD_EINVAL);
      }
      assertThat(ask(client, 0, NBD_CMD_WRITE_ZEROES, 0, length).error()).isEqualTo(NBD_ENOSPC);
      isDone(ask(client, 0, NBD_CMD_FLUSH, 0, 0), 7, 0);
      client.send(extendedRequest(PAYLOAD_LEN, NBD_CMD_WRITE, 8, 0, length));
      assertThat(client.atEnd()).isTrue();
    }
  }

  @Test
  void skipsThePayloadOfWhatItRefuses() throws Exception {
    byte[] payload = new byte[70_000];
    try (RawClient client = extended()) {
      for (int command : new int[] {NBD_CMD_READ, NBD_CMD_FLUSH, NBD_CMD_TRIM, 55}) {
        client.send(extendedRequest(PAYLOAD_LEN, command, 4, 4096, payload.length, payload));
        Reply refused = client.readReply();
        assertThat(refused.cookie()).isEqualTo(4);
        assertThat(refused.offset()).isEqualTo(4096);
        assertThat(refused.error()).isEqualTo(NBD_EINVAL);
      }
      assertThat(write(client, SIZE_BYTES - 1, new byte[2]).error()).isEqualTo(NBD_ENOSPC);
      isDone(ask(client, 0, NBD_CMD_FLUSH, 0, 0), 7, 0);
    }
  }

  @Test
  void endsAClientThatSendsACompactRequest() throws Exception {
    try (RawClient client = extended()) {
      client.send(RawClient.request(0, NBD_CMD_READ, 1, 0, 512));
      client.send(new byte[4]);
      assertThat(client.atEnd()).isTrue();
    }
    try (RawClient client = serving.connect().go("disk", true)) {
      client.send(extendedRequest(0, NBD_CMD_READ, 1, 0, 512));
      assertThat(client.atEnd()).isTrue();
    }
  }

  @Test
  void endsAtDisc() throws Exception {
    try (RawClient client = extended()) {
      client.send(extendedRequest(0, NBD_CMD_DISC, 1, 0, 0));
      assertThat(client.atEnd()).isTrue();
    }
  }

  private record Part(long lengthBytes, long flags) {}

  /** The parts that a reply's chunk tells for a context. */
  private static List<Part> parts(Reply reply, int context) {
    assertThat(reply.error()).as(reply.message()).isZero();
    List<Part> parts = new ArrayList<>();
    for (Chunk chunk : reply.chunks()) {
      assertThat(chunk.type()).isEqualTo(BLOCK_STATUS_EXT);
      if (chunk.payload().getInt(0) == context) {
        assertThat(parts).as("one chunk for each context").isEmpty();
        assertThat(chunk.payload().limit()).isEqualTo(8 + 16 * chunk.payload().getInt(4));
        for (int at = 8; at < chunk.payload().limit(); at += 16) {
          parts.add(new Part(chunk.payload().getLong(at), chunk.payload().getLong(at + 8)));
        }
      }
    }
    return parts;
  }

  @Test
  void tellsTheStatusOfEveryContext() throws Exception {
    try (RawClient client = extended()) {
      write(client, 4096, new byte[] {1});

      Reply reply = ask(client, 0, NBD_CMD_BLOCK_STATUS, 512 << 10, 4 << 20);
      assertThat(reply.chunks()).hasSize(2);
      assertThat(parts(reply, 1)).containsExactly(new Part(4 << 20, 3));
      assertThat(parts(reply, 2))
          .containsExactly(
              new Part(512 << 10, 0),
              new Part(1 << 20, 1),
              new Part(1 << 20, 0),
              new Part(1 << 20, 1),
              new Part(512 << 10, 0));

      Reply whole = ask(client, 0, NBD_CMD_BLOCK_STATUS, 1 << 20, SIZE_BYTES - (1 << 20));
      assertThat(parts(whole, 1)).containsExactly(new Part(SIZE_BYTES - (1 << 20), 3));
      assertThat(parts(whole, 2)).as("cut").hasSize(1024);

      Reply one = ask(client, NBD_CMD_FLAG_REQ_ONE, NBD_CMD_BLOCK_STATUS, 0, SIZE_BYTES);
      assertThat(parts(one, 2)).containsExactly(new Part(1 << 20, 0));
      assertThat(parts(one, 1)).hasSize(1);
      assertThat(ask(client, 0, NBD_CMD_BLOCK_STATUS, 0, 0).error()).isEqualTo(NBD_EINVAL);
    }
  }

  private static byte[] filter(long lengthBytes, int... ids) {
    return bytes(
        to -> {
          to.writeLong(lengthBytes);
          for (int id : ids) {
            to.writeInt(id);
          }
        });
  }

  private static Reply askFor(RawClient client, long offset, byte[] payload) throws IOException {
    client.send(
        extendedRequest(PAYLOAD_LEN, NBD_CMD_BLOCK_STATUS, 6, offset, payload.length, payload));
    Reply reply = client.readReply();
    assertThat(reply.cookie()).isEqualTo(6);
    assertThat(reply.offset()).isEqualTo(offset);
    return reply;
  }

  @Test
  void tellsTheStatusOfTheContextsInAPayload() throws Exception {
    try (RawClient client = extended()) {
      Reply second = askFor(client, 0, filter(2 << 20, 2));
      assertThat(second.chunks()).hasSize(1);
      assertThat(parts(second, 2)).containsExactly(new Part(1 << 20, 0), new Part(1 << 20, 1));
      Reply first = askFor(client, 1 << 20, filter(3 * TIB, 1));
      assertThat(first.chunks()).hasSize(1);
      assertThat(parts(first, 1)).containsExactly(new Part(3 * TIB, 3));
      assertThat(askFor(client, 0, filter(512, 2, 1)).chunks()).hasSize(2);

      for (byte[] bad :
          new byte[][] {
            filter(512, 3),
            filter(512, 1, 1),
            filter(512, 0),
            filter(512),
            filter(512, 1, 2, 1),
            filter(0, 1),
            filter(-1, 1),
            filter(SIZE_BYTES + 1, 1),
            bytes(to -> to.writeInt(1)),
            bytes(to -> to.write(new byte[13])),
            new byte[100_000],
          }) {
        Reply refused = askFor(client, 0, bad);
        assertThat(refused.error()).isEqualTo(NBD_EINVAL);
        assertThat(refused.message()).isNotEmpty();
      }
      assertThat(askFor(client, 0, filter(512, 1)).error()).isZero();
      // Without payload the flag makes no sense.
      assertThat(ask(client, PAYLOAD_LEN, NBD_CMD_BLOCK_STATUS, 0, 0).error())
          .isEqualTo(NBD_EINVAL);
    }
  }

  @Test
  void tellsSeveralContextsInCompactReplies() throws Exception {
    try (RawClient client = serving.connect()) {
      client.greet();
      client.ask(NBD_OPT_STRUCTURED_REPLY);
      client.ask(
          NBD_OPT_SET_META_CONTEXT, contextData("disk", "base:allocation", "test:stripes:mib"));
      assertThat(type(client.ask(NBD_OPT_GO, infoData("disk")))).isEqualTo(NBD_REP_ACK);
      client.sendRequest(0, NBD_CMD_BLOCK_STATUS, 1, 0, 0xffff_fe00L);
      Reply reply = client.readReply();

      assertThat(reply.error()).isZero();
      assertThat(reply.chunks()).hasSize(2);
      assertThat(reply.chunks().getFirst().payload().getInt(0)).isEqualTo(1);
      assertThat(reply.chunks().getFirst().payload().getInt(4)).isEqualTo((int) 0xffff_fe00L);
      assertThat(reply.chunks().getLast().payload().getInt(0)).isEqualTo(2);
      assertThat(reply.chunks().getLast().payload().limit()).isEqualTo(4 + 1024 * 8);
      client.sendRequest(PAYLOAD_LEN, NBD_CMD_BLOCK_STATUS, 1, 0, 4096);
      assertThat(client.readReply().error()).isEqualTo(NBD_EINVAL);
    }
  }
}
