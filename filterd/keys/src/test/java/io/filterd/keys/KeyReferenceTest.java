package io.filterd.keys;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.charset.StandardCharsets;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class KeyReferenceTest {
  private static final String CHECK_VALUE = "0011223344556677";

  static Stream<String> badTexts() {
    return Stream.of("", "a\nkeyId=b", "a\0", "a\u007f", "a\u0085", "\ud800", "x".repeat(513));
  }

  @ParameterizedTest
  @MethodSource("badTexts")
  void refusesTextsThatCouldForgeTheAssociatedData(String text) {
    assertThatThrownBy(() -> new KeyReference("native", text, CHECK_VALUE))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith("keyId: ");
    assertThatThrownBy(() -> new KeyReference(text, "k-1", CHECK_VALUE))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith("provider: ");
    assertThatThrownBy(() -> new DekBinding(text, "l", "c", 4096))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith("diskId: ");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "001122334455667",
        "00112233445566778",
        "00112233445566GG",
        "AA11223344556677"
      })
  void refusesCheckValuesThatAreNone(String checkValue) {
    assertThatThrownBy(() -> new KeyReference("native", "k-1", checkValue))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("expected: 16 lower-case hexadecimal digits");
    assertThatThrownBy(() -> WrappedDek.parse("native", "k-1", checkValue, "AES-256-GCM", "x"))
        .isInstanceOfSatisfying(
            KeyException.class,
            failure -> assertThat(failure.reason()).isEqualTo(KeyException.Reason.PROTOCOL));
  }

  @ParameterizedTest
  @ValueSource(ints = {0, -1})
  void refusesUnitsThatAreNone(int unitBytes) {
    assertThatThrownBy(() -> new DekBinding("d", "l", "c", unitBytes))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void bindsExactlyTheseBytes() {
    DekBinding binding = new DekBinding("d-1", "l-1", DekBinding.AES_256_XTS, 4096);

    byte[] bound = binding.associatedData(new KeyReference("native", "schlüssel", CHECK_VALUE));

    assertThat(new String(bound, StandardCharsets.UTF_8))
        .isEqualTo(
            """
            filterd-dek-v1
            diskId=d-1
            linkId=l-1
            cipher=aes-256-xts
            unitBytes=4096
            provider=native
            keyId=schlüssel
            """);
  }
}
