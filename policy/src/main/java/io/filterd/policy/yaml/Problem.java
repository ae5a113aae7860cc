package io.filterd.policy.yaml;

/**
 * Something wrong in a file.
 *
 * @param file as it was named to the reader
 * @param line the line, from 1; 0 for the file as a whole
 * @param key the path of the key: {@code filters.qos.burst}; empty for the file as a whole
 * @param message what is wrong and what is expected
 */
public record Problem(String file, int line, String key, String message) {
  @Override
  public String toString() {
    return file + (line > 0 ? ":" + line : "") + ": " + (key.isEmpty() ? "" : key + ": ") + message;
  }
}
