package io.filterd.keys;

/** A provider that hands its keys out: this host wraps and unwraps with them. */
public interface ExportingProvider extends KeyProvider {
  /**
   * Fetches a key and verifies its check value ({@link KeyEncryptionKey#verified}). The caller
   * closes it. Never makes a key.
   *
   * @throws KeyException with {@code NOT_FOUND} if the provider has no such key, {@code WRONG_KEY}
   *     if it has another one of the same name
   */
  KeyEncryptionKey open(KeyReference reference) throws KeyException;
}
