package io.filterd.kmip.net;

import io.filterd.kmip.net.TransportException.Reason;
import io.filterd.kmip.net.TransportException.Request;
import java.io.EOFException;
import java.io.IOException;
import java.net.SocketException;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.net.ssl.SSLException;
import org.jspecify.annotations.Nullable;

/** Makes one clear reason of what sockets and TLS throw. */
final class Failures {
  // The JDK gives alerts in its texts only.
  private static final Pattern RECEIVED_ALERT = Pattern.compile("Received fatal alert: (\\w+)");
  private static final Pattern OWN_ALERT = Pattern.compile("\\((\\w+)\\) .*");

  private static final Set<String> ABOUT_OUR_CERTIFICATE =
      Set.of(
          "bad_certificate",
          "unsupported_certificate",
          "certificate_revoked",
          "certificate_expired",
          "certificate_unknown",
          "certificate_required",
          "unknown_ca",
          "access_denied");

  private Failures() {}

  /**
   * @param doing what was being done, for example {@code "TLS handshake"}
   */
  static TransportException of(
      ServerAddress address,
      String doing,
      List<String> protocols,
      Request request,
      IOException failure) {
    for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
      if (cause instanceof UntrustedServerException verdict) {
        return failed(
            address,
            Reason.SERVER_NOT_TRUSTED,
            request,
            String.valueOf(verdict.getMessage()),
            failure);
      }
    }
    String text = String.valueOf(failure.getMessage());
    Matcher received = RECEIVED_ALERT.matcher(text);
    if (received.find()) {
      return refused(address, doing, protocols, request, received.group(1), failure);
    }
    if (isEnd(failure)) {
      return failed(
          address,
          Reason.CLOSED,
          request,
          // A reset may overtake the alert that says why.
          doing
              + ": closed by the server (expected: an answer; some refuse client certificates this"
              + " way)",
          failure);
    }
    if (failure instanceof SSLException) {
      Matcher own = OWN_ALERT.matcher(text);
      if (own.matches() && own.group(1).equals("protocol_version")) {
        return noCommonVersion(address, doing, protocols, request, failure);
      }
      return failed(
          address,
          Reason.TLS,
          request,
          doing + ": " + text + " (expected: TLS of a KMIP server)",
          failure);
    }
    return failed(address, Reason.CLOSED, request, doing + ": " + text, failure);
  }

  private static TransportException refused(
      ServerAddress address,
      String doing,
      List<String> protocols,
      Request request,
      String alert,
      IOException failure) {
    if (ABOUT_OUR_CERTIFICATE.contains(alert)) {
      return failed(
          address,
          Reason.CLIENT_NOT_TRUSTED,
          request,
          "client certificate: refused by the server with " + alert + " (expected: trusted there)",
          failure);
    }
    return switch (alert) {
      case "protocol_version" -> noCommonVersion(address, doing, protocols, request, failure);
      case "handshake_failure", "insufficient_security" ->
          failed(
              address,
              Reason.TLS,
              request,
              doing
                  + ": refused by the server with "
                  + alert
                  + " (expected: a common version out of "
                  + protocols
                  + ", a common cipher suite, a client certificate it takes)",
              failure);
      default ->
          failed(
              address,
              Reason.TLS,
              request,
              doing + ": ended by the server with " + alert + " (expected: an answer)",
              failure);
    };
  }

  private static TransportException noCommonVersion(
      ServerAddress address,
      String doing,
      List<String> protocols,
      Request request,
      IOException failure) {
    return failed(
        address,
        Reason.TLS,
        request,
        doing + ": no common TLS version (expected: one of " + protocols + ")",
        failure);
  }

  private static boolean isEnd(IOException failure) {
    return failure instanceof EOFException
        || failure.getCause() instanceof EOFException
        || failure instanceof SocketException
        || failure.getCause() instanceof SocketException;
  }

  static TransportException failed(
      ServerAddress address,
      Reason reason,
      Request request,
      String what,
      @Nullable Throwable cause) {
    return new TransportException(reason, request, "KMS " + address + ": " + what, cause);
  }
}
