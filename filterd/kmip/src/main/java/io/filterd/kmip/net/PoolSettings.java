package io.filterd.kmip.net;

import io.filterd.kmip.ttlv.TtlvLimits;
import java.time.Duration;

/**
 * How many connections to one server there are, and for how long.
 *
 * @param maximumConnections 1..64
 * @param idle after how long an unused connection is closed; 1 ms to 1 h. Until then the buffers of
 *     the JDK's TLS may hold the last answer, and so a key, in the Java heap
 * @param waiting how long an exchange waits for a connection when all are in use; 1 ms to 1 h
 * @param maximumAnswerBytes the longest answer that is read; 1 KiB..16 MiB
 */
public record PoolSettings(
    int maximumConnections, Duration idle, Duration waiting, int maximumAnswerBytes) {
  private static final int MOST_CONNECTIONS = 64;
  private static final Duration LONGEST = Duration.ofHours(1);

  /** Checks the ranges. */
  public PoolSettings {
    if (maximumConnections < 1 || maximumConnections > MOST_CONNECTIONS) {
      throw new IllegalArgumentException(
          "maximumConnections: " + maximumConnections + " (expected: 1.." + MOST_CONNECTIONS + ")");
    }
    check("idle", idle);
    check("waiting", waiting);
    if (maximumAnswerBytes < 1024 || maximumAnswerBytes > 16 << 20) {
      throw new IllegalArgumentException(
          "maximumAnswerBytes: " + maximumAnswerBytes + " (expected: 1024..16777216)");
    }
  }

  /** 4 connections, closed after 2 s, waited for for 60 s; answers up to 1 MiB. */
  public static PoolSettings defaults() {
    return new PoolSettings(4, Duration.ofSeconds(2), Duration.ofSeconds(60), 1 << 20);
  }

  TtlvLimits answerLimits() {
    return new TtlvLimits(
        maximumAnswerBytes, TtlvLimits.DEFAULT.depth(), TtlvLimits.DEFAULT.items());
  }

  private static void check(String name, Duration value) {
    if (value.toMillis() < 1 || value.compareTo(LONGEST) > 0) {
      throw new IllegalArgumentException(
          name + ": " + value.toMillis() + " ms (expected: 1 ms..1 h)");
    }
  }
}
