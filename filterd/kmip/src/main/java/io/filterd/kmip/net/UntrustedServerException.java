package io.filterd.kmip.net;

import java.security.cert.CertificateException;
import org.jspecify.annotations.Nullable;

/** Our own verdict on a server's certificate, so that it is known again behind TLS's exceptions. */
final class UntrustedServerException extends CertificateException {
  private static final long serialVersionUID = 1;

  UntrustedServerException(String message, @Nullable Throwable cause) {
    super(message, cause);
  }
}
