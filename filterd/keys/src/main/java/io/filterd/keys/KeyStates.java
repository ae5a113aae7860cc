package io.filterd.keys;

import com.google.errorprone.annotations.concurrent.GuardedBy;
import io.filterd.keys.KeyException.Reason;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.LongSupplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What providers last said of the states of keys: each is asked only now and then, and each change
 * is told once. Safe for many threads.
 */
final class KeyStates {
  private static final Logger LOG = LoggerFactory.getLogger(KeyStates.class);

  /** How long an answer is good enough for a warning. */
  private static final Duration FRESH = Duration.ofMinutes(10);

  private static final int MAX_KEYS = 4096;

  private record Seen(KeyState state, long atNanos) {}

  private final LongSupplier nanoTime;

  @GuardedBy("this")
  private final LinkedHashMap<KeyReference, Seen> seen =
      new LinkedHashMap<>(16, 0.75f, true) {
        private static final long serialVersionUID = 1L;

        @Override
        protected boolean removeEldestEntry(Map.Entry<KeyReference, Seen> eldest) {
          return size() > MAX_KEYS;
        }
      };

  KeyStates(LongSupplier nanoTime) {
    this.nanoTime = nanoTime;
  }

  /** Asks a provider for the state of a key. */
  KeyDescription ask(KeyProvider provider, KeyReference key) throws KeyException {
    KeyDescription description = provider.describe(key);
    KeyState state = description.state();
    Seen before;
    synchronized (this) {
      before = seen.put(key, new Seen(state, nanoTime.getAsLong()));
    }
    if (!state.wraps() && (before == null || before.state() != state)) {
      LOG.warn(
          "provider={} keyId={} state={}: {}",
          key.provider(),
          key.keyId(),
          state,
          state.unwraps() ? "it only unwraps; give its disks another key" : "it is of no use");
    }
    return description;
  }

  /** Refuses a key that must not wrap new data keys. */
  void requireActive(KeyProvider provider, KeyReference key) throws KeyException {
    KeyState state = ask(provider, key).state();
    if (state.wraps()) {
      return;
    }
    String remedy =
        state == KeyState.PRE_ACTIVE
            ? "activate it there"
            : "give its disks another with `filterd key recrypt`";
    throw new KeyException(
        Reason.NOT_ACTIVE,
        "key provider %s, key %s: its state is %s, and only active keys wrap new data keys: %s"
            .formatted(key.provider(), key.keyId(), state, remedy));
  }

  /** Whether the key was active when its provider was last asked. */
  synchronized boolean wasActive(KeyReference key) {
    Seen last = seen.get(key);
    return last != null && last.state().wraps();
  }

  /**
   * Looks at the state of a key that was just used to unwrap, to warn in time. That the provider
   * does not say keeps nobody from a key that was had.
   */
  void notice(KeyProvider provider, KeyReference key) {
    synchronized (this) {
      Seen last = seen.get(key);
      if (last != null && nanoTime.getAsLong() - last.atNanos() < FRESH.toNanos()) {
        return;
      }
    }
    try {
      var _ = ask(provider, key);
    } catch (KeyException unknown) {
      LOG.debug("provider={} keyId={}: state unknown", key.provider(), key.keyId(), unknown);
    }
  }
}
