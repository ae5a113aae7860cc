package io.filterd.daemon;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Completion;
import io.filterd.block.DeviceInfo;
import io.filterd.block.Durability;
import io.filterd.block.Extents;
import io.filterd.block.ZeroMode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.locks.StampedLock;
import org.jspecify.annotations.Nullable;

/**
 * Where the policy's filters can be exchanged under live requests. The device looks the same from
 * above before and after, but for its size, which may grow.
 */
final class PolicyGate implements BlockDevice {
  /** What an exchange does with requests that are still in the old filters. */
  enum Exchange {
    /**
     * They finish there while later ones go through the new filters at once. Only where neither
     * keeps data of its own, so that it does not matter which way a request goes.
     */
    OVERLAPPING,
    /** Later requests wait until they have finished, and the old filters are flushed. */
    AFTER_THE_LAST
  }

  /** A policy's filters. Its lock is shared by requests, exclusive to who waits for their end. */
  private static final class Pipeline {
    final BlockDevice top;
    final StampedLock lock = new StampedLock();

    /** Whether somebody waits for the last request: none may come in before it. */
    volatile boolean ending;

    Pipeline(BlockDevice top) {
      this.top = top;
    }
  }

  private volatile DeviceInfo info;
  private volatile Pipeline current;

  /** Pipelines that were exchanged while requests were in them. Guarded by this. */
  private final List<Pipeline> retired = new ArrayList<>();

  /** Takes over the filters; closing them leaves what they stand on open. */
  PolicyGate(BlockDevice filters) {
    this.current = new Pipeline(filters);
    this.info = filters.info();
  }

  /** Lets later requests through {@code next}, which is taken over when this returns. */
  synchronized void exchange(BlockDevice next, Exchange how) throws BlockException {
    if (!next.info().equals(info)) {
      throw new IllegalArgumentException(
          "filters: " + next.info() + " (expected: a device as before, " + info + ")");
    }
    Pipeline old = current;
    if (how == Exchange.AFTER_THE_LAST) {
      for (Pipeline earlier : retired) {
        earlier.lock.unlockWrite(earlier.lock.writeLock());
      }
      old.ending = true;
      long stamp = old.lock.writeLock();
      try {
        old.top.flush(Blocking.ALLOWED);
        current = new Pipeline(next);
      } finally {
        old.ending = false;
        old.lock.unlockWrite(stamp);
      }
    } else {
      current = new Pipeline(next);
    }
    retired.add(old);
  }

  /** Makes filters that stand on something that changes; what it throws leaves all as it was. */
  @FunctionalInterface
  interface Maker {
    /** The new filters, which are taken over. */
    BlockDevice make() throws BlockException, IOException;
  }

  /**
   * Lets later requests through filters on a device that gets larger meanwhile. Those that are in
   * any old filters finish first, and later ones wait. Who has looked at the size before goes on
   * with that.
   */
  synchronized void grow(Maker next) throws BlockException, IOException {
    Pipeline old = current;
    old.ending = true;
    long stamp = old.lock.writeLock();
    try {
      for (Pipeline pipeline : retired) {
        pipeline.lock.unlockWrite(pipeline.lock.writeLock());
      }
      old.top.flush(Blocking.ALLOWED);
      BlockDevice made = next.make();
      info = made.info();
      current = new Pipeline(made);
    } finally {
      old.ending = false;
      old.lock.unlockWrite(stamp);
    }
    retired.add(old);
  }

  /** Closes the exchanged filters that no request is in any more; whether that is all of them. */
  synchronized boolean closeDrained() throws BlockException {
    BlockException failure = null;
    for (Iterator<Pipeline> each = retired.iterator(); each.hasNext(); ) {
      Pipeline pipeline = each.next();
      long stamp = pipeline.lock.tryWriteLock();
      if (stamp != 0) {
        // Whoever comes late sees that it is not the current one, and does not use it.
        pipeline.lock.unlockWrite(stamp);
        each.remove();
        try {
          pipeline.top.close();
        } catch (BlockException closing) {
          if (failure == null) {
            failure = closing;
          } else {
            failure.addSuppressed(closing);
          }
        }
      }
    }
    if (failure != null) {
      throw failure;
    }
    return retired.isEmpty();
  }

  /** The pipeline that a request goes through, and then leaves; null if that would block. */
  private @Nullable Pipeline enter(Blocking blocking) {
    while (true) {
      Pipeline pipeline = current;
      if (pipeline.ending || pipeline.lock.tryReadLock() == 0) {
        if (pipeline != current) {
          continue;
        }
        if (blocking == Blocking.FORBIDDEN) {
          return null;
        }
        pipeline.lock.readLock();
      }
      if (pipeline == current) {
        return pipeline;
      }
      leave(pipeline);
    }
  }

  private static void leave(Pipeline pipeline) {
    pipeline.lock.tryUnlockRead();
  }

  @Override
  public DeviceInfo info() {
    return info;
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
    Pipeline pipeline = enter(blocking);
    if (pipeline == null) {
      return Extents.WOULD_BLOCK;
    }
    try {
      return pipeline.top.read(offset, target, blocking);
    } finally {
      leave(pipeline);
    }
  }

  @Override
  public Completion write(long offset, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    Pipeline pipeline = enter(blocking);
    if (pipeline == null) {
      return Completion.WOULD_BLOCK;
    }
    try {
      return pipeline.top.write(offset, source, durability, blocking);
    } finally {
      leave(pipeline);
    }
  }

  @Override
  public Completion zero(
      long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
      throws BlockException {
    Pipeline pipeline = enter(blocking);
    if (pipeline == null) {
      return Completion.WOULD_BLOCK;
    }
    try {
      return pipeline.top.zero(offset, length, mode, durability, blocking);
    } finally {
      leave(pipeline);
    }
  }

  @Override
  public Completion trim(long offset, long length, Durability durability, Blocking blocking)
      throws BlockException {
    Pipeline pipeline = enter(blocking);
    if (pipeline == null) {
      return Completion.WOULD_BLOCK;
    }
    try {
      return pipeline.top.trim(offset, length, durability, blocking);
    } finally {
      leave(pipeline);
    }
  }

  @Override
  public Completion flush(Blocking blocking) throws BlockException {
    Pipeline pipeline = enter(blocking);
    if (pipeline == null) {
      return Completion.WOULD_BLOCK;
    }
    try {
      return pipeline.top.flush(blocking);
    } finally {
      leave(pipeline);
    }
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
    Pipeline pipeline = enter(blocking);
    if (pipeline == null) {
      return Extents.WOULD_BLOCK;
    }
    try {
      return pipeline.top.extents(offset, length, blocking);
    } finally {
      leave(pipeline);
    }
  }

  @Override
  public synchronized void close() throws BlockException {
    // The last operation has returned, so nothing remains in any.
    retired.add(current);
    closeDrained();
  }
}
