package io.filterd.block;

import io.filterd.block.BlockException.Reason;
import java.nio.ByteBuffer;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Fails one operation, once: before doing it, halfway, or after it was done whole. All operations
 * but close count. Passes everything else on.
 */
public final class FaultyDevice extends IoFilter {
  /** How much of the operation is done before it fails. */
  public enum Fault {
    /** Nothing. */
    BEFORE,
    /** The first half of the range, in whole minimum blocks. */
    HALFWAY,
    /** All of it. */
    AFTER
  }

  private static final long NEVER = Long.MAX_VALUE;

  private final AtomicLong untilFailure = new AtomicLong(NEVER);
  private final AtomicInteger failures = new AtomicInteger();
  private final AtomicInteger closes = new AtomicInteger();
  private volatile Fault fault = Fault.BEFORE;
  private volatile Reason reason = Reason.IO_ERROR;
  private volatile boolean failsClose;

  /** Passes everything on to {@code below}, until told to fail. */
  public FaultyDevice(BlockDevice below) {
    super(below);
  }

  /** Makes the {@code count}th operation from now on fail: 1 is the next one. */
  public void failAt(long count, Fault fault, Reason reason) {
    this.fault = fault;
    this.reason = reason;
    untilFailure.set(count);
  }

  /** Makes close fail, after it closed the device below. */
  public void failClose() {
    failsClose = true;
  }

  /** How many operations failed so far. */
  public int failures() {
    return failures.get();
  }

  /** How often this device was closed. */
  public int closes() {
    return closes.get();
  }

  @Override
  public DeviceInfo info() {
    return below.info();
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
    if (!failsNow()) {
      return below.read(offset, target, blocking);
    }
    int position = target.position();
    int limit = target.limit();
    long done = doneBytes(offset, target.remaining());
    if (done > 0) {
      Extents extents = below.read(offset, target.limit(position + (int) done), blocking);
      target.limit(limit).position(position);
      if (extents == Extents.WOULD_BLOCK) {
        return notYet(extents);
      }
    }
    throw failure("read", offset);
  }

  @Override
  public Completion write(long offset, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    if (!failsNow()) {
      return below.write(offset, source, durability, blocking);
    }
    long done = doneBytes(offset, source.remaining());
    if (done > 0) {
      ByteBuffer part = source.duplicate().limit(source.position() + (int) done);
      if (below.write(offset, part, durability, blocking) == Completion.WOULD_BLOCK) {
        return notYet(Completion.WOULD_BLOCK);
      }
    }
    throw failure("write", offset);
  }

  @Override
  public Completion zero(
      long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
      throws BlockException {
    if (!failsNow()) {
      return below.zero(offset, length, mode, durability, blocking);
    }
    long done = doneBytes(offset, length);
    if (done > 0
        && below.zero(offset, done, mode, durability, blocking) == Completion.WOULD_BLOCK) {
      return notYet(Completion.WOULD_BLOCK);
    }
    throw failure("zero", offset);
  }

  @Override
  public Completion trim(long offset, long length, Durability durability, Blocking blocking)
      throws BlockException {
    if (!failsNow()) {
      return below.trim(offset, length, durability, blocking);
    }
    long done = doneBytes(offset, length);
    if (done > 0 && below.trim(offset, done, durability, blocking) == Completion.WOULD_BLOCK) {
      return notYet(Completion.WOULD_BLOCK);
    }
    throw failure("trim", offset);
  }

  @Override
  public Completion flush(Blocking blocking) throws BlockException {
    if (!failsNow()) {
      return below.flush(blocking);
    }
    if (fault == Fault.AFTER && below.flush(blocking) == Completion.WOULD_BLOCK) {
      return notYet(Completion.WOULD_BLOCK);
    }
    throw failure("flush", 0);
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
    if (!failsNow()) {
      return below.extents(offset, length, blocking);
    }
    throw failure("extents", offset);
  }

  @Override
  public void close() throws BlockException {
    closes.incrementAndGet();
    below.close();
    if (failsClose) {
      throw failure("close", 0);
    }
  }

  private boolean failsNow() {
    if (untilFailure.get() == NEVER || untilFailure.decrementAndGet() != 0) {
      return false;
    }
    untilFailure.set(NEVER);
    return true;
  }

  /** What would block was not done: the next operation fails in its place. */
  private <T> T notYet(T answer) {
    untilFailure.set(1);
    return answer;
  }

  private long doneBytes(long offset, long length) {
    return switch (fault) {
      case BEFORE -> 0;
      case AFTER -> length;
      case HALFWAY -> {
        long minimum = info().blockSizes().minimum();
        long middle = (offset + length / 2) / minimum * minimum;
        yield Math.max(0, middle - offset);
      }
    };
  }

  private BlockException failure(String operation, long offset) {
    failures.incrementAndGet();
    return new BlockException(reason, "injected: " + operation + " at " + offset + ", " + fault);
  }
}
