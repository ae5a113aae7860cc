package io.filterd.vmdk;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class KeyLocatorsTest {
  /** Initialisation vector, ciphertext, and code, as vSphere's are: 288 bytes. */
  private static final String LOCKED =
      Base64.getEncoder().encodeToString(EsxDisks.noise(288, 1)).replace("+", "%2b");

  private static final String PAIR =
      "pair/(fqid/<VMWARE-NULL>/KMS/a4e7494f-da55-4917-9d90-560c5078866b,HMAC-SHA-256,"
          + LOCKED
          + ")";
  private static final String REAL = "vmware:key/list/(" + PAIR + ")";

  @TempDir Path folder;

  private static List<String> keys(String locator) throws FormatException {
    return KeyLocators.keys("d.vmdk", 77, locator);
  }

  @Test
  void namesTheKeyOfARealDisk() throws FormatException {
    assertThat(keys(REAL)).containsExactly("KMS/a4e7494f-da55-4917-9d90-560c5078866b");
    assertThat(
            keys(
                REAL.replace("HMAC-SHA-256", "HMAC%2dSHA%2d256")
                    .replace("vmware:key", "VMware:Key")))
        .hasSize(1);
  }

  @Test
  void namesEveryKeyOfAList() throws FormatException {
    String other = PAIR.replace("KMS", "native%20one").replace("<VMWARE-NULL>", "id");

    assertThat(keys("vmware:key/list/(" + PAIR + "," + other + ",fqid/a/b/c)"))
        .containsExactly(
            "KMS/a4e7494f-da55-4917-9d90-560c5078866b",
            "native one/a4e7494f-da55-4917-9d90-560c5078866b",
            "b/c");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "vmware:key/null/<VMWARE-EMPTYSTRING>",
        "vmware:key/rawkey/type%3dkey%3acipher%3dAES%2d256%3akey%3dAAAA",
        "vmware:key/phrase/0123/pass2key%3dPBKDF2%2dHMAC%2dSHA%2d1%3arounds%3d2147483647%3asalt%3d",
        "vmware:key/role/<VMWARE-NULL>/adminIdent",
        "vmware:key/script/id/run.sh/sig",
        "vmware:key/ldap/id/server/domain/389/TRUE/path"
      })
  void knowsTheLocatorsThatNameNoKeyOfAProvider(String locator) throws FormatException {
    assertThat(keys(locator)).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "vmware:key/",
        "vmware:key/list/",
        "vmware:key/list/(",
        "vmware:key/list/()",
        "vmware:key/list/(fqid/a/b/c",
        "vmware:key/list/(fqid/a/b/c))",
        "vmware:key/list/(fqid/a/b/c,)",
        "vmware:key/fqid/a/b",
        "vmware:key/fqid/%4/b/c",
        "vmware:key/fqid/%/b/c",
        "vmware:key/fqid/%zz/b/c",
        "vmware:key/nosuch/a",
        "vmware:key/pair/(fqid/a/b/c,HMAC-SHA-256,AAAA)",
        "vmware:key/pair/(fqid/a/b/c,HMAC-SHA-256,!!!!)",
        "vmware:key/pair/(fqid/a/b/c,HMAC-SHA-256,AAA",
        "vmware:key/pair/(fqid/a/b/c,HMAC-MD5,AAAA)",
        "vmware:key/pair/(fqid/a/b/c,HMAC-SHA-256)",
        "key/fqid/a/b/c"
      })
  void refusesWhatIsNoLocator(String locator) {
    FormatException failure = catchThrowableOfType(FormatException.class, () -> keys(locator));

    assertThat(failure).isNotNull();
    assertThat(failure.field()).isEqualTo("encryptionKeys");
    assertThat(failure.byteOffset()).isEqualTo(77);
  }

  @ParameterizedTest
  @CsvSource({"HMAC-SHA-1, 289", "HMAC-SHA-256, 289", "HMAC-SHA-256, 48", "HMAC-SHA-1, 288"})
  void refusesALockedKeyOfAnotherForm(String mac, int length) {
    String locked = Base64.getEncoder().encodeToString(new byte[length]);

    assertThatThrownBy(() -> keys("vmware:key/pair/(fqid/a/b/c," + mac + "," + locked + ")"))
        .hasMessageContaining("a locked key of " + length + " bytes");
  }

  @Test
  void boundsDepthAndLength() throws FormatException {
    String seven = "list/(".repeat(7) + "fqid/a/b/c" + ")".repeat(7);
    assertThat(keys("vmware:key/" + seven)).hasSize(1);
    assertThatThrownBy(() -> keys("vmware:key/list/(" + seven + ")"))
        .hasMessageContaining("nested deeper");
    assertThatThrownBy(() -> keys("vmware:key/" + "list/(".repeat(10_000)))
        .hasMessageContaining("nested deeper");
    assertThatThrownBy(() -> keys("vmware:key/fqid/a/b/" + "c".repeat(1 << 16)))
        .hasMessageContaining("at most 65536");
  }

  @Test
  void takesAnyTextForAListOrAnError() {
    long seed = Long.getLong("test.seed", System.nanoTime());
    SplittableRandom random = new SplittableRandom(seed);
    for (int i = 0; i < 20_000; i++) {
      char[] text = REAL.toCharArray();
      for (int n = 1 + random.nextInt(4); n > 0; n--) {
        text[random.nextInt(random.nextBoolean() ? 110 : text.length)] =
            random.nextBoolean() ? "/(),%<>".charAt(random.nextInt(7)) : (char) random.nextInt(256);
      }
      try {
        assertThat(keys(new String(text))).hasSizeLessThan(3);
      } catch (FormatException damage) {
        assertThat(damage.getMessage()).as("seed %d", seed).startsWith("d.vmdk: at byte 77: ");
      }
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "encryptionKeys=\"REAL\"   | with key KMS/a4e7494f-da55-4917-9d90-560c5078866b (expected",
        "ENCRYPTIONKEYS = \"REAL\" | with key KMS/a4e7494f",
        "encryptionKeys=\"x\"      | encrypted by VMware; its key ids can't be read: x",
        "encryptionKeys=\"vmware:key/rawkey/AAAA\" | encrypted by VMware (expected",
        "keyID=\"KMS/17\"          | with key KMS/17",
        "ddb.iofilters = \"vmwarevmcrypt\" | encrypted by VMware (expected"
      })
  void namesTheKeysOfADiskThatVmwareEncrypted(String line, String message) throws Exception {
    Files.write(folder.resolve("a-flat.vmdk"), new byte[512]);
    Path file = folder.resolve("a.vmdk");
    String text = TestDisks.descriptor("vmfs", "RW 1 VMFS \"a-flat.vmdk\"");
    Files.writeString(file, text + "keyID=00000000\n");
    VmdkDisk.open(file, Access.READ_ONLY).close();
    Files.write(
        file, (text + line.replace("REAL", REAL) + "\n").getBytes(StandardCharsets.US_ASCII));

    assertThatThrownBy(() -> VmdkDisk.open(file, Access.READ_ONLY))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining(message)
        .satisfies(
            refusal -> assertThat(refusal.getMessage()).doesNotContain(LOCKED.substring(0, 20)));
  }
}
