package io.filterd.keys;

import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * A key could not be had. The reason is for programs, the message for people: it names the
 * provider, the key and what to do, and never holds a secret.
 */
public final class KeyException extends Exception {
  private static final long serialVersionUID = 1L;

  /** What a caller can act on. */
  public enum Reason {
    /** There is no such key, provider or file. Never an occasion to make a new key. */
    NOT_FOUND,
    /** The provider refuses: a wrong passphrase, a missing right. */
    DENIED,
    /** The provider cannot be reached or read just now. The only reason that is worth a retry. */
    UNAVAILABLE,
    /** A key was had, but it is not the one that was asked for. */
    WRONG_KEY,
    /** The provider has to be backed up before it makes its first key. */
    NOT_BACKED_UP,
    /** The key is there, but its state forbids what was asked: only active keys wrap. */
    NOT_ACTIVE,
    /** The key is there, but this host has no room for another. */
    NO_ROOM,
    /** Providers of this kind can't do what was asked. */
    UNSUPPORTED,
    /** What the provider or a file says is not what its format allows. */
    PROTOCOL
  }

  private final Reason reason;

  /** Reports {@code reason}. */
  public KeyException(Reason reason, String message) {
    this(reason, message, null);
  }

  /** Reports {@code reason}, with the failure behind it. */
  public KeyException(Reason reason, String message, @Nullable Throwable cause) {
    super(message, cause);
    this.reason = Objects.requireNonNull(reason);
  }

  /** What a caller can act on. */
  public Reason reason() {
    return reason;
  }
}
