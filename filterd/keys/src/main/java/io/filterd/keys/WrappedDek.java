package io.filterd.keys;

import java.util.Objects;

/**
 * A data key that only the holder of a key-encryption key can open: one locker of a disk's key
 * safe. Holds no secret in the clear.
 *
 * @param kek the key that opens it
 * @param algorithm how it is wrapped: {@value #AES_256_GCM}
 * @param wrapped base64 of nonce (12 bytes), ciphertext (64) and tag (16)
 */
public record WrappedDek(KeyReference kek, String algorithm, String wrapped) {
  /** The only way of wrapping so far. */
  public static final String AES_256_GCM = "AES-256-GCM";

  /** Keeps the parts; what they say is checked when the locker is opened. */
  public WrappedDek {
    Objects.requireNonNull(kek);
    Objects.requireNonNull(algorithm);
    Objects.requireNonNull(wrapped);
  }

  /**
   * The locker that a descriptor's text names.
   *
   * @throws KeyException with {@code PROTOCOL} if the text cannot be a locker
   */
  public static WrappedDek parse(
      String provider, String keyId, String checkValue, String algorithm, String wrapped)
      throws KeyException {
    try {
      return new WrappedDek(new KeyReference(provider, keyId, checkValue), algorithm, wrapped);
    } catch (IllegalArgumentException bad) {
      throw new KeyException(KeyException.Reason.PROTOCOL, "key safe: " + bad.getMessage(), bad);
    }
  }
}
