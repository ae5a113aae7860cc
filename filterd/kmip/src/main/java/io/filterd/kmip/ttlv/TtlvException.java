package io.filterd.kmip.ttlv;

import java.io.IOException;

/**
 * A message is not what KMIP demands. Says at which byte, in which item, what stands there and what
 * should: {@code byte 24: ResponseMessage/BatchItem/Operation: length: 8 bytes (expected: 4)}. The
 * text never holds a secret, control characters, or more than a line of what the peer sent.
 */
public final class TtlvException extends IOException {
  private static final long serialVersionUID = 1L;

  /** The longest piece of a message that the text repeats, in characters. */
  private static final int LONGEST_QUOTE = 120;

  private final int byteOffset;
  private final String path;
  private final String actual;
  private final String expected;

  /**
   * Something wrong.
   *
   * @param byteOffset where the item with the fault starts, from the start of the message
   * @param path the names of the tags from the outside in, separated by '/'; may be empty
   * @param actual what is there
   * @param expected what should be there
   */
  public TtlvException(int byteOffset, String path, String actual, String expected) {
    super(
        "byte %d: %s%s (expected: %s)"
            .formatted(
                byteOffset,
                path.isEmpty() ? "" : path + ": ",
                Printable.of(actual, LONGEST_QUOTE),
                expected));
    this.byteOffset = byteOffset;
    this.path = path;
    this.actual = Printable.of(actual, LONGEST_QUOTE);
    this.expected = expected;
  }

  /** Where the item with the fault starts, in bytes from the start of the message. */
  public int byteOffset() {
    return byteOffset;
  }

  /** The names of the tags from the outside in, separated by '/'; empty in the first header. */
  public String path() {
    return path;
  }

  /** What is there. */
  public String actual() {
    return actual;
  }

  /** What should be there. */
  public String expected() {
    return expected;
  }
}
