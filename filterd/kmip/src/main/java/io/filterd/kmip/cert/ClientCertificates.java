package io.filterd.kmip.cert;

import java.io.IOException;
import java.io.StringWriter;
import java.math.BigInteger;
import java.security.GeneralSecurityException;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.SecureRandom;
import java.security.Signature;
import java.security.cert.CertificateParsingException;
import java.security.cert.X509Certificate;
import java.security.spec.ECGenParameterSpec;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Date;
import java.util.List;
import javax.security.auth.x500.X500Principal;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.asn1.x500.style.BCStyle;
import org.bouncycastle.asn1.x509.BasicConstraints;
import org.bouncycastle.asn1.x509.ExtendedKeyUsage;
import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.asn1.x509.ExtensionsGenerator;
import org.bouncycastle.asn1.x509.KeyPurposeId;
import org.bouncycastle.asn1.x509.KeyUsage;
import org.bouncycastle.cert.jcajce.JcaX509CertificateConverter;
import org.bouncycastle.cert.jcajce.JcaX509v3CertificateBuilder;
import org.bouncycastle.openssl.jcajce.JcaPEMWriter;
import org.bouncycastle.operator.OperatorCreationException;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.pkcs.PKCS10CertificationRequestBuilder;
import org.bouncycastle.pkcs.jcajce.JcaPKCS10CertificationRequestBuilder;

/** Makes what a KMIP client shows a server, and checks what it was given. */
final class ClientCertificates {
  private static final String CURVE = "secp256r1";
  private static final String SIGNATURE = "SHA256withECDSA";
  private static final String CLIENT_USE = KeyPurposeId.id_kp_clientAuth.getId();
  private static final String ANY_USE = KeyPurposeId.anyExtendedKeyUsage.getId();

  /** A clock of the server that is behind ours shall not refuse a certificate of just now. */
  private static final Duration BACKDATED = Duration.ofHours(1);

  private static final Duration SOON = Duration.ofDays(30);
  private static final int SERIAL_BITS = 127;

  private ClientCertificates() {}

  /** A new key on the curve P-256. */
  static KeyPair newKey() {
    try {
      KeyPairGenerator generator = KeyPairGenerator.getInstance("EC");
      generator.initialize(new ECGenParameterSpec(CURVE));
      return generator.generateKeyPair();
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("EC P-256: not in this JDK", e);
    }
  }

  /** Reads a subject, such as {@code CN=filterd,O=Example}: with one common name, not more. */
  static X500Principal subject(String name) throws IdentityException {
    try {
      X500Principal subject = new X500Principal(name);
      if (commonNames(subject) == 1) {
        return subject;
      }
    } catch (IllegalArgumentException e) {
      throw new IdentityException(
          "subject: '" + name + "' (expected: such as CN=filterd,O=Example)", e);
    }
    // Servers take it for the owner of the keys.
    throw new IdentityException("subject: '" + name + "' (expected: exactly one CN)");
  }

  private static int commonNames(X500Principal subject) {
    return X500Name.getInstance(subject.getEncoded()).getRDNs(BCStyle.CN).length;
  }

  private static ExtensionsGenerator extensions() throws IOException {
    ExtensionsGenerator extensions = new ExtensionsGenerator();
    extensions.addExtension(Extension.basicConstraints, true, new BasicConstraints(false));
    extensions.addExtension(Extension.keyUsage, true, new KeyUsage(KeyUsage.digitalSignature));
    extensions.addExtension(
        Extension.extendedKeyUsage, false, new ExtendedKeyUsage(KeyPurposeId.id_kp_clientAuth));
    return extensions;
  }

  /** A request for a certificate (PKCS#10) in PEM. */
  static String request(KeyPair key, X500Principal subject) throws IOException {
    PKCS10CertificationRequestBuilder request =
        new JcaPKCS10CertificationRequestBuilder(subject, key.getPublic());
    request.addAttribute(PKCSObjectIdentifiers.pkcs_9_at_extensionRequest, extensions().generate());
    StringWriter text = new StringWriter();
    try (JcaPEMWriter pem = new JcaPEMWriter(text)) {
      pem.writeObject(
          request.build(new JcaContentSignerBuilder(SIGNATURE).build(key.getPrivate())));
    } catch (OperatorCreationException e) {
      throw new IllegalStateException(SIGNATURE + ": not in this JDK", e);
    }
    return text.toString();
  }

  /** A certificate that is its own issuer: the server must be told to trust it. */
  static X509Certificate selfSigned(KeyPair key, X500Principal subject, Duration validity)
      throws IOException {
    Instant now = Instant.now();
    JcaX509v3CertificateBuilder builder =
        new JcaX509v3CertificateBuilder(
            subject,
            new BigInteger(SERIAL_BITS, new SecureRandom()).setBit(0),
            Date.from(now.minus(BACKDATED)),
            Date.from(now.plus(validity)),
            subject,
            key.getPublic());
    ExtensionsGenerator extensions = extensions();
    try {
      for (var oid : extensions.generate().getExtensionOIDs()) {
        builder.addExtension(extensions.generate().getExtension(oid));
      }
      return new JcaX509CertificateConverter()
          .getCertificate(
              builder.build(new JcaContentSignerBuilder(SIGNATURE).build(key.getPrivate())));
    } catch (GeneralSecurityException | OperatorCreationException e) {
      throw new IllegalStateException(SIGNATURE + ": not in this JDK", e);
    }
  }

  /**
   * Checks a key and its certificate.
   *
   * @return what is not wrong but may be refused or soon will be
   * @throws IdentityException if a server can't take it: they don't belong together, it is not
   *     valid now, or not for clients
   */
  static List<String> check(ClientIdentity identity, Instant now) throws IdentityException {
    X509Certificate certificate = identity.certificate();
    List<String> warnings = new ArrayList<>();
    if (!belongsTo(identity.key(), certificate.getPublicKey())) {
      throw new IdentityException(
          "client certificate: of another key (expected: the certificate of this private key)");
    }
    CertificateDetails details = CertificateDetails.of(certificate);
    if (now.isAfter(details.notAfter())) {
      throw new IdentityException(
          "client certificate: expired on " + details.notAfter() + " (expected: valid now)");
    }
    if (now.isBefore(details.notBefore())) {
      throw new IdentityException(
          "client certificate: valid from "
              + details.notBefore()
              + " on (expected: valid now; is the clock right?)");
    }
    if (details.remaining(now).compareTo(SOON) < 0) {
      warnings.add("client certificate: expires on " + details.notAfter() + "; renew it");
    }
    checkUse(certificate, warnings);
    int names = commonNames(certificate.getSubjectX500Principal());
    if (names != 1) {
      warnings.add(
          "client certificate: "
              + names
              + " common names in its subject; some servers take exactly one, as the keys' owner");
    }
    return List.copyOf(warnings);
  }

  private static void checkUse(X509Certificate certificate, List<String> warnings)
      throws IdentityException {
    try {
      List<String> uses = certificate.getExtendedKeyUsage();
      if (uses == null) {
        warnings.add(
            "client certificate: no extended key usage; some servers take only those for clientAuth");
      } else if (!uses.contains(CLIENT_USE) && !uses.contains(ANY_USE)) {
        throw new IdentityException(
            "client certificate: extended key usage " + uses + " (expected: clientAuth)");
      }
    } catch (CertificateParsingException e) {
      throw new IdentityException("client certificate: extended key usage not readable", e);
    }
  }

  private static boolean belongsTo(PrivateKey key, PublicKey other) {
    String algorithm =
        switch (key.getAlgorithm()) {
          case "EC" -> SIGNATURE;
          default -> "SHA256withRSA";
        };
    byte[] probe = new byte[32];
    try {
      Signature signature = Signature.getInstance(algorithm);
      signature.initSign(key);
      signature.update(probe);
      byte[] signed = signature.sign();
      signature.initVerify(other);
      signature.update(probe);
      return signature.verify(signed);
    } catch (GeneralSecurityException e) {
      // A key of another kind.
      return false;
    }
  }
}
