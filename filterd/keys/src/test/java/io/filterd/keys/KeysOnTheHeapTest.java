package io.filterd.keys;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class KeysOnTheHeapTest {
  private static final String PASSPHRASE = "a passphrase that nothing else holds";

  @TempDir Path folder;

  @Test
  void aHeapDumpHoldsNoSecretWhileADiskIsUnlocked() throws IOException, InterruptedException {
    Path passphrase = folder.resolve("passphrase");
    Files.writeString(passphrase, PASSPHRASE);
    Files.setPosixFilePermissions(passphrase, PosixFilePermissions.fromString("rw-------"));

    ForkedJvm.run(folder, List.of("-Xmx256m"), KeysOnTheHeapProbe.class, folder.toString());

    byte[] dump = Files.readAllBytes(folder.resolve("heap.hprof"));
    byte[] dek = Files.readAllBytes(folder.resolve("dek"));
    byte[] kek = Files.readAllBytes(folder.resolve("kek"));
    // The search itself works: the disk's class name is there.
    assertThat(
            holds(
                dump,
                "io.filterd.keys.DataKeys".replace('.', '/').getBytes(StandardCharsets.UTF_8)))
        .isTrue();
    for (int part = 0; part < dek.length; part += 16) {
      assertThat(holds(dump, Arrays.copyOfRange(dek, part, part + 16))).as("DEK").isFalse();
    }
    for (int part = 0; part < kek.length; part += 16) {
      assertThat(holds(dump, Arrays.copyOfRange(kek, part, part + 16))).as("KEK").isFalse();
    }
    assertThat(holds(dump, PASSPHRASE.getBytes(StandardCharsets.UTF_8))).as("passphrase").isFalse();
  }

  private static boolean holds(byte[] all, byte[] wanted) {
    for (int at = 0; at <= all.length - wanted.length; at++) {
      if (all[at] == wanted[0]
          && Arrays.equals(all, at, at + wanted.length, wanted, 0, wanted.length)) {
        return true;
      }
    }
    return false;
  }
}
