package io.filterd.keys;

import io.filterd.crypto.KeyWrap;
import io.filterd.crypto.SecretBytes;
import io.filterd.crypto.WrapException;
import io.filterd.keys.KeyException.Reason;
import io.filterd.keys.chronicle.DekCache;
import java.lang.foreign.ValueLayout;
import java.util.HexFormat;

/**
 * A key-encryption key, in native memory until it is closed, which wipes it. Has no equals or
 * hashCode on purpose. For one thread at a time; after close every use throws {@link
 * IllegalStateException}.
 */
public final class KeyEncryptionKey implements AutoCloseable {
  /** The length of a key: AES-256. */
  public static final int LENGTH_BYTES = KeyWrap.KEK_BYTES;

  private static final String CHECK_VALUE_LABEL = "filterd-kcv-v1";
  private static final int CHECK_VALUE_BYTES = 8;

  private final KeyReference reference;
  private final SecretBytes key;

  private KeyEncryptionKey(KeyReference reference, SecretBytes key) {
    this.reference = reference;
    this.key = key;
  }

  /**
   * Holds a new key and computes its check value. Takes over {@code key}: it is closed with this,
   * or here if this throws.
   */
  public static KeyEncryptionKey owning(String provider, String keyId, SecretBytes key) {
    try {
      return new KeyEncryptionKey(new KeyReference(provider, keyId, checkValue(key)), key);
    } catch (RuntimeException failure) {
      key.close();
      throw failure;
    }
  }

  /**
   * Holds a key that was fetched, if it is the one that {@code expected} means. Takes over {@code
   * key}: it is closed with this, or here if this throws.
   *
   * @throws KeyException with {@code WRONG_KEY} if its check value differs
   */
  public static KeyEncryptionKey verified(KeyReference expected, SecretBytes key)
      throws KeyException {
    KeyEncryptionKey fetched = owning(expected.provider(), expected.keyId(), key);
    String actual = fetched.reference.checkValue();
    if (!actual.equals(expected.checkValue())) {
      fetched.close();
      throw new KeyException(
          Reason.WRONG_KEY,
          "key provider %s, key %s: its check value is %s (expected: %s): this is another key of the same name"
              .formatted(expected.provider(), expected.keyId(), actual, expected.checkValue()));
    }
    return fetched;
  }

  private static String checkValue(SecretBytes key) {
    if (key.lengthBytes() != LENGTH_BYTES) {
      throw new IllegalArgumentException(
          "key: " + key.lengthBytes() + " bytes (expected: " + LENGTH_BYTES + ")");
    }
    try (SecretBytes code = HmacSha256.code(key.segment(), HmacSha256.bytes(CHECK_VALUE_LABEL))) {
      byte[] start = code.segment().asSlice(0, CHECK_VALUE_BYTES).toArray(ValueLayout.JAVA_BYTE);
      return HexFormat.of().formatHex(start);
    }
  }

  /** The key's name and check value. */
  public KeyReference reference() {
    return reference;
  }

  /** The same key once more, for another thread; closed apart. */
  KeyEncryptionKey copy() {
    return new KeyEncryptionKey(reference, key.copy());
  }

  /** Wraps a data key, with what it belongs to bound to it. */
  WrappedDek wrap(SecretBytes dek, DekBinding binding) {
    return WrappedDek.of(
        reference,
        WrappedDek.AES_256_GCM,
        KeyWrap.wrap(key, dek, binding.associatedData(reference)));
  }

  /**
   * Opens a locker that names this key. The caller closes the data key.
   *
   * @throws KeyException with {@code PROTOCOL} if it is not a locker, {@code WRONG_KEY} if it does
   *     not authenticate
   */
  SecretBytes unwrap(WrappedDek locker, DekBinding binding) throws KeyException {
    byte[] wrapped =
        locker.bytes(WrappedDek.AES_256_GCM, DekCache.DEK_BYTES + KeyWrap.OVERHEAD_BYTES);
    try {
      return KeyWrap.unwrap(key, wrapped, binding.associatedData(locker.kek()));
    } catch (WrapException failure) {
      throw new KeyException(
          Reason.WRONG_KEY,
          "the wrapped data key does not authenticate: it was changed, or belongs to another disk,"
              + " link, cipher or key",
          failure);
    }
  }

  /**
   * Copies the key to the start of {@code target}, {@link #LENGTH_BYTES} bytes: the only way out
   * for the key itself, for recovery and for tests against other implementations. Whoever calls
   * this wipes {@code target}.
   */
  public void copySecretTo(byte[] target) {
    key.copySecretTo(target, 0);
  }

  @Override
  public void close() {
    key.close();
  }

  @Override
  public String toString() {
    return "KeyEncryptionKey[" + reference.provider() + ", " + reference.keyId() + "]";
  }
}
