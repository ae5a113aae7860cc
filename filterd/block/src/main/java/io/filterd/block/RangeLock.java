package io.filterd.block;

import java.util.concurrent.locks.StampedLock;

/**
 * Locks ranges of a device, shared or exclusive. The address space is cut into units which are
 * dealt round to a fixed set of locks, so ranges that do not overlap may still wait for each other,
 * but never the other way round. Locks are taken in index order, so two ranges can't deadlock; a
 * thread holds at most one range of one lock at a time. Not reentrant. Costs no allocation.
 */
public final class RangeLock {
  private static final int STRIPES = 64;

  private final StampedLock[] stripes = new StampedLock[STRIPES];
  private final int unitShift;

  /** A lock over units of {@code unitBytes}, a power of two. */
  public RangeLock(int unitBytes) {
    if (Integer.bitCount(unitBytes) != 1) {
      throw new IllegalArgumentException("unitBytes: " + unitBytes + " (expected: a power of two)");
    }
    this.unitShift = Integer.numberOfTrailingZeros(unitBytes);
    for (int i = 0; i < STRIPES; i++) {
      stripes[i] = new StampedLock();
    }
  }

  /** Waits until no exclusive lock overlaps, or gives up at once; true if the range is locked. */
  public boolean lockShared(long offset, long length, Blocking blocking) {
    long mask = stripes(offset, length);
    for (long rest = mask; rest != 0; rest &= rest - 1) {
      StampedLock stripe = stripes[Long.numberOfTrailingZeros(rest)];
      if (stripe.tryReadLock() == 0) {
        if (blocking == Blocking.FORBIDDEN) {
          releaseShared(mask & ~rest);
          return false;
        }
        stripe.readLock();
      }
    }
    return true;
  }

  /** Releases what {@link #lockShared} locked with the same range. */
  public void unlockShared(long offset, long length) {
    releaseShared(stripes(offset, length));
  }

  /** Waits until no other lock overlaps, or gives up at once; true if the range is locked. */
  public boolean lockExclusive(long offset, long length, Blocking blocking) {
    long mask = stripes(offset, length);
    for (long rest = mask; rest != 0; rest &= rest - 1) {
      StampedLock stripe = stripes[Long.numberOfTrailingZeros(rest)];
      if (stripe.tryWriteLock() == 0) {
        if (blocking == Blocking.FORBIDDEN) {
          releaseExclusive(mask & ~rest);
          return false;
        }
        stripe.writeLock();
      }
    }
    return true;
  }

  /** Releases what {@link #lockExclusive} locked with the same range. */
  public void unlockExclusive(long offset, long length) {
    releaseExclusive(stripes(offset, length));
  }

  private void releaseShared(long mask) {
    for (long rest = mask; rest != 0; rest &= rest - 1) {
      stripes[Long.numberOfTrailingZeros(rest)].tryUnlockRead();
    }
  }

  private void releaseExclusive(long mask) {
    for (long rest = mask; rest != 0; rest &= rest - 1) {
      stripes[Long.numberOfTrailingZeros(rest)].tryUnlockWrite();
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
