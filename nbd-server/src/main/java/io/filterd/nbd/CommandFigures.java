package io.filterd.nbd;

import java.util.List;

/**
 * What one connection has asked of one kind of command, and how long that took: from the last byte
 * of a request to its reply being handed to the socket.
 *
 * @param command its name, as in {@code write-zeroes}
 * @param requests how many were answered, errors included
 * @param totalNanos the sum of their times
 * @param buckets how many took less than 1, 2, 4, 8, ... microseconds and no less than the bucket
 *     before says; the last one has all that took longer
 */
public record CommandFigures(String command, long requests, long totalNanos, List<Long> buckets) {
  /** Takes a copy of the buckets. */
  public CommandFigures {
    buckets = List.copyOf(buckets);
  }

  /** The mean time; 0 if there was no request. */
  public long meanNanos() {
    return requests == 0 ? 0 : totalNanos / requests;
  }

  /** What a bucket's times are less than, in microseconds. The last bucket has no such limit. */
  public static long limitMicros(int bucket) {
    return 1L << bucket;
  }

  /**
   * The time that so many of a thousand requests did not exceed, rounded up to the limit of its
   * bucket, in microseconds; 0 if there was none, -1 if it is in the last bucket.
   */
  public long percentileMicros(int perMille) {
    long total = buckets.stream().mapToLong(Long::longValue).sum();
    long wanted = Math.ceilDiv(total * perMille, 1000);
    long seen = 0;
    for (int i = 0; i < buckets.size() && total > 0; i++) {
      seen += buckets.get(i);
      if (seen >= wanted && seen > 0) {
        return i == buckets.size() - 1 ? -1 : limitMicros(i);
      }
    }
    return 0;
  }
}
