package io.filterd.crypto;

/** A wrapped key does not open: it was changed, or the key or the associated data is another. */
public final class WrapException extends Exception {
  private static final long serialVersionUID = 1L;

  WrapException(String message) {
    super(message);
  }
}
