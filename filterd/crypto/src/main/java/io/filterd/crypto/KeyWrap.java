package io.filterd.crypto;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Encrypts keys under keys: AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce, over native
 * memory, so that neither key is ever on the Java heap. A wrapped key is {@code nonce || ciphertext
 * || tag}, 28 bytes longer than the key. Safe for many threads.
 *
 * <p>Every method throws {@link IllegalStateException} on a system without libcrypto.
 */
public final class KeyWrap {
  /** The length of a key-encryption key. */
  public static final int KEK_BYTES = 32;

  /** How much longer a wrapped key is than the key. */
  public static final int OVERHEAD_BYTES = 12 + 16;

  private static final int NONCE_BYTES = 12;
  private static final int TAG_BYTES = 16;

  private KeyWrap() {}

  /**
   * Wraps {@code key}.
   *
   * @param kek {@link #KEK_BYTES} long
   * @param associatedData what must be the same when the key is unwrapped; not part of the result
   */
  public static byte[] wrap(SecretBytes kek, SecretBytes key, byte[] associatedData) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment nonce = arena.allocate(NONCE_BYTES);
      Libc.random(nonce);
      return wrap(kek, key, associatedData, nonce);
    }
  }

  /** As the public one, under a nonce that a test vector gives. */
  static byte[] wrap(SecretBytes kek, SecretBytes key, byte[] associatedData, MemorySegment nonce) {
    checkKek(kek);
    LibCrypto library = LibCrypto.system();
    MemorySegment context = library.newContext();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment written = arena.allocate(ValueLayout.JAVA_INT);
      MemorySegment wrapped = arena.allocate(NONCE_BYTES + key.segment().byteSize() + TAG_BYTES);
      MemorySegment ciphertext = wrapped.asSlice(NONCE_BYTES, key.segment().byteSize());
      MemorySegment tag = wrapped.asSlice(wrapped.byteSize() - TAG_BYTES);
      wrapped.copyFrom(nonce);
      library.initGcm(context, kek.segment(), nonce, true);
      authenticate(library, context, associatedData, written, arena);
      library.update(context, ciphertext, written, key.segment());
      if (!library.finish(context, tag, written)) {
        throw new IllegalStateException("libcrypto: EVP_CipherFinal_ex failed (expected: 1)");
      }
      library.getTag(context, tag);
      return wrapped.toArray(ValueLayout.JAVA_BYTE);
    } finally {
      library.freeContext(context);
    }
  }

  /**
   * Unwraps what {@link #wrap} returned. The caller closes the key.
   *
   * @throws WrapException if {@code wrapped} is too short or too long, or was not made with this
   *     KEK and associated data
   */
  public static SecretBytes unwrap(SecretBytes kek, byte[] wrapped, byte[] associatedData)
      throws WrapException {
    checkKek(kek);
    int keyBytes = wrapped.length - OVERHEAD_BYTES;
    if (keyBytes < 1 || keyBytes > SecretBytes.MAX_LENGTH_BYTES) {
      throw new WrapException(
          "wrapped key: "
              + wrapped.length
              + " bytes (expected: "
              + (OVERHEAD_BYTES + 1)
              + ".."
              + (OVERHEAD_BYTES + SecretBytes.MAX_LENGTH_BYTES)
              + ")");
    }
    LibCrypto library = LibCrypto.system();
    SecretBytes key = SecretBytes.allocate(keyBytes);
    MemorySegment context = library.newContext();
    boolean authentic = false;
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment written = arena.allocate(ValueLayout.JAVA_INT);
      MemorySegment all = arena.allocateFrom(ValueLayout.JAVA_BYTE, wrapped);
      MemorySegment tag = all.asSlice(all.byteSize() - TAG_BYTES);
      library.initGcm(context, kek.segment(), all.asSlice(0, NONCE_BYTES), false);
      authenticate(library, context, associatedData, written, arena);
      library.update(context, key.segment(), written, all.asSlice(NONCE_BYTES, keyBytes));
      library.setTag(context, tag);
      authentic = library.finish(context, arena.allocate(TAG_BYTES), written);
      if (!authentic) {
        throw new WrapException(
            "wrapped key: not authentic (expected: wrapped under this key, with the same"
                + " associated data)");
      }
      return key;
    } finally {
      library.freeContext(context);
      if (!authentic) {
        key.close();
      }
    }
  }

  private static void authenticate(
      LibCrypto library,
      MemorySegment context,
      byte[] associatedData,
      MemorySegment written,
      Arena arena) {
    if (associatedData.length > 0) {
      MemorySegment data = arena.allocateFrom(ValueLayout.JAVA_BYTE, associatedData);
      library.update(context, MemorySegment.NULL, written, data);
    }
  }

  private static void checkKek(SecretBytes kek) {
    if (kek.lengthBytes() != KEK_BYTES) {
      throw new IllegalArgumentException(
          "kek: " + kek.lengthBytes() + " bytes (expected: " + KEK_BYTES + ")");
    }
  }
}
