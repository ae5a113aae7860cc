package io.filterd.crypto;

import static java.nio.charset.StandardCharsets.US_ASCII;
import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Every engine against published vectors. The engines' libraries must be installed. */
class XtsVectorsTest {
  private static final HexFormat HEX = HexFormat.of();

  static List<String> engines() {
    return XtsEngines.names();
  }

  @ParameterizedTest
  @MethodSource("engines")
  void passesTheNistVectors(String engine) throws IOException {
    int checked = 0;
    Map<String, String> fields = new HashMap<>();
    for (String line : lines("/vectors/nist/XTSGenAES256.rsp")) {
      String[] parts = line.split(" = ", 2);
      if (parts.length == 2) {
        fields.put(parts[0], parts[1]);
      } else if (line.isEmpty() && fields.containsKey("Key")) {
        // A unit of this length has no part of a block, so there is no ciphertext stealing.
        if (Integer.parseInt(fields.get("DataUnitLen")) % 128 == 0) {
          check(
              engine,
              "NIST " + fields.get("COUNT"),
              bytes(fields, "Key"),
              bytes(fields, "i"),
              bytes(fields, "PT"),
              bytes(fields, "CT"));
          checked++;
        }
        fields.clear();
      }
    }
    assertThat(checked).isEqualTo(600);
  }

  @ParameterizedTest
  @MethodSource("engines")
  void passesTheIeeeVectors(String engine) throws IOException {
    int checked = 0;
    Map<String, String> fields = new HashMap<>();
    for (String line : lines("/vectors/ieee/ieee-1619-2007-aes-256.vec")) {
      String[] parts = line.split(" = ", 2);
      if (parts.length == 2) {
        fields.put(parts[0], parts[1]);
      }
      if (line.startsWith("Out")) {
        check(
            engine,
            "IEEE " + fields,
            bytes(fields, "Key"),
            bytes(fields, "Nonce"),
            bytes(fields, "In"),
            bytes(fields, "Out"));
        checked++;
      }
    }
    assertThat(checked).isEqualTo(5);
  }

  @ParameterizedTest
  @MethodSource("engines")
  void passesTheWycheproofVectors(String engine) throws IOException {
    int checked = 0;
    for (JsonNode group : json("/vectors/wycheproof/aes_xts_test.json").get("testGroups")) {
      for (JsonNode test : group.get("tests")) {
        byte[] plaintext = HEX.parseHex(test.get("msg").asText());
        if (group.get("keySize").asInt() == 512 && plaintext.length % 16 == 0) {
          check(
              engine,
              "Wycheproof " + test.get("tcId"),
              HEX.parseHex(test.get("key").asText()),
              HEX.parseHex(test.get("iv").asText()),
              plaintext,
              HEX.parseHex(test.get("ct").asText()));
          checked++;
        }
      }
    }
    assertThat(checked).isEqualTo(21);
  }

  @ParameterizedTest
  @MethodSource("engines")
  void passesTheDataUnitVectors(String engine) throws IOException, NoSuchAlgorithmException {
    int checked = 0;
    for (JsonNode test : json("/vectors/dataunits/xts-dataunits.json").get("vectors")) {
      int unitBytes = test.get("dataUnitBytes").asInt();
      long unit = test.get("dataUnitNumber").asLong();
      byte[] ciphertext = HEX.parseHex(test.get("ciphertext").asText());
      byte[] plaintext = plaintext(unitBytes, unit);
      assertThat(HEX.formatHex(MessageDigest.getInstance("SHA-256").digest(plaintext)))
          .isEqualTo(test.get("plaintextSha256").asText());
      try (SecretBytes dek = SecretBytes.copyOf(HEX.parseHex(test.get("key").asText()));
          SectorCipher cipher = XtsEngines.byName(engine).cipher(dek, unitBytes)) {
        ByteBuffer target = ByteBuffer.allocateDirect(unitBytes);
        cipher.encipher(unit, direct(plaintext), target);
        assertThat(copy(target)).as("unit %d of %d", unit, unitBytes).isEqualTo(ciphertext);
        cipher.decipher(unit, target);
        assertThat(copy(target)).as("unit %d of %d", unit, unitBytes).isEqualTo(plaintext);
      }
      checked++;
    }
    assertThat(checked).isEqualTo(48);
  }

  private static void check(
      String engine, String vector, byte[] key, byte[] tweak, byte[] plaintext, byte[] ciphertext) {
    ByteBuffer number = ByteBuffer.wrap(Arrays.copyOf(tweak, 16)).order(ByteOrder.LITTLE_ENDIAN);
    long low = number.getLong(0);
    long high = number.getLong(8);
    ByteBuffer target = ByteBuffer.allocateDirect(plaintext.length);
    try (SecretBytes dek = SecretBytes.copyOf(key);
        XtsContext context = XtsEngines.context(engine, dek)) {
      context.encipher(low, high, direct(plaintext), target, plaintext.length);
      assertThat(copy(target)).as("%s", vector).isEqualTo(ciphertext);
      context.decipher(low, high, target, plaintext.length);
      assertThat(copy(target)).as("%s", vector).isEqualTo(plaintext);
    }
  }

  /** The rule that the file of vectors gives. */
  private static byte[] plaintext(int unitBytes, long unit) throws NoSuchAlgorithmException {
    MessageDigest sha = MessageDigest.getInstance("SHA-256");
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (int i = 0; out.size() < unitBytes; i++) {
      out.writeBytes(
          sha.digest(
              String.format(Locale.ROOT, "%d/%d/%d", unitBytes, unit, i).getBytes(US_ASCII)));
    }
    return Arrays.copyOf(out.toByteArray(), unitBytes);
  }

  private static ByteBuffer direct(byte[] bytes) {
    return ByteBuffer.allocateDirect(bytes.length).put(bytes).flip();
  }

  private static byte[] copy(ByteBuffer buffer) {
    byte[] bytes = new byte[buffer.remaining()];
    buffer.get(buffer.position(), bytes);
    return bytes;
  }

  private static byte[] bytes(Map<String, String> fields, String name) {
    return HEX.parseHex(fields.get(name));
  }

  private static List<String> lines(String resource) throws IOException {
    try (InputStream in = XtsVectorsTest.class.getResourceAsStream(resource)) {
      return new String(in.readAllBytes(), US_ASCII).lines().toList();
    }
  }

  private static JsonNode json(String resource) throws IOException {
    try (InputStream in = XtsVectorsTest.class.getResourceAsStream(resource)) {
      return new ObjectMapper().readTree(in);
    }
  }
}
