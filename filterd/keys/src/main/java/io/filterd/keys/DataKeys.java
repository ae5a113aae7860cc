package io.filterd.keys;

import io.filterd.crypto.SecretBytes;
import io.filterd.keys.KeyException.Reason;
import io.filterd.keys.chronicle.DekCache;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The door to data keys: makes them, opens the lockers of disks, and keeps the open ones in the
 * cache for as long as their disks are attached. A data key is never on the Java heap in the clear.
 * Safe for many threads.
 */
public final class DataKeys implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(DataKeys.class);

  private final ConcurrentHashMap<String, KeyProvider> providers = new ConcurrentHashMap<>();
  private final DekCache cache;
  private final KekCache keks = new KekCache();
  private final KeyStates states = new KeyStates(System::nanoTime);

  /** What each data key in the cache came out of, by link id. */
  private final ConcurrentHashMap<String, Opened> origins = new ConcurrentHashMap<>();

  /** A locker, and what it was opened as. */
  private record Opened(DekBinding binding, WrappedDek locker) {}

  /** Owns the providers and the cache: they are closed with this. */
  public DataKeys(Collection<? extends KeyProvider> providers, DekCache cache) {
    this.cache = cache;
    for (KeyProvider provider : providers) {
      add(provider);
    }
  }

  /**
   * Adds a provider that could be opened only later, and owns it.
   *
   * @throws IllegalArgumentException if there is one of this name
   */
  public void add(KeyProvider provider) {
    if (providers.putIfAbsent(provider.name(), provider) != null) {
      throw new IllegalArgumentException(
          "key provider " + provider.name() + ": there is one of this name already");
    }
  }

  /** Closes a provider, so that one of its name can be added anew. The data keys stay. */
  public void remove(String provider) {
    KeyProvider removed = providers.remove(provider);
    if (removed != null) {
      removed.close();
    }
  }

  /**
   * From now on, keeps a key-encryption key in secret memory for so long after it is fetched, so
   * that the next disk of its VM needs no provider; zero, as without this: no longer than it is
   * used.
   */
  public void keepKek(KeyReference kek, Duration time) {
    keks.keep(kek, time);
  }

  /** Wipes a key-encryption key, if it is kept: when it is revoked, or its disks are locked. */
  public void dropKek(KeyReference kek) {
    keks.drop(kek);
  }

  /** Asks a provider how it is, now; as long as its time limits allow. */
  public ProviderStatus probe(String provider) throws KeyException {
    return provider(provider).probe();
  }

  /** How each provider is, by name. */
  public List<ProviderStatus> providers() {
    return providers.values().stream()
        .map(KeyProvider::status)
        .sorted(Comparator.comparing(ProviderStatus::name))
        .toList();
  }

  /** Makes a new key-encryption key, for example for a new VM. */
  public KeyReference createKek(String provider, KeyLabel label) throws KeyException {
    return provider(provider).create(label);
  }

  /** Asks a key's provider in which state it is. */
  public KeyDescription describe(KeyReference kek) throws KeyException {
    return states.ask(provider(kek.provider()), kek);
  }

  /**
   * Asks a key's provider in which state it is, and makes sure that it is the key that is meant, if
   * the provider hands its keys out.
   *
   * @throws KeyException as {@link ExportingProvider#open}
   */
  public KeyDescription verify(KeyReference kek) throws KeyException {
    KeyDescription description = describe(kek);
    if (provider(kek.provider()) instanceof ExportingProvider exporting
        && description.state().unwraps()) {
      exporting.open(kek).close();
    }
    return description;
  }

  /**
   * Makes a new data key, wraps it under {@code kek}, and keeps it in the cache under the binding's
   * link id.
   *
   * @param disk the disk's name, for messages
   * @throws KeyException with {@code NOT_ACTIVE} if the state of {@code kek} is another
   */
  public WrappedDek create(String disk, DekBinding binding, KeyReference kek) throws KeyException {
    try (SecretBytes dek = SecretBytes.random(DekCache.DEK_BYTES)) {
      WrappedDek locker = wrap(kek, dek, binding);
      keep(binding, dek);
      origins.put(binding.linkId(), new Opened(binding, locker));
      return locker;
    } catch (KeyException failure) {
      throw new KeyException(
          failure.reason(), "disk " + disk + ": " + failure.getMessage(), failure);
    }
  }

  /**
   * Opens a disk's link: tries its lockers in order, and keeps the data key of the first that opens
   * in the cache under the binding's link id. If the cache has a key of that id, it is taken only
   * if it came out of one of these very lockers, which needs no provider: whoever presents a
   * descriptor must have a locker that opens.
   *
   * @param disk the disk's name, for messages
   * @throws KeyException if none opens; its message says of each locker why. The reason is {@code
   *     UNAVAILABLE} if that of any is, since trying again may then help; else the first one's.
   */
  public void unlock(String disk, DekBinding binding, List<WrappedDek> keySafe)
      throws KeyException {
    if (isOpen(binding, keySafe)) {
      return;
    }
    try (OpenedDek opened = openAny(disk, binding, keySafe)) {
      keep(binding, opened.dek());
      origins.put(binding.linkId(), new Opened(binding, opened.locker()));
    }
  }

  private boolean isOpen(DekBinding binding, List<WrappedDek> keySafe) {
    Opened origin = origins.get(binding.linkId());
    return origin != null
        && origin.binding().equals(binding)
        && keySafe.contains(origin.locker())
        && cache.contains(binding.linkId());
  }

  /** A data key, and the locker that it came out of. */
  private record OpenedDek(SecretBytes dek, WrappedDek locker) implements AutoCloseable {
    @Override
    public void close() {
      dek.close();
    }
  }

  private OpenedDek openHereOrAny(String disk, DekBinding binding, List<WrappedDek> keySafe)
      throws KeyException {
    Opened origin = origins.get(binding.linkId());
    if (origin != null && isOpen(binding, keySafe)) {
      Optional<SecretBytes> here = cache.open(binding.linkId());
      if (here.isPresent()) {
        return new OpenedDek(here.get(), origin.locker());
      }
    }
    return openAny(disk, binding, keySafe);
  }

  private OpenedDek openAny(String disk, DekBinding binding, List<WrappedDek> keySafe)
      throws KeyException {
    List<KeyException> failures = new ArrayList<>();
    for (WrappedDek locker : keySafe) {
      try {
        SecretBytes dek = open(locker, binding);
        LOG.info(
            "disk={} link={} provider={} keyId={}: unwrapped",
            disk,
            binding.linkId(),
            locker.kek().provider(),
            locker.kek().keyId());
        return new OpenedDek(dek, locker);
      } catch (KeyException failure) {
        failures.add(failure);
      }
    }
    throw locked(disk, failures);
  }

  /**
   * Wraps a link's data key under another key-encryption key, and makes sure that it comes out of
   * the new locker again. The cache stays as it is; a key that it has out of one of the lockers
   * needs no provider.
   *
   * @param disk the disk's name, for messages
   * @param keySafe the lockers there are; the first that opens is taken
   */
  public WrappedDek rewrap(
      String disk, DekBinding binding, List<WrappedDek> keySafe, KeyReference kek)
      throws KeyException {
    try (OpenedDek opened = openHereOrAny(disk, binding, keySafe)) {
      WrappedDek locker = wrap(kek, opened.dek(), binding);
      try (SecretBytes again = open(locker, binding)) {
        if (!again.sameAs(opened.dek())) {
          throw new KeyException(
              Reason.WRONG_KEY,
              "disk %s: the data key came out of its new locker of key %s as another"
                  .formatted(disk, kek.keyId()));
        }
      }
      return locker;
    }
  }

  /**
   * Makes sure that a locker opens, and to the data key that the others give, as far as they open.
   *
   * @param disk the disk's name, for messages
   * @throws KeyException if it does not open, or to another key than one of the others
   */
  public void verify(
      String disk, DekBinding binding, WrappedDek locker, Collection<WrappedDek> others)
      throws KeyException {
    try (OpenedDek opened = openAny(disk, binding, List.of(locker))) {
      for (WrappedDek other : others) {
        if (!isSame(disk, binding, opened.dek(), other)) {
          throw new KeyException(
              Reason.WRONG_KEY,
              "disk %s: its locker of key %s holds another data key than that of key %s"
                  .formatted(disk, locker.kek().keyId(), other.kek().keyId()));
        }
      }
    }
  }

  /** Whether a locker holds this data key; one that does not open says nothing. */
  private boolean isSame(String disk, DekBinding binding, SecretBytes dek, WrappedDek locker) {
    try (SecretBytes same = open(locker, binding)) {
      return same.sameAs(dek);
    } catch (KeyException closed) {
      LOG.warn("disk={} not compared: {}", disk, closed.getMessage());
      return true;
    }
  }

  /** Ends the use of a key for new data keys: {@link KeyProvider#revoke}. */
  public void revoke(KeyReference kek) throws KeyException {
    KeyProvider provider = provider(kek.provider());
    dropKek(kek);
    provider.revoke(kek);
  }

  /** Destroys a key that nothing needs: {@link KeyProvider#destroy}. */
  public void destroy(KeyReference kek) throws KeyException {
    KeyProvider provider = provider(kek.provider());
    dropKek(kek);
    provider.destroy(kek);
  }

  private WrappedDek wrap(KeyReference kek, SecretBytes dek, DekBinding binding)
      throws KeyException {
    KeyProvider provider = provider(kek.provider());
    if (!keks.has(kek) || !states.wasActive(kek)) {
      states.requireActive(provider, kek);
    }
    return switch (provider) {
      case ExportingProvider exporting -> {
        try (KeyEncryptionKey key = keks.open(exporting, kek)) {
          yield key.wrap(dek, binding);
        }
      }
      case WrappingProvider wrapping ->
          WrappedDek.of(
              kek, wrapping.algorithm(), wrapping.wrap(kek, dek, binding.associatedData(kek)));
      default -> throw ofNoUse(kek);
    };
  }

  private SecretBytes unwrap(WrappedDek locker, DekBinding binding) throws KeyException {
    KeyReference kek = locker.kek();
    KeyProvider provider = provider(kek.provider());
    SecretBytes dek =
        switch (provider) {
          case ExportingProvider exporting -> {
            try (KeyEncryptionKey key = keks.open(exporting, kek)) {
              yield key.unwrap(locker, binding);
            }
          }
          case WrappingProvider wrapping ->
              wrapping.unwrap(kek, locker.bytes(wrapping), binding.associatedData(kek));
          default -> throw ofNoUse(kek);
        };
    if (!keks.has(kek)) {
      states.notice(provider, kek);
    }
    return dek;
  }

  private static KeyException ofNoUse(KeyReference kek) {
    return new KeyException(
        Reason.UNSUPPORTED,
        "key provider " + kek.provider() + ": neither exports keys nor wraps with them");
  }

  private SecretBytes open(WrappedDek locker, DekBinding binding) throws KeyException {
    KeyReference kek = locker.kek();
    try {
      return unwrap(locker, binding);
    } catch (KeyException failure) {
      throw new KeyException(
          failure.reason(),
          "locker of provider %s, key %s: %s"
              .formatted(kek.provider(), kek.keyId(), failure.getMessage()),
          failure);
    }
  }

  private static KeyException locked(String disk, List<KeyException> failures) {
    if (failures.isEmpty()) {
      return new KeyException(
          Reason.PROTOCOL, "disk " + disk + ": its key safe is empty (expected: a locker)");
    }
    KeyException telling =
        failures.stream()
            .filter(failure -> failure.reason() == Reason.UNAVAILABLE)
            .findFirst()
            .orElse(failures.getFirst());
    KeyException all =
        new KeyException(
            telling.reason(),
            "disk %s is locked: %s"
                .formatted(
                    disk, String.join("; ", failures.stream().map(Throwable::getMessage).toList())),
            telling);
    failures.stream().filter(failure -> failure != telling).forEach(all::addSuppressed);
    return all;
  }

  private void keep(DekBinding binding, SecretBytes dek) throws KeyException {
    if (!cache.put(binding.linkId(), dek)) {
      throw new KeyException(
          Reason.NO_ROOM, "the data key cache is full: detach a disk, or configure a larger cache");
    }
  }

  /**
   * A copy of a link's data key, to build its cipher. The caller closes it, which wipes the copy.
   *
   * @throws KeyException with {@code NOT_FOUND} if the link is locked
   */
  public SecretBytes open(String linkId) throws KeyException {
    return cache
        .open(linkId)
        .orElseThrow(
            () ->
                new KeyException(
                    Reason.NOT_FOUND, "link " + linkId + " is locked: unlock its disk first"));
  }

  /** Whether a link's data key is here. */
  public boolean isUnlocked(String linkId) {
    return cache.contains(linkId);
  }

  /** Wipes a link's data key, if it is here: when its disk is detached or locked. */
  public void evict(String linkId) {
    origins.remove(linkId);
    if (cache.evict(linkId)) {
      LOG.info("link={}: locked", linkId);
    }
  }

  private KeyProvider provider(String name) throws KeyException {
    KeyProvider provider = providers.get(name);
    if (provider == null) {
      throw new KeyException(
          Reason.UNAVAILABLE, "key provider " + name + " is not open on this host");
    }
    return provider;
  }

  /** Closes the providers, then wipes the cache. */
  @Override
  public void close() {
    try {
      providers.values().forEach(KeyProvider::close);
    } finally {
      keks.close();
      origins.clear();
      cache.close();
    }
  }
}
