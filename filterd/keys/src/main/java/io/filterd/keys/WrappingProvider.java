package io.filterd.keys;

import io.filterd.crypto.SecretBytes;

/**
 * A provider that never shows its keys: it wraps and unwraps data keys itself. The check value of
 * its references is the provider's own way of telling two keys of one id apart.
 */
public interface WrappingProvider extends KeyProvider {
  /** The most bytes a wrapped data key has: what a disk's key safe has room for. */
  int MAX_WRAPPED_BYTES = 768;

  /** How data keys are wrapped, as lockers name it: printable ASCII without commas. */
  String algorithm();

  /**
   * Wraps a data key.
   *
   * @param associatedData what is bound to it: unwrapping takes the same bytes
   * @return at most {@link #MAX_WRAPPED_BYTES} bytes
   * @throws KeyException with {@code NOT_FOUND} if the provider has no such key, {@code WRONG_KEY}
   *     if it has another one of the same name
   */
  byte[] wrap(KeyReference kek, SecretBytes dek, byte[] associatedData) throws KeyException;

  /**
   * Unwraps a data key, which the caller closes.
   *
   * @throws KeyException with {@code NOT_FOUND} if the provider has no such key, {@code WRONG_KEY}
   *     if it has another one of the same name, or what is wrapped does not authenticate
   */
  SecretBytes unwrap(KeyReference kek, byte[] wrapped, byte[] associatedData) throws KeyException;
}
