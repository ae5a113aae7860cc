package io.filterd.filter.inspection;

import static org.assertj.core.api.Assertions.assertThat;

import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class LatencyHistogramTest {
  private final LatencyHistogram histogram = new LatencyHistogram();

  @Test
  void tellsZeroOfNothing() {
    LatencyHistogram.Snapshot snapshot = histogram.snapshot();

    assertThat(snapshot.count()).isZero();
    assertThat(snapshot.percentileNanos(500)).isZero();
    assertThat(snapshot.percentileNanos(1000)).isZero();
    assertThat(snapshot.maximumNanos()).isZero();
  }

  @Test
  void tellsSmallTimesExactly() {
    for (int nanos = 1; nanos <= 10; nanos++) {
      histogram.record(nanos);
    }

    LatencyHistogram.Snapshot snapshot = histogram.snapshot();

    assertThat(snapshot.percentileNanos(100)).isEqualTo(1);
    assertThat(snapshot.percentileNanos(500)).isEqualTo(5);
    assertThat(snapshot.percentileNanos(900)).isEqualTo(9);
    assertThat(snapshot.percentileNanos(901)).isEqualTo(10);
    assertThat(snapshot.maximumNanos()).isEqualTo(10);
  }

  @Test
  void takesTimesOfAnySize() {
    for (long nanos : new long[] {Long.MIN_VALUE, -1, 0, 1L << 41, 1L << 50, Long.MAX_VALUE}) {
      histogram.record(nanos);
    }

    LatencyHistogram.Snapshot snapshot = histogram.snapshot();

    assertThat(snapshot.count()).isEqualTo(6);
    assertThat(snapshot.percentileNanos(500)).isZero();
    assertThat(snapshot.percentileNanos(1000)).isEqualTo(Long.MAX_VALUE);
    assertThat(snapshot.maximumNanos()).isEqualTo(Long.MAX_VALUE);
  }

  @Test
  void isNeverLessThanThePercentileAndOffByASixteenthAtMost() {
    long seed = Long.getLong("test.seed", new SecureRandom().nextInt());
    SplittableRandom random = new SplittableRandom(seed);
    long[] times = new long[20_001];
    for (int i = 0; i < times.length; i++) {
      times[i] = random.nextLong(1L << random.nextInt(1, 41));
      histogram.record(times[i]);
    }
    Arrays.sort(times);

    LatencyHistogram.Snapshot snapshot = histogram.snapshot();

    for (int perMille = 1; perMille <= 1000; perMille++) {
      long exact = times[(int) Math.ceilDiv((long) times.length * perMille, 1000) - 1];
      assertThat(snapshot.percentileNanos(perMille))
          .as("-Dtest.seed=%d, per mille %d", seed, perMille)
          .isBetween(exact, exact + exact / 16);
    }
    assertThat(snapshot.maximumNanos()).isEqualTo(times[times.length - 1]);
  }

  @Test
  void losesNothingOfManyThreads() throws InterruptedException {
    List<Thread> threads = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      int number = i;
      threads.add(
          Thread.ofPlatform()
              .start(
                  () -> {
                    for (int time = 0; time < 50_000; time++) {
                      histogram.record(time * 4L + number);
                    }
                  }));
    }
    for (Thread thread : threads) {
      thread.join();
    }

    assertThat(histogram.snapshot().count()).isEqualTo(200_000);
    assertThat(histogram.snapshot().maximumNanos()).isEqualTo(199_999);
  }
}
