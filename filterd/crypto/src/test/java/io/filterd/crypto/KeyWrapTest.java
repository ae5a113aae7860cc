package io.filterd.crypto;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.HexFormat;
import org.junit.jupiter.api.Test;

class KeyWrapTest {
  private static final byte[] BINDING = "disk=1".getBytes(UTF_8);

  @Test
  void unwrapsWhatItWrapped() throws WrapException {
    for (int length : new int[] {1, 32, 64, 4096, SecretBytes.MAX_LENGTH_BYTES}) {
      try (SecretBytes kek = SecretBytes.random(32);
          SecretBytes key = SecretBytes.random(length)) {
        byte[] wrapped = KeyWrap.wrap(kek, key, BINDING);
        assertThat(wrapped).hasSize(length + KeyWrap.OVERHEAD_BYTES);
        try (SecretBytes unwrapped = KeyWrap.unwrap(kek, wrapped, BINDING)) {
          assertThat(unwrapped.sameAs(key)).isTrue();
        }
      }
    }
  }

  @Test
  void neverWrapsTheSameWayTwice() {
    try (SecretBytes kek = SecretBytes.random(32);
        SecretBytes key = SecretBytes.random(64)) {
      assertThat(KeyWrap.wrap(kek, key, BINDING)).isNotEqualTo(KeyWrap.wrap(kek, key, BINDING));
    }
  }

  @Test
  void refusesEverySingleChange() {
    try (SecretBytes kek = SecretBytes.random(32);
        SecretBytes key = SecretBytes.random(64)) {
      byte[] wrapped = KeyWrap.wrap(kek, key, BINDING);
      long used = SecretBytes.memoryStatus().usedBytes();
      for (int bit = 0; bit < wrapped.length * 8; bit++) {
        byte[] changed = wrapped.clone();
        changed[bit / 8] ^= (byte) (1 << (bit % 8));
        assertRefuses(kek, changed, BINDING);
      }
      assertThat(SecretBytes.memoryStatus().usedBytes()).isEqualTo(used);
    }
  }

  @Test
  void refusesOtherAssociatedDataAnotherKeyAndWrongLengths() {
    try (SecretBytes kek = SecretBytes.random(32);
        SecretBytes other = SecretBytes.random(32);
        SecretBytes key = SecretBytes.random(64)) {
      byte[] wrapped = KeyWrap.wrap(kek, key, BINDING);
      assertRefuses(kek, wrapped, "disk=2".getBytes(UTF_8));
      assertRefuses(kek, wrapped, new byte[0]);
      assertRefuses(other, wrapped, BINDING);
      assertThatThrownBy(() -> KeyWrap.unwrap(kek, new byte[28], BINDING))
          .isInstanceOf(WrapException.class)
          .hasMessage("wrapped key: 28 bytes (expected: 29..65564)");
      assertThatThrownBy(() -> KeyWrap.unwrap(kek, new byte[65565], BINDING))
          .isInstanceOf(WrapException.class);
      assertThatIllegalArgumentException()
          .isThrownBy(() -> KeyWrap.wrap(key, kek, BINDING))
          .withMessage("kek: 64 bytes (expected: 32)");
    }
  }

  @Test
  void passesTheWycheproofVectors() throws IOException, WrapException {
    int checked = 0;
    for (JsonNode group : wycheproof().get("testGroups")) {
      if (group.get("keySize").asInt() != 256
          || group.get("ivSize").asInt() != 96
          || group.get("tagSize").asInt() != 128) {
        continue;
      }
      for (JsonNode test : group.get("tests")) {
        if (test.get("msg").asText().isEmpty()) {
          continue; // There is no empty secret.
        }
        check(test);
        checked++;
      }
    }
    assertThat(checked).isGreaterThan(50);
  }

  private static void check(JsonNode test) throws WrapException {
    byte[] associatedData = bytes(test, "aad");
    byte[] nonce = bytes(test, "iv");
    byte[] wrapped =
        HexFormat.of()
            .parseHex(test.get("iv").asText() + test.get("ct").asText() + test.get("tag").asText());
    try (Arena arena = Arena.ofConfined();
        SecretBytes kek = SecretBytes.copyOf(bytes(test, "key"));
        SecretBytes key = SecretBytes.copyOf(bytes(test, "msg"))) {
      if (test.get("result").asText().equals("invalid")) {
        assertRefuses(kek, wrapped, associatedData);
        return;
      }
      assertThat(
              KeyWrap.wrap(
                  kek, key, associatedData, arena.allocateFrom(ValueLayout.JAVA_BYTE, nonce)))
          .as("vector %s", test.get("tcId"))
          .isEqualTo(wrapped);
      try (SecretBytes unwrapped = KeyWrap.unwrap(kek, wrapped, associatedData)) {
        assertThat(unwrapped.sameAs(key)).as("vector %s", test.get("tcId")).isTrue();
      }
    }
  }

  private static void assertRefuses(SecretBytes kek, byte[] wrapped, byte[] associatedData) {
    assertThatThrownBy(() -> KeyWrap.unwrap(kek, wrapped, associatedData))
        .isInstanceOf(WrapException.class)
        .hasMessageStartingWith("wrapped key: not authentic");
  }

  private static byte[] bytes(JsonNode test, String field) {
    return HexFormat.of().parseHex(test.get(field).asText());
  }

  private static JsonNode wycheproof() throws IOException {
    try (InputStream in =
        KeyWrapTest.class.getResourceAsStream("/vectors/wycheproof/aes_gcm_test.json")) {
      return new ObjectMapper().readTree(in);
    }
  }
}
