package io.filterd.keys;

/**
 * Where key-encryption keys come from: a KMS, or something like one on this host. Safe for many
 * threads. Calls may block on the network.
 */
public interface KeyProvider extends AutoCloseable {
  /** The provider's name in this host's configuration; lockers refer to it. */
  String name();

  /**
   * Makes a new key and says its name. The key itself comes from {@link #open}.
   *
   * @throws KeyException with {@code NOT_BACKED_UP} if losing this host would lose the key
   */
  KeyReference create() throws KeyException;

  /**
   * Fetches a key and verifies its check value ({@link KeyEncryptionKey#verified}). The caller
   * closes it. Never makes a key.
   *
   * @throws KeyException with {@code NOT_FOUND} if the provider has no such key, {@code WRONG_KEY}
   *     if it has another one of the same name
   */
  KeyEncryptionKey open(KeyReference reference) throws KeyException;

  /** How the provider is, as far as this host knows without asking the network. */
  ProviderStatus status();

  /** Wipes what the provider holds. */
  @Override
  void close();
}
