package io.filterd.daemon;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.CheckedDevice;
import io.filterd.crypto.SectorCipher;
import io.filterd.filter.FilterContext;
import io.filterd.filter.FilterFactory;
import io.filterd.filter.FilterSettings;
import io.filterd.keys.KeyException;
import io.filterd.vmdk.EncryptionMetadata;
import io.filterd.vmdk.LinkedDisk;
import io.filterd.vmdk.VmdkDisk;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * The ciphers of a disk's links, each with its own key, and the filters that use them. A link that
 * is opened again, to be written or only read from then on, keeps its cipher.
 */
final class LinkCiphers implements LinkedDisk.Front, AutoCloseable {
  /** Gets the cipher of a link, with its key. */
  @FunctionalInterface
  interface Source {
    SectorCipher cipher(EncryptionMetadata metadata) throws KeyException;
  }

  private final String disk;
  private final FilterFactory factory;
  private final Source source;
  private final Map<String, SectorCipher> ciphers = new ConcurrentHashMap<>();
  private final Map<String, BlockDevice> filters = new ConcurrentHashMap<>();

  LinkCiphers(String disk, FilterFactory factory, Source source) {
    this.disk = disk;
    this.factory = factory;
    this.source = source;
  }

  /**
   * {@inheritDoc}
   *
   * @throws BlockException caused by a {@link KeyException} if a key can't be had
   */
  @Override
  public BlockDevice over(VmdkDisk link) throws BlockException {
    BlockDevice below = new CheckedDevice(link.link());
    Optional<EncryptionMetadata> metadata = link.encryption();
    if (metadata.isEmpty()) {
      return below;
    }
    String linkId = metadata.get().linkId();
    BlockDevice filter = factory.create(new Context(disk, cipher(metadata.get())), below);
    filters.put(linkId, filter);
    return new CheckedDevice(filter);
  }

  private SectorCipher cipher(EncryptionMetadata metadata) throws BlockException {
    SectorCipher known = ciphers.get(metadata.linkId());
    if (known != null) {
      return known;
    }
    try {
      SectorCipher cipher = source.cipher(metadata);
      ciphers.put(metadata.linkId(), cipher);
      return cipher;
    } catch (KeyException failure) {
      throw new BlockException(Reason.IO_ERROR, String.valueOf(failure.getMessage()), failure);
    }
  }

  /** The filter that deciphers what {@code stored} holds. */
  static BlockDevice inFrontOf(
      BlockDevice stored, String disk, FilterFactory factory, SectorCipher cipher)
      throws BlockException {
    return factory.create(new Context(disk, cipher), stored);
  }

  private record Context(String disk, SectorCipher cipher) implements FilterContext {
    @Override
    public FilterSettings settings() {
      return new FilterSettings(Map.of());
    }

    @Override
    public <T> T service(Class<T> type) {
      if (type == SectorCipher.class) {
        return type.cast(cipher);
      }
      throw new IllegalArgumentException("service: no " + type.getName() + " here");
    }
  }

  FilterFactory factory() {
    return factory;
  }

  /** The filter of a link, if it is encrypted. */
  @Nullable BlockDevice filter(VmdkDisk link) {
    return link.encryption().map(metadata -> filters.get(metadata.linkId())).orElse(null);
  }

  /** The links whose keys are here. */
  Set<String> linkIds() {
    return Set.copyOf(ciphers.keySet());
  }

  /** Wipes the key of a link that is closed for good. */
  void forget(String linkId) {
    filters.remove(linkId);
    SectorCipher cipher = ciphers.remove(linkId);
    if (cipher != null) {
      cipher.close();
    }
  }

  /** Wipes the keys, once nothing needs them. */
  @Override
  public void close() {
    linkIds().forEach(this::forget);
  }
}
