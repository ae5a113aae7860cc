package io.filterd.filter.inspection;

import java.util.concurrent.atomic.AtomicLongArray;
import java.util.concurrent.atomic.AtomicReferenceArray;
import org.jspecify.annotations.Nullable;

/**
 * Counts times in buckets that grow with the time: sixteen for each power of two, so that a
 * percentile is too large by less than a sixteenth. Threads count in different stripes. No lock and
 * no garbage; safe for many threads.
 */
final class LatencyHistogram {
  private static final int SUB_BITS = 4;
  private static final int SUB_BUCKETS = 1 << SUB_BITS;

  /** Times from two to the power of this on, some 37 minutes, share the last bucket. */
  private static final int LIMIT_EXPONENT = 41;

  private static final int BUCKETS = (LIMIT_EXPONENT - SUB_BITS + 1) * SUB_BUCKETS;

  /** The place of a stripe's largest time, behind the buckets. */
  private static final int MAXIMUM = BUCKETS;

  /**
   * A power of two, so that a mask finds the stripe; beyond eight they cost more than they gain.
   */
  private static final int STRIPES =
      Math.min(8, Integer.highestOneBit(Runtime.getRuntime().availableProcessors()));

  /** Made when first counted in: most disks of many are idle, and a stripe takes 5 KiB. */
  private final AtomicReferenceArray<@Nullable AtomicLongArray> stripes =
      new AtomicReferenceArray<>(STRIPES);

  void record(long nanos) {
    long time = Math.max(0, nanos);
    AtomicLongArray stripe = stripe((int) Thread.currentThread().threadId() & (STRIPES - 1));
    stripe.getAndIncrement(index(time));
    if (time > stripe.get(MAXIMUM)) {
      stripe.accumulateAndGet(MAXIMUM, time, Math::max);
    }
  }

  private AtomicLongArray stripe(int place) {
    AtomicLongArray stripe = stripes.get(place);
    if (stripe != null) {
      return stripe;
    }
    AtomicLongArray made = new AtomicLongArray(BUCKETS + 1);
    AtomicLongArray other = stripes.compareAndExchange(place, null, made);
    return other == null ? made : other;
  }

  private static int index(long nanos) {
    if (nanos < SUB_BUCKETS) {
      return (int) nanos;
    }
    int exponent = Long.SIZE - 1 - Long.numberOfLeadingZeros(nanos);
    if (exponent >= LIMIT_EXPONENT) {
      return BUCKETS - 1;
    }
    int sub = (int) (nanos >>> (exponent - SUB_BITS)) & (SUB_BUCKETS - 1);
    return (exponent - SUB_BITS + 1) * SUB_BUCKETS + sub;
  }

  /** The largest time, in nanoseconds, that falls into a bucket. */
  private static long upperBound(int index) {
    if (index < SUB_BUCKETS) {
      return index;
    }
    int exponent = index / SUB_BUCKETS + SUB_BITS - 1;
    long sub = index % SUB_BUCKETS;
    return ((SUB_BUCKETS + sub + 1) << (exponent - SUB_BITS)) - 1;
  }

  /** What was recorded up to now. */
  Snapshot snapshot() {
    long[] counts = new long[BUCKETS];
    long total = 0;
    long maximum = 0;
    for (int place = 0; place < STRIPES; place++) {
      AtomicLongArray stripe = stripes.get(place);
      if (stripe == null) {
        continue;
      }
      for (int i = 0; i < BUCKETS; i++) {
        long count = stripe.get(i);
        counts[i] += count;
        total += count;
      }
      maximum = Math.max(maximum, stripe.get(MAXIMUM));
    }
    return new Snapshot(counts, total, maximum);
  }

  /** What was recorded up to a moment. */
  static final class Snapshot {
    private final long[] counts;
    private final long total;
    private final long maximumNanos;

    private Snapshot(long[] counts, long total, long maximumNanos) {
      this.counts = counts;
      this.total = total;
      this.maximumNanos = maximumNanos;
    }

    /** How many times were recorded. */
    long count() {
      return total;
    }

    /** The largest time, exactly; 0 if none was recorded. */
    long maximumNanos() {
      return maximumNanos;
    }

    /**
     * The time that so many of a thousand recorded times do not exceed, rounded up to its bucket; 0
     * if none was recorded.
     */
    long percentileNanos(int perMille) {
      long wanted = Math.ceilDiv(total * perMille, 1000);
      long seen = 0;
      for (int i = 0; i < BUCKETS; i++) {
        seen += counts[i];
        if (seen >= wanted && seen > 0) {
          return i == BUCKETS - 1 ? maximumNanos : Math.min(upperBound(i), maximumNanos);
        }
      }
      return 0;
    }
  }
}
