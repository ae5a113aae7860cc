package io.filterd.crypto;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.security.GeneralSecurityException;
import java.util.Arrays;
import javax.crypto.Cipher;
import javax.crypto.spec.SecretKeySpec;

/**
 * XTS out of the JDK's AES, wherever there is a JDK: the tweaks of a unit are computed with long
 * arithmetic, and the whole unit goes through AES/ECB at once, which the JDK has processor
 * instructions for. The key schedules are on the heap and can't be wiped.
 */
final class PortableContext implements XtsContext {
  private static final int BLOCK_BYTES = 16;
  private static final int LONGS_PER_BLOCK = 2;

  /** x^128 = x^7 + x^2 + x + 1 (IEEE 1619-2018, 5.2). */
  private static final long REDUCTION = 0x87;

  private static final VarHandle LITTLE_ENDIAN_LONG =
      MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);

  private final Cipher encipher;
  private final Cipher decipher;
  private final Cipher tweak;
  private byte[] blocks = new byte[0];
  private long[] masks = new long[0];

  private PortableContext(Cipher encipher, Cipher decipher, Cipher tweak) {
    this.encipher = encipher;
    this.decipher = decipher;
    this.tweak = tweak;
  }

  /** Expands a key. */
  static PortableContext of(SecretBytes dek) {
    byte[] key = new byte[XtsEngine.DEK_BYTES];
    dek.copySecretTo(key, 0);
    try {
      int half = key.length / 2;
      return new PortableContext(
          aes(Cipher.ENCRYPT_MODE, key, 0),
          aes(Cipher.DECRYPT_MODE, key, 0),
          aes(Cipher.ENCRYPT_MODE, key, half));
    } catch (GeneralSecurityException noAes) {
      throw new IllegalStateException("AES/ECB/NoPadding: missing (expected: in every JDK)", noAes);
    } finally {
      Arrays.fill(key, (byte) 0);
    }
  }

  private static Cipher aes(int mode, byte[] key, int at) throws GeneralSecurityException {
    // ECB only as the block function that XTS is made of.
    @SuppressWarnings("InsecureCryptoUsage")
    Cipher cipher = Cipher.getInstance("AES/ECB/NoPadding");
    cipher.init(mode, new SecretKeySpec(key, at, XtsEngine.DEK_BYTES / 2, "AES"));
    return cipher;
  }

  @Override
  public void encipher(
      long tweakLow, long tweakHigh, ByteBuffer source, ByteBuffer target, int unitBytes) {
    crypt(encipher, tweakLow, tweakHigh, source, target, unitBytes);
  }

  @Override
  public void decipher(long tweakLow, long tweakHigh, ByteBuffer buffer, int unitBytes) {
    crypt(decipher, tweakLow, tweakHigh, buffer, buffer, unitBytes);
  }

  private void crypt(
      Cipher aes,
      long tweakLow,
      long tweakHigh,
      ByteBuffer source,
      ByteBuffer target,
      int unitBytes) {
    if (blocks.length != unitBytes) {
      blocks = new byte[unitBytes];
      masks = new long[unitBytes / Long.BYTES];
    }
    long low = tweakLow;
    for (int at = 0; at < source.remaining(); at += unitBytes) {
      int length = Math.min(unitBytes, source.remaining() - at);
      computeMasks(low++, tweakHigh, length);
      source.get(source.position() + at, blocks, 0, length);
      mask(length);
      aes(aes, length);
      mask(length);
      target.put(target.position() + at, blocks, 0, length);
    }
  }

  /** The masks of a unit: the enciphered tweak, and each next one times x. */
  private void computeMasks(long tweakLow, long tweakHigh, int length) {
    LITTLE_ENDIAN_LONG.set(blocks, 0, tweakLow);
    LITTLE_ENDIAN_LONG.set(blocks, Long.BYTES, tweakHigh);
    aes(tweak, BLOCK_BYTES);
    long low = (long) LITTLE_ENDIAN_LONG.get(blocks, 0);
    long high = (long) LITTLE_ENDIAN_LONG.get(blocks, Long.BYTES);
    for (int i = 0; i < length / Long.BYTES; i += LONGS_PER_BLOCK) {
      masks[i] = low;
      masks[i + 1] = high;
      long carry = high >> 63 & REDUCTION;
      high = high << 1 | low >>> 63;
      low = low << 1 ^ carry;
    }
  }

  private void mask(int length) {
    for (int i = 0; i < length / Long.BYTES; i++) {
      int at = i * Long.BYTES;
      LITTLE_ENDIAN_LONG.set(blocks, at, (long) LITTLE_ENDIAN_LONG.get(blocks, at) ^ masks[i]);
    }
  }

  private void aes(Cipher aes, int length) {
    try {
      aes.update(blocks, 0, length, blocks, 0);
    } catch (GeneralSecurityException tooShort) {
      throw new AssertionError("whole blocks in place", tooShort);
    }
  }

  /** Wipes the plaintext that was in work. The key schedules are the JDK's, which forgets them. */
  @Override
  public void close() {
    Arrays.fill(blocks, (byte) 0);
    Arrays.fill(masks, 0);
  }
}
