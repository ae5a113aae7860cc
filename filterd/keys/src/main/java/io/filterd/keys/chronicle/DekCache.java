package io.filterd.keys.chronicle;

import com.google.errorprone.annotations.concurrent.GuardedBy;
import io.filterd.crypto.KeyWrap;
import io.filterd.crypto.SecretBytes;
import io.filterd.crypto.WrapException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.locks.ReentrantReadWriteLock;

/**
 * The data keys of the disks that are unlocked on this host, by id, in memory only.
 *
 * <p>Entries lie outside the Java heap, and each is sealed under a random key of this process that
 * lives in secret memory, with the entry's id bound to it. So neither a heap dump, nor a core dump,
 * nor swap holds a data key; a dump of the map alone opens nothing. An evicted entry's bytes are
 * overwritten before their place is given back, and so are all of them on close.
 *
 * <p>Safe for many threads. A use after close throws {@link IllegalStateException}: Chronicle Map
 * itself may crash the JVM then, so every call passes a lock here.
 */
public final class DekCache implements AutoCloseable {
  /** The only size of a data key: two AES-256 keys for XTS. */
  public static final int DEK_BYTES = 64;

  /** The most entries that a cache may be asked to hold: about 200 MiB. */
  public static final int MAX_ENTRIES = 1 << 20;

  static final int MAX_ID_BYTES = 64;
  static final int SEALED_BYTES = DEK_BYTES + KeyWrap.OVERHEAD_BYTES;

  private final int maxEntries;

  /** Its bytes never change after construction. */
  private final SecretBytes sealingKey;

  /** Read: the map is open as long as this is held. Write: nobody else uses the map. */
  private final ReentrantReadWriteLock lock = new ReentrantReadWriteLock();

  @GuardedBy("lock")
  private final DekMap map;

  @GuardedBy("lock")
  private boolean closed;

  /**
   * Makes an empty cache.
   *
   * @param maxEntries how many data keys it holds at most, 1..{@link #MAX_ENTRIES}
   */
  public DekCache(int maxEntries) {
    this(maxEntries, DekMap.create(checked(maxEntries), MAX_ID_BYTES, SEALED_BYTES));
  }

  /** Over {@code map}, which it owns: for tests that look behind the cache's back. */
  DekCache(int maxEntries, DekMap map) {
    this.maxEntries = maxEntries;
    this.map = map;
    try {
      this.sealingKey = SecretBytes.random(KeyWrap.KEK_BYTES);
    } catch (RuntimeException noSecretMemory) {
      map.close();
      throw noSecretMemory;
    }
  }

  private static int checked(int maxEntries) {
    if (maxEntries < 1 || maxEntries > MAX_ENTRIES) {
      throw new IllegalArgumentException(
          "maxEntries: " + maxEntries + " (expected: 1.." + MAX_ENTRIES + ")");
    }
    return maxEntries;
  }

  /**
   * Keeps a sealed copy of {@code dek} under {@code id}, in place of one that may be there.
   *
   * @return whether it is kept; false if the cache is full
   */
  public boolean put(String id, SecretBytes dek) {
    byte[] boundId = boundId(id);
    if (dek.lengthBytes() != DEK_BYTES) {
      throw new IllegalArgumentException(
          "dek: " + dek.lengthBytes() + " bytes (expected: " + DEK_BYTES + ")");
    }
    lock.writeLock().lock();
    try {
      checkOpen();
      if (map.longSize() >= maxEntries && !map.containsKey(id)) {
        return false;
      }
      map.put(id, KeyWrap.wrap(sealingKey, dek, boundId));
      return true;
    } finally {
      lock.writeLock().unlock();
    }
  }

  /**
   * A copy of the data key of this id, if it is here. The caller closes it, which wipes the copy.
   *
   * @throws IllegalStateException if the entry was changed behind the cache's back
   */
  public Optional<SecretBytes> open(String id) {
    byte[] boundId = boundId(id);
    lock.readLock().lock();
    try {
      checkOpen();
      byte[] sealed = map.get(id);
      if (sealed == null) {
        return Optional.empty();
      }
      return Optional.of(KeyWrap.unwrap(sealingKey, sealed, boundId));
    } catch (WrapException damage) {
      throw new IllegalStateException("data key " + id + ": its cache entry is damaged", damage);
    } finally {
      lock.readLock().unlock();
    }
  }

  /** Whether the data key of this id is here. */
  public boolean contains(String id) {
    boundId(id);
    lock.readLock().lock();
    try {
      checkOpen();
      return map.containsKey(id);
    } finally {
      lock.readLock().unlock();
    }
  }

  /** How many data keys are here. */
  public int size() {
    lock.readLock().lock();
    try {
      checkOpen();
      return Math.toIntExact(map.longSize());
    } finally {
      lock.readLock().unlock();
    }
  }

  /** Overwrites and forgets the data key of this id. Returns whether it was here. */
  public boolean evict(String id) {
    boundId(id);
    lock.writeLock().lock();
    try {
      checkOpen();
      return map.wipe(id);
    } finally {
      lock.writeLock().unlock();
    }
  }

  /** Overwrites and forgets every data key. */
  public void clear() {
    lock.writeLock().lock();
    try {
      checkOpen();
      removeAll();
    } finally {
      lock.writeLock().unlock();
    }
  }

  @GuardedBy("lock")
  private void removeAll() {
    for (String id : List.copyOf(map.keySet())) {
      map.wipe(id);
    }
  }

  @GuardedBy("lock")
  private void checkOpen() {
    if (closed) {
      throw new IllegalStateException("the data key cache is closed");
    }
  }

  private static byte[] boundId(String id) {
    byte[] bytes = id.getBytes(StandardCharsets.UTF_8);
    if (bytes.length == 0 || bytes.length > MAX_ID_BYTES) {
      throw new IllegalArgumentException(
          "id: " + bytes.length + " bytes (expected: 1.." + MAX_ID_BYTES + ")");
    }
    return bytes;
  }

  /** Overwrites every entry, wipes the sealing key and gives the memory back. */
  @Override
  public void close() {
    lock.writeLock().lock();
    try {
      if (closed) {
        return;
      }
      closed = true;
      try {
        removeAll();
      } finally {
        try {
          map.close();
        } finally {
          sealingKey.close();
        }
      }
    } finally {
      lock.writeLock().unlock();
    }
  }

  @Override
  public String toString() {
    return "DekCache[at most " + maxEntries + " entries]";
  }
}
