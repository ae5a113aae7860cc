package io.filterd.kmip.cert;

import java.security.PrivateKey;
import java.security.cert.X509Certificate;
import java.util.List;

/**
 * What a client shows a KMIP server: a private key and the chain of its certificate. Immutable.
 *
 * <p>The key is a JDK key and so lives in the Java heap for as long as the identity is used. It is
 * the key to the KMS, not a key of a disk; it is never in any text.
 */
public final class ClientIdentity {
  private final PrivateKey key;
  private final List<X509Certificate> chain;

  /**
   * @param chain the key's certificate first, then its issuers, if they are known
   * @throws IllegalArgumentException if there is no certificate
   */
  public ClientIdentity(PrivateKey key, List<X509Certificate> chain) {
    if (chain.isEmpty()) {
      throw new IllegalArgumentException("chain: no certificate (expected: at least the key's)");
    }
    this.key = key;
    this.chain = List.copyOf(chain);
  }

  /** The private key. */
  public PrivateKey key() {
    return key;
  }

  /** The certificate of the key, then its issuers. */
  public List<X509Certificate> chain() {
    return chain;
  }

  /** The certificate of the key. */
  public X509Certificate certificate() {
    return chain.getFirst();
  }

  @Override
  public String toString() {
    return "ClientIdentity[" + certificate().getSubjectX500Principal() + "]";
  }
}
