package io.filterd.filter;

import java.time.Duration;
import java.util.Map;

/**
 * The values of a filter's parameters: one for every declared {@link FilterParameter}, checked
 * against it. Immutable.
 *
 * @param values by parameter name: a {@link Long} for counts, sizes and rates, else a {@link
 *     Duration}, {@link Boolean} or {@link String}
 */
public record FilterSettings(Map<String, Object> values) {
  /** Copies the values. */
  public FilterSettings {
    values = Map.copyOf(values);
  }

  /** The number under {@code name}: a count, bytes, or a rate per second. */
  public long number(String name) {
    return (Long) value(name);
  }

  /** The time under {@code name}. */
  public Duration duration(String name) {
    return (Duration) value(name);
  }

  /** The switch under {@code name}. */
  public boolean enabled(String name) {
    return (Boolean) value(name);
  }

  /** The text under {@code name}. */
  public String text(String name) {
    return (String) value(name);
  }

  private Object value(String name) {
    Object value = values.get(name);
    if (value == null) {
      throw new IllegalArgumentException("filter parameter: " + name + " is not declared");
    }
    return value;
  }
}
