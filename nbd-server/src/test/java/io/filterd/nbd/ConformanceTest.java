package io.filterd.nbd;

import static io.filterd.nbd.RawClient.contextData;
import static io.filterd.nbd.RawClient.infoData;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_BLOCK_STATUS;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_CACHE;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLAG_DF;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLAG_FUA;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLAG_REQ_ONE;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLUSH;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_READ;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_TRIM;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_WRITE;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_WRITE_ZEROES;
import static io.filterd.nbd.wire.Protocol.NBD_EINVAL;
import static io.filterd.nbd.wire.Protocol.NBD_EIO;
import static io.filterd.nbd.wire.Protocol.NBD_ENOSPC;
import static io.filterd.nbd.wire.Protocol.NBD_EOVERFLOW;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_HAS_FLAGS;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_READ_ONLY;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_SEND_CACHE;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_SEND_DF;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_SEND_FAST_ZERO;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_SEND_FUA;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_SEND_TRIM;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_SEND_WRITE_ZEROES;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_ABORT;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_GO;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_LIST;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_LIST_META_CONTEXT;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_SET_META_CONTEXT;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_STRUCTURED_REPLY;
import static io.filterd.nbd.wire.Protocol.NBD_REPLY_TYPE_NONE;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ACK;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_SHUTDOWN;
import static io.filterd.nbd.wire.Protocol.NBD_REP_SERVER;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.filterd.block.BlockException.Reason;
import io.filterd.block.BlockSizes;
import io.filterd.block.FaultyDevice;
import io.filterd.block.FaultyDevice.Fault;
import io.filterd.block.MemoryDevice;
import io.filterd.block.RecordingDevice;
import io.filterd.nbd.RawClient.Chunk;
import io.filterd.nbd.RawClient.OptionReply;
import io.filterd.nbd.RawClient.Reply;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The requirements of proto.md that no other test shows; docs/conformance.md has all of them. */
final class ConformanceTest {
  private static final int MIB = 1 << 20;
  private static final int SIZE_BYTES = 40 * MIB;
  private static final int KNOWN_HANDSHAKE_FLAGS = 3;
  private static final int KNOWN_TRANSMISSION_FLAGS = 0xdff;

  private final RecordingDevice recording = new RecordingDevice(new MemoryDevice(SIZE_BYTES));
  private final FaultyDevice faulty = new FaultyDevice(new MemoryDevice(SIZE_BYTES));
  private final HeldDevice slow = new HeldDevice(new MemoryDevice(SIZE_BYTES));
  private final CountedExports exports =
      new CountedExports()
          .with("disk", recording)
          .with("faulty", faulty)
          .with("slow", slow)
          .with("blocks", new MemoryDevice(64 << 10, new BlockSizes(4096, 4096, 32 << 20), 4096))
          .withReadOnly("readonly", new MemoryDevice(SIZE_BYTES), "");

  @RegisterExtension
  final Serving serving = new Serving(exports, settings -> settings.maxPayloadBytes(32 * MIB));

  @AfterEach
  void letGo() {
    slow.letGo();
  }

  private static byte[] random(int length, long seed) {
    byte[] bytes = new byte[length];
    new Random(seed).nextBytes(bytes);
    return bytes;
  }

  /** Newstyle negotiation; Handshake flags. */
  @Test
  void greetsUnasked() throws IOException {
    try (RawClient client = serving.connect()) {
      ByteBuffer greeting = ByteBuffer.wrap(client.readBytes(18));

      assertThat(greeting.getLong()).isEqualTo(0x4e42444d41474943L);
      assertThat(greeting.getLong()).isEqualTo(0x49484156454F5054L);
      int flags = greeting.getShort();
      assertThat(flags & 1).as("fixed newstyle").isOne();
      assertThat(flags & ~KNOWN_HANDSHAKE_FLAGS).isZero();
    }
  }

  /** NBD_REP_SERVER. */
  @Test
  void listsNamesThatFitIntoTheirReplies() throws IOException {
    try (RawClient client = serving.connect().greet()) {
      for (OptionReply reply : client.ask(NBD_OPT_LIST)) {
        if (reply.type() == NBD_REP_SERVER) {
          assertThat(reply.data().getInt(0)).isBetween(1, reply.data().limit() - 4);
        } else {
          assertThat(reply.data().limit()).as("an ack is empty").isZero();
        }
      }
    }
  }

  /** NBD_OPT_STRUCTURED_REPLY. */
  @Test
  void staysStructuredWhenAskedTwice() throws IOException {
    try (RawClient client = serving.connect().greet()) {
      assertThat(client.ask(NBD_OPT_STRUCTURED_REPLY).getLast().type()).isEqualTo(NBD_REP_ACK);
      client.ask(NBD_OPT_STRUCTURED_REPLY);
      client.ask(NBD_OPT_GO, infoData("disk"));
      client.sendRequest(0, NBD_CMD_READ, 1, 0, 512);

      assertThat(client.readReply().chunks()).hasSize(1);
    }
  }

  /** Termination of the session during option haggling. */
  @Test
  void refusesOptionsWhileItStops() throws IOException, InterruptedException {
    try (RawClient busy = serving.connect("slow", false);
        RawClient client = serving.connect().greet()) {
      busy.sendRequest(0, NBD_CMD_READ, 1, 0, 512);
      await().until(() -> slow.held() == 1);
      Thread stopping = Thread.ofVirtual().start(serving.server()::close);
      await().until(() -> client.ask(NBD_OPT_LIST).getLast().type() == NBD_REP_ERR_SHUTDOWN);
      assertThat(client.ask(NBD_OPT_GO, infoData("disk")).getLast().type())
          .isEqualTo(NBD_REP_ERR_SHUTDOWN);
      assertThat(client.ask(NBD_OPT_ABORT).getLast().type()).isEqualTo(NBD_REP_ACK);
      slow.letGo();

      assertThat(busy.readSimple(512).error()).isZero();
      stopping.join();
    }
  }

  /** Block size constraints. */
  @Test
  void opensBlocksForClientsThatDidNotAskForTheirSize() throws IOException {
    byte[] data = random(4096, 1);
    try (RawClient client = serving.connect("blocks", false)) {
      client.write(4096, data);
      client.sendWrite(0, 1, 4097, new byte[4096]);
      assertThat(client.readReply().error()).isEqualTo(NBD_EINVAL);

      assertThat(client.read(4096, 4096)).isEqualTo(data);
      assertThat(client.read(8192, 4096)).containsOnly(0);
    }
  }

  /** NBD_OPT_SET_META_CONTEXT. */
  @Test
  void choosesNoContextByNoQuery() throws IOException {
    try (RawClient client = serving.connect().greet()) {
      client.ask(NBD_OPT_STRUCTURED_REPLY);
      client.ask(NBD_OPT_SET_META_CONTEXT, contextData("disk", "base:allocation"));
      assertThat(client.ask(NBD_OPT_SET_META_CONTEXT, contextData("disk")))
          .extracting(OptionReply::type)
          .containsExactly(NBD_REP_ACK);
      client.ask(NBD_OPT_GO, infoData("disk"));
      client.sendRequest(0, NBD_CMD_BLOCK_STATUS, 1, 0, 4096);

      assertThat(client.readReply().error()).isEqualTo(NBD_EINVAL);
    }
  }

  /** NBD_OPT_LIST_META_CONTEXT. */
  @Test
  void listsContextsWithoutIds() throws IOException {
    try (RawClient client = serving.connect().greet()) {
      OptionReply first =
          client.ask(NBD_OPT_LIST_META_CONTEXT, contextData("disk", "base:")).getFirst();

      assertThat(first.data().getInt(0)).isZero();
    }
  }

  /** Transmission flags. */
  @ParameterizedTest
  @CsvSource({"disk, true", "disk, false", "readonly, true", "readonly, false"})
  void offersOnlyWhatItCan(String export, boolean structured) throws IOException {
    try (RawClient client = serving.connect().greet()) {
      if (structured) {
        client.ask(NBD_OPT_STRUCTURED_REPLY);
      }
      int flags = client.ask(NBD_OPT_GO, infoData(export)).getFirst().data().getShort(10);

      assertThat(flags & NBD_FLAG_HAS_FLAGS).isNotZero();
      assertThat(flags & ~KNOWN_TRANSMISSION_FLAGS).isZero();
      assertThat((flags & NBD_FLAG_SEND_DF) != 0).isEqualTo(structured);
      boolean readOnly = export.equals("readonly");
      assertThat((flags & NBD_FLAG_READ_ONLY) != 0).isEqualTo(readOnly);
      for (int flag :
          new int[] {
            NBD_FLAG_SEND_WRITE_ZEROES,
            NBD_FLAG_SEND_FAST_ZERO,
            NBD_FLAG_SEND_TRIM,
            NBD_FLAG_SEND_FUA
          }) {
        assertThat((flags & flag) != 0).isEqualTo(!readOnly);
      }
      assertThat(flags & NBD_FLAG_SEND_CACHE).isNotZero();
    }
  }

  /** Structured replies; NBD_CMD_READ. */
  @ParameterizedTest
  @ValueSource(ints = {0, 512, SIZE_BYTES + 1})
  void answersReadsByChunksOnlyOnceThatWasAgreed(int length) throws IOException {
    try (RawClient client = serving.connect("disk", true)) {
      client.sendRequest(0, NBD_CMD_READ, 5, 0, length);
      ByteBuffer chunk = ByteBuffer.wrap(client.readBytes(20));

      assertThat(chunk.getInt()).isEqualTo(0x668e33ef);
      assertThat(chunk.getShort()).as("done").isEqualTo((short) 1);
      if (length == 0) {
        assertThat(chunk.getShort()).isEqualTo((short) NBD_REPLY_TYPE_NONE);
        assertThat(chunk.getInt(16)).isZero();
      }
      client.readBytes(chunk.getInt(16));
      client.sendRequest(0, NBD_CMD_READ, 6, 0, 512);
      assertThat(client.readReply().cookie()).isEqualTo(6);
    }
  }

  /** Error values: EOVERFLOW. */
  @Test
  void answersTooLongReadsInOnePieceWithOverflow() throws IOException {
    try (RawClient client = serving.connect("disk", true)) {
      client.sendRequest(NBD_CMD_FLAG_DF, NBD_CMD_READ, 1, 0, 33 * MIB);
      assertThat(client.readReply().error()).isEqualTo(NBD_EOVERFLOW);
      client.sendRequest(NBD_CMD_FLAG_DF, NBD_CMD_READ, 2, 0, 64 << 10);

      assertThat(client.readReply().error()).isZero();
    }
  }

  /** Structured replies: content before an error, or none at all. */
  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void sendsNoDataOfAReadThatFailsHalfway(boolean structured) throws IOException {
    try (RawClient client = serving.connect("faulty", structured)) {
      client.write(0, random(4 * 4096, 2));
      faulty.failAt(1, Fault.HALFWAY, Reason.IO_ERROR);
      client.sendRequest(0, NBD_CMD_READ, 1, 0, 4 * 4096);
      Reply reply = client.readReply();

      assertThat(reply.error()).isEqualTo(NBD_EIO);
      assertThat(reply.chunks()).isEmpty();
      client.sendRequest(0, NBD_CMD_FLUSH, 2, 0, 0);
      assertThat(client.readReply().cookie()).isEqualTo(2);
    }
  }

  /** Command flags; Ordering of messages and writes. */
  @Test
  void makesDurableWhatIsToBe() throws IOException {
    try (RawClient client = serving.connect("disk", true)) {
      client.sendWrite(NBD_CMD_FLAG_FUA, 1, 0, new byte[512]);
      assertThat(client.readReply().error()).isZero();
      assertThat(recording.takeOperations()).last().asString().startsWith("write 0+512 durable");
      client.sendRequest(NBD_CMD_FLAG_FUA, NBD_CMD_WRITE_ZEROES, 2, 0, 512);
      assertThat(client.readReply().error()).isZero();
      assertThat(recording.takeOperations()).last().asString().contains("zero 0+512", " durable");
      client.sendRequest(NBD_CMD_FLAG_FUA, NBD_CMD_TRIM, 3, 0, 512);
      assertThat(client.readReply().error()).isZero();
      assertThat(recording.takeOperations()).last().asString().contains("trim 0+512 durable");
      client.sendRequest(0, NBD_CMD_FLUSH, 4, 0, 0);
      assertThat(client.readReply().error()).isZero();
      assertThat(recording.takeOperations()).last().asString().startsWith("flush");
    }
  }

  /** Command flags: FUA has to be taken on every command. */
  @Test
  void takesFuaOnEveryCommand() throws IOException {
    try (RawClient client = serving.connect("disk", true)) {
      for (int command :
          new int[] {
            NBD_CMD_READ,
            NBD_CMD_FLUSH,
            NBD_CMD_TRIM,
            NBD_CMD_CACHE,
            NBD_CMD_WRITE_ZEROES,
            NBD_CMD_BLOCK_STATUS
          }) {
        int length = command == NBD_CMD_FLUSH ? 0 : 4096;
        client.sendRequest(NBD_CMD_FLAG_FUA, command, command, 0, length);
        assertThat(client.readReply().error()).as("command %d", command).isZero();
      }
      client.sendWrite(NBD_CMD_FLAG_FUA, NBD_CMD_WRITE, 0, new byte[4096]);
      assertThat(client.readReply().error()).isZero();
    }
  }

  /** Transmission flags: NBD_FLAG_CAN_MULTI_CONN. */
  @Test
  void showsWhatIsWrittenOnEveryConnection() throws IOException {
    try (RawClient writer = serving.connect("disk", false);
        RawClient reader = serving.connect("disk", false)) {
      for (int i = 1; i <= 20; i++) {
        byte[] data = random(8192, i);
        writer.write(i * 100L, data);
        writer.sendRequest(0, NBD_CMD_FLUSH, i, 0, 0);
        assertThat(writer.readReply().error()).isZero();

        assertThat(reader.read(i * 100L, 8192)).isEqualTo(data);
      }
    }
  }

  /** NBD_CMD_WRITE; Error values: ENOSPC. */
  @Test
  void writesNothingOfWhatGoesPastTheEnd() throws IOException {
    byte[] last = random(4096, 3);
    try (RawClient client = serving.connect("disk", false)) {
      client.write(SIZE_BYTES - 4096, last);
      client.sendWrite(0, 1, SIZE_BYTES - 4096, new byte[8192]);
      assertThat(client.readReply().error()).isEqualTo(NBD_ENOSPC);
      client.sendRequest(0, NBD_CMD_WRITE_ZEROES, 2, SIZE_BYTES - 4096, 8192);
      assertThat(client.readReply().error()).isEqualTo(NBD_ENOSPC);
      client.sendRequest(0, NBD_CMD_TRIM, 3, SIZE_BYTES - 4096, 8192);
      assertThat(client.readReply().error()).isEqualTo(NBD_EINVAL);

      assertThat(client.read(SIZE_BYTES - 4096, 4096)).isEqualTo(last);
    }
    try (RawClient client = serving.connect().greet()) {
      ByteBuffer export = client.ask(NBD_OPT_GO, infoData("disk")).getFirst().data();
      assertThat(export.getLong(2)).isEqualTo(SIZE_BYTES);
    }
  }

  /** NBD_CMD_CACHE. */
  @Test
  void changesNothingByCaching() throws IOException {
    byte[] data = random(4096, 4);
    try (RawClient client = serving.connect("disk", false)) {
      client.write(4096, data);
      client.sendRequest(0, NBD_CMD_CACHE, 1, 0, 12_288);
      assertThat(client.readReply().error()).isZero();

      assertThat(client.read(4096, 4096)).isEqualTo(data);
      assertThat(client.read(8192, 4096)).containsOnly(0);
    }
  }

  /** NBD_CMD_BLOCK_STATUS. */
  @Test
  void describesARangeByExtentsThatDiffer() throws IOException {
    int step = 8192;
    try (RawClient client = serving.connect("disk", true)) {
      // More extents than are said at once.
      for (int at = 0; at < 20 * MIB; at += step) {
        client.write(at, random(4096, 5));
      }
      long said = 0;
      int before = -1;
      while (said < 20 * MIB) {
        client.sendRequest(0, NBD_CMD_BLOCK_STATUS, 1, said, 20L * MIB - said);
        Chunk chunk = client.readReply().chunks().getFirst();
        ByteBuffer extents = chunk.payload().position(4);
        assertThat(extents.remaining()).isPositive().isLessThanOrEqualTo(8 << 20);
        while (extents.hasRemaining()) {
          int length = extents.getInt();
          int status = extents.getInt();
          assertThat(length).isEqualTo(4096);
          assertThat(status).isNotEqualTo(before).isIn(0, 3);
          before = status;
          said += length;
        }
      }
      assertThat(said).isEqualTo(20 * MIB);

      client.sendRequest(NBD_CMD_FLAG_REQ_ONE, NBD_CMD_BLOCK_STATUS, 2, 1000, 512);
      ByteBuffer one = client.readReply().chunks().getFirst().payload();
      assertThat(one.limit()).isEqualTo(12);
      assertThat(one.getInt(4)).isBetween(1, 512);
    }
  }
}
