package io.filterd.daemon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.block.BlockException;
import io.filterd.crypto.SecretBytes;
import io.filterd.crypto.SectorCipher;
import io.filterd.crypto.XtsEngines;
import io.filterd.inventory.ServeOptions;
import io.filterd.policy.StoragePolicy;
import io.filterd.policy.StoragePolicy.FilterUse;
import io.filterd.vmdk.Access;
import io.filterd.vmdk.CreateOptions;
import io.filterd.vmdk.VmdkDisk;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DiskStackTest {
  @TempDir Path folder;

  private DiskStack open(SectorCipher cipher, List<FilterUse> uses) throws Exception {
    Path file = folder.resolve("disk.vmdk");
    if (!Files.exists(file)) {
      VmdkDisk.create(file, CreateOptions.ofSize(1 << 20));
    }
    return DiskStack.open(
        "vm/disk",
        FilterRegistry.load(),
        VmdkDisk.open(file, Access.READ_WRITE),
        ServeOptions.DEFAULT,
        Optional.of(cipher),
        new StoragePolicy("policy", "", uses, Optional.empty(), false, Optional.empty()));
  }

  private static SectorCipher cipher() {
    try (SecretBytes dek = SecretBytes.random(64)) {
      return XtsEngines.byName(XtsEngines.AUTO).cipher(dek, 4096);
    }
  }

  private static void assertWiped(SectorCipher cipher) {
    assertThatThrownBy(() -> cipher.decipher(0, ByteBuffer.allocateDirect(4096)))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("closed");
  }

  @Test
  void wipesTheKeyOnClose() throws Exception {
    long usedBytes = SecretBytes.memoryStatus().usedBytes();
    SectorCipher cipher = cipher();

    open(cipher, List.of()).close();

    assertWiped(cipher);
    assertThat(SecretBytes.memoryStatus().usedBytes()).isEqualTo(usedBytes);
  }

  @Test
  void wipesTheKeyIfItCanNotBeOpened() throws Exception {
    SectorCipher cipher = cipher();
    List<FilterUse> wrong = List.of(new FilterUse("none", Map.of()));

    assertThatThrownBy(() -> open(cipher, wrong)).isNotInstanceOf(BlockException.class);

    assertWiped(cipher);
  }
}
