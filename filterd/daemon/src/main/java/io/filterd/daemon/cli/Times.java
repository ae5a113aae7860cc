package io.filterd.daemon.cli;

import java.util.Locale;
import org.jspecify.annotations.Nullable;

/** Times for people. */
final class Times {
  private Times() {}

  /** A long time, in whole seconds or two larger units: {@code 2h 5m}. */
  static String ofMillis(long millis) {
    long seconds = millis / 1000;
    if (seconds < 60) {
      return seconds + "s";
    }
    long minutes = seconds / 60;
    if (minutes < 60) {
      return minutes + "m " + seconds % 60 + "s";
    }
    long hours = minutes / 60;
    return hours < 24 ? hours + "h " + minutes % 60 + "m" : hours / 24 + "d " + hours % 24 + "h";
  }

  /** A short time: {@code 64 us}, {@code 1.0 ms}; null is longer than any that is told apart. */
  static String ofMicros(@Nullable Long micros) {
    if (micros == null) {
      return "longer";
    }
    if (micros < 1000) {
      return micros + " us";
    }
    return micros < 1_000_000
        ? String.format(Locale.ROOT, "%.1f ms", micros / 1e3)
        : String.format(Locale.ROOT, "%.1f s", micros / 1e6);
  }
}
