package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import java.io.IOException;

/**
 * A file is not what its format demands. Says which file, at which byte, which field, what stands
 * there and what should.
 */
public final class FormatException extends IOException {
  private static final long serialVersionUID = 1L;

  /** The longest piece of a file that a message repeats, in characters. */
  private static final int LONGEST_QUOTE = 120;

  private final String file;
  private final long byteOffset;
  private final String field;
  private final String actual;
  private final String expected;

  /** A wrong field at {@code byteOffset} from the start of {@code file}. */
  public FormatException(
      String file, long byteOffset, String field, String actual, String expected) {
    super(
        "%s: at byte %d: %s: %s (expected: %s)"
            .formatted(file, byteOffset, field, printable(actual), expected));
    this.file = file;
    this.byteOffset = byteOffset;
    this.field = field;
    this.actual = printable(actual);
    this.expected = expected;
  }

  /** The same as a failure of the device whose content is found to be damaged. */
  BlockException asDamage() {
    return new BlockException(Reason.IO_ERROR, String.valueOf(getMessage()), this);
  }

  /** The file, as it was named by who opened it. */
  public String file() {
    return file;
  }

  /** Where the field stands, in bytes from the start of the file. */
  public long byteOffset() {
    return byteOffset;
  }

  /** The name of the field in the format's specification. */
  public String field() {
    return field;
  }

  /** What stands there, shortened, without control characters. */
  public String actual() {
    return actual;
  }

  /** What should stand there. */
  public String expected() {
    return expected;
  }

  /** A hostile file must not write escape sequences or megabytes into a terminal or a log. */
  static String printable(String text) {
    String head = text.length() <= LONGEST_QUOTE ? text : text.substring(0, LONGEST_QUOTE) + "...";
    return head.replaceAll("\\p{Cntrl}", "?");
  }
}
