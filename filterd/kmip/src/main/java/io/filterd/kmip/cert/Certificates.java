package io.filterd.kmip.cert;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.StringReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.List;
import org.bouncycastle.util.encoders.DecoderException;
import org.bouncycastle.util.io.pem.PemObject;
import org.bouncycastle.util.io.pem.PemReader;

/** Reads files of certificates. */
public final class Certificates {
  private static final int MAX_FILE_BYTES = 1 << 20;

  private Certificates() {}

  /**
   * The certificates of a file, in its order.
   *
   * @param file PEM, up to 1 MiB; other PEM blocks than certificates are skipped
   * @throws IOException if it can't be read, is longer, or holds no certificate
   */
  public static List<X509Certificate> read(Path file) throws IOException {
    byte[] content;
    try (InputStream in = Files.newInputStream(file)) {
      content = in.readNBytes(MAX_FILE_BYTES + 1);
    }
    if (content.length > MAX_FILE_BYTES) {
      throw new IOException(
          file + ": longer (expected: certificates of up to " + MAX_FILE_BYTES + " bytes)");
    }
    return parse(file.toString(), content);
  }

  /**
   * The certificates in {@code content}, as {@link #read} takes them.
   *
   * @param name of the content, for messages
   */
  static List<X509Certificate> parse(String name, byte[] content) throws IOException {
    List<X509Certificate> certificates = new ArrayList<>();
    // Base64 and ASCII labels: whatever else there is between blocks is of no interest.
    try (PemReader pem =
        new PemReader(new StringReader(new String(content, StandardCharsets.ISO_8859_1)))) {
      CertificateFactory factory = CertificateFactory.getInstance("X.509");
      for (PemObject block = pem.readPemObject(); block != null; block = pem.readPemObject()) {
        if (block.getType().equals("CERTIFICATE")) {
          certificates.add(
              (X509Certificate)
                  factory.generateCertificate(new ByteArrayInputStream(block.getContent())));
        }
      }
    } catch (CertificateException | IOException | IllegalArgumentException | DecoderException e) {
      throw new IOException(name + ": not readable (expected: PEM certificates)", e);
    }
    if (certificates.isEmpty()) {
      throw new IOException(name + ": no certificate (expected: at least one, in PEM)");
    }
    return certificates;
  }
}
