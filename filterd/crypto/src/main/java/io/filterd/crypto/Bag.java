package io.filterd.crypto;

import java.util.concurrent.atomic.AtomicReferenceArray;
import org.jspecify.annotations.Nullable;

/**
 * A small pool without locks and without allocation: threads start looking at different places, so
 * that they rarely meet. Holds what is given to it while there is room. Safe for many threads.
 */
final class Bag<T> {
  /** Places are this far apart, so that each has a cache line of its own. */
  private static final int STRIDE = 16;

  private static final int LARGEST = 64;

  private final AtomicReferenceArray<@Nullable T> places;
  private final int mask;

  /** A bag for {@code count} things, rounded up to a power of two and at most 64. */
  Bag(int count) {
    int size = Integer.highestOneBit(Math.clamp(2L * count - 1, 1, LARGEST));
    this.places = new AtomicReferenceArray<>(size * STRIDE);
    this.mask = size - 1;
  }

  /** Takes something out, or null if there is nothing. */
  @Nullable T take() {
    int start = start();
    for (int i = 0; i <= mask; i++) {
      int place = ((start + i) & mask) * STRIDE;
      T thing = places.get(place);
      if (thing != null && places.compareAndSet(place, thing, null)) {
        return thing;
      }
    }
    return null;
  }

  /** Puts {@code thing} in, if there is room. */
  boolean put(T thing) {
    int start = start();
    for (int i = 0; i <= mask; i++) {
      int place = ((start + i) & mask) * STRIDE;
      if (places.get(place) == null && places.compareAndSet(place, null, thing)) {
        return true;
      }
    }
    return false;
  }

  private static int start() {
    return (int) Thread.currentThread().threadId();
  }
}
