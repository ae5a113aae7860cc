package io.filterd.kmip.cert;

import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.security.cert.CertificateEncodingException;
import java.security.cert.X509Certificate;
import java.util.HexFormat;
import java.util.Locale;

/**
 * The SHA-256 digest of a certificate's DER bytes: what an operator compares before trusting it.
 *
 * @param hex 64 lower-case hexadecimal digits
 */
public record Fingerprint(String hex) {
  private static final int DIGEST_BYTES = 32;

  /** Checks the digits. */
  public Fingerprint {
    if (hex.length() != 2 * DIGEST_BYTES || !hex.matches("[0-9a-f]*")) {
      throw new IllegalArgumentException(
          "fingerprint: '" + hex + "' (expected: the 64 hexadecimal digits of a SHA-256)");
    }
  }

  /** Reads a fingerprint as tools show it: upper or lower case, with or without colons. */
  public static Fingerprint parse(String text) {
    return new Fingerprint(text.strip().replace(":", "").toLowerCase(Locale.ROOT));
  }

  /** The fingerprint of {@code certificate}. */
  public static Fingerprint of(X509Certificate certificate) {
    try {
      return new Fingerprint(
          HexFormat.of()
              .formatHex(MessageDigest.getInstance("SHA-256").digest(certificate.getEncoded())));
    } catch (CertificateEncodingException e) {
      throw new IllegalArgumentException("certificate: not encodable", e);
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("SHA-256: not in this JDK", e);
    }
  }

  /** The digits in pairs with colons, as openssl and vCenter show them. */
  @Override
  public String toString() {
    return HexFormat.ofDelimiter(":").withUpperCase().formatHex(HexFormat.of().parseHex(hex));
  }
}
