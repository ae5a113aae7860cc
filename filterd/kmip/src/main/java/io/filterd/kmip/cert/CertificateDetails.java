package io.filterd.kmip.cert;

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
        certificate.getSerialNumber().toString(16).toUpperCase(Locale.ROOT),
        Fingerprint.of(certificate),
        certificate.getNotBefore().toInstant(),
        certificate.getNotAfter().toInstant());
  }

  /** How long it is still valid at {@code now}; negative if it has expired. */
  public Duration remaining(Instant now) {
    return Duration.between(now, notAfter);
  }
}
