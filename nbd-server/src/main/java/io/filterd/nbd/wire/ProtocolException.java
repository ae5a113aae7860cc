package io.filterd.nbd.wire;

/** A client broke the protocol; the message says how. */
public final class ProtocolException extends Exception {
  private static final long serialVersionUID = 1L;

  /** What was broken. */
  public ProtocolException(String message) {
    super(message, null, false, false);
  }
}
