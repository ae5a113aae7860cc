package io.filterd.filter.inspection;

import java.util.concurrent.atomic.AtomicLongArray;

/**
 * Counts times in buckets that grow with the time: eight for each power of two, so that a
 * percentile is off by at most an eighth. No lock and no garbage; safe for many threads.
 */
final class LatencyHistogram {
  private static final int SUB_BITS = 3;
  private static final int SUB_BUCKETS = 1 << SUB_BITS;

  /** Times from here on, some 18 minutes, share the last bucket. */
  private static final int LARGEST_EXPONENT = 40;

  private final AtomicLongArray buckets =
      new AtomicLongArray((LARGEST_EXPONENT - SUB_BITS + 2) * SUB_BUCKETS);

  void record(long nanos) {
    buckets.getAndIncrement(index(Math.max(0, nanos)));
  }

  private static int index(long nanos) {
    if (nanos < SUB_BUCKETS) {
      return (int) nanos;
    }
    int exponent = 63 - Long.numberOfLeadingZeros(nanos);
    if (exponent > LARGEST_EXPONENT) {
      return (LARGEST_EXPONENT - SUB_BITS + 2) * SUB_BUCKETS - 1;
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

  /**
   * The time in nanoseconds that a share of the recorded times does not exceed, rounded up to its
   * bucket; 0 if none was recorded.
   *
   * @param share between 0 and 1
   */
  long percentileNanos(double share) {
    long total = 0;
    for (int i = 0; i < buckets.length(); i++) {
      total += buckets.get(i);
    }
    long wanted = (long) Math.ceil(total * share);
    long seen = 0;
    for (int i = 0; i < buckets.length(); i++) {
      seen += buckets.get(i);
      if (seen >= wanted && seen > 0) {
        return upperBound(i);
      }
    }
    return 0;
  }
}
