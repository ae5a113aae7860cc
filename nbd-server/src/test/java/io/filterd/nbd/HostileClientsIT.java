package io.filterd.nbd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.filterd.block.MemoryDevice;
import io.filterd.nbd.wire.Protocol;
import io.netty.buffer.ByteBufAllocator;
import io.netty.buffer.ByteBufAllocatorMetricProvider;
import java.io.IOException;
import java.lang.management.BufferPoolMXBean;
import java.lang.management.ManagementFactory;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.SplittableRandom;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestReporter;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * Many hostile clients: what they send is spoilt, or comes never, or they come and go. Afterwards
 * the server holds no more than before, and serves others as if nothing had been.
 */
@Timeout(600)
class HostileClientsIT {
  private static final int SPOILT_CLIENTS = 200_000;
  private static final int STALLED_CLIENTS = 1_000;
  private static final int CHURNING_CLIENTS = 20_000;

  private static final int THREADS = 4;
  private static final int SIZE_BYTES = 64 << 10;
  private static final long SEED = Long.getLong("test.seed", 20_261_124);

  @TempDir Path folder;

  private final CountedExports exports =
      new CountedExports()
          .with("disk", new MemoryDevice(SIZE_BYTES))
          .with("quiet", new MemoryDevice(1 << 20));

  @SuppressWarnings("NullAway.Init") // Made before every test.
  private UnixDomainSocketAddress address;

  @SuppressWarnings("NullAway.Init")
  private NbdServer server;

  @BeforeEach
  void start() throws IOException {
    address = UnixDomainSocketAddress.of(folder.resolve("nbd.sock"));
    server =
        NbdServer.start(
            NbdServerConfig.on(List.of(address)).toBuilder().maxConnections(2048).build(), exports);
  }

  @AfterEach
  void givesBackEveryLease() {
    server.close();
    await().until(() -> exports.openLeases() == 0);
  }

  /** What the process holds. */
  private record Holdings(long heapBytes, long directBytes, long pooledBytes, long files) {
    static Holdings now() throws IOException {
      System.gc();
      long direct = 0;
      for (BufferPoolMXBean pool : ManagementFactory.getPlatformMXBeans(BufferPoolMXBean.class)) {
        direct += pool.getMemoryUsed();
      }
      Runtime runtime = Runtime.getRuntime();
      long pooled =
          ((ByteBufAllocatorMetricProvider) ByteBufAllocator.DEFAULT).metric().usedDirectMemory();
      try (Stream<Path> open = Files.list(Path.of("/proc/self/fd"))) {
        return new Holdings(
            runtime.totalMemory() - runtime.freeMemory(), direct, pooled, open.count());
      }
    }

    boolean isAbout(Holdings before) {
      return heapBytes < before.heapBytes + (8 << 20)
          && directBytes < before.directBytes + (8 << 20)
          && pooledBytes < before.pooledBytes + (8 << 20)
          && files <= before.files;
    }
  }

  /** One of many clients, by its number. */
  @FunctionalInterface
  private interface Client {
    void run(int number) throws IOException;
  }

  private static void runMany(int clients, Client client)
      throws InterruptedException, ExecutionException {
    ExecutorService threads = Executors.newFixedThreadPool(THREADS);
    try {
      List<Future<?>> running = new ArrayList<>();
      for (int thread = 0; thread < THREADS; thread++) {
        int first = thread;
        running.add(
            threads.submit(
                () -> {
                  for (int number = first; number < clients; number += THREADS) {
                    client.run(number);
                  }
                  return null;
                }));
      }
      for (Future<?> each : running) {
        each.get();
      }
    } finally {
      threads.shutdownNow();
    }
  }

  private void assertThatAllIsAsBefore(Holdings before) throws IOException {
    await().until(() -> exports.openLeases() == 0);
    await()
        .atMost(Duration.ofSeconds(20))
        .untilAsserted(
            () -> assertThat(Holdings.now()).matches(now -> now.isAbout(before), "as " + before));
    byte[] data = new byte[100_000];
    new Random(SEED).nextBytes(data);
    try (RawClient good = new RawClient(address).go("quiet", false)) {
      assertThat(good.read(0, 1000)).containsOnly(0);
      good.write(1000, data);
      assertThat(good.read(1000, data.length)).isEqualTo(data);
      good.sendRequest(0, Protocol.NBD_CMD_TRIM, 1, 0, 1 << 20);
      assertThat(good.readReply().error()).isZero();
    }
    await().until(() -> exports.openLeases() == 0);
  }

  @Test
  void areSurvivedWhenWhatTheySendIsSpoilt(TestReporter reporter)
      throws IOException, InterruptedException, ExecutionException {
    runMany(2_000, this::sendSpoilt);
    await().until(() -> exports.openLeases() == 0);
    Holdings before = Holdings.now();
    long start = System.nanoTime();

    runMany(SPOILT_CLIENTS, number -> sendSpoilt(2_000 + number));

    reporter.publishEntry(
        "spoilt clients",
        SPOILT_CLIENTS + " in " + TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start) + " ms");
    assertThatAllIsAsBefore(before);
    reporter.publishEntry("held", before + " then " + Holdings.now());
  }

  private void sendSpoilt(int number) throws IOException {
    SplittableRandom random = new SplittableRandom(SEED + number);
    byte[] bytes =
        Conversation.valid(random, "disk", SIZE_BYTES)
            .spoilt(Conversation.valid(random, "disk", SIZE_BYTES));
    try (SocketChannel channel = SocketChannel.open(address)) {
      ByteBuffer all = ByteBuffer.wrap(bytes);
      try {
        if (random.nextInt(4) == 0) {
          // In two parts.
          all.limit(random.nextInt(bytes.length + 1));
          channel.write(all);
          all.limit(bytes.length);
        }
        channel.write(all);
        switch (random.nextInt(10)) {
          case 0 -> {
            return;
          }
          case 1 -> channel.read(ByteBuffer.allocate(1 + random.nextInt(64)));
          default -> {
            channel.shutdownOutput();
            readToTheEnd(channel);
          }
        }
      } catch (IOException dropped) {
        // The server has seen enough, or the file is in the way: what counts comes afterwards.
        assertThat(dropped).hasMessageMatching("Broken pipe|Connection reset.*");
      }
    }
  }

  private static void readToTheEnd(SocketChannel channel) throws IOException {
    ByteBuffer replies = ByteBuffer.allocate(16 << 10);
    while (channel.read(replies) >= 0) {
      replies.clear();
    }
  }

  @Test
  void doNotDisturbOthersWhenTheyStall(TestReporter reporter)
      throws IOException, InterruptedException, ExecutionException {
    runMany(1_000, this::comeAndGo);
    await().until(() -> exports.openLeases() == 0);
    Holdings before = Holdings.now();
    byte[] halfAnOption =
        RawClient.bytes(
            to -> {
              to.writeInt(RawClient.FIXED_NEWSTYLE);
              to.write(RawClient.option(Protocol.NBD_OPT_GO), 0, 9);
            });
    byte[] halfARequest =
        RawClient.bytes(
            to -> {
              to.writeInt(RawClient.FIXED_NEWSTYLE);
              to.write(RawClient.option(Protocol.NBD_OPT_GO, RawClient.infoData("disk")));
              to.write(RawClient.request(0, Protocol.NBD_CMD_WRITE, 1, 0, 4096), 0, 13);
            });
    List<SocketChannel> stalled = new ArrayList<>();
    try (RawClient good = new RawClient(address).go("quiet", false)) {
      long[] alone = readTimesNanos(good);
      for (int i = 0; i < STALLED_CLIENTS; i++) {
        SocketChannel channel = SocketChannel.open(address);
        stalled.add(channel);
        channel.write(ByteBuffer.wrap(i % 2 == 0 ? halfAnOption : halfARequest));
      }
      await().until(() -> server.connections().size() == STALLED_CLIENTS / 2 + 1);

      long[] crowded = readTimesNanos(good);

      reporter.publishEntry("alone", text(alone));
      reporter.publishEntry("beside " + STALLED_CLIENTS + " that stall", text(crowded));
      assertThat(crowded[crowded.length - 1]).isLessThan(TimeUnit.SECONDS.toNanos(5));
      // Of its own time just before, as machines differ; and what they may be busy with besides.
      assertThat(p99(crowded))
          .isLessThan(Math.max(20 * p99(alone), TimeUnit.MILLISECONDS.toNanos(100)));
    } finally {
      for (SocketChannel channel : stalled) {
        channel.close();
      }
    }
    assertThatAllIsAsBefore(before);
  }

  /** How long each of many reads takes, the longest last. */
  private static long[] readTimesNanos(RawClient client) throws IOException {
    long[] times = new long[10_000];
    for (int i = 0; i < times.length; i++) {
      long start = System.nanoTime();
      assertThat(client.read((i % 200) * 4096L, 4096)).hasSize(4096);
      times[i] = System.nanoTime() - start;
    }
    Arrays.sort(times);
    return times;
  }

  private static long p99(long[] sorted) {
    return sorted[sorted.length / 100 * 99];
  }

  private static String text(long[] sortedNanos) {
    return "median "
        + sortedNanos[sortedNanos.length / 2] / 1000
        + " us, p99 "
        + p99(sortedNanos) / 1000
        + " us, longest "
        + sortedNanos[sortedNanos.length - 1] / 1000
        + " us";
  }

  @Test
  void mayComeAndGo(TestReporter reporter)
      throws IOException, InterruptedException, ExecutionException {
    runMany(1_000, this::comeAndGo);
    await().until(() -> exports.openLeases() == 0);
    Holdings before = Holdings.now();
    long start = System.nanoTime();

    runMany(CHURNING_CLIENTS, this::comeAndGo);

    reporter.publishEntry(
        "churning clients",
        CHURNING_CLIENTS
            + " in "
            + TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start)
            + " ms");
    assertThatAllIsAsBefore(before);
  }

  private void comeAndGo(int number) throws IOException {
    try (RawClient client = new RawClient(address).go("disk", number % 2 == 0)) {
      client.sendRequest(0, Protocol.NBD_CMD_FLUSH, number, 0, 0);
      assertThat(client.readReply().cookie()).isEqualTo(number);
      if (number % 3 != 0) {
        client.sendRequest(0, Protocol.NBD_CMD_DISC, 0, 0, 0);
        assertThat(client.atEnd()).isTrue();
      }
    }
  }
}
