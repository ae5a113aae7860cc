package io.filterd.kmip.net;

import io.filterd.kmip.cert.Fingerprint;
import java.nio.file.Path;
import java.util.Set;

/** Why a server's certificate is believed. */
public sealed interface ServerTrust {
  /**
   * It is signed by a certificate of this file, valid now, and issued for the name or address the
   * server is reached by.
   *
   * @param file PEM, one certificate or more, up to 1 MiB
   */
  record SignedBy(Path file) implements ServerTrust {}

  /**
   * It is one of exactly these, which an operator has looked at. Neither its issuer nor its names
   * matter then, nor its expiry: that it is the right one has been decided for good, and a key
   * server that is lost at midnight helps nobody. The expiry is shown by {@link Peer}.
   *
   * @param fingerprints at least one; two while a server's certificate is being renewed
   */
  record Pinned(Set<Fingerprint> fingerprints) implements ServerTrust {
    /** Checks that there is one. */
    public Pinned {
      fingerprints = Set.copyOf(fingerprints);
      if (fingerprints.isEmpty()) {
        throw new IllegalArgumentException("fingerprints: none (expected: at least one)");
      }
    }
  }
}
