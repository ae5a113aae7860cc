package io.filterd.nbd;

import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/** The places of exports that only so many clients at a time may have. Safe for many threads. */
final class Places {
  /** Guards what is taken. No other lock is taken under it. */
  private final ReentrantLock lock = new ReentrantLock();

  private final Condition left = lock.newCondition();
  private final Map<String, Integer> taken = new HashMap<>();

  /**
   * Takes a place. Waits a little for one, since a client that comes back at once may be here
   * before the server has seen it go.
   *
   * @param most how many there are
   * @return whether there was one in time
   */
  boolean take(String export, int most, long patienceNanos) throws InterruptedException {
    lock.lockInterruptibly();
    try {
      long rest = patienceNanos;
      while (taken.getOrDefault(export, 0) >= most) {
        if (rest <= 0) {
          return false;
        }
        rest = left.awaitNanos(rest);
      }
      taken.merge(export, 1, Integer::sum);
      return true;
    } finally {
      lock.unlock();
    }
  }

  /** Leaves a place. */
  void leave(String export) {
    lock.lock();
    try {
      taken.computeIfPresent(export, (name, count) -> count == 1 ? null : count - 1);
      left.signalAll();
    } finally {
      lock.unlock();
    }
  }
}
