package io.filterd.kmip;

import io.filterd.kmip.ttlv.Printable;
import org.jspecify.annotations.Nullable;

/**
 * The server understood the message, or says why it did not, and the operation was not done. The
 * connection is still good. Act on {@link #reason}, never on the text.
 */
public final class KmipException extends Exception {
  private static final long serialVersionUID = 1L;

  /** The longest text of a server that is repeated, in characters. */
  private static final int LONGEST_QUOTE = 300;

  private final Operation operation;
  private final int status;
  private final @Nullable Integer reason;
  private final String serverMessage;

  KmipException(
      Operation operation,
      EnumValue<ResultStatus> status,
      @Nullable EnumValue<ResultReason> reason,
      String serverMessage) {
    super(
        "%s: the server answers %s%s%s"
            .formatted(
                operation,
                status,
                reason == null ? "" : ", " + reason,
                serverMessage.isEmpty()
                    ? ""
                    : ": \"" + Printable.of(serverMessage, LONGEST_QUOTE) + "\""));
    this.operation = operation;
    this.status = status.code();
    this.reason = reason == null ? null : reason.code();
    this.serverMessage = Printable.of(serverMessage, LONGEST_QUOTE);
  }

  /** What was asked for. */
  public Operation operation() {
    return operation;
  }

  /** OPERATION_FAILED, OPERATION_PENDING, OPERATION_UNDONE, or a number that is none of them. */
  public EnumValue<ResultStatus> status() {
    return EnumValue.of(status, ResultStatus.class);
  }

  /** Why; null if the server does not say. */
  public @Nullable EnumValue<ResultReason> reason() {
    return reason == null ? null : EnumValue.of(reason, ResultReason.class);
  }

  /** Whether the server gives this reason. */
  public boolean is(ResultReason wanted) {
    return reason != null && reason == wanted.code();
  }

  /** The server's own words, shortened, without control characters; may be empty. */
  public String serverMessage() {
    return serverMessage;
  }
}
