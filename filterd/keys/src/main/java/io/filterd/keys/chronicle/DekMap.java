package io.filterd.keys.chronicle;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.logging.Level;
import java.util.logging.Logger;
import net.openhft.chronicle.hash.VanillaGlobalMutableState;
import net.openhft.chronicle.hash.impl.InMemoryChronicleHashResources;
import net.openhft.chronicle.hash.serialization.SizeMarshaller;
import net.openhft.chronicle.map.ChronicleMapBuilder;
import net.openhft.chronicle.map.VanillaChronicleMap;

/**
 * A Chronicle Map from a key's id to bytes of one size, in memory only, put together without
 * anything that generates code or starts threads.
 *
 * <p>It does by hand what {@link ChronicleMapBuilder#create()} does, for one reason: {@link
 * #createGlobalMutableState()} can then be overridden, and with it goes the only use of Chronicle's
 * code generator and compiler.
 */
final class DekMap extends VanillaChronicleMap<String, byte[], byte[]> {
  /**
   * Warns at every start, on standard error, about a fallback that is not used: kept quiet, and
   * kept here, since the logging system holds its loggers weakly.
   */
  private static final Logger CLEANER_LOG =
      Logger.getLogger(
          "net.openhft.chronicle.core.internal.cleaner.ReflectionBasedByteBufferCleanerService");

  static {
    // Chronicle reads these once, when its first class is initialized. The analytics are not among
    // our dependencies; this holds if they come back by another one.
    System.setProperty("chronicle.analytics.disable", "true");
    System.setProperty("chronicle.announcer.disable", "true");
    // Otherwise it takes more properties from a file of this name in the working folder.
    System.setProperty("system.properties", "/dev/null");
    CLEANER_LOG.setLevel(Level.OFF);
  }

  private final int valueBytes;

  private DekMap(ChronicleMapBuilder<String, byte[]> builder, int valueBytes) throws IOException {
    super(builder);
    this.valueBytes = valueBytes;
  }

  /**
   * Allocates a map.
   *
   * @param maxEntries as many entries always fit, if no key is longer than {@code maxKeyBytes}
   * @param valueBytes the size of every value
   */
  static DekMap create(int maxEntries, int maxKeyBytes, int valueBytes) {
    ChronicleMapBuilder<String, byte[]> builder =
        ChronicleMapBuilder.of(String.class, byte[].class)
            .name("filterd-deks")
            .entries(maxEntries)
            .averageKeySize(maxKeyBytes)
            .averageValueSize(valueBytes)
            .valueSizeMarshaller(SizeMarshaller.constant(valueBytes))
            // Otherwise the builder asks the code generator whether byte[] is one of its types.
            .entryAndValueOffsetAlignment(1)
            // Its owner closes it, after the last use; a shutdown hook would not wait for that.
            .skipCloseOnExitHook(true);
    DekMap map;
    try {
      map = new DekMap(builder, valueBytes);
    } catch (IOException impossible) {
      throw new UncheckedIOException(impossible);
    }
    map.createInMemoryStoreAndSegments(new InMemoryChronicleHashResources());
    map.setResourcesName();
    map.registerCleaner();
    return map;
  }

  /** Overwrites the value of {@code key} and removes it. Returns whether it was there. */
  boolean wipe(String key) {
    // A value of the same size is written in place; removing alone leaves the bytes in the map's
    // memory until another entry happens to take their place.
    byte[] before = replace(key, new byte[valueBytes]);
    if (before == null) {
      return false;
    }
    remove(key);
    return true;
  }

  @Override
  protected VanillaGlobalMutableState createGlobalMutableState() {
    // Called by the super constructor, so it must not touch a field of this class.
    return new MapState();
  }
}
