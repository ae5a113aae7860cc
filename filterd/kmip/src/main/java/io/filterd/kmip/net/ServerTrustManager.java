package io.filterd.kmip.net;

import io.filterd.kmip.cert.Fingerprint;
import java.net.Socket;
import java.security.cert.CertificateException;
import java.security.cert.X509Certificate;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.X509ExtendedTrustManager;

/** Decides about servers, never about clients; says in one sentence why not. */
abstract class ServerTrustManager extends X509ExtendedTrustManager {
  /**
   * @param socket the TLS socket during its handshake
   * @throws UntrustedServerException if this is not the server
   */
  abstract void check(X509Certificate[] chain, String keyExchange, Socket socket)
      throws UntrustedServerException;

  @Override
  public final void checkServerTrusted(X509Certificate[] chain, String authType, Socket socket)
      throws CertificateException {
    check(chain, authType, socket);
  }

  @Override
  public final void checkServerTrusted(X509Certificate[] chain, String authType)
      throws CertificateException {
    throw new CertificateException("server certificate: no socket to check it for");
  }

  @Override
  public final void checkServerTrusted(X509Certificate[] chain, String authType, SSLEngine engine)
      throws CertificateException {
    checkServerTrusted(chain, authType);
  }

  @Override
  public final void checkClientTrusted(X509Certificate[] chain, String authType)
      throws CertificateException {
    throw new CertificateException("client certificate: this side is the client");
  }

  @Override
  public final void checkClientTrusted(X509Certificate[] chain, String authType, Socket socket)
      throws CertificateException {
    checkClientTrusted(chain, authType);
  }

  @Override
  public final void checkClientTrusted(X509Certificate[] chain, String authType, SSLEngine engine)
      throws CertificateException {
    checkClientTrusted(chain, authType);
  }

  @Override
  public final X509Certificate[] getAcceptedIssuers() {
    return new X509Certificate[0];
  }

  /** Believes exactly the certificates that were looked at, see {@link ServerTrust.Pinned}. */
  static final class PinnedCertificate extends ServerTrustManager {
    private final ServerTrust.Pinned pinned;

    PinnedCertificate(ServerTrust.Pinned pinned) {
      this.pinned = pinned;
    }

    @Override
    void check(X509Certificate[] chain, String keyExchange, Socket socket)
        throws UntrustedServerException {
      Fingerprint actual = Fingerprint.of(chain[0]);
      if (!pinned.fingerprints().contains(actual)) {
        throw new UntrustedServerException(
            "server certificate: fingerprint "
                + actual
                + " (expected: the trusted "
                + String.join(
                    " or ", pinned.fingerprints().stream().map(Object::toString).sorted().toList())
                + ")",
            null);
      }
    }
  }
}
