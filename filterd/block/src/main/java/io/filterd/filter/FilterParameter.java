package io.filterd.filter;

import org.jspecify.annotations.Nullable;

/**
 * A parameter that a storage policy may give a filter.
 *
 * @param name as it is written in the policy
 * @param type how its text is read
 * @param defaultText its text when the policy leaves it out, or null if it must be given
 * @param minimum the least number, but that the default may be 0, for none; for {@link
 *     Type#DURATION} in milliseconds; ignored for switches and texts
 * @param maximum the largest number, in the same unit
 * @param description one sentence for people
 */
public record FilterParameter(
    String name,
    Type type,
    @Nullable String defaultText,
    long minimum,
    long maximum,
    String description) {
  /** How a parameter's text is read, and what {@link FilterSettings} gives for it. */
  public enum Type {
    /** A whole number: {@code 8}. */
    COUNT,
    /** A size: {@code 4KiB}. */
    BYTES,
    /** A rate of bytes: {@code 200MiB/s}. */
    BYTES_PER_SECOND,
    /** A rate of operations: {@code 5000/s}. */
    OPERATIONS_PER_SECOND,
    /** A time: {@code 30s}. */
    DURATION,
    /** {@code true} or {@code false}. */
    SWITCH,
    /** Any text. */
    TEXT
  }
}
