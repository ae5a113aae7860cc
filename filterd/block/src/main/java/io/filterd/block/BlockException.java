package io.filterd.block;

import org.jspecify.annotations.Nullable;

/**
 * An operation on a device failed. The message is a sentence for people and names what, actual and
 * expected; callers act on the {@link Reason} only. Unless the reason says otherwise, a failed
 * write leaves each minimum block of its range old or new.
 */
public final class BlockException extends Exception {
  private static final long serialVersionUID = 1L;

  /** What a client can be told. */
  public enum Reason {
    /** The request breaks the contract: range, alignment, length. */
    INVALID_REQUEST,
    /** The device takes no changes. */
    READ_ONLY,
    /** There is no space left to store this. */
    NO_SPACE,
    /** The device can't do this; nothing was changed. */
    NOT_SUPPORTED,
    /** The device is being detached or the daemon is stopping; nothing was changed. */
    SHUTTING_DOWN,
    /** The medium failed, or its content is not to be trusted. */
    IO_ERROR
  }

  private final Reason reason;

  /** A failure with a reason and a sentence. */
  public BlockException(Reason reason, String message) {
    this(reason, message, null);
  }

  /** A failure with a reason, a sentence, and what led to it. */
  public BlockException(Reason reason, String message, @Nullable Throwable cause) {
    super(message, cause);
    this.reason = reason;
  }

  /** What a client can be told. */
  public Reason reason() {
    return reason;
  }
}
