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
import io.filterd.vmdk.EncryptionMetadata;
import io.filterd.vmdk.LinkedDisk;
import io.filterd.vmdk.Locker;
import io.filterd.vmdk.VmdkDisk;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DiskStackTest {
  @TempDir Path folder;

  private DiskStack open(SectorCipher cipher, List<FilterUse> uses) throws Exception {
    Path file = folder.resolve("disk.vmdk");
    if (!Files.exists(file)) {
      VmdkDisk.create(file, options());
    }
    FilterRegistry filters = FilterRegistry.load();
    LinkCiphers ciphers =
        new LinkCiphers("vm/disk", filters.get(FilterRegistry.ENCRYPTION), metadata -> cipher);
    return DiskStack.open(
        "vm/disk",
        filters,
        LinkedDisk.open(file, Access.READ_WRITE, ciphers, moved -> {}),
        ServeOptions.DEFAULT,
        ciphers,
        new StoragePolicy("policy", "", uses, Optional.empty(), false, Optional.empty()));
  }

  private static CreateOptions options() {
    Locker locker = new Locker("test", "key", "0011223344556677", "AES-256-GCM", "A".repeat(124));
    return CreateOptions.ofSize(1 << 20)
        .withEncryption(
            EncryptionMetadata.of(
                4096, UUID.randomUUID().toString(), UUID.randomUUID().toString(), locker));
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
