package io.filterd.nbd;

import static io.filterd.nbd.wire.Protocol.NBD_CMD_BLOCK_STATUS;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_CACHE;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_DISC;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLAG_DF;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLAG_FAST_ZERO;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLAG_FUA;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLAG_NO_HOLE;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLAG_REQ_ONE;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLUSH;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_READ;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_TRIM;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_WRITE;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_WRITE_ZEROES;
import static io.filterd.nbd.wire.Protocol.NBD_EINVAL;
import static io.filterd.nbd.wire.Protocol.NBD_EIO;
import static io.filterd.nbd.wire.Protocol.NBD_ENOSPC;
import static io.filterd.nbd.wire.Protocol.NBD_ENOTSUP;
import static io.filterd.nbd.wire.Protocol.NBD_EPERM;
import static io.filterd.nbd.wire.Protocol.NBD_ESHUTDOWN;
import static io.filterd.nbd.wire.Protocol.NBD_REPLY_TYPE_BLOCK_STATUS;
import static io.filterd.nbd.wire.Protocol.NBD_REPLY_TYPE_NONE;
import static io.filterd.nbd.wire.Protocol.NBD_REPLY_TYPE_OFFSET_DATA;
import static io.filterd.nbd.wire.Protocol.NBD_REPLY_TYPE_OFFSET_HOLE;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.filterd.block.BlockException.Reason;
import io.filterd.block.BlockSizes;
import io.filterd.block.FaultyDevice;
import io.filterd.block.FaultyDevice.Fault;
import io.filterd.block.HesitantDevice;
import io.filterd.block.MemoryDevice;
import io.filterd.nbd.RawClient.Chunk;
import io.filterd.nbd.RawClient.Reply;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The transmission phase, as proto.md says it; each server is asked by hand. */
final class TransmissionTest {
  private static final int MIB = 1 << 20;
  private static final long SIZE_BYTES = 80L * MIB;
  private static final int ANY_UNKNOWN_COMMAND = 55;

  private final MemoryDevice memory = new MemoryDevice(SIZE_BYTES);
  private final FaultyDevice faulty = new FaultyDevice(new MemoryDevice(SIZE_BYTES));
  private final HeldDevice slow = new HeldDevice(new MemoryDevice(SIZE_BYTES));
  private final CountedExports exports =
      new CountedExports()
          .with("disk", memory)
          .with("faulty", faulty)
          .with("slow", slow)
          .with("blocks", new MemoryDevice(64 << 10, new BlockSizes(4096, 4096, 32 << 20), 4096))
          .withReadOnly("readonly", memory, "");

  @RegisterExtension
  final Serving serving =
      new Serving(
          exports,
          settings ->
              settings
                  .stallTimeout(Duration.ofSeconds(2))
                  .drainTimeout(Duration.ofSeconds(5))
                  .maxTotalBytesInFlight(64 * MIB)
                  .workers(8));

  @AfterEach
  void letGo() {
    slow.letGo();
  }

  private static byte[] random(int length, long seed) {
    byte[] bytes = new byte[length];
    new Random(seed).nextBytes(bytes);
    return bytes;
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 511, 4096, 65_537, 300_000, 32 << 20})
  void readsBackWhatWasWritten(int length) throws Exception {
    byte[] data = random(length, 1);
    try (RawClient client = serving.connect("disk", false)) {
      client.write(12_345, data);

      assertThat(client.read(12_345, length)).isEqualTo(data);
    }
    try (RawClient client = serving.connect("disk", true)) {
      client.sendRequest(0, NBD_CMD_READ, -1, 12_345, length);
      Reply reply = client.readReply();

      assertThat(reply.cookie()).isEqualTo(-1);
      assertThat(content(reply, 12_345, length)).isEqualTo(data);
    }
  }

  /** Puts the chunks of a structured read together; each byte must be said exactly once. */
  private static byte[] content(Reply reply, long offset, int length) {
    assertThat(reply.error()).as(reply.message()).isZero();
    byte[] content = new byte[length];
    int said = 0;
    for (Chunk chunk : reply.chunks()) {
      int at = (int) (chunk.payload().getLong(0) - offset);
      assertThat(at).as("chunks are in order, without gaps").isEqualTo(said);
      if (chunk.type() == NBD_REPLY_TYPE_OFFSET_HOLE) {
        assertThat(chunk.payload().limit()).isEqualTo(12);
        said += chunk.payload().getInt(8);
      } else {
        assertThat(chunk.type()).isEqualTo(NBD_REPLY_TYPE_OFFSET_DATA);
        byte[] data = chunk.bytes(8);
        assertThat(data).isNotEmpty();
        System.arraycopy(data, 0, content, at, data.length);
        said += data.length;
      }
    }
    assertThat(said).isEqualTo(length);
    return content;
  }

  @Test
  void sendsHolesAsHoles() throws Exception {
    try (RawClient client = serving.connect("disk", true)) {
      byte[] data = random(4096, 2);
      client.write(64 << 10, data);
      client.sendRequest(0, NBD_CMD_READ, 1, 0, 256 << 10);
      Reply reply = client.readReply();

      assertThat(reply.chunks())
          .extracting(Chunk::type)
          .containsExactly(
              NBD_REPLY_TYPE_OFFSET_HOLE, NBD_REPLY_TYPE_OFFSET_DATA, NBD_REPLY_TYPE_OFFSET_HOLE);
      byte[] expected = new byte[256 << 10];
      System.arraycopy(data, 0, expected, 64 << 10, data.length);
      assertThat(content(reply, 0, 256 << 10)).isEqualTo(expected);

      client.sendRequest(NBD_CMD_FLAG_DF, NBD_CMD_READ, 2, 0, 256 << 10);
      Reply whole = client.readReply();
      assertThat(whole.chunks()).hasSize(1);
      assertThat(content(whole, 0, 256 << 10)).isEqualTo(expected);

      client.sendRequest(0, NBD_CMD_READ, 3, MIB, 4096);
      assertThat(client.readReply().chunks())
          .extracting(Chunk::type)
          .containsExactly(NBD_REPLY_TYPE_OFFSET_HOLE);
    }
  }

  @Test
  void tellsWhatIsAllocated() throws Exception {
    try (RawClient client = serving.connect("disk", true)) {
      client.write(MIB, random(4096, 3));
      client.write(MIB + 4096, random(4096, 4));
      client.sendRequest(0, NBD_CMD_BLOCK_STATUS, 1, 0, 2 * MIB);
      Chunk chunk = client.readReply().chunks().getFirst();

      assertThat(chunk.type()).isEqualTo(NBD_REPLY_TYPE_BLOCK_STATUS);
      int[] fields = new int[chunk.payload().limit() / 4];
      chunk.payload().asIntBuffer().get(fields);
      assertThat(fields).containsExactly(1, MIB, 3, 8192, 0, MIB - 8192, 3);

      client.sendRequest(NBD_CMD_FLAG_REQ_ONE, NBD_CMD_BLOCK_STATUS, 2, MIB, 2 * MIB);
      Chunk one = client.readReply().chunks().getFirst();
      assertThat(one.payload().limit()).isEqualTo(12);
      assertThat(one.payload().getInt(4)).isEqualTo(8192);
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void answersEmptyRequests(boolean structured) throws Exception {
    try (RawClient client = serving.connect("disk", structured)) {
      for (int command :
          new int[] {
            NBD_CMD_READ, NBD_CMD_WRITE, NBD_CMD_TRIM, NBD_CMD_WRITE_ZEROES, NBD_CMD_CACHE
          }) {
        client.sendRequest(0, command, command, 0, 0);
        Reply reply = client.readReply();

        assertThat(reply.error()).isZero();
        assertThat(reply.cookie()).isEqualTo(command);
        assertThat(reply.chunks()).extracting(Chunk::type).isSubsetOf(NBD_REPLY_TYPE_NONE);
      }
    }
  }

  @Test
  void zeroesAndTrims() throws Exception {
    try (RawClient client = serving.connect("disk", false)) {
      for (int command : new int[] {NBD_CMD_TRIM, NBD_CMD_WRITE_ZEROES}) {
        for (int flags : new int[] {0, NBD_CMD_FLAG_FUA, NBD_CMD_FLAG_NO_HOLE}) {
          if (command == NBD_CMD_TRIM && flags == NBD_CMD_FLAG_NO_HOLE) {
            continue;
          }
          client.write(0, random(3 * 4096, 5));
          client.sendRequest(flags, command, 3, 4096, 4096);

          assertThat(client.readReply()).isEqualTo(new Reply(3, 0, "", List.of()));
          assertThat(client.read(4096, 4096)).containsOnly(0);
          assertThat(client.read(0, 4096)).isEqualTo(Arrays.copyOf(random(3 * 4096, 5), 4096));
        }
      }
      client.sendRequest(0, NBD_CMD_WRITE_ZEROES, 4, 0, SIZE_BYTES);
      assertThat(client.readReply().error()).isZero();
      client.sendRequest(NBD_CMD_FLAG_FUA, NBD_CMD_FLUSH, 5, 0, 0);
      assertThat(client.readReply().error()).isZero();
      client.sendRequest(NBD_CMD_FLAG_FUA, NBD_CMD_CACHE, 6, 0, SIZE_BYTES);
      assertThat(client.readReply().error()).isZero();
    }
  }

  // Everything that is refused: export, flags, command, offset, length, and the error.
  @ParameterizedTest
  @CsvSource({
    "disk, 0, 0, 83886080, 1, 22",
    "disk, 0, 0, 83886079, 2, 22",
    "disk, 0, 0, -1, 1, 22",
    "disk, 0, 0, 9223372036854775807, 4096, 22",
    "disk, 0, 0, 0, 67108865, 22",
    "disk, 0, 0, 0, 4294967295, 22",
    "disk, 4, 0, 0, 4096, 22", // DF without structured replies.
    "disk, 2, 0, 0, 4096, 22",
    "disk, 32768, 0, 0, 4096, 22",
    "disk, 0, 1, 83886080, 1, 28",
    "disk, 0, 1, -4096, 4096, 28",
    "disk, 2, 1, 0, 4096, 22",
    "disk, 0, 1, 0, 67108865, 22",
    "disk, 0, 4, 83886080, 4096, 22",
    "disk, 2, 4, 0, 4096, 22",
    "disk, 0, 6, 83886080, 4096, 28",
    "disk, 4, 6, 0, 4096, 22",
    "disk, 0, 5, 83886080, 4096, 22",
    "disk, 2, 5, 0, 4096, 22",
    "disk, 2, 3, 0, 0, 22",
    "disk, 0, 7, 0, 4096, 22", // No context.
    "disk, 0, 8, 0, 4096, 22",
    "disk, 0, 55, 0, 4096, 22",
    "disk, 0, 65535, 0, 0, 22",
    "blocks, 0, 0, 1, 4096, 22",
    "blocks, 0, 0, 0, 512, 22",
    "blocks, 0, 1, 512, 4096, 22",
    "readonly, 0, 1, 0, 4096, 1",
    "readonly, 0, 4, 0, 4096, 1",
    "readonly, 0, 6, 0, 4096, 1",
    "readonly, 1, 1, 0, 4096, 1",
    "readonly, 1, 0, 0, 4096, 22", // FUA was not offered.
  })
  void refusesAndGoesOn(String export, int flags, int command, long offset, long length, int error)
      throws Exception {
    try (RawClient client = serving.connect(export, false)) {
      client.sendRequest(flags, command, 0x0123456789abcdefL, offset, length);
      if (command == NBD_CMD_WRITE) {
        client.send(new byte[(int) length]);
      }
      Reply reply = client.readReply();

      assertThat(reply).isEqualTo(new Reply(0x0123456789abcdefL, error, "", List.of()));
      assertThat(client.read(0, 4096)).containsOnly(0);
    }
  }

  @Test
  void saysInWordsWhatIsWrong() throws Exception {
    try (RawClient client = serving.connect("disk", true)) {
      client.sendRequest(0, NBD_CMD_READ, 1, SIZE_BYTES, 1);
      Reply reply = client.readReply();

      assertThat(reply.error()).isEqualTo(NBD_EINVAL);
      assertThat(reply.message()).isEqualTo("range: 83886080+1 (expected: inside 0..83886080)");
      client.sendRequest(0, ANY_UNKNOWN_COMMAND, 1, 0, 1);
      assertThat(client.readReply().message()).contains("55");
    }
  }

  @Test
  void dropsAClientWithAWrongMagic() throws Exception {
    try (RawClient client = serving.connect("disk", false)) {
      client.send(new byte[28]);

      assertThat(client.atEnd()).isTrue();
    }
  }

  @Test
  void dropsAClientThatSendsFourGibibytesToARefusedWrite() throws Exception {
    try (RawClient client = serving.connect("disk", false)) {
      client.sendRequest(0, NBD_CMD_WRITE, 1, 0, 0xffff_ffffL);

      assertThat(client.atEnd()).isTrue();
    }
  }

  @Test
  void mapsTheReasonsOfADevice() throws Exception {
    Map<Reason, Integer> expected =
        Map.of(
            Reason.IO_ERROR, NBD_EIO,
            Reason.NO_SPACE, NBD_ENOSPC,
            Reason.READ_ONLY, NBD_EPERM,
            Reason.INVALID_REQUEST, NBD_EINVAL,
            Reason.SHUTTING_DOWN, NBD_ESHUTDOWN,
            Reason.NOT_SUPPORTED, NBD_EINVAL);
    assertThat(expected.keySet()).containsExactlyInAnyOrder(Reason.values());
    try (RawClient client = serving.connect("faulty", false)) {
      for (Map.Entry<Reason, Integer> each : expected.entrySet()) {
        faulty.failAt(1, Fault.BEFORE, each.getKey());
        client.sendWrite(0, 1, 0, new byte[512]);
        assertThat(client.readReply().error()).as("%s", each).isEqualTo(each.getValue());

        faulty.failAt(1, Fault.BEFORE, each.getKey());
        client.sendRequest(0, NBD_CMD_READ, 2, 0, 512);
        assertThat(client.readSimple(512).error()).as("%s", each).isEqualTo(each.getValue());
        assertThat(client.read(0, 512)).containsOnly(0);
      }
      faulty.failAt(1, Fault.BEFORE, Reason.NOT_SUPPORTED);
      client.sendRequest(NBD_CMD_FLAG_FAST_ZERO, NBD_CMD_WRITE_ZEROES, 3, 0, 512);
      assertThat(client.readReply().error()).isEqualTo(NBD_ENOTSUP);
    }
  }

  @Test
  void letsAFastRequestOvertakeASlowOne() throws Exception {
    try (RawClient client = serving.connect("slow", false)) {
      client.sendRequest(0, NBD_CMD_READ, 1, 0, 512);
      client.sendRequest(0, NBD_CMD_READ, 2, SIZE_BYTES / 2, 512);

      assertThat(client.readSimple(512).cookie()).isEqualTo(2);
      slow.letGo();
      assertThat(client.readSimple(512).cookie()).isEqualTo(1);
    }
  }

  @Test
  void leavesThreadsToOthersWhileOneExportIsSlow() throws Exception {
    try (RawClient stuck = serving.connect("slow", false);
        RawClient other = serving.connect("disk", false)) {
      for (int i = 0; i < 100; i++) {
        stuck.sendRequest(0, NBD_CMD_READ, i, i * 512L, 512);
      }
      await().until(() -> slow.held() == 4);

      // Too long for the event loop, so that the workers have it.
      byte[] data = random(MIB, 6);
      other.write(0, data);
      assertThat(other.read(0, MIB)).isEqualTo(data);
      assertThat(slow.held()).isEqualTo(4);
      slow.letGo();
      Set<Long> answered = new HashSet<>();
      for (int i = 0; i < 100; i++) {
        answered.add(stuck.readSimple(512).cookie());
      }
      assertThat(answered).hasSize(100);
    }
  }

  @Test
  void finishesWhatIsInFlightBeforeItLetsAClientGo() throws Exception {
    byte[] data = random(4096, 7);
    try (RawClient client = serving.connect("slow", false)) {
      client.sendWrite(0, 1, 0, data);
      client.sendRequest(0, NBD_CMD_DISC, 2, 0, 0);
      await().until(() -> slow.held() == 1);
      slow.letGo();

      assertThat(client.readReply()).isEqualTo(new Reply(1, 0, "", List.of()));
      assertThat(client.atEnd()).isTrue();
    }
    try (RawClient client = serving.connect("slow", false)) {
      assertThat(client.read(0, 4096)).isEqualTo(data);
    }
  }

  @Test
  void finishesWhatIsInFlightWhenAnExportIsEnded() throws Exception {
    try (RawClient client = serving.connect("slow", false);
        RawClient other = serving.connect("disk", false)) {
      client.sendWrite(0, 1, 0, new byte[4096]);
      await().until(() -> slow.held() == 1);
      Thread ending = Thread.ofVirtual().start(() -> disconnectSlow());
      await()
          .until(
              () -> {
                client.sendRequest(0, NBD_CMD_FLUSH, 2, 0, 0);
                return client.readReply().error() == NBD_ESHUTDOWN;
              });
      slow.letGo();

      assertThat(client.readReply()).isEqualTo(new Reply(1, 0, "", List.of()));
      assertThat(client.atEnd()).isTrue();
      await().until(() -> !ending.isAlive());
      assertThat(other.read(0, 512)).containsOnly(0);
    }
  }

  @Test
  void letsAClientThatStillSendsReadTheLastReplies() throws Exception {
    try (RawClient client =
        new RawClient(serving.server().addresses().getFirst(), 16 << 10).go("slow", false)) {
      for (int i = 0; i < 100; i++) {
        client.sendRequest(0, NBD_CMD_READ, i, 0, 32 << 10);
      }
      // All of them: what is read later gets ESHUTDOWN.
      await().until(() -> serving.server().connections().getFirst().inFlight() == 100);
      Thread ending = Thread.ofVirtual().start(() -> disconnectSlow());
      await()
          .until(
              () -> {
                client.sendRequest(0, NBD_CMD_FLUSH, 200, 0, 0);
                return client.readReply().error() == NBD_ESHUTDOWN;
              });
      // There is always something that the server has not read.
      Thread sending = Thread.ofPlatform().start(() -> sendWithoutEnd(client));
      slow.letGo();

      Set<Long> answered = new HashSet<>();
      for (int i = 0; i < 100; i++) {
        Reply reply = client.readSimple(32 << 10);
        assertThat(reply.error()).isZero();
        answered.add(reply.cookie());
      }
      assertThat(answered).hasSize(100);
      assertThat(client.atEnd()).isTrue();
      await().until(() -> !ending.isAlive() && !sending.isAlive());
    }
  }

  private static void sendWithoutEnd(RawClient client) {
    try {
      client.sendRequest(0, NBD_CMD_WRITE, 300, 0, 256 * MIB);
      byte[] data = new byte[64 << 10];
      for (int i = 0; i < 4096; i++) {
        client.send(data);
      }
    } catch (IOException ended) {
      // By the server.
    }
  }

  private void disconnectSlow() {
    try {
      assertThat(serving.server().disconnect("slow")).isTrue();
    } catch (InterruptedException stop) {
      Thread.currentThread().interrupt();
    }
  }

  @Test
  void takesMoreInFlightThanItWorksOn() throws Exception {
    try (RawClient client = serving.connect("slow", false)) {
      for (int i = 0; i < 1000; i++) {
        client.sendRequest(0, NBD_CMD_READ, i, (i % 1000) * 512L, 512);
      }
      slow.letGo();
      Set<Long> answered = new HashSet<>();
      for (int i = 0; i < 1000; i++) {
        answered.add(client.readSimple(512).cookie());
      }

      assertThat(answered).hasSize(1000);
    }
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3, 4})
  void agreesWithAModel(long seed) throws Exception {
    CountedExports hesitant =
        new CountedExports()
            .with(
                "disk",
                new HesitantDevice(
                    new MemoryDevice(MIB, new BlockSizes(512, 4096, 32 << 20), 4096), seed));
    byte[] model = new byte[MIB];
    SplittableRandom random = new SplittableRandom(seed);
    boolean structured = random.nextBoolean();
    try (NbdServer modelled =
            NbdServer.start(
                NbdServerConfig.on(
                        List.of(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0)))
                    .toBuilder()
                    .inlineBytes(64 << 10)
                    .build(),
                hesitant);
        RawClient client = new RawClient(modelled.addresses().getFirst()).go("disk", structured)) {
      for (int i = 0; i < 400; i++) {
        int offset = random.nextInt(MIB / 512) * 512;
        int length = (1 + random.nextInt(Math.min(512, (MIB - offset) / 512))) * 512;
        switch (random.nextInt(4)) {
          case 0 -> {
            byte[] data = random(length, i);
            client.write(offset, data);
            System.arraycopy(data, 0, model, offset, length);
          }
          case 1 -> {
            int command = random.nextBoolean() ? NBD_CMD_TRIM : NBD_CMD_WRITE_ZEROES;
            client.sendRequest(0, command, i, offset, length);
            assertThat(client.readReply().error()).isZero();
            Arrays.fill(model, offset, offset + length, (byte) 0);
          }
          default -> {
            byte[] expected = Arrays.copyOfRange(model, offset, offset + length);
            if (structured) {
              client.sendRequest(0, NBD_CMD_READ, i, offset, length);
              assertThat(content(client.readReply(), offset, length))
                  .as("seed %d, operation %d", seed, i)
                  .isEqualTo(expected);
            } else {
              assertThat(client.read(offset, length))
                  .as("seed %d, operation %d", seed, i)
                  .isEqualTo(expected);
            }
          }
        }
      }
    }
  }

  @Test
  void keepsRepliesToTheirRequestsAtDepth() throws Exception {
    Map<Long, byte[]> written = new HashMap<>();
    try (RawClient client = serving.connect("disk", false)) {
      for (long i = 0; i < 64; i++) {
        byte[] data = random(4096, i);
        client.write(i * 4096, data);
        written.put(i, data);
      }
      // Long ones go to the workers, short ones don't; one order cannot be told from the other.
      for (long i = 0; i < 64; i++) {
        client.sendRequest(0, NBD_CMD_READ, i, i * 4096, 4096);
      }
      for (int i = 0; i < 64; i++) {
        Reply reply = client.readSimple(4096);
        assertThat(reply.chunks().getFirst().bytes(0)).isEqualTo(written.remove(reply.cookie()));
      }
    }
    assertThat(written).isEmpty();
  }

  @Test
  void showsItsClients() throws Exception {
    try (RawClient client = serving.connect("disk", true)) {
      client.write(0, new byte[4096]);
      client.sendRequest(0, NBD_CMD_READ, 1, 0, 512);
      client.readReply();
      client.sendRequest(0, NBD_CMD_READ, 1, SIZE_BYTES, 512);
      client.readReply();

      assertThat(serving.server().connections())
          .singleElement()
          .satisfies(
              each -> {
                assertThat(each.peer()).startsWith("127.0.0.1:");
                assertThat(each.export()).isEqualTo("disk");
                assertThat(each.structuredReplies()).isTrue();
                assertThat(each.blockStatus()).isTrue();
                assertThat(each.readOnly()).isFalse();
                assertThat(each.requests()).isEqualTo(3);
                assertThat(each.errors()).isEqualTo(1);
                assertThat(each.bytesRead()).isEqualTo(512);
                assertThat(each.bytesWritten()).isEqualTo(4096);
              });
    }
  }
}
