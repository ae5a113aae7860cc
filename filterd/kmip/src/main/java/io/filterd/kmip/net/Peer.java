package io.filterd.kmip.net;

import java.security.cert.X509Certificate;
import java.util.List;

/**
 * The other side of a connection, as it was at its handshake.
 *
 * @param protocol for example {@code TLSv1.3}
 * @param suite for example {@code TLS_AES_256_GCM_SHA384}
 * @param chain the server's certificate first, at least one
 */
public record Peer(String protocol, String suite, List<X509Certificate> chain) {
  /** Copies the chain. */
  public Peer {
    chain = List.copyOf(chain);
  }

  /** The server's own certificate. */
  public X509Certificate certificate() {
    return chain.getFirst();
  }
}
