package io.filterd.nbd;

/** An export is not for clients without TLS, who may come back with it. */
public final class TlsRequiredException extends Exception {
  private static final long serialVersionUID = 1L;

  /** With a sentence for the client. */
  public TlsRequiredException(String message) {
    super(message);
  }
}
