package io.filterd.keys;

import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.crypto.SecretBytes;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Random;
import javax.crypto.KDF;
import javax.crypto.Mac;
import javax.crypto.spec.HKDFParameterSpec;
import javax.crypto.spec.SecretKeySpec;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class HmacSha256Test {
  // RFC 4231, sections 4.2, 4.3 and 4.7.
  @ParameterizedTest
  @CsvSource({
    "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b, Hi There,"
        + " b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
    "4a656665, what do ya want for nothing?,"
        + " 5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
  })
  void givesTheCodesOfTheStandard(String key, String data, String expected) {
    assertThat(code(HexFormat.of().parseHex(key), data.getBytes(StandardCharsets.US_ASCII)))
        .isEqualTo(expected);
  }

  @Test
  void hashesAKeyThatIsLongerThanABlock() {
    byte[] key = new byte[131];
    Arrays.fill(key, (byte) 0xaa);

    assertThat(
            code(
                key,
                "Test Using Larger Than Block-Size Key - Hash Key First"
                    .getBytes(StandardCharsets.US_ASCII)))
        .isEqualTo("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 31, 32, 63, 64, 65, 127, 128, 500})
  void agreesWithTheJdk(int length) throws GeneralSecurityException {
    long seed = Long.getLong("test.seed", System.nanoTime());
    Random random = new Random(seed);
    byte[] key = new byte[length];
    byte[] data = new byte[random.nextInt(1000)];
    random.nextBytes(key);
    random.nextBytes(data);
    Mac mac = Mac.getInstance("HmacSHA256");
    mac.init(new SecretKeySpec(key, "HmacSHA256"));

    assertThat(code(key, data))
        .as("seed %d", seed)
        .isEqualTo(HexFormat.of().formatHex(mac.doFinal(data)));
  }

  @ParameterizedTest
  @ValueSource(strings = {"k", "5f0c3f6e-3a55-4f2a-9d57-6d4e6f1e9a01", "schlüssel-№-1"})
  void derivesAsTheJdkDoes(String salt) throws GeneralSecurityException {
    derivesAsTheJdk(salt);
    derivesAsTheJdk(salt.repeat(20));
  }

  private static void derivesAsTheJdk(String salt) throws GeneralSecurityException {
    byte[] secret = new byte[32];
    new Random(5).nextBytes(secret);
    byte[] expected =
        KDF.getInstance("HKDF-SHA256")
            .deriveData(
                HKDFParameterSpec.ofExtract()
                    .addIKM(secret)
                    .addSalt(salt.getBytes(StandardCharsets.UTF_8))
                    .thenExpand("info".getBytes(StandardCharsets.UTF_8), 32));

    try (SecretBytes derived = HmacSha256.derive(MemorySegment.ofArray(secret), salt, "info")) {
      assertThat(derived.segment().toArray(ValueLayout.JAVA_BYTE)).isEqualTo(expected);
    }
  }

  private static String code(byte[] key, byte[] data) {
    // In two parts, which must make no difference.
    MemorySegment all = MemorySegment.ofArray(data);
    try (SecretBytes code =
        HmacSha256.code(
            MemorySegment.ofArray(key),
            all.asSlice(0, data.length / 3),
            all.asSlice(data.length / 3))) {
      return HexFormat.of().formatHex(code.segment().toArray(ValueLayout.JAVA_BYTE));
    }
  }
}
