package io.filterd.keys;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.crypto.SecretBytes;
import io.filterd.crypto.WrapException;
import io.filterd.keys.KeyException.Reason;
import io.filterd.keys.SealedKey.Argon2Cost;
import io.filterd.keys.SealedKey.Backed;
import io.filterd.keys.SealedKey.Kind;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.Random;
import java.util.UUID;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class SealedKeyTest {
  /** As cheap as Argon2 goes. */
  private static final Argon2Cost CHEAP = new Argon2Cost(8, 1, 1);

  private static final UUID ID = UUID.fromString("5f0c3f6e-3a55-4f2a-9d57-6d4e6f1e9a01");
  private static final Instant CREATED = Instant.parse("2026-11-24T08:00:00Z");

  private static SecretBytes passphrase(String text) {
    return SecretBytes.copyOf(text.getBytes(StandardCharsets.UTF_8));
  }

  private static String sealedText() {
    try (SecretBytes key = SecretBytes.random(SealedKey.KEY_BYTES);
        SecretBytes passphrase = passphrase("right")) {
      return SealedKey.seal(Kind.STATE, ID, CREATED, Backed.NO, CHEAP, key, passphrase).text();
    }
  }

  private static SealedKey parse(String text) throws KeyException {
    return SealedKey.parse("file", Kind.STATE, text);
  }

  @Test
  void opensUnderItsPassphraseAfterTheWayThroughText() throws Exception {
    try (SecretBytes key = SecretBytes.random(SealedKey.KEY_BYTES);
        SecretBytes passphrase = passphrase("right")) {
      SealedKey sealed =
          SealedKey.seal(Kind.STATE, ID, CREATED, Backed.YES, CHEAP, key, passphrase);

      SealedKey read = parse(sealed.text());

      assertThat(read).isEqualTo(sealed);
      try (SecretBytes opened = read.open(passphrase)) {
        assertThat(opened.sameAs(key)).isTrue();
      }
    }
  }

  @Test
  void sealsEachTimeAnew() {
    String first = sealedText();
    String second = sealedText();

    assertThat(first.lines().filter(line -> line.startsWith("salt=")))
        .isNotEqualTo(second.lines().filter(line -> line.startsWith("salt=")));
  }

  @ParameterizedTest
  @ValueSource(strings = {"wrong", "right ", "Right", "righ"})
  void opensUnderNoOtherPassphrase(String other) throws KeyException {
    SealedKey sealed = parse(sealedText());
    try (SecretBytes passphrase = passphrase(other)) {
      assertThatThrownBy(() -> sealed.open(passphrase)).isInstanceOf(WrapException.class);
    }
  }

  // Each still parses, so it is the authentication that notices.
  @ParameterizedTest
  @CsvSource({
    "id=5f0c3f6e-3a55-4f2a-9d57-6d4e6f1e9a01, id=5f0c3f6e-3a55-4f2a-9d57-6d4e6f1e9a02",
    "created=2026-11-24T08:00:00Z, created=2026-11-24T08:00:01Z",
    "backedUp=false, backedUp=true",
    "memoryKib=8, memoryKib=16",
    "iterations=1, iterations=2"
  })
  void opensWithNoLineChanged(String line, String changed) throws KeyException {
    String text = sealedText();
    assertThat(text).contains(line + "\n");
    SealedKey tampered = parse(text.replace(line + "\n", changed + "\n"));
    try (SecretBytes passphrase = passphrase("right")) {
      assertThatThrownBy(() -> tampered.open(passphrase)).isInstanceOf(WrapException.class);
    }
  }

  @Test
  void opensWithNoDigitOfSaltOrSealedKeyChanged() throws KeyException {
    String text = sealedText();
    try (SecretBytes passphrase = passphrase("right")) {
      for (String name : new String[] {"salt=", "sealedKey="}) {
        int start = text.indexOf(name) + name.length();
        for (int at = start; text.charAt(at) != '\n'; at++) {
          char digit = text.charAt(at) == '0' ? '1' : '0';
          SealedKey tampered = parse(text.substring(0, at) + digit + text.substring(at + 1));
          assertThatThrownBy(() -> tampered.open(passphrase)).isInstanceOf(WrapException.class);
        }
      }
    }
  }

  static Stream<String[]> badLines() {
    return Stream.of(
        new String[] {"format=filterd-native-provider", "format=other", "line 1: format"},
        new String[] {"version=1", "version=2", "version: \"2\" (expected: 1)"},
        new String[] {"kind=state", "kind=backup", "kind: \"backup\" (expected: state)"},
        new String[] {"kind=state\n", "", "line 3"},
        new String[] {"kind=state", "kind=state\nkind=state", "line 4"},
        new String[] {"id=5f0c", "id=5F0C", "id: "},
        new String[] {"id=5f0c3f6e-3a55-4f2a-9d57-6d4e6f1e9a01", "id=x", "id: \"x\""},
        new String[] {"created=2026-11-24T08:00:00Z", "created=yesterday", "created: "},
        new String[] {
          "created=2026-11-24T08:00:00Z", "created=2026-11-24T08:00:00.000Z", "created"
        },
        new String[] {"backedUp=false", "backedUp=maybe", "(expected: true or false)"},
        new String[] {"kdf=argon2id", "kdf=none", "kdf: \"none\" (expected: argon2id)"},
        new String[] {"memoryKib=8", "memoryKib=7", "memoryKib: 7 (expected: 8..49152)"},
        new String[] {"memoryKib=8", "memoryKib=49153", "expected: 8..49152"},
        new String[] {"memoryKib=8", "memoryKib=99999999999", "(expected: a positive number)"},
        new String[] {"memoryKib=8", "memoryKib=08", "(expected: a positive number)"},
        new String[] {"memoryKib=8", "memoryKib=-8", "(expected: a positive number)"},
        new String[] {"iterations=1", "iterations=65", "iterations: 65 (expected: 1..64)"},
        new String[] {
          "memoryKib=8\niterations=1\nparallelism=1",
          "memoryKib=999\niterations=1\nparallelism=17",
          "parallelism: 17 (expected: 1..16)"
        },
        new String[] {"salt=", "salt=00", "salt: "},
        new String[] {"cipher=AES-256-GCM", "cipher=none", "cipher: "},
        new String[] {"sealedKey=", "sealedKey=zz", "sealedKey: "});
  }

  @ParameterizedTest
  @MethodSource("badLines")
  void saysWhichLineIsWrong(String line, String bad, String message) {
    String text = sealedText();
    assertThat(text).contains(line);

    assertThatThrownBy(() -> parse(text.replace(line, bad)))
        .isInstanceOfSatisfying(
            KeyException.class, failure -> assertThat(failure.reason()).isEqualTo(Reason.PROTOCOL))
        .hasMessageStartingWith("file: line ")
        .hasMessageContaining(message);
  }

  @Test
  void refusesTextCutAtAnyLength() {
    String text = sealedText();

    for (int length = 0; length < text.length(); length++) {
      String cut = text.substring(0, length);
      assertThatThrownBy(() -> parse(cut)).isInstanceOf(KeyException.class);
    }
    assertThatThrownBy(() -> parse(text + "x")).isInstanceOf(KeyException.class);
    assertThatThrownBy(() -> parse(text + "\n")).isInstanceOf(KeyException.class);
  }

  @Test
  void givesAValueOrAnErrorForAnyBytes() {
    long seed = Long.getLong("test.seed", System.nanoTime());
    Random random = new Random(seed);
    String text = sealedText();
    for (int step = 0; step < 20_000; step++) {
      StringBuilder mutated = new StringBuilder(text);
      for (int change = random.nextInt(3); change >= 0; change--) {
        mutated.setCharAt(random.nextInt(mutated.length()), (char) random.nextInt(256));
      }
      try {
        assertThat(parse(mutated.toString()).text()).isEqualTo(mutated.toString());
      } catch (KeyException refused) {
        assertThat(refused.reason()).as("seed %d step %d", seed, step).isEqualTo(Reason.PROTOCOL);
      }
    }
  }
}
