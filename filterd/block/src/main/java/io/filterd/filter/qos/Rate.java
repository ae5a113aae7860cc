package io.filterd.filter.qos;

import java.util.concurrent.atomic.AtomicLong;

/**
 * A rate with a burst, by the virtual clock of the generic cell rate algorithm (ITU-T I.371): every
 * unit moves the clock on by its share of a second, and a request may go when the clock is not
 * further ahead of the time than the burst. A request is charged whole, so a large one makes those
 * behind it wait longer. No lock and no garbage; safe for many threads, in order of arrival.
 */
final class Rate {
  private final double nanosPerUnit;
  private final long burstNanos;
  private final AtomicLong clockNanos;

  /**
   * A rate.
   *
   * @param unitsPerSecond 0 for none
   * @param nowNanos the time to start from
   */
  Rate(long unitsPerSecond, long burstNanos, long nowNanos) {
    this.nanosPerUnit = unitsPerSecond == 0 ? 0 : 1e9 / unitsPerSecond;
    this.burstNanos = burstNanos;
    this.clockNanos = new AtomicLong(nowNanos);
  }

  /** How long a request that comes now has to wait; at most 0 if it may go. Changes nothing. */
  long waitNanos(long nowNanos) {
    return nanosPerUnit == 0 ? 0 : clockNanos.get() - nowNanos - burstNanos;
  }

  /** Charges for a request, and says how long it has to wait; at most 0 if it may go. */
  long charge(long units, long nowNanos) {
    if (nanosPerUnit == 0) {
      return 0;
    }
    long cost = (long) (units * nanosPerUnit);
    while (true) {
      long clock = clockNanos.get();
      // Time that was not used is lost: the burst is all that may be saved up.
      long start = clock - nowNanos > 0 ? clock : nowNanos;
      if (clockNanos.compareAndSet(clock, start + cost)) {
        return start - nowNanos - burstNanos;
      }
    }
  }
}
