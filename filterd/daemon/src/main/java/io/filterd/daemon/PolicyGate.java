package io.filterd.daemon;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Completion;
import io.filterd.block.DeviceInfo;
import io.filterd.block.Durability;
import io.filterd.block.Extents;
import io.filterd.block.ZeroMode;
import java.nio.ByteBuffer;
import java.util.concurrent.locks.StampedLock;

/**
 * Where the policy's filters can be exchanged under live requests: those in flight finish in the
 * old filters, then the new ones take over. The device looks the same from above before and after.
 */
final class PolicyGate implements BlockDevice {
  private final DeviceInfo info;

  /** Shared by requests, exclusive to exchange {@link #inside}. */
  private final StampedLock lock = new StampedLock();

  private BlockDevice inside;

  /** Takes over {@code inside}. */
  PolicyGate(BlockDevice inside) {
    this.inside = inside;
    this.info = inside.info();
  }

  /** Waits for the requests in flight, and lets later ones through {@code next}. */
  void exchange(BlockDevice next) {
    if (!next.info().equals(info)) {
      throw new IllegalArgumentException(
          "filters: " + next.info() + " (expected: a device as before, " + info + ")");
    }
    long stamp = lock.writeLock();
    try {
      inside = next;
    } finally {
      lock.unlockWrite(stamp);
    }
  }

  private long enter(Blocking blocking) {
    long stamp = lock.tryReadLock();
    return stamp == 0 && blocking == Blocking.ALLOWED ? lock.readLock() : stamp;
  }

  @Override
  public DeviceInfo info() {
    return info;
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
    long stamp = enter(blocking);
    if (stamp == 0) {
      return Extents.WOULD_BLOCK;
    }
    try {
      return inside.read(offset, target, blocking);
    } finally {
      lock.unlockRead(stamp);
    }
  }

  @Override
  public Completion write(long offset, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    long stamp = enter(blocking);
    if (stamp == 0) {
      return Completion.WOULD_BLOCK;
    }
    try {
      return inside.write(offset, source, durability, blocking);
    } finally {
      lock.unlockRead(stamp);
    }
  }

  @Override
  public Completion zero(
      long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
      throws BlockException {
    long stamp = enter(blocking);
    if (stamp == 0) {
      return Completion.WOULD_BLOCK;
    }
    try {
      return inside.zero(offset, length, mode, durability, blocking);
    } finally {
      lock.unlockRead(stamp);
    }
  }

  @Override
  public Completion trim(long offset, long length, Durability durability, Blocking blocking)
      throws BlockException {
    long stamp = enter(blocking);
    if (stamp == 0) {
      return Completion.WOULD_BLOCK;
    }
    try {
      return inside.trim(offset, length, durability, blocking);
    } finally {
      lock.unlockRead(stamp);
    }
  }

  @Override
  public Completion flush(Blocking blocking) throws BlockException {
    long stamp = enter(blocking);
    if (stamp == 0) {
      return Completion.WOULD_BLOCK;
    }
    try {
      return inside.flush(blocking);
    } finally {
      lock.unlockRead(stamp);
    }
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
    long stamp = enter(blocking);
    if (stamp == 0) {
      return Extents.WOULD_BLOCK;
    }
    try {
      return inside.extents(offset, length, blocking);
    } finally {
      lock.unlockRead(stamp);
    }
  }

  @Override
  public void close() throws BlockException {
    inside.close();
  }
}
