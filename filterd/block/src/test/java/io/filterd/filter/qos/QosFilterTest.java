package io.filterd.filter.qos;

import static java.util.concurrent.TimeUnit.MILLISECONDS;
import static java.util.concurrent.TimeUnit.SECONDS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockDeviceContract;
import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.BlockSizes;
import io.filterd.block.Blocking;
import io.filterd.block.CheckedDevice;
import io.filterd.block.Completion;
import io.filterd.block.Durability;
import io.filterd.block.Extents;
import io.filterd.block.FaultyDevice;
import io.filterd.block.FaultyDevice.Fault;
import io.filterd.block.HesitantDevice;
import io.filterd.block.MemoryDevice;
import io.filterd.block.RecordingDevice;
import io.filterd.block.ZeroMode;
import io.filterd.filter.FilterClass;
import io.filterd.filter.FilterContext;
import io.filterd.filter.FilterFactory;
import io.filterd.filter.FilterParameter;
import io.filterd.filter.FilterSettings;
import io.filterd.filter.HookedDevice;
import java.nio.ByteBuffer;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.ServiceLoader;
import java.util.SplittableRandom;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

@Timeout(60)
class QosFilterTest {
  /** Time that stands still, but for those who wait for it. */
  private static final class PatientTime implements QosFilter.Waiting {
    /** System.nanoTime may start anywhere, and overflow. */
    private static final long ORIGIN = Long.MAX_VALUE - 1000;

    private final AtomicLong elapsedNanos = new AtomicLong();

    @Override
    public long nanoTime() {
      return ORIGIN + elapsedNanos.get();
    }

    @Override
    public boolean awaitClose(CountDownLatch closed, long nanos) {
      elapsedNanos.addAndGet(nanos);
      return closed.getCount() == 0;
    }
  }

  /** Time that passes when the test says so. */
  private static final class ManualTime implements QosFilter.Waiting {
    private final AtomicLong nanos = new AtomicLong();

    @Override
    public long nanoTime() {
      return nanos.get();
    }

    @Override
    public boolean awaitClose(CountDownLatch closed, long rest) throws InterruptedException {
      long end = nanos.get() + rest;
      while (nanos.get() < end) {
        if (closed.await(1, MILLISECONDS)) {
          return true;
        }
      }
      return false;
    }
  }

  abstract static class Contract extends BlockDeviceContract {
    private final long operationsPerSecond;
    private final long bytesPerSecond;

    Contract(long operationsPerSecond, long bytesPerSecond) {
      this.operationsPerSecond = operationsPerSecond;
      this.bytesPerSecond = bytesPerSecond;
    }

    @Override
    protected BlockDevice create(long sizeBytes, UnaryOperator<BlockDevice> below) {
      MemoryDevice memory = new MemoryDevice(sizeBytes, new BlockSizes(512, 4096, 1 << 20), 4096);
      return new QosFilter(
          below.apply(memory),
          operationsPerSecond,
          bytesPerSecond,
          Duration.ofMillis(10),
          new PatientTime());
    }
  }

  @Nested
  class WithoutLimits extends Contract {
    WithoutLimits() {
      super(0, 0);
    }
  }

  @Nested
  class WithLimits extends Contract {
    WithLimits() {
      super(1000, 10 << 20);
    }
  }

  private static final long SECOND = 1_000_000_000;
  private static final Duration SHORT = Duration.ofMillis(1);

  private final ByteBuffer buffer = ByteBuffer.allocateDirect(1 << 20);
  private final PatientTime time = new PatientTime();
  private final RecordingDevice recording = new RecordingDevice(new MemoryDevice(1 << 20));

  private QosFilter limit(BlockDevice below, long operations, long bytes, Duration burst) {
    return new QosFilter(new CheckedDevice(below), operations, bytes, burst, time);
  }

  private Extents read(BlockDevice device, int length, Blocking blocking) throws BlockException {
    return device.read(0, buffer.clear().limit(length), blocking);
  }

  private Completion write(BlockDevice device, int length, Blocking blocking)
      throws BlockException {
    return device.write(0, buffer.clear().limit(length), Durability.BUFFERED, blocking);
  }

  // Rates

  @ParameterizedTest
  @CsvSource({
    // operations/s, bytes/s, burst in ms, longest request in sectors, sometimes idle
    "5000, 0, 100, 8, false",
    "5000, 0, 500, 8, true",
    "7, 0, 1, 1, false",
    "0, 1048576, 100, 8, false",
    "0, 300001, 1, 64, true",
    "1000, 3000000, 100, 16, false",
    "1000, 3000000, 2000, 64, true",
    "20001, 1073741824, 10, 256, false",
  })
  void keepsToItsRates(
      long operations, long bytesPerSecond, long burstMillis, int sectors, boolean idles)
      throws BlockException {
    long seed = Long.getLong("test.seed", new SecureRandom().nextInt());
    SplittableRandom random = new SplittableRandom(seed);
    Duration burst = Duration.ofMillis(burstMillis);
    QosFilter filter = limit(new MemoryDevice(1 << 20), operations, bytesPerSecond, burst);
    List<Done> done = new ArrayList<>();
    while (time.elapsedNanos.get() < 12 * SECOND) {
      int length = random.nextInt(1, sectors + 1) * 512;
      if (random.nextBoolean()) {
        read(filter, length, Blocking.ALLOWED);
      } else {
        write(filter, length, Blocking.ALLOWED);
      }
      done.add(new Done(time.elapsedNanos.get(), length));
      if (idles && random.nextInt(5000) == 0) {
        time.elapsedNanos.addAndGet(random.nextLong(3 * SECOND));
      }
    }

    double burstSeconds = burstMillis / 1000.0;
    double operationsAllowed = operations == 0 ? Double.MAX_VALUE : operations;
    double bytesAllowed = bytesPerSecond == 0 ? Double.MAX_VALUE : bytesPerSecond;
    // In any ten seconds no more than the rates allow, the burst, and a request at either end.
    checkWindows(
        done,
        operationsAllowed * (10 + burstSeconds) + 2,
        bytesAllowed * (10 + burstSeconds) + 2.0 * sectors * 512,
        seed);
    if (!idles) {
      // Who always wants more gets what the tighter limit allows.
      double seconds = (double) done.getLast().nanos() / SECOND + burstSeconds;
      double bytes = done.stream().mapToLong(Done::bytes).sum();
      double share =
          Math.max(done.size() / (operationsAllowed * seconds), bytes / (bytesAllowed * seconds));
      assertThat(share).as("-Dtest.seed=%d: share of the limit", seed).isBetween(0.95, 1.05);
    }
  }

  private record Done(long nanos, long bytes) {}

  private static void checkWindows(
      List<Done> done, double operationsAllowed, double bytesAllowed, long seed) {
    long operations = 0;
    long bytes = 0;
    int first = 0;
    for (Done each : done) {
      operations++;
      bytes += each.bytes();
      while (done.get(first).nanos() <= each.nanos() - 10 * SECOND) {
        operations--;
        bytes -= done.get(first).bytes();
        first++;
      }
      assertThat((double) operations)
          .as("-Dtest.seed=%d: operations in 10 s", seed)
          .isLessThanOrEqualTo(operationsAllowed);
      assertThat((double) bytes)
          .as("-Dtest.seed=%d: bytes in 10 s", seed)
          .isLessThanOrEqualTo(bytesAllowed);
    }
  }

  @Test
  void saysHowMuchItDelayed() throws BlockException {
    QosFilter filter = limit(recording, 10, 0, SHORT);
    for (int i = 0; i < 5; i++) {
      read(filter, 512, Blocking.ALLOWED);
    }

    assertThat(filter.report())
        .isEqualTo(Map.of("waiting", 0L, "delayed", 4L, "delayMillis", 399L));
  }

  // What is charged

  @Test
  void chargesALargeRequestWhole() throws BlockException {
    QosFilter filter = limit(recording, 0, 1 << 18, Duration.ofSeconds(1));
    read(filter, 1 << 20, Blocking.ALLOWED);

    assertThat(time.elapsedNanos).hasValue(0);
    write(filter, 512, Blocking.ALLOWED);
    assertThat(time.elapsedNanos).hasValue(3 * SECOND);
  }

  @Test
  void chargesZerosAndTrimsAsOneOperationWithoutBytes() throws BlockException {
    QosFilter filter = limit(recording, 10, 1024, SHORT);
    for (int i = 0; i < 10; i++) {
      filter.zero(0, 1 << 20, ZeroMode.ALLOCATE, Durability.BUFFERED, Blocking.ALLOWED);
      filter.trim(0, 1 << 20, Durability.BUFFERED, Blocking.ALLOWED);
    }

    // The first at once, and the last a burst early.
    assertThat(time.elapsedNanos).hasValue(19 * SECOND / 10 - SHORT.toNanos());
  }

  @Test
  void chargesNothingForFlushesAndExtents() throws BlockException {
    QosFilter filter = limit(recording, 1, 1, SHORT);
    read(filter, 4096, Blocking.ALLOWED);

    for (int i = 0; i < 10; i++) {
      assertThat(filter.flush(Blocking.FORBIDDEN)).isEqualTo(Completion.DONE);
      assertThat(filter.extents(0, 512, Blocking.FORBIDDEN)).isSameAs(Extents.ALL_ZERO);
    }
    assertThat(time.elapsedNanos).hasValue(0);
  }

  @Test
  void chargesForWhatFailsBelow() throws BlockException {
    FaultyDevice faulty = new FaultyDevice(recording);
    QosFilter filter = limit(faulty, 10, 0, SHORT);
    faulty.failAt(1, Fault.AFTER, Reason.IO_ERROR);

    assertThatThrownBy(() -> read(filter, 512, Blocking.ALLOWED))
        .isInstanceOf(BlockException.class);
    read(filter, 512, Blocking.ALLOWED);

    assertThat(time.elapsedNanos).hasValue(SECOND / 10 - SHORT.toNanos());
  }

  // Without blocking

  @Test
  void wouldBlockWithoutATraceWhenItIsNotItsTurn() throws BlockException {
    QosFilter filter = limit(recording, 10, 0, SHORT);
    assertThat(read(filter, 512, Blocking.FORBIDDEN)).isSameAs(Extents.ALL_ZERO);
    recording.takeOperations();

    for (int i = 0; i < 100; i++) {
      assertThat(read(filter, 512, Blocking.FORBIDDEN)).isSameAs(Extents.WOULD_BLOCK);
      assertThat(buffer.position()).isZero();
      assertThat(write(filter, 512, Blocking.FORBIDDEN)).isEqualTo(Completion.WOULD_BLOCK);
      assertThat(
              filter.zero(0, 512, ZeroMode.MAY_DEALLOCATE, Durability.BUFFERED, Blocking.FORBIDDEN))
          .isEqualTo(Completion.WOULD_BLOCK);
      assertThat(filter.trim(0, 512, Durability.BUFFERED, Blocking.FORBIDDEN))
          .isEqualTo(Completion.WOULD_BLOCK);
    }

    assertThat(recording.takeOperations()).isEmpty();
    read(filter, 512, Blocking.ALLOWED);
    assertThat(time.elapsedNanos).hasValue(SECOND / 10 - SHORT.toNanos());
  }

  @Test
  void chargesOnceWhatBelowWouldBlockOnFirst() throws BlockException {
    QosFilter filter = limit(new HesitantDevice(recording, 1), 1000, 1 << 20, SHORT);
    int seconds = 3;
    for (int i = 0; i < seconds * 1000; i++) {
      if (read(filter, 512, Blocking.FORBIDDEN) == Extents.WOULD_BLOCK) {
        read(filter, 512, Blocking.ALLOWED);
      }
      // So that it is its turn, and what is below decides.
      time.elapsedNanos.addAndGet(SECOND / 2000);
    }

    assertThat(recording.takeOperations().size()).isEqualTo(seconds * 1000);
    assertThat(time.elapsedNanos.get())
        .isBetween(seconds * SECOND - 2 * SHORT.toNanos(), seconds * SECOND + SECOND / 1000);
  }

  @ParameterizedTest
  @CsvSource({"10, 0", "0, 5120"})
  void givesBackWhatBelowWouldBlockOn(long operations, long bytesPerSecond) throws BlockException {
    List<Blocking> refused = new ArrayList<>();
    HesitantDevice hesitant = new HesitantDevice(recording, 1);
    QosFilter filter = limit(hesitant, operations, bytesPerSecond, SHORT);
    while (refused.size() < 20) {
      // Half of the tries are answered below, which costs a turn each.
      if (write(filter, 512, Blocking.FORBIDDEN) == Completion.WOULD_BLOCK) {
        refused.add(Blocking.FORBIDDEN);
      } else {
        time.elapsedNanos.addAndGet(SECOND / 10);
      }
    }
    long before = time.elapsedNanos.get();

    write(filter, 512, Blocking.ALLOWED);

    assertThat(time.elapsedNanos).hasValue(before);
  }

  // Waiting

  @Test
  void letsRequestsThroughInTheOrderInWhichTheyCame() throws BlockException, InterruptedException {
    ManualTime manual = new ManualTime();
    List<Integer> order = Collections.synchronizedList(new ArrayList<>());
    QosFilter filter = new QosFilter(recording, 10, 0, SHORT, manual);
    read(filter, 512, Blocking.ALLOWED);
    List<Thread> threads = new ArrayList<>();
    for (int i = 0; i < 6; i++) {
      int number = i;
      threads.add(
          Thread.ofPlatform()
              .start(
                  () -> {
                    readAlone(filter);
                    order.add(number);
                  }));
      awaitWaiters(filter, i + 1);
    }

    for (int i = 1; i <= 6; i++) {
      int count = i;
      manual.nanos.addAndGet(SECOND / 10);
      await().until(() -> order.size() == count);
    }

    assertThat(order).containsExactly(0, 1, 2, 3, 4, 5);
    for (Thread thread : threads) {
      thread.join();
    }
  }

  private static void awaitWaiters(QosFilter filter, long count) {
    await().until(() -> Long.valueOf(count).equals(filter.report().get("waiting")));
  }

  private static void readAlone(BlockDevice device) {
    try {
      device.read(0, ByteBuffer.allocateDirect(512), Blocking.ALLOWED);
    } catch (BlockException failure) {
      throw new AssertionError(failure);
    }
  }

  @Test
  void doesNotLetATryOvertakeWhatWaits() throws BlockException, InterruptedException {
    ManualTime manual = new ManualTime();
    QosFilter filter = new QosFilter(recording, 10, 0, SHORT, manual);
    read(filter, 512, Blocking.ALLOWED);
    Thread waiter = Thread.ofPlatform().start(() -> readAlone(filter));
    awaitWaiters(filter, 1);

    manual.nanos.addAndGet(SECOND / 10);
    waiter.join();

    assertThat(read(filter, 512, Blocking.FORBIDDEN)).isSameAs(Extents.WOULD_BLOCK);
  }

  @Test
  void stopsWaitingWhenItIsInterrupted() throws BlockException, InterruptedException {
    ManualTime manual = new ManualTime();
    QosFilter filter = new QosFilter(recording, 10, 0, SHORT, manual);
    read(filter, 512, Blocking.ALLOWED);
    recording.takeOperations();
    AtomicReference<Reason> reason = new AtomicReference<>();
    AtomicReference<Boolean> flag = new AtomicReference<>();
    Thread waiter =
        Thread.ofPlatform()
            .start(
                () -> {
                  reason.set(reasonOfFailedRead(filter));
                  flag.set(Thread.currentThread().isInterrupted());
                });
    awaitWaiters(filter, 1);

    waiter.interrupt();
    waiter.join();

    assertThat(reason).hasValue(Reason.SHUTTING_DOWN);
    assertThat(flag).hasValue(true);
    assertThat(recording.takeOperations()).isEmpty();
    assertThat(filter.report()).containsEntry("waiting", 0L);
    // Its turn is somebody else's now.
    manual.nanos.addAndGet(SECOND / 10);
    assertThat(read(filter, 512, Blocking.FORBIDDEN)).isNotSameAs(Extents.WOULD_BLOCK);
  }

  private static Reason reasonOfFailedRead(BlockDevice device) {
    try {
      device.read(0, ByteBuffer.allocateDirect(512), Blocking.ALLOWED);
      throw new AssertionError("read (expected: a failure)");
    } catch (BlockException failure) {
      return failure.reason();
    }
  }

  @Test
  void letsGoWhatWaitsWhenItCloses() throws BlockException, InterruptedException {
    QosFilter filter = new QosFilter(recording, 10, 0, SHORT, new ManualTime());
    read(filter, 512, Blocking.ALLOWED);
    recording.takeOperations();
    List<Reason> reasons = Collections.synchronizedList(new ArrayList<>());
    List<Thread> waiters = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      waiters.add(Thread.ofPlatform().start(() -> reasons.add(reasonOfFailedRead(filter))));
    }
    awaitWaiters(filter, 4);

    filter.close();
    for (Thread waiter : waiters) {
      waiter.join();
    }

    assertThat(reasons).hasSize(4).containsOnly(Reason.SHUTTING_DOWN);
    assertThat(recording.takeOperations()).containsExactly("close");
  }

  @Test
  void letsEverythingThroughWhenItStopsDelaying() throws BlockException, InterruptedException {
    QosFilter filter = new QosFilter(recording, 10, 0, SHORT, new ManualTime());
    read(filter, 512, Blocking.ALLOWED);
    List<Thread> waiters = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      Runnable reader =
          () -> {
            try {
              read(filter, 512, Blocking.ALLOWED);
            } catch (BlockException failure) {
              throw new AssertionError(failure);
            }
          };
      waiters.add(Thread.ofPlatform().start(reader));
    }
    awaitWaiters(filter, 4);

    filter.stopDelaying();
    for (Thread waiter : waiters) {
      waiter.join();
    }

    assertThat(read(filter, 512, Blocking.FORBIDDEN)).isNotSameAs(Extents.WOULD_BLOCK);
    assertThat(recording.takeOperations()).hasSize(6);
  }

  // In real time

  private record Context(Map<String, Object> values) implements FilterContext {
    @Override
    public String disk() {
      return "vm1/disk0";
    }

    @Override
    public FilterSettings settings() {
      return new FilterSettings(values);
    }

    @Override
    public <T> T service(Class<T> type) {
      throw new IllegalArgumentException("service: no " + type.getName() + " here");
    }
  }

  private static FilterFactory factory() {
    return ServiceLoader.load(FilterFactory.class).stream()
        .map(ServiceLoader.Provider::get)
        .filter(each -> each.name().equals("qos"))
        .findFirst()
        .orElseThrow();
  }

  @Test
  void isFoundByItsName() {
    assertThat(factory().filterClass()).isEqualTo(FilterClass.QOS);
    assertThat(factory().parameters())
        .extracting(FilterParameter::name)
        .containsExactly("operations", "bandwidth", "burst");
  }

  /** As long as it takes, a machine that is busy with other things may not starve it for more. */
  private static final Duration REAL_BURST = Duration.ofMillis(500);

  @ParameterizedTest
  @CsvSource({"2000, 0, 512", "0, 8192000, 4096"})
  void keepsToItsRatesInRealTime(long operations, long bytesPerSecond, int length)
      throws BlockException, InterruptedException {
    AtomicLong count = new AtomicLong();
    try (BlockDevice filter =
        factory()
            .create(
                new Context(
                    Map.of(
                        "operations",
                        operations,
                        "bandwidth",
                        bytesPerSecond,
                        "burst",
                        REAL_BURST)),
                new HookedDevice(new MemoryDevice(1 << 20), count::incrementAndGet))) {
      int perSecond = 2000;
      // What was saved up goes at once; after it everything waits.
      for (int i = 0; i <= perSecond / 2; i++) {
        read(filter, length, Blocking.ALLOWED);
      }
      read(filter, length, Blocking.ALLOWED);
      long start = System.nanoTime();
      AtomicInteger left = new AtomicInteger(2 * perSecond);
      List<Thread> threads = new ArrayList<>();
      for (int i = 0; i < 4; i++) {
        threads.add(Thread.ofPlatform().start(() -> readUntilNoneIsLeft(filter, length, left)));
      }
      for (Thread thread : threads) {
        thread.join(SECONDS.toMillis(30));
      }

      double seconds = (System.nanoTime() - start) / (double) SECOND;

      assertThat(count).hasValue(perSecond / 2 + 2 + 2 * perSecond);
      assertThat(seconds).isBetween(1.9, 2.1);
    }
  }

  private static void readUntilNoneIsLeft(BlockDevice device, int length, AtomicInteger left) {
    ByteBuffer target = ByteBuffer.allocateDirect(length);
    try {
      while (left.getAndDecrement() > 0) {
        if (device.read(0, target.clear(), Blocking.FORBIDDEN) == Extents.WOULD_BLOCK) {
          device.read(0, target.clear(), Blocking.ALLOWED);
        }
      }
    } catch (BlockException failure) {
      throw new AssertionError(failure);
    }
  }
}
