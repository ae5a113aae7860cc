package io.filterd.kmip.net;

import io.filterd.kmip.cert.ClientIdentity;
import java.util.List;

/**
 * How to speak TLS with a server.
 *
 * @param protocols out of {@code TLSv1.3} and {@code TLSv1.2}
 * @param suites the cipher suites by their standard names, the best first; empty: the JDK's choice
 * @param trust why the server is believed
 * @param identity what the client shows
 */
public record TlsSettings(
    List<String> protocols, List<String> suites, ServerTrust trust, ClientIdentity identity) {
  private static final List<String> KNOWN_PROTOCOLS = List.of("TLSv1.3", "TLSv1.2");

  /** Checks the protocols; the suites are checked against the JDK's when they are first used. */
  public TlsSettings {
    protocols = List.copyOf(protocols);
    suites = List.copyOf(suites);
    if (protocols.isEmpty() || !KNOWN_PROTOCOLS.containsAll(protocols)) {
      throw new IllegalArgumentException(
          "protocols: " + protocols + " (expected: out of " + KNOWN_PROTOCOLS + ")");
    }
  }

  /** TLS 1.3 or 1.2 with the JDK's suites. */
  public static TlsSettings of(ServerTrust trust, ClientIdentity identity) {
    return new TlsSettings(KNOWN_PROTOCOLS, List.of(), trust, identity);
  }

  /** The same with other protocols. */
  public TlsSettings withProtocols(List<String> other) {
    return new TlsSettings(other, suites, trust, identity);
  }

  /** The same with other suites. */
  public TlsSettings withSuites(List<String> other) {
    return new TlsSettings(protocols, other, trust, identity);
  }
}
