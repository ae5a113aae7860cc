package io.filterd.block;

import java.util.concurrent.atomic.AtomicReferenceArray;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Things that are costly to make and are used for a short time by one thread each, such as scratch
 * buffers. Without locks, and without allocation once as many were made as are used at a time:
 * threads start looking at different places, so that they rarely meet. Keeps a bounded number; what
 * is given back beyond that is left to the garbage collector. Safe for many threads.
 */
public final class Pool<T> {
  private static final int PLACES = 32;

  /** Places are this far apart, so that each has a cache line of its own. */
  private static final int STRIDE = 16;

  private final AtomicReferenceArray<@Nullable T> places =
      new AtomicReferenceArray<>(PLACES * STRIDE);
  private final Supplier<? extends T> maker;

  /** An empty pool; {@code maker} makes what is missing. */
  public Pool(Supplier<? extends T> maker) {
    this.maker = maker;
  }

  /** Takes a thing out, or makes one: the caller's alone until it gives it back. */
  public T take() {
    int start = start();
    for (int i = 0; i < PLACES; i++) {
      int place = place(start + i);
      T thing = places.getPlain(place);
      if (thing != null && places.compareAndSet(place, thing, null)) {
        return thing;
      }
    }
    return maker.get();
  }

  /** Gives back what was taken. */
  public void giveBack(T thing) {
    int start = start();
    for (int i = 0; i < PLACES; i++) {
      int place = place(start + i);
      if (places.getPlain(place) == null && places.compareAndSet(place, null, thing)) {
        return;
      }
    }
  }

  private static int start() {
    return (int) Thread.currentThread().threadId();
  }

  private static int place(int index) {
    return (index & (PLACES - 1)) * STRIDE;
  }
}
