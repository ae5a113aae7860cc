package io.filterd.bench;

import com.amazon.corretto.crypto.provider.AmazonCorrettoCryptoProvider;
import io.filterd.crypto.SecretBytes;
import io.filterd.crypto.SectorCipher;
import io.filterd.crypto.XtsEngine;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.security.GeneralSecurityException;
import javax.crypto.Cipher;
import javax.crypto.spec.IvParameterSpec;
import javax.crypto.spec.SecretKeySpec;

/**
 * AES-256-XTS by the Amazon Corretto Crypto Provider, to measure filterd's engines against. Its key
 * is on the heap, it takes a tweak by a new initialisation for every unit, and it works in byte
 * arrays only: the copies from and to direct buffers are part of what it costs here. For one thread
 * at a time.
 */
final class AccpCipher implements SectorCipher {
  private static final int TWEAK_BYTES = 16;

  private final Cipher cipher;
  private final SecretKeySpec key;
  private final int unitBytes;
  private final byte[] unit;
  private final byte[] result;
  private final ByteBuffer tweak = ByteBuffer.allocate(TWEAK_BYTES).order(ByteOrder.LITTLE_ENDIAN);

  /** A cipher under a copy of {@code dek}. */
  AccpCipher(SecretBytes dek, int unitBytes) {
    byte[] bytes = new byte[XtsEngine.DEK_BYTES];
    dek.copySecretTo(bytes, 0);
    this.key = new SecretKeySpec(bytes, "AES");
    this.unitBytes = unitBytes;
    this.unit = new byte[unitBytes];
    this.result = new byte[unitBytes];
    try {
      this.cipher = Cipher.getInstance("AES/XTS/NoPadding", AmazonCorrettoCryptoProvider.INSTANCE);
    } catch (GeneralSecurityException missing) {
      throw new IllegalStateException(
          "accp: no AES/XTS/NoPadding (expected: its native library for this system)", missing);
    }
  }

  @Override
  public int unitBytes() {
    return unitBytes;
  }

  @Override
  public void encipher(long firstUnit, ByteBuffer source, ByteBuffer target) {
    crypt(Cipher.ENCRYPT_MODE, firstUnit, source, target);
  }

  @Override
  public void decipher(long firstUnit, ByteBuffer buffer) {
    crypt(Cipher.DECRYPT_MODE, firstUnit, buffer, buffer);
  }

  private void crypt(int mode, long firstUnit, ByteBuffer source, ByteBuffer target) {
    int length = source.remaining();
    try {
      for (int at = 0; at < length; at += unitBytes) {
        int count = Math.min(unitBytes, length - at);
        tweak.putLong(0, firstUnit + at / unitBytes);
        cipher.init(mode, key, new IvParameterSpec(tweak.array()));
        source.get(source.position() + at, unit, 0, count);
        cipher.doFinal(unit, 0, count, result, 0);
        target.put(target.position() + at, result, 0, count);
      }
    } catch (GeneralSecurityException failure) {
      throw new IllegalStateException("accp: " + failure.getMessage(), failure);
    }
  }

  @Override
  public void close() {}
}
