package io.filterd.bench;

import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.crypto.SecretBytes;
import io.filterd.crypto.SectorCipher;
import io.filterd.crypto.XtsEngine;
import io.filterd.crypto.XtsEngines;
import java.nio.ByteBuffer;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** What filterd's engines are measured against does the same work. */
final class AccpCipherTest {
  private static final int LENGTH_BYTES = 3 * 4096;
  private static final long FIRST_UNIT = 1L << 33;

  @Test
  void computesWhatAnEngineComputes() {
    ByteBuffer plaintext = random();
    ByteBuffer expected = ByteBuffer.allocateDirect(LENGTH_BYTES);
    ByteBuffer actual = ByteBuffer.allocateDirect(LENGTH_BYTES);
    try (SecretBytes dek = SecretBytes.random(XtsEngine.DEK_BYTES);
        SectorCipher engine = XtsEngines.byName("portable").cipher(dek, 4096);
        SectorCipher accp = new AccpCipher(dek, 4096)) {
      engine.encipher(FIRST_UNIT, plaintext, expected);

      accp.encipher(FIRST_UNIT, plaintext, actual);
      assertThat(actual).isEqualTo(expected);

      accp.decipher(FIRST_UNIT, actual);
      assertThat(actual).isEqualTo(plaintext);
    }
  }

  private static ByteBuffer random() {
    byte[] bytes = new byte[LENGTH_BYTES];
    new Random(1).nextBytes(bytes);
    return ByteBuffer.allocateDirect(LENGTH_BYTES).put(bytes).flip();
  }
}
