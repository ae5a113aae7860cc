package io.filterd.daemon;

import io.filterd.crypto.SecretBytes;
import io.filterd.inventory.DiskName;
import io.filterd.keys.DataKeys;
import io.filterd.keys.DekBinding;
import io.filterd.keys.KeyDescription;
import io.filterd.keys.KeyException;
import io.filterd.keys.KeyLabel;
import io.filterd.keys.KeyProvider;
import io.filterd.keys.KeyProviders;
import io.filterd.keys.KeyReference;
import io.filterd.keys.ProviderStatus;
import io.filterd.keys.WrappedDek;
import io.filterd.keys.chronicle.DekCache;
import io.filterd.vmdk.EncryptionMetadata;
import io.filterd.vmdk.Locker;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The key hierarchy as the daemon uses it: providers are opened when they are first needed, since
 * that takes time and may fail, and lockers are turned from a descriptor's words into keys'.
 */
final class KeyAccess implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(KeyAccess.class);

  private final DaemonConfig.Keys config;
  private final Set<String> opened = new HashSet<>();
  private @Nullable DataKeys keys;

  /** Keys by this configuration. Opens nothing yet. */
  KeyAccess(DaemonConfig.Keys config) {
    this.config = config;
  }

  private synchronized DataKeys keys() {
    DataKeys open = keys;
    if (open == null) {
      open = new DataKeys(List.of(), new DekCache(config.cacheEntries()));
      keys = open;
    }
    return open;
  }

  private synchronized DataKeys with(String provider) throws KeyException {
    DataKeys open = keys();
    if (!opened.contains(provider)) {
      open.add(openProvider(provider, Map.of()));
      opened.add(provider);
    }
    return open;
  }

  /** A provider of its own, with some settings changed; closed by the caller. */
  KeyProvider openProvider(String name, Map<String, String> changes) throws KeyException {
    DaemonConfig.Provider provider = provider(name);
    Map<String, String> settings = new HashMap<>(provider.settings());
    settings.putAll(changes);
    return KeyProviders.open(provider.type(), name, settings);
  }

  DaemonConfig.Provider provider(String name) throws KeyException {
    DaemonConfig.Provider provider = config.providers().get(name);
    if (provider == null) {
      throw new KeyException(
          KeyException.Reason.NOT_FOUND,
          "no key provider "
              + name
              + " in the configuration (there are: "
              + String.join(", ", config.providers().keySet())
              + ")");
    }
    return provider;
  }

  /** Prepares what the first disk will need: the cache and the default provider. */
  void warmUp() {
    try {
      with(config.defaultProvider());
    } catch (KeyException notYet) {
      // Told when a disk needs it.
    }
  }

  /** Makes a key-encryption key. */
  KeyReference createKek(String provider, KeyLabel label, boolean withoutBackup)
      throws KeyException {
    if (!withoutBackup) {
      return with(provider).createKek(provider, label);
    }
    try (KeyProvider waived = openProvider(provider, Map.of("backup", "waived"))) {
      return waived.create(label);
    }
  }

  /** Makes a data key; it is in the cache then. */
  Locker createDek(DiskName disk, EncryptionIds ids, KeyReference kek) throws KeyException {
    WrappedDek wrapped = with(kek.provider()).create(disk.toString(), ids.binding(), kek);
    return new Locker(
        kek.provider(), kek.keyId(), kek.checkValue(), wrapped.algorithm(), wrapped.wrapped());
  }

  /**
   * Wraps a link's data key under another key-encryption key. Neither the descriptor nor the cache
   * is changed.
   */
  Locker rewrap(DiskName disk, EncryptionMetadata metadata, KeyReference kek) throws KeyException {
    List<WrappedDek> keySafe = openable(metadata.keySafe());
    WrappedDek made = with(kek.provider()).rewrap(disk.toString(), binding(metadata), keySafe, kek);
    return new Locker(
        kek.provider(), kek.keyId(), kek.checkValue(), made.algorithm(), made.wrapped());
  }

  /** Makes sure that a locker opens, and to the same data key as the others that open. */
  void verify(DiskName disk, EncryptionMetadata metadata, Locker locker, List<Locker> others)
      throws KeyException {
    with(locker.provider());
    keys().verify(disk.toString(), binding(metadata), wrapped(locker), openable(others));
  }

  private static DekBinding binding(EncryptionMetadata metadata) {
    return new EncryptionIds(metadata.diskId(), metadata.linkId(), metadata.unitBytes()).binding();
  }

  private static WrappedDek wrapped(Locker locker) throws KeyException {
    return WrappedDek.parse(
        locker.provider(),
        locker.keyId(),
        locker.checkValue(),
        locker.algorithm(),
        locker.wrappedDek());
  }

  /** Opens the lockers' providers, as far as they can be. */
  private List<WrappedDek> openable(List<Locker> lockers) throws KeyException {
    List<WrappedDek> keySafe = new ArrayList<>();
    for (Locker locker : lockers) {
      keySafe.add(wrapped(locker));
      try {
        with(locker.provider());
      } catch (KeyException closed) {
        LOG.warn("provider={}: {}", locker.provider(), closed.getMessage());
      }
    }
    return keySafe;
  }

  /** Asks a key's provider about it. */
  KeyDescription describe(KeyReference kek) throws KeyException {
    return with(kek.provider()).describe(kek);
  }

  /** Ends the use of a key for new data keys. */
  void revoke(KeyReference kek) throws KeyException {
    with(kek.provider()).revoke(kek);
  }

  /** Destroys a key, and all that only it opens. */
  void destroy(KeyReference kek) throws KeyException {
    with(kek.provider()).destroy(kek);
  }

  /** What a data key is bound to. */
  record EncryptionIds(String diskId, String linkId, int unitBytes) {
    DekBinding binding() {
      return new DekBinding(diskId, linkId, DekBinding.AES_256_XTS, unitBytes);
    }
  }

  /** Unwraps a disk's data key into the cache, and gives a copy, which the caller closes. */
  SecretBytes unlock(String disk, EncryptionMetadata metadata) throws KeyException {
    List<WrappedDek> keySafe = new ArrayList<>();
    KeyException unavailable = null;
    for (Locker locker : metadata.keySafe()) {
      keySafe.add(
          WrappedDek.parse(
              locker.provider(),
              locker.keyId(),
              locker.checkValue(),
              locker.algorithm(),
              locker.wrappedDek()));
      try {
        with(locker.provider());
      } catch (KeyException failure) {
        unavailable = failure;
      }
    }
    if (unavailable != null && keySafe.size() == 1) {
      throw unavailable;
    }
    EncryptionIds ids =
        new EncryptionIds(metadata.diskId(), metadata.linkId(), metadata.unitBytes());
    keys().unlock(disk, ids.binding(), keySafe);
    return keys().open(metadata.linkId());
  }

  /** Wipes a data key. */
  void evict(String linkId) {
    keys().evict(linkId);
  }

  /** How the providers that are open are. */
  synchronized List<ProviderStatus> opened() {
    DataKeys open = keys;
    return open == null ? List.of() : open.providers();
  }

  /** Forgets a provider that was changed, so that it is opened anew. */
  @Override
  public synchronized void close() {
    if (keys != null) {
      keys.close();
      keys = null;
      opened.clear();
    }
  }
}
