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
  /** Longer texts than this are of no help to anybody. */
  private static final int MAX_SHOWN = 300;

  /** Makes what was taken from the file fit to be shown on a terminal and kept in a log. */
  public Problem {
    key = shown(key);
    message = shown(message);
  }

  private static String shown(String text) {
    StringBuilder shown = new StringBuilder();
    text.codePoints()
        .limit(MAX_SHOWN)
        .map(codePoint -> isVisible(codePoint) ? codePoint : '?')
        .forEach(shown::appendCodePoint);
    return shown.length() < text.length() ? shown.append("...").toString() : shown.toString();
  }

  private static boolean isVisible(int codePoint) {
    return switch (Character.getType(codePoint)) {
      case Character.CONTROL,
          Character.FORMAT,
          Character.LINE_SEPARATOR,
          Character.PARAGRAPH_SEPARATOR,
          Character.SURROGATE,
          Character.UNASSIGNED ->
          false;
      default -> true;
    };
  }

  @Override
  public String toString() {
    return file + (line > 0 ? ":" + line : "") + ": " + (key.isEmpty() ? "" : key + ": ") + message;
  }
}
