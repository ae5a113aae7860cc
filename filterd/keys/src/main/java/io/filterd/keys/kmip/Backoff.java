package io.filterd.keys.kmip;

import com.google.errorprone.annotations.concurrent.GuardedBy;
import java.time.Duration;
import java.util.function.DoubleSupplier;
import java.util.function.LongSupplier;

/**
 * When a server that failed is worth another try: after half a second, then after twice as long
 * each time, up to four seconds, so that disks that wait are unlocked soon after its return; with
 * jitter, so that many hosts do not come at once. Safe for many threads.
 */
final class Backoff {
  private static final Duration FIRST = Duration.ofMillis(500);
  private static final int MOST_DOUBLINGS = 3;

  private final LongSupplier nanoTime;
  private final DoubleSupplier random;

  @GuardedBy("this")
  private int failures;

  @GuardedBy("this")
  private long untilNanos;

  /**
   * @param nanoTime a clock such as {@link System#nanoTime}
   * @param random evenly from 0 up to 1
   */
  Backoff(LongSupplier nanoTime, DoubleSupplier random) {
    this.nanoTime = nanoTime;
    this.random = random;
  }

  /** How long to leave the server alone; zero if it may be tried. */
  synchronized Duration remaining() {
    if (failures == 0) {
      return Duration.ZERO;
    }
    return Duration.ofNanos(Math.max(0, untilNanos - nanoTime.getAsLong()));
  }

  /** It failed once more. */
  synchronized void failed() {
    long full = FIRST.toNanos() << Math.min(failures, MOST_DOUBLINGS);
    failures++;
    // From half of it up to all of it.
    untilNanos = nanoTime.getAsLong() + (long) (full * (0.5 + random.getAsDouble() / 2));
  }

  /** It works. */
  synchronized void worked() {
    failures = 0;
  }
}
