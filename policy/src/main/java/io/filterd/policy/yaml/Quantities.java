package io.filterd.policy.yaml;

import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.OptionalLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * Numbers with units, as people write them. A number is whole and its unit is not left out; what
 * does not fit a {@code long} is no number.
 */
public final class Quantities {
  private static final Pattern NUMBER_AND_UNIT = Pattern.compile("([0-9]{1,19}) ?([A-Za-z]*)");
  private static final String PER_SECOND = "/s";

  /** Units in bytes, the smallest first. */
  private static final Map<String, Long> BYTES = new LinkedHashMap<>();

  /** Units in milliseconds, the smallest first. */
  private static final Map<String, Long> MILLIS = new LinkedHashMap<>();

  static {
    BYTES.put("B", 1L);
    BYTES.put("KiB", 1L << 10);
    BYTES.put("MiB", 1L << 20);
    BYTES.put("GiB", 1L << 30);
    BYTES.put("TiB", 1L << 40);
    MILLIS.put("ms", 1L);
    MILLIS.put("s", 1000L);
    MILLIS.put("m", 60_000L);
    MILLIS.put("h", 3_600_000L);
    MILLIS.put("d", 86_400_000L);
  }

  private Quantities() {}

  /** A size, for example {@code 4KiB}; units B, KiB, MiB, GiB, TiB. Empty if it is not one. */
  public static OptionalLong bytes(String text) {
    return parse(text, BYTES);
  }

  /** A rate of bytes, for example {@code 200MiB/s}. Empty if it is not one. */
  public static OptionalLong bytesPerSecond(String text) {
    return text.endsWith(PER_SECOND) ? bytes(perSecond(text)) : OptionalLong.empty();
  }

  /** A rate of operations, for example {@code 5000/s}. Empty if it is not one. */
  public static OptionalLong operationsPerSecond(String text) {
    return text.endsWith(PER_SECOND) ? count(perSecond(text)) : OptionalLong.empty();
  }

  private static String perSecond(String text) {
    return text.substring(0, text.length() - PER_SECOND.length());
  }

  /** A whole number, at least 0. Empty if it is not one. */
  public static OptionalLong count(String text) {
    return parse(text, Map.of("", 1L));
  }

  /** A time, for example {@code 30s}; units ms, s, m, h, d. Null if it is not one. */
  public static @Nullable Duration duration(String text) {
    OptionalLong millis = parse(text, MILLIS);
    return millis.isPresent() ? Duration.ofMillis(millis.getAsLong()) : null;
  }

  /** A size as {@link #bytes} reads it, in the largest unit that divides it. */
  public static String bytesText(long bytes) {
    return text(bytes, BYTES);
  }

  /** A time as {@link #duration} reads it, in the largest unit that divides it. */
  public static String durationText(Duration duration) {
    return text(duration.toMillis(), MILLIS);
  }

  private static OptionalLong parse(String text, Map<String, Long> units) {
    Matcher matcher = NUMBER_AND_UNIT.matcher(text);
    if (!matcher.matches()) {
      return OptionalLong.empty();
    }
    Long unit = units.get(matcher.group(2));
    if (unit == null) {
      return OptionalLong.empty();
    }
    try {
      return OptionalLong.of(Math.multiplyExact(Long.parseLong(matcher.group(1)), unit));
    } catch (ArithmeticException | NumberFormatException tooLarge) {
      return OptionalLong.empty();
    }
  }

  private static String text(long number, Map<String, Long> units) {
    String text = "";
    for (Map.Entry<String, Long> unit : units.entrySet()) {
      if (number % unit.getValue() == 0 && (number != 0 || text.isEmpty())) {
        text = number / unit.getValue() + unit.getKey();
      }
    }
    return text;
  }
}
