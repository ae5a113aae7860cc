package io.filterd.nbd;

import static io.filterd.nbd.wire.Protocol.NBD_CMD_CACHE;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLAG_DF;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLAG_FUA;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_READ;
import static io.filterd.nbd.wire.Protocol.NBD_EINVAL;
import static io.filterd.nbd.wire.Protocol.NBD_EIO;
import static io.filterd.nbd.wire.Protocol.NBD_REPLY_TYPE_OFFSET_DATA;
import static io.filterd.nbd.wire.Protocol.NBD_REPLY_TYPE_OFFSET_HOLE;
import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.BlockSizes;
import io.filterd.block.CheckedDevice;
import io.filterd.block.FaultyDevice;
import io.filterd.block.FaultyDevice.Fault;
import io.filterd.block.MemoryDevice;
import io.filterd.block.RecordingDevice;
import io.filterd.nbd.RawClient.Reply;
import java.io.IOException;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/** Requests that are longer than what their device takes at once. */
final class LongRequestsTest {
  private static final int KIB = 1024;
  private static final int PIECE_BYTES = 64 * KIB;
  private static final int SIZE_BYTES = 1024 * KIB;

  private final FaultyDevice faulty = new FaultyDevice(narrow());
  private final RecordingDevice recording = new RecordingDevice(narrow());
  private final CountedExports exports =
      new CountedExports()
          .with("faulty", faulty)
          .with("recording", recording)
          .with("large", new MemoryDevice(96L << 20));

  @RegisterExtension final Serving serving = new Serving(exports);

  private static BlockDevice narrow() {
    return new CheckedDevice(
        new MemoryDevice(SIZE_BYTES, new BlockSizes(512, 4096, PIECE_BYTES), 4096));
  }

  private static byte[] random(int length, long seed) {
    byte[] bytes = new byte[length];
    new Random(seed).nextBytes(bytes);
    return bytes;
  }

  @Test
  void areGivenToTheDeviceInPieces() throws IOException {
    byte[] data = random(300 * KIB, 1);
    try (RawClient client = serving.connect("recording", false)) {
      client.sendWrite(NBD_CMD_FLAG_FUA, 1, 512, data);
      assertThat(client.readReply().error()).isZero();
      assertThat(recording.takeOperations())
          .containsExactly(
              "write 512+65536 durable",
              "write 66048+65536 durable",
              "write 131584+65536 durable",
              "write 197120+65536 durable",
              "write 262656+45056 durable");
      assertThat(client.read(512, data.length)).isEqualTo(data);
      client.sendRequest(0, NBD_CMD_CACHE, 2, 0, SIZE_BYTES);
      assertThat(client.readReply().error()).isZero();
    }
  }

  @Test
  void tellHolesAcrossPieces() throws IOException {
    byte[] data = random(8 * KIB, 2);
    try (RawClient client = serving.connect("faulty", true)) {
      client.write(PIECE_BYTES - 4 * KIB, data);
      client.sendRequest(0, NBD_CMD_READ, 3, 0, SIZE_BYTES);
      Reply reply = client.readReply();

      assertThat(reply.error()).isZero();
      assertThat(reply.chunks())
          .extracting(RawClient.Chunk::type)
          .containsExactly(
              NBD_REPLY_TYPE_OFFSET_HOLE, NBD_REPLY_TYPE_OFFSET_DATA, NBD_REPLY_TYPE_OFFSET_HOLE);
      assertThat(reply.chunks().get(1).payload().getLong(0)).isEqualTo(PIECE_BYTES - 4 * KIB);
      assertThat(reply.chunks().get(1).bytes(8)).isEqualTo(data);

      client.sendRequest(NBD_CMD_FLAG_DF, NBD_CMD_READ, 4, 0, SIZE_BYTES);
      Reply whole = client.readReply();
      assertThat(whole.chunks()).hasSize(1);
      assertThat(Arrays.copyOfRange(whole.chunks().getFirst().bytes(8), PIECE_BYTES - 4096, 69_632))
          .isEqualTo(data);
    }
  }

  @Test
  void haveOneReplyWhenAPieceFails() throws IOException {
    for (boolean structured : new boolean[] {false, true}) {
      try (RawClient client = serving.connect("faulty", structured)) {
        faulty.failAt(3, Fault.BEFORE, Reason.IO_ERROR);
        client.sendRequest(0, NBD_CMD_READ, 5, 0, SIZE_BYTES);
        assertThat(client.readReply()).matches(one -> one.cookie() == 5 && one.error() == NBD_EIO);

        faulty.failAt(3, Fault.HALFWAY, Reason.IO_ERROR);
        client.sendWrite(0, 6, 0, new byte[SIZE_BYTES]);
        assertThat(client.readReply()).matches(one -> one.cookie() == 6 && one.error() == NBD_EIO);

        client.write(0, new byte[SIZE_BYTES]);
      }
    }
  }

  @Test
  void areTakenUpToTheServersLimit() throws IOException {
    byte[] data = random(64 * KIB * KIB, 7);
    try (RawClient client = serving.connect("large", false)) {
      client.write(1, data);
      assertThat(client.read(1, data.length)).isEqualTo(data);

      client.sendRequest(0, NBD_CMD_READ, 8, 0, data.length + 1);
      assertThat(client.readReply().error()).isEqualTo(NBD_EINVAL);
    }
  }
}
