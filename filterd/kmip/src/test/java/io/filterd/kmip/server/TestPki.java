package io.filterd.kmip.server;

import io.filterd.kmip.cert.ClientIdentity;
import java.io.IOException;
import java.math.BigInteger;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.PrivateKey;
import java.security.SecureRandom;
import java.security.cert.X509Certificate;
import java.security.spec.ECGenParameterSpec;
import java.time.Duration;
import java.time.Instant;
import java.util.Base64;
import java.util.Date;
import java.util.List;
import java.util.stream.Stream;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.asn1.x509.BasicConstraints;
import org.bouncycastle.asn1.x509.ExtendedKeyUsage;
import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.asn1.x509.GeneralName;
import org.bouncycastle.asn1.x509.GeneralNames;
import org.bouncycastle.asn1.x509.KeyPurposeId;
import org.bouncycastle.cert.jcajce.JcaX509CertificateConverter;
import org.bouncycastle.cert.jcajce.JcaX509v3CertificateBuilder;
import org.bouncycastle.operator.OperatorCreationException;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.jspecify.annotations.Nullable;

/** A certificate authority for tests: EC P-256 keys, certificates of any validity and use. */
public final class TestPki {
  private final PrivateKey key;
  private final X509Certificate certificate;

  /** A new authority called {@code CN=name}. */
  public TestPki(String name) {
    KeyPair pair = newKey();
    this.key = pair.getPrivate();
    this.certificate =
        sign(
            new Order("CN=" + name, List.of(), Duration.ofDays(-1), Duration.ofDays(30), null),
            pair,
            null);
  }

  /**
   * What a certificate is to be.
   *
   * @param names host names and IPv4 addresses it is for
   * @param from start of its validity, from now
   * @param until end of its validity, from now
   * @param use extended key usage, or null for none
   */
  public record Order(
      String subject,
      List<String> names,
      Duration from,
      Duration until,
      @Nullable KeyPurposeId use) {
    /** A server's, for localhost and 127.0.0.1, valid now. */
    public static Order server() {
      return new Order(
          "CN=kms.test",
          List.of("localhost", "127.0.0.1"),
          Duration.ofDays(-1),
          Duration.ofDays(30),
          KeyPurposeId.id_kp_serverAuth);
    }

    /** A client's, valid now. */
    public static Order client(String commonName) {
      return new Order(
          "CN=" + commonName,
          List.of(),
          Duration.ofDays(-1),
          Duration.ofDays(30),
          KeyPurposeId.id_kp_clientAuth);
    }

    /** The same, valid at other times. */
    public Order valid(Duration otherFrom, Duration otherUntil) {
      return new Order(subject, names, otherFrom, otherUntil, use);
    }

    /** The same for other names. */
    public Order named(String... others) {
      return new Order(subject, List.of(others), from, until, use);
    }

    /** The same for another use. */
    public Order usedFor(@Nullable KeyPurposeId other) {
      return new Order(subject, names, from, until, other);
    }
  }

  /** A new key and its certificate, signed by this authority. */
  public ClientIdentity issue(Order order) {
    KeyPair pair = newKey();
    return new ClientIdentity(
        pair.getPrivate(), List.of(sign(order, pair, certificate), certificate));
  }

  /** The authority's own certificate. */
  public X509Certificate certificate() {
    return certificate;
  }

  /** Writes the authority's certificate to {@code file}. */
  public Path writeTo(Path file) {
    return writePem(file, List.of(certificate));
  }

  /** Writes certificates to {@code file} as PEM. */
  public static Path writePem(Path file, List<X509Certificate> certificates) {
    StringBuilder text = new StringBuilder();
    try {
      for (X509Certificate each : certificates) {
        text.append("-----BEGIN CERTIFICATE-----\n")
            .append(Base64.getMimeEncoder(64, new byte[] {'\n'}).encodeToString(each.getEncoded()))
            .append("\n-----END CERTIFICATE-----\n");
      }
      return Files.writeString(file, text);
    } catch (GeneralSecurityException | IOException e) {
      throw new IllegalStateException("certificate for a test", e);
    }
  }

  private static KeyPair newKey() {
    try {
      KeyPairGenerator generator = KeyPairGenerator.getInstance("EC");
      generator.initialize(new ECGenParameterSpec("secp256r1"));
      return generator.generateKeyPair();
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("key for a test", e);
    }
  }

  private X509Certificate sign(Order order, KeyPair pair, @Nullable X509Certificate issuer) {
    Instant now = Instant.now();
    X500Name subject = new X500Name(order.subject());
    try {
      JcaX509v3CertificateBuilder builder =
          new JcaX509v3CertificateBuilder(
              issuer == null
                  ? subject
                  : X500Name.getInstance(issuer.getSubjectX500Principal().getEncoded()),
              new BigInteger(120, new SecureRandom()),
              Date.from(now.plus(order.from())),
              Date.from(now.plus(order.until())),
              subject,
              pair.getPublic());
      builder.addExtension(Extension.basicConstraints, true, new BasicConstraints(issuer == null));
      if (order.use() != null) {
        builder.addExtension(Extension.extendedKeyUsage, false, new ExtendedKeyUsage(order.use()));
      }
      if (!order.names().isEmpty()) {
        builder.addExtension(
            Extension.subjectAlternativeName,
            false,
            new GeneralNames(
                Stream.concat(
                        order.names().stream()
                            .filter(n -> !isAddress(n))
                            .map(n -> new GeneralName(GeneralName.dNSName, n)),
                        order.names().stream()
                            .filter(TestPki::isAddress)
                            .map(n -> new GeneralName(GeneralName.iPAddress, n)))
                    .toArray(GeneralName[]::new)));
      }
      return new JcaX509CertificateConverter()
          .getCertificate(
              builder.build(
                  new JcaContentSignerBuilder("SHA256withECDSA")
                      .build(issuer == null ? pair.getPrivate() : key)));
    } catch (GeneralSecurityException | IOException | OperatorCreationException e) {
      throw new IllegalStateException("certificate for a test", e);
    }
  }

  private static boolean isAddress(String name) {
    return name.matches("[0-9.]+");
  }
}
