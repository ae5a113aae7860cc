package io.filterd.kmip.net;

import java.time.Duration;

/**
 * How long each step may take in total, however slowly its bytes come. Each 1 ms to 1 h.
 *
 * @param connect finding the server's address and the TCP connection
 * @param handshake TLS
 * @param answer from the first byte of the request to the last one of the answer
 */
public record Timeouts(Duration connect, Duration handshake, Duration answer) {
  private static final Duration LONGEST = Duration.ofHours(1);

  /** Checks the ranges. */
  public Timeouts {
    check("connect", connect);
    check("handshake", handshake);
    check("answer", answer);
  }

  /** 5 s, 10 s, 30 s. */
  public static Timeouts defaults() {
    return new Timeouts(Duration.ofSeconds(5), Duration.ofSeconds(10), Duration.ofSeconds(30));
  }

  private static void check(String name, Duration value) {
    if (value.toMillis() < 1 || value.compareTo(LONGEST) > 0) {
      throw new IllegalArgumentException(
          name + ": " + value.toMillis() + " ms (expected: 1 ms..1 h)");
    }
  }
}
