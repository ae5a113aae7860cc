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
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/** A slow device: what touches its first half waits until it is let go, or for 30 s. */
final class HeldDevice extends IoFilter {
  private final CountDownLatch latch = new CountDownLatch(1);
  private final AtomicInteger held = new AtomicInteger();

  HeldDevice(BlockDevice below) {
    super(below);
  }

  /** Lets everything go on, now and later. */
  void letGo() {
    latch.countDown();
  }

  /** How many operations are held now. */
  int held() {
    return held.get();
  }

  /** True if the operation has to be done by a caller that may wait. */
  private boolean wouldWait(long offset, Blocking blocking) throws BlockException {
    if (offset >= info().sizeBytes() / 2) {
      return false;
    }
    if (blocking == Blocking.FORBIDDEN) {
      return true;
    }
    held.incrementAndGet();
    try {
      if (!latch.await(30, TimeUnit.SECONDS)) {
        throw new BlockException(BlockException.Reason.IO_ERROR, "nobody lets go");
      }
    } catch (InterruptedException stop) {
      Thread.currentThread().interrupt();
    } finally {
      held.decrementAndGet();
    }
    return false;
  }

  @Override
  public DeviceInfo info() {
    return below.info();
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
    return wouldWait(offset, blocking) ? Extents.WOULD_BLOCK : below.read(offset, target, blocking);
  }

  @Override
  public Completion write(long offset, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    return wouldWait(offset, blocking)
        ? Completion.WOULD_BLOCK
        : below.write(offset, source, durability, blocking);
  }

  @Override
  public Completion zero(
      long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
      throws BlockException {
    return wouldWait(offset, blocking)
        ? Completion.WOULD_BLOCK
        : below.zero(offset, length, mode, durability, blocking);
  }

  @Override
  public Completion trim(long offset, long length, Durability durability, Blocking blocking)
      throws BlockException {
    return wouldWait(offset, blocking)
        ? Completion.WOULD_BLOCK
        : below.trim(offset, length, durability, blocking);
  }

  @Override
  public Completion flush(Blocking blocking) throws BlockException {
    return below.flush(blocking);
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
    return below.extents(offset, length, blocking);
  }
}
