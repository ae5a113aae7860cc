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
import io.filterd.keys.NativeProvider;
import io.filterd.keys.ProviderStatus;
import io.filterd.keys.WrappedDek;
import io.filterd.keys.chronicle.DekCache;
import io.filterd.vmdk.EncryptionMetadata;
import io.filterd.vmdk.Locker;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.locks.ReentrantLock;
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
  private final Set<String> opened = ConcurrentHashMap.newKeySet();

  /** One for each provider: opening one may take long, and must not keep others waiting. */
  private final Map<String, ReentrantLock> opening = new ConcurrentHashMap<>();

  /** Guarded by this. */
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

  private DataKeys with(String provider) throws KeyException {
    DataKeys open = keys();
    if (opened.contains(provider)) {
      return open;
    }
    var _ = provider(provider); // Only those of the configuration get a lock.
    ReentrantLock lock = opening.computeIfAbsent(provider, name -> new ReentrantLock());
    lock.lock();
    try {
      if (!opened.contains(provider)) {
        open.add(open(provider));
        opened.add(provider);
      }
    } finally {
      lock.unlock();
    }
    return open;
  }

  /** What is missing to open a provider may come back, unlike a key that it does not have. */
  private KeyProvider open(String provider) throws KeyException {
    try {
      return openProvider(provider, Map.of());
    } catch (KeyException failure) {
      throw failure.reason() == KeyException.Reason.NOT_FOUND
          ? new KeyException(
              KeyException.Reason.UNAVAILABLE, String.valueOf(failure.getMessage()), failure)
          : failure;
    }
  }

  /** Whether a provider is open: what fails then is about a key, not about the provider. */
  boolean isOpen(String provider) {
    return opened.contains(provider);
  }

  /** Whether a provider that is open can give no key to anybody, as far as it knows. */
  boolean isOut(String provider) {
    return opened().stream()
        .anyMatch(
            status ->
                status.name().equals(provider)
                    && status.state() == ProviderStatus.State.UNAVAILABLE);
  }

  /** Forgets a provider that was changed, so that it is opened anew. The data keys stay. */
  void reopen(String provider) {
    if (opened.remove(provider)) {
      keys().remove(provider);
    }
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
    // Only a native provider asks for a backup.
    if (!withoutBackup || !provider(provider).type().equals(NativeProvider.TYPE)) {
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
    fetch(disk, metadata);
    return keys().open(metadata.linkId());
  }

  /** Unwraps a disk's data key into the cache. */
  void fetch(String disk, EncryptionMetadata metadata) throws KeyException {
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
  }

  /** Keeps the key-encryption keys of a disk for so long after they are fetched. */
  void keepKeks(EncryptionMetadata metadata, Duration time) throws KeyException {
    for (Locker each : metadata.keySafe()) {
      keepKek(reference(each), time);
    }
  }

  /** Wipes the key-encryption keys of a disk, if they are kept. */
  void dropKeks(EncryptionMetadata metadata) throws KeyException {
    for (Locker each : metadata.keySafe()) {
      keys().dropKek(reference(each));
    }
  }

  /** Keeps a key-encryption key for so long after it is fetched. */
  void keepKek(KeyReference kek, Duration time) {
    keys().keepKek(kek, time);
  }

  /**
   * The key that a locker names.
   *
   * @throws KeyException with {@code PROTOCOL} if its text can't be a key's name
   */
  static KeyReference reference(Locker locker) throws KeyException {
    return WrappedDek.parse(
            locker.provider(),
            locker.keyId(),
            locker.checkValue(),
            locker.algorithm(),
            locker.wrappedDek())
        .kek();
  }

  /** Whether a link's data key is here. */
  boolean isUnlocked(String linkId) {
    return keys().isUnlocked(linkId);
  }

  /** Asks a key's provider in which state it is, and whether it is the key that is meant. */
  KeyDescription verify(KeyReference kek) throws KeyException {
    return with(kek.provider()).verify(kek);
  }

  /** Asks a provider how it is; opens it if it is not open. */
  ProviderStatus probe(String provider) throws KeyException {
    return with(provider).probe(provider);
  }

  /** Wipes a data key. */
  void evict(String linkId) {
    keys().evict(linkId);
  }

  /** How the providers that are open are. */
  List<ProviderStatus> opened() {
    return opened.isEmpty() ? List.of() : keys().providers();
  }

  /** Wipes all keys, and closes the providers. */
  @Override
  public synchronized void close() {
    if (keys != null) {
      keys.close();
      keys = null;
      opened.clear();
    }
  }
}
