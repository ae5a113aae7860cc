package io.filterd.policy.yaml;

import java.util.List;

/** A value of a YAML file, and the line it starts in, from 1. */
sealed interface YamlNode {
  int line();

  /**
   * A single value.
   *
   * @param plain whether it is written without quotes
   */
  record Scalar(String text, boolean plain, int line) implements YamlNode {
    /** Whether nothing is written here, or one of the words that YAML has for nothing. */
    boolean isNothing() {
      return plain
          && switch (text) {
            case "", "~", "null", "Null", "NULL" -> true;
            default -> false;
          };
    }
  }

  /** A list. */
  record Sequence(List<YamlNode> items, int line) implements YamlNode {}

  /** Keys and their values, in the order of the file. */
  record Mapping(List<Entry> entries, int line) implements YamlNode {}

  /** A key and its value. */
  record Entry(YamlNode key, YamlNode value) {}

  /**
   * Something that is not taken in our files, whatever stands in it.
   *
   * @param message what it is and what is expected
   */
  record Refused(String message, int line) implements YamlNode {}
}
