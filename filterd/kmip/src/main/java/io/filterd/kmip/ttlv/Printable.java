package io.filterd.kmip.ttlv;

/** Texts of a peer, made fit for a line of a log. */
public final class Printable {
  private Printable() {}

  /**
   * The text with '?' for whatever is no visible character or space (controls, line and paragraph
   * separators, direction marks, lone surrogates), cut after so many characters.
   */
  public static String of(String text, int maxChars) {
    StringBuilder shown = new StringBuilder(Math.min(text.length(), maxChars) + 3);
    for (int at = 0; at < text.length(); ) {
      int point = text.codePointAt(at);
      if (at + Character.charCount(point) > maxChars) {
        return shown.append("...").toString();
      }
      shown.appendCodePoint(isVisible(point) ? point : '?');
      at += Character.charCount(point);
    }
    return shown.toString();
  }

  /** Whether a code point is a visible character or a plain space. */
  public static boolean isVisible(int point) {
    return switch (Character.getType(point)) {
      case Character.CONTROL,
          Character.FORMAT,
          Character.SURROGATE,
          Character.LINE_SEPARATOR,
          Character.PARAGRAPH_SEPARATOR ->
          false;
      default -> true;
    };
  }
}
