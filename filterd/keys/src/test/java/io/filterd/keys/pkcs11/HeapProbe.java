package io.filterd.keys.pkcs11;

import com.sun.management.HotSpotDiagnosticMXBean;
import io.filterd.crypto.SecretBytes;
import io.filterd.keys.DataKeys;
import io.filterd.keys.DekBinding;
import io.filterd.keys.KeyException;
import io.filterd.keys.KeyLabel;
import io.filterd.keys.KeyProviders;
import io.filterd.keys.KeyReference;
import io.filterd.keys.WrappedDek;
import io.filterd.keys.chronicle.DekCache;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/**
 * Runs in a JVM of its own: unlocks a disk's key by a token again and again, dumps the heap, and
 * only then writes the key to a file for the test to look for.
 */
public final class HeapProbe {
  private HeapProbe() {}

  /** Takes the folder to write to, the token's label and its PIN file. */
  public static void main(String[] arguments) throws IOException, KeyException {
    Path folder = Path.of(arguments[0]);
    Map<String, String> settings =
        Map.of("module", SoftToken.MODULE, "tokenLabel", arguments[1], "pinFile", arguments[2]);
    DekBinding binding = new DekBinding("disk", "link", DekBinding.AES_256_XTS, 4096);
    try (DataKeys keys =
        new DataKeys(List.of(KeyProviders.open("pkcs11", "hsm", settings)), new DekCache(16))) {
      KeyReference kek = keys.createKek("hsm", new KeyLabel(KeyLabel.Scope.VM, "vm1"));
      WrappedDek locker = keys.create("disk", binding, kek);
      for (int attach = 0; attach < 200; attach++) {
        keys.evict("link");
        keys.unlock("disk", binding, List.of(locker));
      }
      ManagementFactory.getPlatformMXBean(HotSpotDiagnosticMXBean.class)
          .dumpHeap(folder.resolve("heap.hprof").toString(), false);
      try (SecretBytes dek = keys.open("link")) {
        byte[] secret = new byte[DekCache.DEK_BYTES];
        dek.copySecretTo(secret, 0);
        Files.write(folder.resolve("dek"), secret);
      }
    }
  }
}
