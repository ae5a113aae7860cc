package io.filterd.nbd;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Completion;
import io.filterd.block.DeviceInfo;
import io.filterd.block.Durability;
import io.filterd.block.Extents;
import io.filterd.block.IoFilter;
import io.filterd.block.ZeroMode;
import java.nio.ByteBuffer;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * A device that does every operation in another way, at random: at once, late, not without
 * blocking, not at all, or with a bug. Safe for many threads.
 */
final class TroubledDevice extends IoFilter {
  private final SplittableRandom random;
  private final boolean errorsOnTheLoop;
  private final CountDownLatch never = new CountDownLatch(1);
  private final Set<Long> written = ConcurrentHashMap.newKeySet();

  /**
   * Troubles the one below.
   *
   * @param errorsOnTheLoop whether an operation that must not block may end with an Error; one that
   *     may block may always
   */
  TroubledDevice(BlockDevice below, long seed, boolean errorsOnTheLoop) {
    super(below);
    this.random = new SplittableRandom(seed);
    this.errorsOnTheLoop = errorsOnTheLoop;
  }

  /** Where a write was done, whole. */
  Set<Long> written() {
    return written;
  }

  private synchronized int roll() {
    return random.nextInt(100);
  }

  /** True if this operation has to be asked for again, by a caller that may wait. */
  private boolean troubled(Blocking blocking) throws BlockException {
    int roll = roll();
    boolean mayWait = blocking == Blocking.ALLOWED;
    if (roll < 30) {
      if (!mayWait) {
        return true;
      }
      late();
    } else if (roll < 42) {
      BlockException.Reason[] reasons = BlockException.Reason.values();
      throw new BlockException(reasons[roll % reasons.length], "injected");
    } else if (roll < 46) {
      throw new IllegalStateException("injected");
    } else if (roll < 50 && (mayWait || errorsOnTheLoop)) {
      switch (roll) {
        case 46 -> throw new StackOverflowError("injected");
        case 47 -> throw new OutOfMemoryError("injected");
        default -> throw new AssertionError("injected");
      }
    }
    return false;
  }

  private void late() {
    try {
      boolean _ = never.await(500, TimeUnit.MICROSECONDS);
    } catch (InterruptedException stop) {
      Thread.currentThread().interrupt();
    }
  }

  @Override
  public DeviceInfo info() {
    return below.info();
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
    return troubled(blocking) ? Extents.WOULD_BLOCK : below.read(offset, target, blocking);
  }

  @Override
  public Completion write(long offset, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    if (troubled(blocking)) {
      return Completion.WOULD_BLOCK;
    }
    Completion completion = below.write(offset, source, durability, blocking);
    if (completion == Completion.DONE) {
      written.add(offset);
    }
    return completion;
  }

  @Override
  public Completion zero(
      long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
      throws BlockException {
    return troubled(blocking)
        ? Completion.WOULD_BLOCK
        : below.zero(offset, length, mode, durability, blocking);
  }

  @Override
  public Completion trim(long offset, long length, Durability durability, Blocking blocking)
      throws BlockException {
    return troubled(blocking)
        ? Completion.WOULD_BLOCK
        : below.trim(offset, length, durability, blocking);
  }

  @Override
  public Completion flush(Blocking blocking) throws BlockException {
    return troubled(blocking) ? Completion.WOULD_BLOCK : below.flush(blocking);
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
    return troubled(blocking) ? Extents.WOULD_BLOCK : below.extents(offset, length, blocking);
  }
}
