package io.filterd.kmip.net;

import io.filterd.kmip.cert.Certificates;
import java.io.IOException;
import java.net.Socket;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.CertPathValidatorException;
import java.security.cert.CertPathValidatorException.BasicReason;
import java.security.cert.CertificateException;
import java.security.cert.CertificateParsingException;
import java.security.cert.X509Certificate;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509ExtendedTrustManager;

/** Believes what an authority's certificate vouches for, see {@link ServerTrust.SignedBy}. */
final class AuthorityTrustManager extends ServerTrustManager {
  private static final int SHOWN_NAMES = 8;

  private final Path file;
  private final X509ExtendedTrustManager jdk;

  AuthorityTrustManager(Path file) throws IOException {
    this.file = file;
    this.jdk = trusting(Certificates.read(file));
  }

  private static X509ExtendedTrustManager trusting(List<X509Certificate> authorities)
      throws IOException {
    try {
      KeyStore store = KeyStore.getInstance("PKCS12");
      store.load(null, null);
      for (X509Certificate authority : authorities) {
        store.setCertificateEntry(Integer.toString(store.size()), authority);
      }
      TrustManagerFactory factory = TrustManagerFactory.getInstance("PKIX");
      factory.init(store);
      for (TrustManager manager : factory.getTrustManagers()) {
        if (manager instanceof X509ExtendedTrustManager extended) {
          return extended;
        }
      }
      throw new IllegalStateException("PKIX: no trust manager for X.509 in this JDK");
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("PKIX: not in this JDK", e);
    }
  }

  @Override
  void check(X509Certificate[] chain, String keyExchange, Socket socket)
      throws UntrustedServerException {
    try {
      // Also compares the names, as the socket's parameters ask.
      jdk.checkServerTrusted(chain, keyExchange, socket);
    } catch (CertificateException e) {
      throw new UntrustedServerException(
          "server certificate: " + verdict(chain, keyExchange, socket, e), e);
    }
  }

  private String verdict(
      X509Certificate[] chain, String keyExchange, Socket socket, CertificateException failure) {
    Instant now = Instant.now();
    for (int i = 0; i < chain.length; i++) {
      X509Certificate certificate = chain[i];
      String who = i == 0 ? "" : "its issuer " + certificate.getSubjectX500Principal() + " ";
      Instant end = certificate.getNotAfter().toInstant();
      if (now.isAfter(end)) {
        return who + "expired on " + end + " (expected: one that is valid now)";
      }
      Instant start = certificate.getNotBefore().toInstant();
      if (now.isBefore(start)) {
        return who
            + "valid from "
            + start
            + " on (expected: one that is valid now; is the clock right?)";
      }
    }
    if (isTrustedWithoutNames(chain, keyExchange)) {
      return "issued for "
          + names(chain[0])
          + " (expected: for "
          + ((SSLSocket) socket).getHandshakeSession().getPeerHost()
          + ")";
    }
    Throwable cause = failure;
    while (cause.getCause() != null) {
      cause = cause.getCause();
    }
    if (cause instanceof CertPathValidatorException path
        && path.getReason() instanceof BasicReason reason
        && reason != BasicReason.UNSPECIFIED) {
      return "refused, " + cause.getMessage() + " (expected: one that keeps this JDK's rules)";
    }
    return "issued by "
        + chain[chain.length - 1].getIssuerX500Principal()
        + " (expected: signed by a certificate of "
        + file
        + ")";
  }

  private boolean isTrustedWithoutNames(X509Certificate[] chain, String keyExchange) {
    try {
      jdk.checkServerTrusted(chain, keyExchange);
      return true;
    } catch (CertificateException e) {
      return false;
    }
  }

  private static String names(X509Certificate certificate) {
    List<String> names = new ArrayList<>();
    try {
      Collection<List<?>> alternatives = certificate.getSubjectAlternativeNames();
      if (alternatives != null) {
        // Each is a kind and a value, see getSubjectAlternativeNames.
        alternatives.stream()
            .limit(SHOWN_NAMES)
            .forEach(kindAndValue -> names.add(String.valueOf(kindAndValue.get(1))));
      }
    } catch (CertificateParsingException e) {
      return "names that can't be read";
    }
    return names.isEmpty()
        ? certificate.getSubjectX500Principal() + ", without alternative names"
        : String.join(", ", names);
  }
}
