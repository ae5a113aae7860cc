package io.filterd.keys.chronicle;

import io.filterd.crypto.SecretBytes;

/** Runs in a JVM of its own: uses a cache once, and says whether that went well. */
public final class DekCacheProbe {
  private DekCacheProbe() {}

  /** Makes, uses and closes a cache. */
  public static void main(String[] arguments) {
    boolean compiler =
        ModuleLayer.boot().findModule("jdk.compiler").isPresent()
            || ModuleLayer.boot().findModule("java.compiler").isPresent();
    boolean right;
    try (DekCache cache = new DekCache(16);
        SecretBytes dek = SecretBytes.random(DekCache.DEK_BYTES)) {
      right = cache.put("id", dek);
      try (SecretBytes copy = cache.open("id").orElseThrow()) {
        right &= copy.sameAs(dek);
      }
      right &= cache.evict("id") && cache.size() == 0;
    }
    System.out.println(
        "compiler=%s right=%s marker=%s"
            .formatted(compiler, right, System.getProperty("filterd.marker")));
  }
}
