package io.filterd.policy;

import org.jspecify.annotations.Nullable;

/**
 * A parameter of a filter.
 *
 * @param name its name in policies
 * @param type how its text is read
 * @param defaultText its text when it is left out, or null if it must be given
 * @param minimum the least number; for times in milliseconds
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
    /** A {@link java.time.Duration}. */
    DURATION,
    /** A {@link Boolean}. */
    SWITCH,
    /** A {@link String}. */
    TEXT
  }
}
