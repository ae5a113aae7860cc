package io.filterd.nbd;

import static io.filterd.nbd.wire.Protocol.NBD_CMD_DISC;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLAG_PAYLOAD_LEN;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_READ;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_WRITE;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.filterd.block.MemoryDevice;
import java.io.DataInputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Every request has exactly one final reply, or the connection has ended: while the device fails in
 * every way, exports and servers end, and clients vanish. Replies are counted by their cookies.
 */
@Timeout(60)
final class ExactlyOneReplyTest {
  private static final int REQUESTS = 600;
  private static final int SIZE_BYTES = 16 << 20;

  /** How replies look. */
  enum Mode {
    SIMPLE,
    STRUCTURED,
    EXTENDED
  }

  static Stream<Arguments> modesAndSeeds() {
    return Stream.of(Mode.values())
        .flatMap(mode -> Stream.of(1L, 2L, 3L).map(seed -> Arguments.of(mode, seed)));
  }

  /** A server with a troubled device, a client of it, and what that was told. */
  private static final class Session implements AutoCloseable {
    private final TroubledDevice device;
    private final CountedExports exports;
    private final NbdServer server;
    private final RawClient client;
    private final Random random;

    /** The data that a simple reply to a request carries, by its cookie. */
    private final int[] dataBytes = new int[REQUESTS];

    /** Where a request has written, by its cookie, if it was a write. */
    private final long[] writtenAt = new long[REQUESTS];

    private final int[] replies = new int[REQUESTS];

    Session(Mode mode, long seed, boolean errorsOnTheLoop) throws IOException {
      device = new TroubledDevice(new MemoryDevice(SIZE_BYTES), seed, errorsOnTheLoop);
      exports = new CountedExports().with("disk", device).with("calm", new MemoryDevice(4096));
      server =
          NbdServer.start(
              NbdServerConfig.on(
                      List.of(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0)))
                  .toBuilder()
                  .drainTimeout(Duration.ofSeconds(20))
                  .workers(4)
                  .build(),
              exports);
      client = connect("disk", mode);
      random = new Random(seed);
    }

    RawClient connect(String export, Mode mode) throws IOException {
      RawClient connected = new RawClient(server.addresses().getFirst());
      return mode == Mode.EXTENDED
          ? connected.goExtended(export, "base:allocation")
          : connected.go(export, mode == Mode.STRUCTURED);
    }

    /** Sends requests of all kinds, right and wrong, then says goodbye. */
    void send() {
      try {
        for (int cookie = 0; cookie < REQUESTS; cookie++) {
          sendOne(cookie);
        }
        client.sendRequest(0, NBD_CMD_DISC, 0, 0, 0);
      } catch (IOException ended) {
        // By the server, or by the test.
      }
    }

    private void sendOne(int cookie) throws IOException {
      int length = random.nextInt(10) == 0 ? 300_000 : 4096;
      long offset = random.nextInt(10) == 0 ? SIZE_BYTES : (long) cookie << 12;
      int flags = random.nextInt(20) == 0 ? 1 << random.nextInt(16) : 0;
      int command = random.nextInt(9);
      switch (command) {
        case NBD_CMD_READ -> dataBytes[cookie] = length;
        // Not over what another one writes.
        case NBD_CMD_WRITE -> {
          writtenAt[cookie] = offset;
          client.sendWrite(flags, cookie, offset, new byte[4096]);
          return;
        }
        case NBD_CMD_DISC -> command = 99;
        default -> {}
      }
      // With this flag a payload would have to follow.
      client.sendRequest(flags & ~NBD_CMD_FLAG_PAYLOAD_LEN, command, cookie, offset, length);
    }

    /** Reads replies until the connection ends, or so many were read. */
    void count(int most) {
      DataInputStream in = client.input();
      try {
        for (int i = 0; i < most; ) {
          int magic = in.readInt();
          if (magic == 0x67446698) {
            int error = in.readInt();
            long cookie = in.readLong();
            assertThat(cookie).isBetween(0L, REQUESTS - 1L);
            in.skipNBytes(error == 0 ? dataBytes[(int) cookie] : 0);
            replies[(int) cookie]++;
            i++;
          } else {
            boolean extended = magic == 0x6e8a278c;
            assertThat(extended || magic == 0x668e33ef).isTrue();
            int flags = in.readUnsignedShort();
            in.readUnsignedShort();
            long cookie = in.readLong();
            assertThat(cookie).isBetween(0L, REQUESTS - 1L);
            // Nothing comes behind the last chunk.
            assertThat(replies[(int) cookie]).isZero();
            in.skipNBytes(extended ? Long.BYTES : 0);
            in.skipNBytes(extended ? in.readLong() : in.readInt());
            if ((flags & 1) != 0) {
              replies[(int) cookie]++;
              i++;
            }
          }
        }
      } catch (IOException ended) {
        // What has come by then counts.
      }
    }

    void countToTheEnd() {
      count(Integer.MAX_VALUE);
    }

    void assertThatNoneHasTwo() {
      assertThat(replies).as("replies by cookie").doesNotContain(2);
    }

    /** What was done while the session ended was answered too. */
    void assertThatWhatWasWrittenWasAnswered() {
      for (int cookie = 0; cookie < REQUESTS; cookie++) {
        if (writtenAt[cookie] > 0 && device.written().contains(writtenAt[cookie])) {
          assertThat(replies[cookie]).as("replies to %d, which was done", cookie).isOne();
        }
      }
    }

    @Override
    public void close() throws IOException {
      client.close();
      server.close();
      await().dontCatchUncaughtExceptions().until(() -> exports.openLeases() == 0);
    }
  }

  @ParameterizedTest
  @MethodSource("modesAndSeeds")
  void whileTheDeviceFails(Mode mode, long seed) throws IOException, InterruptedException {
    try (Session session = new Session(mode, seed, false)) {
      Thread sender = Thread.ofVirtual().start(session::send);
      session.countToTheEnd();
      sender.join();

      assertThat(session.replies).containsOnly(1);
      session.assertThatWhatWasWrittenWasAnswered();
    }
  }

  /** An Error on the event loop may cost the connection, but no other one. */
  @ParameterizedTest
  @MethodSource("modesAndSeeds")
  void whileTheDeviceBreaksTheEventLoop(Mode mode, long seed)
      throws IOException, InterruptedException {
    try (Session session = new Session(mode, seed, true);
        RawClient other = session.connect("calm", Mode.SIMPLE)) {
      Thread sender = Thread.ofVirtual().start(session::send);
      session.countToTheEnd();
      sender.join();

      session.assertThatNoneHasTwo();
      assertThat(other.read(0, 512)).containsOnly(0);
    }
  }

  @ParameterizedTest
  @MethodSource("modesAndSeeds")
  void whileItsExportIsEnded(Mode mode, long seed) throws IOException, InterruptedException {
    try (Session session = new Session(mode, seed, false);
        RawClient other = session.connect("calm", Mode.SIMPLE)) {
      Thread sender = Thread.ofVirtual().start(session::send);
      session.count(REQUESTS / 4);
      Thread ending = Thread.ofVirtual().start(() -> disconnect(session.server));
      session.countToTheEnd();
      ending.join();
      sender.join();

      session.assertThatNoneHasTwo();
      session.assertThatWhatWasWrittenWasAnswered();
      assertThat(other.read(0, 512)).containsOnly(0);
    }
  }

  private static void disconnect(NbdServer server) {
    try {
      assertThat(server.disconnect("disk")).isTrue();
    } catch (InterruptedException stop) {
      Thread.currentThread().interrupt();
    }
  }

  @ParameterizedTest
  @MethodSource("modesAndSeeds")
  void whileTheServerIsClosed(Mode mode, long seed) throws IOException, InterruptedException {
    try (Session session = new Session(mode, seed, false)) {
      Thread sender = Thread.ofVirtual().start(session::send);
      session.count(REQUESTS / 4);
      Thread ending = Thread.ofVirtual().start(session.server::close);
      session.countToTheEnd();
      ending.join();
      sender.join();

      session.assertThatNoneHasTwo();
      session.assertThatWhatWasWrittenWasAnswered();
    }
  }

  @ParameterizedTest
  @MethodSource("modesAndSeeds")
  void whileItVanishes(Mode mode, long seed) throws IOException, InterruptedException {
    try (Session session = new Session(mode, seed, false);
        RawClient other = session.connect("calm", Mode.SIMPLE)) {
      Thread sender = Thread.ofVirtual().start(session::send);
      session.count(REQUESTS / 4);
      session.client.reset();
      sender.join();

      session.assertThatNoneHasTwo();
      await().dontCatchUncaughtExceptions().until(() -> session.exports.openLeases() == 1);
      assertThat(other.read(0, 512)).containsOnly(0);
    }
  }
}
