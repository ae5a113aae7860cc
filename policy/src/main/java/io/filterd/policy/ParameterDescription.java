package io.filterd.policy;

import io.filterd.policy.yaml.Quantities;
import java.time.Duration;
import java.util.Optional;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/**
 * A parameter of a filter.
 *
 * @param name its name in policies
 * @param type how its text is read
 * @param defaultText its text when it is left out, or null if it must be given
 * @param minimum the least number, but that the default may be 0, for none; for times in
 *     milliseconds; ignored for switches and texts
 * @param maximum the largest number, in the same unit
 */
public record ParameterDescription(
    String name, Type type, @Nullable String defaultText, long minimum, long maximum) {
  /** How a text is read, and what it becomes. */
  public enum Type {
    /** A whole number, a {@link Long}. */
    COUNT,
    /** A size, a {@link Long} of bytes. */
    BYTES,
    /** A rate, a {@link Long} of bytes per second. */
    BYTES_PER_SECOND,
    /** A rate, a {@link Long} of operations per second. */
    OPERATIONS_PER_SECOND,
    /** A {@link Duration}. */
    DURATION,
    /** A {@link Boolean}. */
    SWITCH,
    /** A {@link String}. */
    TEXT
  }

  /**
   * Checks the default.
   *
   * @throws IllegalArgumentException if the default is no value of the parameter
   */
  public ParameterDescription {
    if (defaultText != null && value(type, defaultText, minimum, maximum).isEmpty()) {
      throw new IllegalArgumentException(
          "default of parameter "
              + name
              + ": "
              + defaultText
              + " (expected: "
              + type
              + " between "
              + minimum
              + " and "
              + maximum
              + ")");
    }
  }

  /** The value when it is left out; empty if it must be given. */
  public Optional<Object> defaultValue() {
    return defaultText == null ? Optional.empty() : value(type, defaultText, minimum, maximum);
  }

  private static Optional<Object> value(Type type, String text, long minimum, long maximum) {
    return switch (type) {
      case COUNT -> number(Quantities.count(text), minimum, maximum);
      case BYTES -> number(Quantities.bytes(text), minimum, maximum);
      case BYTES_PER_SECOND -> number(Quantities.bytesPerSecond(text), minimum, maximum);
      case OPERATIONS_PER_SECOND -> number(Quantities.operationsPerSecond(text), minimum, maximum);
      case DURATION ->
          Optional.<Object>ofNullable(Quantities.duration(text))
              .filter(time -> isWithin(((Duration) time).toMillis(), minimum, maximum));
      case SWITCH ->
          switch (text) {
            case "true" -> Optional.of(true);
            case "false" -> Optional.of(false);
            default -> Optional.empty();
          };
      case TEXT -> Optional.of(text);
    };
  }

  private static Optional<Object> number(OptionalLong number, long minimum, long maximum) {
    return number.isPresent()
            && (number.getAsLong() == 0 || isWithin(number.getAsLong(), minimum, maximum))
        ? Optional.of(number.getAsLong())
        : Optional.empty();
  }

  private static boolean isWithin(long number, long minimum, long maximum) {
    return number >= minimum && number <= maximum;
  }
}
