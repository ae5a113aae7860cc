package io.filterd.nbd;

import static io.filterd.nbd.wire.Protocol.NBD_CMD_DISC;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLAG_FUA;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLUSH;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_READ;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_WRITE;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_EXPORT_NAME;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.filterd.block.MemoryDevice;
import java.io.DataInputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * What the NBD project's nbd-tester-client tries: throughput with flushes, long reads, and the
 * integrity of what is read while much else is in flight. It is in that project's source only, so a
 * client of ours does it here, in the same way: the export chosen by EXPORT_NAME, zeroes behind its
 * flags, simple replies, cookies by chance, and blocks of 512 bytes that tell which request wrote
 * them.
 */
// In a thread of its own: reading from a socket can't be interrupted.
@Timeout(value = 120, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
final class TesterClientTest {
  private static final int MIB = 1 << 20;
  private static final int SIZE_BYTES = 50 * MIB;
  private static final int BLOCK_BYTES = 512;
  private static final int MAX_IN_FLIGHT = 200;

  enum Transport {
    TCP,
    UNIX,
    TLS
  }

  @TempDir
  @SuppressWarnings("NonFinalStaticField") // Set by the framework.
  static Path folder;

  @SuppressWarnings({"NullAway.Init", "NonFinalStaticField"}) // Made before all tests.
  private static TestPki pki;

  private final CountedExports exports =
      new CountedExports().with("export1", new MemoryDevice(SIZE_BYTES));

  @SuppressWarnings("NullAway.Init") // Each test starts it first.
  private NbdServer server;

  @BeforeAll
  static void makeCertificates() throws IOException {
    pki = new TestPki(folder.resolve("pki"));
  }

  @AfterEach
  void givesBackEveryLease() {
    server.close();
    await().until(() -> exports.openLeases() == 0);
  }

  /** A client in the transmission phase. */
  private RawClient connect(Transport transport) throws IOException, GeneralSecurityException {
    server =
        NbdServer.start(
            NbdServerConfig.on(
                    List.of(
                        transport == Transport.UNIX
                            ? UnixDomainSocketAddress.of(folder.resolve("nbd.sock"))
                            : new InetSocketAddress(InetAddress.getLoopbackAddress(), 0)))
                .toBuilder()
                .tls(new Tls(Tls.Mode.ON, pki.server(true)))
                .build(),
            exports);
    RawClient client = new RawClient(server.addresses().getFirst()).greet(RawClient.FIXED_NEWSTYLE);
    if (transport == Transport.TLS) {
      client.startTls(pki.client("client"));
    }
    client.sendOption(NBD_OPT_EXPORT_NAME, "export1".getBytes(StandardCharsets.US_ASCII));
    assertThat(client.input().readLong()).isEqualTo(SIZE_BYTES);
    assertThat(client.input().readUnsignedShort() & 0xd).as("flags, flush, FUA").isEqualTo(0xd);
    assertThat(client.readBytes(124)).containsOnly(0);
    return client;
  }

  private static FutureTask<Void> inBackground(IoTask task) {
    FutureTask<Void> running =
        new FutureTask<>(
            () -> {
              task.run();
              return null;
            });
    Thread.ofVirtual().start(running);
    return running;
  }

  private interface IoTask {
    void run() throws IOException;
  }

  /** Kibibyte after kibibyte, with no regard to what has been answered. */
  @ParameterizedTest
  @EnumSource
  void writesAndReadsAllInSmallPieces(Transport transport)
      throws IOException, GeneralSecurityException, InterruptedException, ExecutionException {
    int pieces = 4 * MIB / 1024;
    byte[] piece = new byte[1024];
    Arrays.fill(piece, (byte) 'X');
    try (RawClient client = connect(transport)) {
      FutureTask<Void> answers =
          inBackground(
              () -> {
                boolean[] answered = new boolean[2 * pieces];
                for (int i = 0; i < pieces + pieces / 16; i++) {
                  RawClient.Reply reply = client.readSimple(0);
                  assertThat(reply.error()).isZero();
                  int cookie = Math.toIntExact(reply.cookie());
                  assertThat(answered[cookie]).as("answered twice: %d", cookie).isFalse();
                  answered[cookie] = true;
                }
              });
      for (int i = 0; i < pieces; i++) {
        client.sendWrite(i % 16 == 3 ? NBD_CMD_FLAG_FUA : 0, i, i * 1024L, piece);
        if (i % 16 == 11) {
          client.sendRequest(0, NBD_CMD_FLUSH, pieces + i, 0, 0);
        }
      }
      answers.get();

      FutureTask<Void> contents =
          inBackground(
              () -> {
                for (int i = 0; i < pieces; i++) {
                  RawClient.Reply reply = client.readSimple(1024);
                  assertThat(reply.error()).isZero();
                  assertThat(reply.chunks().getFirst().bytes(0)).isEqualTo(piece);
                }
              });
      for (int i = 0; i < pieces; i++) {
        client.sendRequest(0, NBD_CMD_READ, i, i * 1024L, 1024);
      }
      contents.get();
      client.sendRequest(0, NBD_CMD_DISC, 0, 0, 0);
      assertThat(client.atEnd()).isTrue();
    }
  }

  @ParameterizedTest
  @EnumSource
  void readsMoreThanAMebibyteAtOnce(Transport transport)
      throws IOException, GeneralSecurityException {
    byte[] data = new byte[3 * MIB];
    new Random(1).nextBytes(data);
    try (RawClient client = connect(transport)) {
      client.write(0, data);
      for (int[] range : new int[][] {{0, MIB}, {1, MIB + 14}, {2, 2 * (MIB + 14)}}) {
        assertThat(client.read(range[0], range[1]))
            .isEqualTo(Arrays.copyOfRange(data, range[0], range[0] + range[1]));
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"TCP,4000,64", "UNIX,4000,64", "TLS,4000,64", "TCP,30,16384", "TLS,30,16384"})
  void keepsItsWordWithMuchInFlight(Transport transport, int requests, int maxBlocks)
      throws IOException, GeneralSecurityException, InterruptedException, ExecutionException {
    long seed = new Random().nextLong();
    try (RawClient client = connect(transport)) {
      IntegrityRun run = new IntegrityRun(client, new Random(seed), maxBlocks);
      FutureTask<Void> answers = inBackground(() -> run.check(requests));
      for (int sequence = 1; sequence <= requests && !answers.isDone(); sequence++) {
        run.send(sequence, answers);
      }
      answers.get();
    } catch (ExecutionException failure) {
      throw new AssertionError("seed " + seed, failure.getCause());
    }
  }

  /**
   * Requests by chance. One that overlaps a write in flight waits for it, and so does a write for a
   * read: then it is known what each block must hold.
   */
  private static final class IntegrityRun {
    private record Sent(int command, int sequence, int firstBlock, int blocks) {}

    private final RawClient client;
    private final Random random;
    private final int maxBlocks;
    private final int[] writtenBy = new int[SIZE_BYTES / BLOCK_BYTES];
    private final Map<Long, Sent> inFlight = new HashMap<>();

    IntegrityRun(RawClient client, Random random, int maxBlocks) {
      this.client = client;
      this.random = random;
      this.maxBlocks = maxBlocks;
    }

    /** Sends one request, once it may be; none if the answers have come to an end. */
    void send(int sequence, FutureTask<Void> answers) throws IOException, InterruptedException {
      int chance = random.nextInt(100);
      int command = chance < 5 ? NBD_CMD_FLUSH : chance < 55 ? NBD_CMD_WRITE : NBD_CMD_READ;
      int blocks = command == NBD_CMD_FLUSH ? 0 : 1 + random.nextInt(maxBlocks);
      // Half of them where others are.
      int within = random.nextBoolean() ? writtenBy.length : Math.max(4096, 2 * maxBlocks);
      int first = random.nextInt(within - blocks);
      Sent sent = new Sent(command, sequence, blocks == 0 ? 0 : first, blocks);
      long cookie = random.nextLong();
      synchronized (inFlight) {
        while (!answers.isDone() && (inFlight.size() >= MAX_IN_FLIGHT || mustWait(sent))) {
          inFlight.wait(1000);
        }
        inFlight.put(cookie, sent);
      }
      long offset = (long) sent.firstBlock * BLOCK_BYTES;
      if (command == NBD_CMD_WRITE) {
        ByteBuffer data = ByteBuffer.allocate(blocks * BLOCK_BYTES);
        for (int i = 0; i < blocks; i++) {
          fill(data, sequence, first + i);
        }
        client.sendWrite(chance % 8 == 0 ? NBD_CMD_FLAG_FUA : 0, cookie, offset, data.array());
      } else {
        client.sendRequest(0, command, cookie, offset, (long) blocks * BLOCK_BYTES);
      }
    }

    private boolean mustWait(Sent next) {
      return inFlight.values().stream()
          .anyMatch(
              other ->
                  (other.command == NBD_CMD_WRITE || next.command == NBD_CMD_WRITE)
                      && other.firstBlock < next.firstBlock + next.blocks
                      && next.firstBlock < other.firstBlock + other.blocks);
    }

    /** Reads as many replies, and compares what they bring with what was written. */
    void check(int replies) throws IOException {
      DataInputStream in = client.input();
      byte[] block = new byte[BLOCK_BYTES];
      for (int i = 0; i < replies; i++) {
        assertThat(in.readInt()).isEqualTo(0x67446698);
        assertThat(in.readInt()).as("error").isZero();
        long cookie = in.readLong();
        Sent sent;
        synchronized (inFlight) {
          sent = inFlight.get(cookie);
        }
        if (sent == null) {
          throw new AssertionError("answered, but not asked: " + Long.toHexString(cookie));
        }
        for (int at = sent.firstBlock; at < sent.firstBlock + sent.blocks; at++) {
          if (sent.command == NBD_CMD_READ) {
            in.readFully(block);
            ByteBuffer expected = ByteBuffer.allocate(BLOCK_BYTES);
            fill(expected, writtenBy[at], at);
            if (!Arrays.equals(block, expected.array())) {
              assertThat(block).as("block %d of %s", at, sent).isEqualTo(expected.array());
            }
          } else {
            writtenBy[at] = sent.sequence;
          }
        }
        synchronized (inFlight) {
          inFlight.remove(cookie);
          inFlight.notifyAll();
        }
      }
    }

    /** What a request writes to a block; zeros if none has. */
    private static void fill(ByteBuffer to, int sequence, int block) {
      long value = ((long) sequence << 32) | block;
      for (int i = 0; i < BLOCK_BYTES / 8; i++) {
        to.putLong(sequence == 0 ? 0 : value);
        value = value * 0x5851f42d4c957f2dL + 1;
      }
    }
  }
}
