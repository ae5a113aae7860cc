package io.filterd.keys;

import io.filterd.keys.KeyException.Reason;
import java.util.Base64;
import java.util.Objects;

/**
 * A data key that only the holder of a key-encryption key can open: one locker of a disk's key
 * safe. Holds no secret in the clear.
 *
 * @param kek the key that opens it
 * @param algorithm how it is wrapped: {@value #AES_256_GCM}, or the {@link
 *     WrappingProvider#algorithm} of a provider that wraps itself
 * @param wrapped base64; of nonce (12 bytes), ciphertext (64) and tag (16) for {@value
 *     #AES_256_GCM}
 */
public record WrappedDek(KeyReference kek, String algorithm, String wrapped) {
  /** How this host wraps with a key that was handed out. */
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

  static WrappedDek of(KeyReference kek, String algorithm, byte[] wrapped) {
    return new WrappedDek(kek, algorithm, Base64.getEncoder().encodeToString(wrapped));
  }

  /**
   * What is wrapped, if it is wrapped so.
   *
   * @throws KeyException with {@code PROTOCOL} for another algorithm, length or encoding
   */
  byte[] bytes(String expectedAlgorithm, int lengthBytes) throws KeyException {
    checkAlgorithm(expectedAlgorithm);
    int characters = 4 * ((lengthBytes + 2) / 3);
    if (wrapped.length() != characters) {
      throw new KeyException(
          Reason.PROTOCOL,
          "wrapped data key: %d characters (expected: %d)".formatted(wrapped.length(), characters));
    }
    return decoded();
  }

  /**
   * What a provider has wrapped.
   *
   * @throws KeyException with {@code PROTOCOL} for another algorithm, a longer text or encoding
   */
  byte[] bytes(WrappingProvider provider) throws KeyException {
    checkAlgorithm(provider.algorithm());
    int most = 4 * ((WrappingProvider.MAX_WRAPPED_BYTES + 2) / 3);
    if (wrapped.length() > most) {
      throw new KeyException(
          Reason.PROTOCOL,
          "wrapped data key: %d characters (expected: at most %d)"
              .formatted(wrapped.length(), most));
    }
    return decoded();
  }

  private void checkAlgorithm(String expected) throws KeyException {
    if (!algorithm.equals(expected)) {
      throw new KeyException(
          Reason.PROTOCOL,
          "algorithm: %s (expected: %s)".formatted(KeyReference.quoted(algorithm), expected));
    }
  }

  private byte[] decoded() throws KeyException {
    try {
      return Base64.getDecoder().decode(wrapped);
    } catch (IllegalArgumentException bad) {
      throw new KeyException(Reason.PROTOCOL, "wrapped data key: not base64", bad);
    }
  }
}
