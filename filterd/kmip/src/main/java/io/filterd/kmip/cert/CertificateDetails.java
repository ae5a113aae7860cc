package io.filterd.kmip.cert;

import java.math.BigInteger;
import java.security.cert.X509Certificate;
import java.time.Duration;
import java.time.Instant;
import java.util.Locale;

/**
 * What an operator is shown of a certificate, ours or a server's.
 *
 * @param serial hexadecimal, upper case
 */
public record CertificateDetails(
    String subject,
    String issuer,
    String serial,
    Fingerprint fingerprint,
    Instant notBefore,
    Instant notAfter) {
  /** Of this certificate. */
  public static CertificateDetails of(X509Certificate certificate) {
    return new CertificateDetails(
        certificate.getSubjectX500Principal().getName(),
        certificate.getIssuerX500Principal().getName(),
        serial(certificate.getSerialNumber()),
        Fingerprint.of(certificate),
        certificate.getNotBefore().toInstant(),
        certificate.getNotAfter().toInstant());
  }

  /** Whole bytes, as openssl shows them. */
  private static String serial(BigInteger number) {
    String digits = number.toString(16).toUpperCase(Locale.ROOT);
    return digits.length() % 2 == 0 ? digits : "0" + digits;
  }

  /** How long it is still valid at {@code now}; negative if it has expired. */
  public Duration remaining(Instant now) {
    return Duration.between(now, notAfter);
  }
}
