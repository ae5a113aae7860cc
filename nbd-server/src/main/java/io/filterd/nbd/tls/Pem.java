package io.filterd.nbd.tls;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.bouncycastle.asn1.ASN1Primitive;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.pkcs.PrivateKeyInfo;
import org.bouncycastle.asn1.sec.ECPrivateKey;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.asn1.x9.X9ObjectIdentifiers;

/** Certificates and private keys in PEM files, as openssl and certtool write them (RFC 7468). */
final class Pem {
  private static final int MAX_FILE_BYTES = 1 << 20;

  private static final Pattern BLOCK =
      Pattern.compile("-----BEGIN ([A-Z0-9 ]{1,40})-----([A-Za-z0-9+/=\\s]*+)-----END \\1-----");

  private record Block(Path file, String label, String base64) {
    byte[] content() throws IOException {
      try {
        return Base64.getMimeDecoder().decode(base64);
      } catch (IllegalArgumentException broken) {
        throw new IOException(
            file + ": " + label + ": " + broken.getMessage() + " (expected: base64)", broken);
      }
    }
  }

  private Pem() {}

  /** All of a small file. */
  static byte[] read(Path file) throws IOException {
    try (InputStream in = Files.newInputStream(file)) {
      byte[] bytes = in.readNBytes(MAX_FILE_BYTES + 1);
      if (bytes.length > MAX_FILE_BYTES) {
        throw new IOException(file + ": too long (expected: <= " + MAX_FILE_BYTES + " bytes)");
      }
      return bytes;
    } catch (NoSuchFileException missing) {
      throw new IOException(file + ": there is no such file", missing);
    }
  }

  /** All of a small file that must not be everybody's. */
  static byte[] readSecret(Path file) throws IOException {
    byte[] bytes = read(file);
    Set<PosixFilePermission> mode = Files.getPosixFilePermissions(file);
    if (mode.contains(PosixFilePermission.OTHERS_READ)
        || mode.contains(PosixFilePermission.OTHERS_WRITE)) {
      throw new IOException(
          file + ": mode " + PosixFilePermissions.toString(mode) + " (expected: not for others)");
    }
    return bytes;
  }

  private static List<Block> blocks(Path file, byte[] content) {
    // Text around the blocks is for people.
    Matcher matcher = BLOCK.matcher(new String(content, StandardCharsets.ISO_8859_1));
    List<Block> blocks = new ArrayList<>();
    while (matcher.find()) {
      blocks.add(new Block(file, matcher.group(1), matcher.group(2)));
    }
    return blocks;
  }

  /** The certificates of a file, in order: one at least. */
  static List<X509Certificate> certificates(Path file) throws IOException {
    List<X509Certificate> certificates = new ArrayList<>();
    try {
      CertificateFactory factory = CertificateFactory.getInstance("X.509");
      for (Block block : blocks(file, read(file))) {
        if (block.label().equals("CERTIFICATE")) {
          certificates.add(
              (X509Certificate)
                  factory.generateCertificate(new ByteArrayInputStream(block.content())));
        }
      }
    } catch (CertificateException broken) {
      throw new IOException(file + ": a certificate is broken: " + broken.getMessage(), broken);
    }
    if (certificates.isEmpty()) {
      throw new IOException(file + ": no certificate (expected: PEM, BEGIN CERTIFICATE)");
    }
    return certificates;
  }

  /** The private key of a file, which must be one for this algorithm. */
  static PrivateKey privateKey(Path file, String algorithm) throws IOException {
    for (Block block : blocks(file, readSecret(file))) {
      if (block.label().endsWith("PRIVATE KEY")) {
        try {
          return KeyFactory.getInstance(algorithm)
              .generatePrivate(new PKCS8EncodedKeySpec(pkcs8(block)));
        } catch (GeneralSecurityException | IllegalArgumentException broken) {
          throw new IOException(
              file + ": no private key of kind " + algorithm + ", which the certificate is for",
              broken);
        }
      }
    }
    throw new IOException(file + ": no private key (expected: PEM, BEGIN PRIVATE KEY)");
  }

  private static byte[] pkcs8(Block block) throws IOException {
    return switch (block.label()) {
      case "PRIVATE KEY" -> block.content();
      case "RSA PRIVATE KEY" ->
          new PrivateKeyInfo(
                  new AlgorithmIdentifier(PKCSObjectIdentifiers.rsaEncryption),
                  ASN1Primitive.fromByteArray(block.content()))
              .getEncoded();
      case "EC PRIVATE KEY" -> {
        ECPrivateKey key = ECPrivateKey.getInstance(block.content());
        yield new PrivateKeyInfo(
                new AlgorithmIdentifier(
                    X9ObjectIdentifiers.id_ecPublicKey, key.getParametersObject()),
                key)
            .getEncoded();
      }
      default ->
          throw new IOException(
              block.file()
                  + ": "
                  + block.label()
                  + " (expected: a private key without a passphrase)");
    };
  }
}
