package io.filterd.nbd;

/**
 * A client may not use an export. The log names it once for each connection, and not more often
 * than bad clients.
 */
public final class NoAccessException extends Exception {
  private static final long serialVersionUID = 1L;

  /** What the client finds out. */
  public enum Told {
    /** The exception's sentence, with ERR_POLICY. It must not say whether the export is there. */
    SENTENCE,
    /** What is said of a name that no export has. */
    UNKNOWN
  }

  private final Told told;

  /** With a sentence for the log, and for the client if it is told so. */
  public NoAccessException(String message, Told told) {
    super(message);
    this.told = told;
  }

  /** What the client finds out. */
  public Told told() {
    return told;
  }
}
