package io.filterd.kmip.client;

import io.filterd.kmip.EnumValue;
import io.filterd.kmip.KmipException;
import io.filterd.kmip.ResultReason;
import io.filterd.kmip.ResultStatus;
import io.filterd.kmip.net.ServerAddress;
import io.filterd.kmip.net.TransportException;
import java.io.IOException;
import org.jspecify.annotations.Nullable;

/** A server did not do what it was asked for. Act on {@link #reason}, never on the text. */
public final class KmsException extends Exception {
  private static final long serialVersionUID = 1;

  /** What it means for the keys. */
  public enum Reason {
    /**
     * The server has no such key, or not any more. Never a cause to make another one: ask the other
     * servers, then report it as missing.
     */
    NOT_FOUND,
    /** The key is somebody else's, or may not leave the server in this form. */
    DENIED,
    /** The key is in a state that does not allow it. */
    WRONG_STATE,
    /** Server or client does not trust the other: an operator must act. */
    NOT_TRUSTED,
    /** The server can't be reached, does not answer or has a failure: another one may do. */
    UNAVAILABLE,
    /** The server can't do this, or not in this way. */
    NOT_SUPPORTED,
    /** The server does not speak KMIP, or not as we understand it. */
    PROTOCOL
  }

  private final Reason reason;
  private final @Nullable ResultReason serverReason;
  private final boolean maybeDone;

  private KmsException(
      Reason reason,
      @Nullable ResultReason serverReason,
      boolean maybeDone,
      String message,
      @Nullable Throwable cause) {
    super(message, cause);
    this.reason = reason;
    this.serverReason = serverReason;
    this.maybeDone = maybeDone;
  }

  static KmsException of(Reason reason, ServerAddress server, String what) {
    return new KmsException(reason, null, false, "KMS " + server + ": " + what, null);
  }

  /** The server's answer is not understood. */
  static KmsException misunderstood(ServerAddress server, String doing, IOException problem) {
    return new KmsException(
        Reason.PROTOCOL,
        null,
        true,
        "KMS " + server + ": " + doing + ": " + problem.getMessage(),
        problem);
  }

  static KmsException of(String doing, TransportException failure) {
    Reason reason =
        switch (failure.reason()) {
          case UNREACHABLE, TIMED_OUT, CLOSED, BUSY, INTERRUPTED, SHUT_DOWN -> Reason.UNAVAILABLE;
          case SERVER_NOT_TRUSTED, CLIENT_NOT_TRUSTED -> Reason.NOT_TRUSTED;
          case TLS, PROTOCOL -> Reason.PROTOCOL;
        };
    return new KmsException(
        reason,
        null,
        failure.request() == TransportException.Request.MAYBE_SENT,
        failure.getMessage() + ", during " + doing,
        failure);
  }

  static KmsException of(ServerAddress server, KmipException refusal) {
    @Nullable EnumValue<ResultReason> said = refusal.reason();
    return new KmsException(
        reason(refusal.status(), said),
        said == null ? null : said.known(),
        false,
        "KMS " + server + ": " + refusal.getMessage(),
        refusal);
  }

  private static Reason reason(
      EnumValue<ResultStatus> status, @Nullable EnumValue<ResultReason> said) {
    if (!status.is(ResultStatus.OPERATION_FAILED) || said == null) {
      // Pending or undone, or no reason at all: nothing to hold on to but the next server.
      return Reason.UNAVAILABLE;
    }
    ResultReason known = said.known();
    if (known == null) {
      return Reason.UNAVAILABLE;
    }
    return switch (known) {
      case ITEM_NOT_FOUND, OBJECT_NOT_FOUND, OBJECT_DESTROYED -> Reason.NOT_FOUND;
      case PERMISSION_DENIED, NOT_AUTHORISED, SENSITIVE, NOT_EXTRACTABLE -> Reason.DENIED;
      case ILLEGAL_OPERATION,
          WRONG_KEY_LIFECYCLE_STATE,
          OBJECT_ARCHIVED,
          USAGE_LIMIT_EXCEEDED,
          WRAPPING_OBJECT_ARCHIVED,
          WRAPPING_OBJECT_DESTROYED,
          WRAPPING_OBJECT_NOT_FOUND,
          INCOMPATIBLE_CRYPTOGRAPHIC_USAGE_MASK ->
          Reason.WRONG_STATE;
      case AUTHENTICATION_NOT_SUCCESSFUL,
          ATTESTATION_REQUIRED,
          ATTESTATION_FAILED,
          BAD_PASSWORD,
          INVALID_TICKET ->
          Reason.NOT_TRUSTED;
      case GENERAL_FAILURE,
          CRYPTOGRAPHIC_FAILURE,
          INTERNAL_SERVER_ERROR,
          SERVER_LIMIT_EXCEEDED,
          OPERATION_CANCELED_BY_REQUESTER,
          PROTECTION_STORAGE_UNAVAILABLE ->
          Reason.UNAVAILABLE;
      case RESPONSE_TOO_LARGE -> Reason.PROTOCOL;
      default -> Reason.NOT_SUPPORTED;
    };
  }

  /** What it means for the keys. */
  public Reason reason() {
    return reason;
  }

  /** Whether this is the server's own reason. */
  public boolean is(ResultReason wanted) {
    return serverReason == wanted;
  }

  /** Whether the server may have done it nevertheless, though its answer is lost. */
  public boolean maybeDone() {
    return maybeDone;
  }
}
