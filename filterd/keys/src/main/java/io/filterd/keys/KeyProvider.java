package io.filterd.keys;

import io.filterd.keys.KeyException.Reason;

/**
 * Where key-encryption keys come from: a KMS, an HSM, or something like one on this host. What a
 * provider does with its keys is said by the interface that it extends this with: {@link
 * ExportingProvider} or {@link WrappingProvider}; one that extends neither is of no use. Safe for
 * many threads. Calls may block on the network.
 */
public interface KeyProvider extends AutoCloseable {
  /** The provider's name in this host's configuration; lockers refer to it. */
  String name();

  /**
   * Makes a new key, ready to wrap data keys, and says its name. When this returns the key is as
   * durable as the provider can make it.
   *
   * @param label what the key is for; providers that can't keep it ignore it
   * @throws KeyException with {@code NOT_BACKED_UP} if losing this host would lose the key
   */
  KeyReference create(KeyLabel label) throws KeyException;

  /**
   * Asks in which state a key is. Never makes a key.
   *
   * @throws KeyException with {@code NOT_FOUND} if the provider has no such key
   */
  KeyDescription describe(KeyReference reference) throws KeyException;

  /**
   * Ends the use of a key for new data keys; what it has wrapped can still be unwrapped. What has
   * been revoked stays so.
   *
   * @throws KeyException with {@code UNSUPPORTED} if this kind of provider can't
   */
  default void revoke(KeyReference reference) throws KeyException {
    throw unsupported("revokes");
  }

  /**
   * Destroys a key, and with it everything that only it can open. Can't be undone. Whoever calls
   * this has made sure that nothing needs the key.
   *
   * @throws KeyException with {@code UNSUPPORTED} if this kind of provider can't
   */
  default void destroy(KeyReference reference) throws KeyException {
    throw unsupported("destroys");
  }

  private KeyException unsupported(String does) {
    return new KeyException(
        Reason.UNSUPPORTED,
        "key provider "
            + name()
            + ": its kind never "
            + does
            + " keys (expected: a KMS or an HSM)");
  }

  /** How the provider is, as far as this host knows without asking the network. */
  ProviderStatus status();

  /** How the provider is, asked now; takes as long as the provider's time limits allow. */
  default ProviderStatus probe() {
    return status();
  }

  /** Wipes what the provider holds. */
  @Override
  void close();
}
