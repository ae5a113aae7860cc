package io.filterd.nbd;

import java.util.ArrayDeque;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReentrantLock;

/**
 * How many bytes all connections together may hold. Whoever asks for more than is left waits in a
 * queue and is called when it has got them. Safe for many threads.
 */
final class ByteBudget {
  /** Somebody who needs bytes. */
  static final class Claim {
    private final Runnable granted;
    private long bytes;

    /** A claim that is made again and again; {@code granted} is called from any thread. */
    Claim(Runnable granted) {
      this.granted = granted;
    }
  }

  private final AtomicLong left;

  /** Guards the queue and the claims in it. What is called under it only schedules. */
  private final ReentrantLock lock = new ReentrantLock();

  private final ArrayDeque<Claim> queue = new ArrayDeque<>();

  /** Whether the queue may hold something; written under the lock. */
  private volatile boolean contended;

  ByteBudget(long limitBytes) {
    this.left = new AtomicLong(limitBytes);
  }

  /**
   * Takes bytes; false if they are not there: then the claim waits, and is called once the bytes
   * were taken for it.
   */
  boolean take(Claim claim, long bytes) {
    if (!contended && tryTake(bytes)) {
      return true;
    }
    lock.lock();
    try {
      if (queue.isEmpty() && tryTake(bytes)) {
        return true;
      }
      claim.bytes = bytes;
      queue.addLast(claim);
      contended = true;
      // Bytes may have been given back between the look at them and the line above.
      serve();
      return false;
    } finally {
      lock.unlock();
    }
  }

  /** Gives bytes back. */
  void give(long bytes) {
    left.addAndGet(bytes);
    if (contended) {
      lock.lock();
      try {
        serve();
      } finally {
        lock.unlock();
      }
    }
  }

  /** Takes a claim back; false if it does not wait any more, and so was or will be called. */
  boolean cancel(Claim claim) {
    lock.lock();
    try {
      boolean waited = queue.remove(claim);
      serve();
      return waited;
    } finally {
      lock.unlock();
    }
  }

  /** Whether somebody waits. */
  boolean contended() {
    return contended;
  }

  /** The bytes nobody holds. */
  long leftBytes() {
    return left.get();
  }

  private void serve() {
    Claim first = queue.peekFirst();
    while (first != null && tryTake(first.bytes)) {
      queue.removeFirst();
      first.granted.run();
      first = queue.peekFirst();
    }
    contended = first != null;
  }

  private boolean tryTake(long bytes) {
    long before = left.get();
    while (before >= bytes) {
      if (left.compareAndSet(before, before - bytes)) {
        return true;
      }
      before = left.get();
    }
    return false;
  }
}
