package io.filterd.keys;

import com.google.errorprone.annotations.concurrent.GuardedBy;
import java.time.Duration;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * The key-encryption keys that a policy wants to be kept for a while, in secret memory. All others
 * are gone as soon as they were used. The time of a key runs from when it was fetched, so that one
 * that is used all the time is fetched again too. Safe for many threads.
 */
final class KekCache implements AutoCloseable {
  /** The most keys whose times are remembered, and that are kept. */
  static final int MAX_KEYS = 1024;

  /** The times that were asked for, least recently asked for first. */
  @GuardedBy("this")
  private final LinkedHashMap<KeyReference, Duration> wanted =
      new LinkedHashMap<>(16, 0.75f, true) {
        private static final long serialVersionUID = 1L;

        @Override
        protected boolean removeEldestEntry(Map.Entry<KeyReference, Duration> eldest) {
          return size() > MAX_KEYS;
        }
      };

  @GuardedBy("this")
  private final Map<KeyReference, KeyEncryptionKey> kept = new HashMap<>();

  @GuardedBy("this")
  private @Nullable ScheduledExecutorService timer;

  @GuardedBy("this")
  private boolean closed;

  /** From now on, keeps this key for so long after it is fetched; zero: not at all. */
  synchronized void keep(KeyReference key, Duration time) {
    if (time.isPositive()) {
      wanted.put(key, time);
    } else {
      wanted.remove(key);
      drop(key);
    }
  }

  /** Whether the key is here. */
  synchronized boolean has(KeyReference key) {
    return kept.containsKey(key);
  }

  /** The key, from here or fetched. The caller closes it. */
  KeyEncryptionKey open(ExportingProvider provider, KeyReference reference) throws KeyException {
    synchronized (this) {
      KeyEncryptionKey here = kept.get(reference);
      if (here != null) {
        return here.copy();
      }
    }
    KeyEncryptionKey fetched = provider.open(reference);
    boolean given = false;
    try {
      keepIfWanted(fetched);
      given = true;
      return fetched;
    } finally {
      if (!given) {
        fetched.close();
      }
    }
  }

  private synchronized void keepIfWanted(KeyEncryptionKey fetched) {
    KeyReference reference = fetched.reference();
    Duration time = wanted.get(reference);
    if (time == null || closed || kept.size() >= MAX_KEYS || kept.containsKey(reference)) {
      return;
    }
    KeyEncryptionKey copy = fetched.copy();
    kept.put(reference, copy);
    // Only this copy: one that was fetched later has a time of its own.
    var _ = timer().schedule(() -> drop(copy), time.toMillis(), TimeUnit.MILLISECONDS);
  }

  @GuardedBy("this")
  private ScheduledExecutorService timer() {
    ScheduledExecutorService running = timer;
    if (running == null) {
      running =
          Executors.newSingleThreadScheduledExecutor(
              Thread.ofPlatform().daemon().name("kek-cache").factory());
      timer = running;
    }
    return running;
  }

  private synchronized void drop(KeyEncryptionKey copy) {
    kept.remove(copy.reference(), copy);
    copy.close();
  }

  /** Wipes a key, if it is here. */
  synchronized void drop(KeyReference key) {
    KeyEncryptionKey copy = kept.remove(key);
    if (copy != null) {
      copy.close();
    }
  }

  /** Wipes all keys, and keeps none from then on. */
  @Override
  public synchronized void close() {
    closed = true;
    if (timer != null) {
      timer.shutdownNow();
    }
    kept.values().forEach(KeyEncryptionKey::close);
    kept.clear();
  }
}
