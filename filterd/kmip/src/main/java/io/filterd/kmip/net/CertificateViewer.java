package io.filterd.kmip.net;

import io.filterd.kmip.ttlv.TtlvLimits;
import java.net.Socket;
import java.security.cert.X509Certificate;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Fetches a server's certificate, for an operator to look at before it is trusted. */
public final class CertificateViewer {
  private CertificateViewer() {}

  /**
   * The chain the server shows, its own certificate first. Nothing is verified, and the connection
   * is never used: its handshake is broken off as soon as the certificate has come.
   */
  public static List<X509Certificate> fetch(
      ServerAddress address, List<String> protocols, Timeouts timeouts) throws TransportException {
    Camera camera = new Camera();
    try {
      Connection.open(address, TlsClient.anonymous(camera, protocols), timeouts, TtlvLimits.DEFAULT)
          .abort();
    } catch (TransportException e) {
      if (camera.seen == null) {
        throw e;
      }
    }
    if (camera.seen == null) {
      throw new IllegalStateException("server certificate: not asked about in a TLS handshake");
    }
    return camera.seen;
  }

  /** Believes nothing, but remembers what it saw. */
  private static final class Camera extends ServerTrustManager {
    volatile @Nullable List<X509Certificate> seen;

    @Override
    void check(X509Certificate[] chain, String keyExchange, Socket socket)
        throws UntrustedServerException {
      seen = List.of(chain);
      throw new UntrustedServerException("server certificate: only looked at", null);
    }
  }
}
