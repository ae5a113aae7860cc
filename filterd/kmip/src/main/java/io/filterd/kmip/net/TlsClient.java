package io.filterd.kmip.net;

import java.io.IOException;
import java.net.Socket;
import java.security.GeneralSecurityException;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import javax.net.ssl.KeyManager;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManager;

/** Puts TLS on sockets, as {@link TlsSettings} say. Safe for many threads. */
final class TlsClient {
  private final SSLContext context;
  private final List<String> protocols;
  private final List<String> suites;
  private final boolean comparesNames;

  private TlsClient(
      KeyManager[] keys,
      ServerTrustManager trust,
      List<String> protocols,
      List<String> suites,
      boolean comparesNames) {
    try {
      this.context = SSLContext.getInstance("TLS");
      context.init(keys, new TrustManager[] {trust}, null);
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("TLS: not in this JDK", e);
    }
    Set<String> known =
        new HashSet<>(Arrays.asList(context.getSupportedSSLParameters().getCipherSuites()));
    for (String suite : suites) {
      if (!known.contains(suite)) {
        throw new IllegalArgumentException(
            "suites: '" + suite + "' (expected: a cipher suite of this JDK)");
      }
    }
    this.protocols = protocols;
    this.suites = suites;
    this.comparesNames = comparesNames;
  }

  /**
   * @throws IOException if the authorities' file can't be read
   */
  static TlsClient of(TlsSettings settings) throws IOException {
    ServerTrustManager trust =
        switch (settings.trust()) {
          case ServerTrust.SignedBy(var file) -> new AuthorityTrustManager(file);
          case ServerTrust.Pinned pinned -> new ServerTrustManager.PinnedCertificate(pinned);
        };
    return new TlsClient(
        new KeyManager[] {new OneKeyManager(settings.identity())},
        trust,
        settings.protocols(),
        settings.suites(),
        settings.trust() instanceof ServerTrust.SignedBy);
  }

  /** One that shows no certificate and asks {@code trust} about the server's. */
  static TlsClient anonymous(ServerTrustManager trust, List<String> protocols) {
    return new TlsClient(new KeyManager[0], trust, protocols, List.of(), false);
  }

  List<String> protocols() {
    return protocols;
  }

  /** A TLS socket over {@code raw}, before its handshake; closing it closes {@code raw}. */
  SSLSocket over(Socket raw, ServerAddress address) throws IOException {
    SSLSocket socket =
        (SSLSocket)
            context.getSocketFactory().createSocket(raw, address.host(), address.port(), true);
    SSLParameters parameters = socket.getSSLParameters();
    parameters.setProtocols(protocols.toArray(new String[0]));
    if (!suites.isEmpty()) {
      parameters.setCipherSuites(suites.toArray(new String[0]));
    }
    if (comparesNames) {
      // RFC 2818's rules for names and addresses; those of HTTPS are all there is to it.
      parameters.setEndpointIdentificationAlgorithm("HTTPS");
    }
    socket.setSSLParameters(parameters);
    return socket;
  }
}
