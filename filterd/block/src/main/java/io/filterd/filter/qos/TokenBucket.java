package io.filterd.filter.qos;

import java.time.Duration;

/**
 * A bucket that fills with tokens at a fixed rate and spills over when it holds those of {@code
 * burstNanos}. A request may go while the bucket owes nothing, and then takes all its tokens, so
 * that the bucket may owe some. Instead of the tokens it holds the time at which it is full (the
 * virtual scheduling of ITU-T I.371): nothing has to fill it. Times are in nanoseconds since any
 * moment. Immutable.
 *
 * @param tokensPerSecond 0 for as many as anybody wants
 * @param fullNanos when it is full if nobody takes any more
 * @param remainder what the division left over that made {@code fullNanos} of tokens, so that
 *     nothing is lost however many small requests there are
 */
record TokenBucket(long tokensPerSecond, long burstNanos, long fullNanos, long remainder) {
  private static final long NANOS_PER_SECOND = 1_000_000_000;

  /** Some 146 years from the start. */
  private static final long NEVER = Long.MAX_VALUE / 2;

  /** A bucket that is full at time 0. */
  static TokenBucket full(long tokensPerSecond, Duration burst) {
    return new TokenBucket(tokensPerSecond, burst.toNanos(), 0, 0);
  }

  /** The time from which on a request may go. */
  long readyNanos() {
    return tokensPerSecond == 0 ? Long.MIN_VALUE : fullNanos - burstNanos;
  }

  /**
   * The bucket after a request took tokens.
   *
   * @param tokens at most 2^32
   * @param nanos the time; not before {@link #readyNanos}
   */
  TokenBucket take(long tokens, long nanos) {
    return tokensPerSecond == 0 ? this : later(Math.max(fullNanos, nanos), tokens);
  }

  /** The bucket after a request gave back what it took. */
  TokenBucket giveBack(long tokens) {
    return tokensPerSecond == 0 ? this : later(fullNanos, -tokens);
  }

  private TokenBucket later(long fromNanos, long tokens) {
    // Below 2^62: tokens and nanoseconds per second are, and so is the remainder below a rate.
    long product = tokens * NANOS_PER_SECOND + remainder;
    long nanos = Math.min(NEVER, fromNanos + Math.floorDiv(product, tokensPerSecond));
    return new TokenBucket(
        tokensPerSecond, burstNanos, nanos, Math.floorMod(product, tokensPerSecond));
  }
}
