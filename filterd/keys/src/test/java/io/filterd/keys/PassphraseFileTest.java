package io.filterd.keys;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.crypto.SecretBytes;
import io.filterd.keys.KeyException.Reason;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class PassphraseFileTest {
  @TempDir Path folder;

  private Path file(String content, String mode) throws IOException {
    Path file = folder.resolve("passphrase");
    Files.writeString(file, content);
    Files.setPosixFilePermissions(file, PosixFilePermissions.fromString(mode));
    return file;
  }

  @ParameterizedTest
  @CsvSource({
    "'secret', 'secret'",
    "'secret\n', 'secret'",
    "'secret\r\n', 'secret'",
    "'secret\n\n', 'secret\n'",
    "' two words ', ' two words '",
    "'gehĕim\n', 'gehĕim'"
  })
  void readsTheBytesWithoutOneLineEnd(String content, String expected)
      throws IOException, KeyException {
    try (SecretBytes passphrase = PassphraseFile.read(file(content, "rw-------"))) {
      assertThat(
              new String(
                  passphrase.segment().toArray(ValueLayout.JAVA_BYTE), StandardCharsets.UTF_8))
          .isEqualTo(expected);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"rw-r-----", "rw-rw----", "rw----r--", "rw--w----", "rw-----w-"})
  void refusesAFileThatOthersGetAt(String mode) throws IOException {
    Path file = file("secret", mode);

    assertThatThrownBy(() -> PassphraseFile.read(file))
        .isInstanceOfSatisfying(
            KeyException.class, failure -> assertThat(failure.reason()).isEqualTo(Reason.DENIED))
        .hasMessageContaining(mode)
        .hasMessageContaining("chmod 600 " + file);
  }

  @ParameterizedTest
  @ValueSource(strings = {"rw-------", "r--------", "rwx------"})
  void readsAFileThatOnlyItsOwnerGetsAt(String mode) throws IOException, KeyException {
    try (SecretBytes passphrase = PassphraseFile.read(file("secret", mode))) {
      assertThat(passphrase.lengthBytes()).isEqualTo(6);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "\n", "\r\n"})
  void refusesAnEmptyPassphrase(String content) throws IOException {
    Path file = file(content, "rw-------");

    assertThatThrownBy(() -> PassphraseFile.read(file))
        .isInstanceOf(KeyException.class)
        .hasMessageContaining("empty");
  }

  @Test
  void takesNoMoreThanItsBound() throws IOException, KeyException {
    try (SecretBytes longest = PassphraseFile.read(file("x".repeat(4096), "rw-------"))) {
      assertThat(longest.lengthBytes()).isEqualTo(4096);
    }
    Path longer = file("x".repeat(4097), "rw-------");

    assertThatThrownBy(() -> PassphraseFile.read(longer))
        .isInstanceOf(KeyException.class)
        .hasMessageContaining("1..4096 bytes");
  }

  @Test
  void saysWhenThereIsNoFileOrItIsAFolder() {
    assertThatThrownBy(() -> PassphraseFile.read(folder.resolve("none")))
        .isInstanceOfSatisfying(
            KeyException.class, failure -> assertThat(failure.reason()).isEqualTo(Reason.NOT_FOUND))
        .hasMessageContaining("there is no such file");
    assertThatThrownBy(() -> PassphraseFile.read(folder))
        .isInstanceOf(KeyException.class)
        .hasMessageContaining("expected: a regular file");
  }
}
