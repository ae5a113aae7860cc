package io.filterd.daemon.control;

import java.util.List;

/**
 * An operation was refused or failed. The message is one sentence that says what to do next.
 * Callers act on the {@link Code}.
 */
public final class OperationException extends Exception {
  private static final long serialVersionUID = 1L;

  /** Why, for programs; {@link #exitStatus()} is what a command ends with. */
  public enum Code {
    /** The arguments or the configuration are wrong. */
    INVALID(2),
    /** What was named does not exist. */
    NOT_FOUND(3),
    /** What was named exists already, or is in use. */
    CONFLICT(4),
    /** A key can't be had: missing, wrong, locked, not backed up. */
    KEY(5),
    /** A file or disk is damaged, or of a kind that is not supported. */
    FORMAT(6),
    /** The medium failed or is full. */
    IO(7),
    /** No daemon answers. */
    UNAVAILABLE(8),
    /** Stopped before the end; nothing half-made was left. */
    CANCELLED(9),
    /** A bug of ours. */
    INTERNAL(70);

    private final int exitStatus;

    Code(int exitStatus) {
      this.exitStatus = exitStatus;
    }

    /** What a command that fails with this ends with. */
    public int exitStatus() {
      return exitStatus;
    }
  }

  private final Code code;
  private final transient List<String> details;

  /** A failure with a sentence. */
  public OperationException(Code code, String message) {
    this(code, message, List.of(), null);
  }

  /** A failure with a sentence and what led to it. */
  public OperationException(Code code, String message, Throwable cause) {
    this(code, message, List.of(), cause);
  }

  /** A failure with a sentence and a list of problems, one per line. */
  public OperationException(Code code, String message, List<String> details) {
    this(code, message, details, null);
  }

  private OperationException(
      Code code,
      String message,
      List<String> details,
      @org.jspecify.annotations.Nullable Throwable cause) {
    super(message, cause);
    this.code = code;
    this.details = List.copyOf(details);
  }

  /** Why, for programs. */
  public Code code() {
    return code;
  }

  /** Further lines, for example each problem of a file. */
  public List<String> details() {
    return details;
  }
}
