package io.filterd.keys;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.crypto.SecretBytes;
import io.filterd.keys.KeyException.Reason;
import java.util.Base64;
import java.util.HexFormat;
import java.util.stream.Stream;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class KeyEncryptionKeyTest {
  private static final byte[] KEY =
      HexFormat.of().parseHex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
  private static final DekBinding BINDING =
      new DekBinding("disk-1", "link-1", DekBinding.AES_256_XTS, 4096);

  private static KeyEncryptionKey key() {
    return KeyEncryptionKey.owning("native", "k-1", SecretBytes.copyOf(KEY));
  }

  @Test
  void knowsItsCheckValue() {
    // printf filterd-kcv-v1 | openssl dgst -sha256 -mac HMAC -macopt hexkey:000102...1f
    try (KeyEncryptionKey key = key()) {
      assertThat(key.reference()).isEqualTo(new KeyReference("native", "k-1", "f84869434440dd7c"));
    }
  }

  @Test
  void opensWhatItWrapped() throws KeyException {
    try (KeyEncryptionKey key = key();
        SecretBytes dek = SecretBytes.random(64)) {
      WrappedDek locker = key.wrap(dek, BINDING);

      try (SecretBytes opened = key.unwrap(locker, BINDING)) {
        assertThat(opened.sameAs(dek)).isTrue();
      }
      assertThat(locker.algorithm()).isEqualTo("AES-256-GCM");
      assertThat(Base64.getDecoder().decode(locker.wrapped())).hasSize(92);
    }
  }

  static Stream<DekBinding> otherBindings() {
    return Stream.of(
        new DekBinding("disk-2", "link-1", DekBinding.AES_256_XTS, 4096),
        new DekBinding("disk-1", "link-2", DekBinding.AES_256_XTS, 4096),
        new DekBinding("disk-1", "link-1", "aes-128-xts", 4096),
        new DekBinding("disk-1", "link-1", DekBinding.AES_256_XTS, 512));
  }

  @ParameterizedTest
  @MethodSource("otherBindings")
  void opensNoLockerThatBelongsElsewhere(DekBinding other) {
    try (KeyEncryptionKey key = key();
        SecretBytes dek = SecretBytes.random(64)) {
      WrappedDek locker = key.wrap(dek, BINDING);

      assertFails(() -> key.unwrap(locker, other), Reason.WRONG_KEY);
    }
  }

  @Test
  void opensNoLockerThatNamesAnotherKeyOrProvider() {
    try (KeyEncryptionKey key = key();
        SecretBytes dek = SecretBytes.random(64)) {
      WrappedDek locker = key.wrap(dek, BINDING);

      for (KeyReference kek :
          new KeyReference[] {
            new KeyReference("native", "k-2", key.reference().checkValue()),
            new KeyReference("other", "k-1", key.reference().checkValue())
          }) {
        WrappedDek renamed = new WrappedDek(kek, locker.algorithm(), locker.wrapped());
        assertFails(() -> key.unwrap(renamed, BINDING), Reason.WRONG_KEY);
      }
    }
  }

  @Test
  void opensNoLockerThatWasChangedAtAnyBit() {
    try (KeyEncryptionKey key = key();
        SecretBytes dek = SecretBytes.random(64)) {
      WrappedDek locker = key.wrap(dek, BINDING);
      byte[] wrapped = Base64.getDecoder().decode(locker.wrapped());

      for (int bit = 0; bit < wrapped.length * 8; bit++) {
        byte[] changed = wrapped.clone();
        changed[bit / 8] ^= (byte) (1 << (bit % 8));
        WrappedDek tampered =
            new WrappedDek(
                locker.kek(), locker.algorithm(), Base64.getEncoder().encodeToString(changed));
        assertFails(() -> key.unwrap(tampered, BINDING), Reason.WRONG_KEY);
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "AAAA", "long", "!"})
  void refusesWhatIsNoLocker(String text) {
    String wrapped =
        switch (text) {
          case "long" -> "A".repeat(1 << 20);
          case "!" -> "!".repeat(124);
          default -> text;
        };
    try (KeyEncryptionKey key = key()) {
      WrappedDek locker = new WrappedDek(key.reference(), "AES-256-GCM", wrapped);

      assertFails(() -> key.unwrap(locker, BINDING), Reason.PROTOCOL);
    }
  }

  @Test
  void refusesAnotherAlgorithm() {
    try (KeyEncryptionKey key = key();
        SecretBytes dek = SecretBytes.random(64)) {
      WrappedDek locker =
          new WrappedDek(key.reference(), "AES-KWP", key.wrap(dek, BINDING).wrapped());

      assertThatThrownBy(() -> key.unwrap(locker, BINDING))
          .hasMessage("algorithm: \"AES-KWP\" (expected: AES-256-GCM)");
    }
  }

  @Test
  void refusesAKeyWithAnotherCheckValueAndWipesIt() {
    SecretBytes fetched = SecretBytes.copyOf(KEY);
    KeyReference expected = new KeyReference("native", "k-1", "0000000000000000");

    assertFails(() -> KeyEncryptionKey.verified(expected, fetched), Reason.WRONG_KEY);

    assertThatThrownBy(fetched::segment).isInstanceOf(IllegalStateException.class);
  }

  @Test
  void refusesAKeyOfAnotherLengthAndWipesIt() {
    SecretBytes tooShort = SecretBytes.random(16);

    assertThatThrownBy(() -> KeyEncryptionKey.owning("native", "k-1", tooShort))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("16 bytes");

    assertThatThrownBy(tooShort::segment).isInstanceOf(IllegalStateException.class);
  }

  @Test
  void isWipedByClose() {
    SecretBytes secret = SecretBytes.copyOf(KEY);
    KeyEncryptionKey key = KeyEncryptionKey.owning("native", "k-1", secret);

    key.close();
    key.close();

    assertThatThrownBy(secret::segment).isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(() -> key.copySecretTo(new byte[32]))
        .isInstanceOf(IllegalStateException.class);
  }

  @Test
  void leavesByOneDoorOnly() {
    try (KeyEncryptionKey key = key()) {
      byte[] copy = new byte[KeyEncryptionKey.LENGTH_BYTES];
      key.copySecretTo(copy);

      assertThat(copy).isEqualTo(KEY);
      assertThat(key).hasToString("KeyEncryptionKey[native, k-1]");
    }
  }

  private static void assertFails(ThrowingCallable call, Reason reason) {
    assertThatThrownBy(call)
        .isInstanceOfSatisfying(
            KeyException.class, failure -> assertThat(failure.reason()).isEqualTo(reason));
  }
}
