package io.filterd.ova;

import java.io.IOException;

/** A package is not what it should be. Says where, what is there, and what should be. */
public final class PackageException extends IOException {
  private static final long serialVersionUID = 1L;

  /** The longest piece of a package that a message repeats, in characters. */
  private static final int LONGEST_QUOTE = 120;

  /**
   * Something wrong.
   *
   * @param place the file, and where in it
   * @param what the name of what is wrong there
   */
  public PackageException(String place, String what, String actual, String expected) {
    super(
        "%s: %s: %s (expected: %s)".formatted(place, what, printable(actual), printable(expected)));
  }

  /** A hostile package must not write escape sequences or megabytes into a terminal or a log. */
  private static String printable(String text) {
    String head = text.length() <= LONGEST_QUOTE ? text : text.substring(0, LONGEST_QUOTE) + "...";
    return head.replaceAll("\\p{Cntrl}", "?");
  }
}
