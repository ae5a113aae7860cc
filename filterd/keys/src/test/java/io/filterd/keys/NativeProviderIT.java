package io.filterd.keys;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The format against docs/native-kek.py, which shares no code with filterd. Needs Debian's
 * python3-cryptography and python3-argon2.
 */
class NativeProviderIT {
  private static final KeyLabel LABEL = new KeyLabel(KeyLabel.Scope.VM, "vm1");

  private static final Path DOCS = Path.of("docs").toAbsolutePath();
  private static final String KEY_ID = "5f0c3f6e-3a55-4f2a-9d57-6d4e6f1e9a01";
  private static final KeyReference REFERENCE =
      new KeyReference("native", KEY_ID, "90fcc3d547a4ed97");
  private static final String KEK =
      "1b22999886924a7bb9c01e41c22621c33477a7bb2f9dfb61ff94a2a91c672d82";

  @TempDir Path folder;
  private Path passphrase;
  private Path state;

  @BeforeEach
  void writePassphrase() throws IOException {
    state = folder.resolve("state");
    passphrase = folder.resolve("passphrase");
    Files.writeString(passphrase, "correct horse battery staple\n");
    Files.setPosixFilePermissions(passphrase, PosixFilePermissions.fromString("rw-------"));
  }

  private static String hex(ExportingProvider provider, KeyReference reference)
      throws KeyException {
    try (KeyEncryptionKey key = provider.open(reference)) {
      byte[] copy = new byte[KeyEncryptionKey.LENGTH_BYTES];
      key.copySecretTo(copy);
      return HexFormat.of().formatHex(copy);
    }
  }

  private String nativeKek(String... arguments) throws IOException, InterruptedException {
    List<String> command =
        new ArrayList<>(List.of("/usr/bin/python3", DOCS.resolve("native-kek.py").toString()));
    command.addAll(List.of(arguments));
    Path output = folder.resolve("output");
    Process process =
        new ProcessBuilder(command)
            .redirectErrorStream(true)
            .redirectOutput(output.toFile())
            .start();
    try {
      assertThat(process.waitFor(60, TimeUnit.SECONDS)).as("ends in time").isTrue();
    } finally {
      process.destroyForcibly();
    }
    return Files.readString(output, StandardCharsets.UTF_8);
  }

  @Test
  void opensTheTestVector() throws KeyException {
    NativeProvider.restore(DOCS.resolve("native-vector.backup"), passphrase, state, passphrase);

    try (NativeProvider provider =
        NativeProvider.open("native", state, passphrase, BackupRule.REQUIRED)) {
      assertThat(hex(provider, REFERENCE)).isEqualTo(KEK);
    }
  }

  @Test
  void theScriptOpensTheTestVector() throws IOException, InterruptedException {
    String expected = "kek=" + KEK + "\ncheckValue=" + REFERENCE.checkValue() + "\n";

    assertThat(
            nativeKek(
                "--derivation-key",
                "404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f",
                "--key-id",
                KEY_ID))
        .isEqualTo(expected);
    assertThat(
            nativeKek(
                "--file",
                DOCS.resolve("native-vector.backup").toString(),
                "--passphrase-file",
                passphrase.toString(),
                "--key-id",
                KEY_ID))
        .isEqualTo(expected);
  }

  @Test
  void theScriptDerivesWhatTheProviderHandsOut()
      throws IOException, InterruptedException, KeyException {
    NativeProvider.init(state, passphrase);
    try (NativeProvider provider =
        NativeProvider.open("native", state, passphrase, BackupRule.WAIVED)) {
      KeyReference made = provider.create(LABEL);

      assertThat(
              nativeKek(
                  "--file",
                  state.toString(),
                  "--passphrase-file",
                  passphrase.toString(),
                  "--key-id",
                  made.keyId()))
          .isEqualTo("kek=" + hex(provider, made) + "\ncheckValue=" + made.checkValue() + "\n");
    }
  }

  @Test
  void bothRefuseAChangedFile() throws IOException, InterruptedException {
    String text = Files.readString(DOCS.resolve("native-vector.backup"));
    Path changed = folder.resolve("changed");
    Files.writeString(changed, text.replace("2026-11-24", "2026-11-25"));

    assertThat(
            nativeKek(
                "--file",
                changed.toString(),
                "--passphrase-file",
                passphrase.toString(),
                "--key-id",
                KEY_ID))
        .isEqualTo(
            "native-kek: "
                + changed
                + ": the passphrase does not open it, or the file was changed\n");
    assertThatThrownBy(() -> NativeProvider.restore(changed, passphrase, state, passphrase))
        .isInstanceOf(KeyException.class)
        .hasMessageContaining("does not open it, or the file was changed");
  }
}
