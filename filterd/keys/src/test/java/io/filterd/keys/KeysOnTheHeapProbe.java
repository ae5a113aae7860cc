package io.filterd.keys;

import com.sun.management.HotSpotDiagnosticMXBean;
import io.filterd.crypto.SecretBytes;
import io.filterd.keys.chronicle.DekCache;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * Runs in a JVM of its own: makes and unlocks a disk's key, dumps the heap while it is in use, and
 * only then writes the secrets to files for the test to look for.
 */
public final class KeysOnTheHeapProbe {
  private KeysOnTheHeapProbe() {}

  /** Takes the folder with the passphrase file, and writes there. */
  public static void main(String[] arguments) throws Exception {
    Path folder = Path.of(arguments[0]);
    Path state = folder.resolve("state");
    Path passphrase = folder.resolve("passphrase");
    NativeProvider.init(state, passphrase);
    DekBinding binding = new DekBinding("disk", "link", DekBinding.AES_256_XTS, 4096);
    NativeProvider provider = NativeProvider.open("native", state, passphrase, BackupRule.WAIVED);
    try (DataKeys keys = new DataKeys(List.of(provider), new DekCache(16))) {
      KeyReference kek = keys.createKek("native", new KeyLabel(KeyLabel.Scope.VM, "vm1"));
      WrappedDek locker = keys.create("disk", binding, kek);
      for (int attach = 0; attach < 200; attach++) {
        keys.evict("link");
        keys.unlock("disk", binding, List.of(locker));
        keys.open("link").close();
      }
      try (SecretBytes dek = keys.open("link");
          KeyEncryptionKey key = provider.open(kek)) {
        // Not only what is alive: garbage is in a heap dump too.
        ManagementFactory.getPlatformMXBean(HotSpotDiagnosticMXBean.class)
            .dumpHeap(folder.resolve("heap.hprof").toString(), false);

        byte[] secret = new byte[DekCache.DEK_BYTES];
        dek.copySecretTo(secret, 0);
        Files.write(folder.resolve("dek"), secret);
        byte[] kekSecret = new byte[KeyEncryptionKey.LENGTH_BYTES];
        key.copySecretTo(kekSecret);
        Files.write(folder.resolve("kek"), kekSecret);
      }
    }
  }
}
