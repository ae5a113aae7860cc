package io.filterd.vmdk;

import io.filterd.block.Blocking;
import java.util.concurrent.locks.StampedLock;

/**
 * Where requests wait while what is behind it is exchanged. A request passes without allocation.
 * Any thread may resume what another paused.
 */
final class RequestGate {
  private final StampedLock lock = new StampedLock();

  /** Whether somebody waits for the last request: none may come in before it. */
  private volatile boolean pausing;

  private long pauseStamp;

  /** Lets a request in, which leaves afterwards; false if it would have to wait and may not. */
  boolean enter(Blocking blocking) {
    if (!pausing && lock.tryReadLock() != 0) {
      return true;
    }
    if (blocking == Blocking.FORBIDDEN) {
      return false;
    }
    lock.readLock();
    return true;
  }

  void leave() {
    lock.tryUnlockRead();
  }

  /** Waits until no request is inside; later ones wait until {@link #resume}. */
  void pause() {
    pausing = true;
    pauseStamp = lock.writeLock();
  }

  void resume() {
    pausing = false;
    lock.unlockWrite(pauseStamp);
  }
}
