package io.filterd.kmip.cert;

import java.io.IOException;
import org.jspecify.annotations.Nullable;

/** A key, a certificate or a file of them is not what it must be; the message says what to do. */
public final class IdentityException extends IOException {
  private static final long serialVersionUID = 1;

  IdentityException(String message) {
    super(message);
  }

  IdentityException(String message, @Nullable Throwable cause) {
    super(message, cause);
  }
}
