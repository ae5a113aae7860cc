package io.filterd.filter.qos;

import java.time.Duration;

/**
 * What a disk may do at a moment: a request needs both an operation and its bytes. Every request
 * that was let in moves the start of the next one on or leaves it, so requests start in the order
 * in which they were let in. Immutable.
 */
record Limits(TokenBucket operations, TokenBucket bytes) {
  /** Limits of which nothing is used up at time 0; 0 for none. */
  static Limits of(long operationsPerSecond, long bytesPerSecond, Duration burst) {
    return new Limits(
        TokenBucket.full(operationsPerSecond, burst), TokenBucket.full(bytesPerSecond, burst));
  }

  /** When a request may start that comes now; times as {@link TokenBucket} has them. */
  long startNanos(long nowNanos) {
    return Math.max(nowNanos, Math.max(operations.readyNanos(), bytes.readyNanos()));
  }

  /** The limits after a request was let in that starts then. */
  Limits take(long lengthBytes, long startNanos) {
    return new Limits(operations.take(1, startNanos), bytes.take(lengthBytes, startNanos));
  }

  /** The limits after a request that was let in was not done. */
  Limits giveBack(long lengthBytes) {
    return new Limits(operations.giveBack(1), bytes.giveBack(lengthBytes));
  }
}
