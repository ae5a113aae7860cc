package io.filterd.block;

import java.util.concurrent.Semaphore;

/**
 * Locks ranges of a device, shared or exclusive. The address space is cut into units which are
 * dealt round to a fixed set of locks, so ranges that do not overlap may still wait for each other,
 * but never the other way round. Locks are taken in index order, so two ranges can't deadlock; a
 * thread holds at most one range of one lock at a time. Whoever waits is served in order: a steady
 * stream of shared locks does not keep out an exclusive one. Not reentrant; any thread may unlock.
 * Costs no allocation unless it waits.
 */
public final class RangeLock {
  private static final int STRIPES = 64;

  /** What an exclusive lock takes of a stripe, of which each shared one takes 1. */
  private static final int ALL = Integer.MAX_VALUE;

  private final Semaphore[] stripes = new Semaphore[STRIPES];
  private final int unitShift;

  /** A lock over units of {@code unitBytes}, a power of two. */
  public RangeLock(int unitBytes) {
    if (unitBytes < 1 || Integer.bitCount(unitBytes) != 1) {
      throw new IllegalArgumentException("unitBytes: " + unitBytes + " (expected: a power of two)");
    }
    this.unitShift = Integer.numberOfTrailingZeros(unitBytes);
    for (int i = 0; i < STRIPES; i++) {
      stripes[i] = new Semaphore(ALL, true);
    }
  }

  /** Waits until no exclusive lock overlaps, or gives up at once; true if the range is locked. */
  public boolean lockShared(long offset, long length, Blocking blocking) {
    return lock(stripes(offset, length), 1, blocking);
  }

  /** Releases what {@link #lockShared} locked with the same range. */
  public void unlockShared(long offset, long length) {
    release(stripes(offset, length), 1);
  }

  /** Waits until no other lock overlaps, or gives up at once; true if the range is locked. */
  public boolean lockExclusive(long offset, long length, Blocking blocking) {
    return lock(stripes(offset, length), ALL, blocking);
  }

  /** Releases what {@link #lockExclusive} locked with the same range. */
  public void unlockExclusive(long offset, long length) {
    release(stripes(offset, length), ALL);
  }

  private boolean lock(long mask, int permits, Blocking blocking) {
    for (long rest = mask; rest != 0; rest &= rest - 1) {
      Semaphore stripe = stripes[Long.numberOfTrailingZeros(rest)];
      if (blocking == Blocking.ALLOWED) {
        stripe.acquireUninterruptibly(permits);
        // The try alone would overtake those who wait.
      } else if (stripe.hasQueuedThreads() || !stripe.tryAcquire(permits)) {
        release(mask & ~rest, permits);
        return false;
      }
    }
    return true;
  }

  private void release(long mask, int permits) {
    for (long rest = mask; rest != 0; rest &= rest - 1) {
      stripes[Long.numberOfTrailingZeros(rest)].release(permits);
    }
  }

  /** The stripes of a range, as a bit set: consecutive units have consecutive stripes. */
  private long stripes(long offset, long length) {
    long first = offset >>> unitShift;
    long count = ((offset + length - 1) >>> unitShift) - first + 1;
    if (count >= STRIPES) {
      return -1L;
    }
    return Long.rotateLeft((1L << count) - 1, (int) (first % STRIPES));
  }
}
