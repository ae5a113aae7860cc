package io.filterd.kmip.net;

import java.io.IOException;
import org.jspecify.annotations.Nullable;

/** An exchange with a server did not come about. Its connection is closed. */
public final class TransportException extends IOException {
  private static final long serialVersionUID = 1;

  /** What went wrong, for those who decide what comes next. */
  public enum Reason {
    /** No such name, nobody listens, no route. Another server may do. */
    UNREACHABLE,
    /** A step took longer than its {@link Timeouts}. Another server may do. */
    TIMED_OUT,
    /** The server closed the connection. Another server may do. */
    CLOSED,
    /** All connections of the pool were in use for too long. */
    BUSY,
    /** We don't believe the server's certificate. An operator must look at it. */
    SERVER_NOT_TRUSTED,
    /** The server doesn't believe our certificate. An operator must look at it. */
    CLIENT_NOT_TRUSTED,
    /** No common TLS version or cipher suite, or TLS itself broke. */
    TLS,
    /** What came is no KMIP answer. */
    PROTOCOL,
    /** This thread was interrupted; its interrupt flag is set. */
    INTERRUPTED,
    /** The pool was closed. */
    SHUT_DOWN
  }

  /** Whether the server may have seen the request. */
  public enum Request {
    /** No byte of it was sent. */
    NOT_SENT,
    /** It may have been carried out. */
    MAYBE_SENT
  }

  private final Reason reason;
  private final Request request;

  TransportException(Reason reason, Request request, String message, @Nullable Throwable cause) {
    super(message, cause);
    this.reason = reason;
    this.request = request;
  }

  /** What went wrong. */
  public Reason reason() {
    return reason;
  }

  /** Whether the server may have carried out the request. */
  public Request request() {
    return request;
  }
}
