package io.filterd.kmip.cert;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What an operator has trusted stays trusted, and nothing else is. */
class FingerprintFileTest {
  private static final Fingerprint A = new Fingerprint("a1".repeat(32));
  private static final Fingerprint B = new Fingerprint("b2".repeat(32));

  @TempDir private Path folder;
  private Path file = Path.of("");
  private FingerprintFile trusted = new FingerprintFile(file);

  @BeforeEach
  void namesTheFile() {
    file = folder.resolve("trusted-servers");
    trusted = new FingerprintFile(file);
  }

  @Test
  void trustsNobodyWithoutAFile() throws IOException {
    assertThat(trusted.read()).isEmpty();
  }

  @Test
  void keepsThoseItHad() throws IOException {
    trusted.add(Map.of(A, "kms-a:5696"));
    trusted.add(Map.of(B, "[::1]:5696"));
    assertThat(trusted.read()).containsExactly(A, B);
    assertThat(file).content().contains(A.hex() + " kms-a:5696\n", B.hex() + " [::1]:5696\n");
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(file)))
        .isEqualTo("rw-------");
  }

  @Test
  void readsWhatWasWrittenByHand() throws IOException {
    Files.writeString(file, "# ours\n\n  " + A + "\t the one in the cellar\n" + B.hex() + "\n");
    assertThat(trusted.read()).containsExactly(A, B);
  }

  @Test
  void refusesANoteThatWouldBeALineOfItsOwn() throws IOException {
    assertThatThrownBy(() -> trusted.add(Map.of(A, "kms\n" + B.hex())))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("one word");
    assertThat(trusted.read()).isEmpty();
  }

  @Test
  void refusesWhatIsNoFingerprint() throws IOException {
    Files.writeString(file, A.hex() + "\nany\n");
    assertThatThrownBy(trusted::read)
        .isInstanceOf(IdentityException.class)
        .hasMessageContainingAll(file.toString(), "'any'", "64 hexadecimal digits");
  }

  @Test
  void refusesAFileThatIsTooLong() throws IOException {
    Files.writeString(file, "#".repeat((64 << 10) + 1));
    assertThatThrownBy(trusted::read)
        .isInstanceOf(IdentityException.class)
        .hasMessageContaining("up to 65536 bytes");
  }
}
