package io.filterd.keys;

import io.filterd.crypto.SecretBytes;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.bouncycastle.crypto.digests.SHA256Digest;

/**
 * HMAC-SHA-256 (RFC 2104) and HKDF-SHA-256 (RFC 5869) over native memory.
 *
 * <p>The JDK's own keep copies of the key on the heap that nobody can wipe. Here the key is read
 * byte by byte from native memory into the digest, whose state Bouncy Castle clears when a digest
 * is done; the result is copied out and its array wiped.
 */
final class HmacSha256 {
  static final int SIZE_BYTES = 32;

  private static final int BLOCK_BYTES = 64;
  private static final byte INNER_PAD = 0x36;
  private static final byte OUTER_PAD = 0x5c;

  private HmacSha256() {}

  /** The code of {@code parts}, one after the other, under {@code key}. The caller closes it. */
  static SecretBytes code(MemorySegment key, MemorySegment... parts) {
    if (key.byteSize() > BLOCK_BYTES) {
      try (SecretBytes shortKey = digest(key)) {
        return code(shortKey.segment(), parts);
      }
    }
    SHA256Digest digest = new SHA256Digest();
    byte[] inner = new byte[SIZE_BYTES];
    try {
      updatePadded(digest, key, INNER_PAD);
      for (MemorySegment part : parts) {
        update(digest, part);
      }
      digest.doFinal(inner, 0);
      updatePadded(digest, key, OUTER_PAD);
      digest.update(inner, 0, inner.length);
      return finish(digest);
    } finally {
      Arrays.fill(inner, (byte) 0);
    }
  }

  /** 32 bytes of key material from {@code secret}: extract with {@code salt}, expand once. */
  static SecretBytes derive(MemorySegment secret, String salt, String info) {
    try (SecretBytes extracted = code(bytes(salt), secret)) {
      // T(1) of RFC 5869, section 2.3: one block is all that 32 bytes need.
      return code(extracted.segment(), bytes(info), MemorySegment.ofArray(new byte[] {1}));
    }
  }

  static MemorySegment bytes(String text) {
    return MemorySegment.ofArray(text.getBytes(StandardCharsets.UTF_8));
  }

  private static SecretBytes digest(MemorySegment data) {
    SHA256Digest digest = new SHA256Digest();
    update(digest, data);
    return finish(digest);
  }

  private static void update(SHA256Digest digest, MemorySegment data) {
    for (long at = 0; at < data.byteSize(); at++) {
      digest.update(data.get(ValueLayout.JAVA_BYTE, at));
    }
  }

  private static void updatePadded(SHA256Digest digest, MemorySegment key, byte pad) {
    for (long at = 0; at < BLOCK_BYTES; at++) {
      byte b = at < key.byteSize() ? key.get(ValueLayout.JAVA_BYTE, at) : 0;
      digest.update((byte) (b ^ pad));
    }
  }

  private static SecretBytes finish(SHA256Digest digest) {
    byte[] result = new byte[SIZE_BYTES];
    try {
      digest.doFinal(result, 0);
      SecretBytes secret = SecretBytes.allocate(SIZE_BYTES);
      MemorySegment.copy(result, 0, secret.segment(), ValueLayout.JAVA_BYTE, 0, SIZE_BYTES);
      return secret;
    } finally {
      Arrays.fill(result, (byte) 0);
    }
  }
}
