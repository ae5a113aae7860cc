package io.filterd.filter.qos;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Completion;
import io.filterd.block.DeviceInfo;
import io.filterd.block.Durability;
import io.filterd.block.Extents;
import io.filterd.block.IoFilter;
import io.filterd.block.ZeroMode;
import io.filterd.filter.Reporting;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.atomic.LongAdder;

/**
 * Delays requests so that a disk keeps to its operations and bytes per second. Reads and writes are
 * charged one operation and their bytes; zeros and trims one operation; flushes and questions about
 * extents nothing. A try that is forbidden to block and would have to wait leaves no trace.
 */
final class QosFilter extends IoFilter implements Reporting {
  /** The time, and how to let it pass. */
  interface Waiting {
    long nanoTime();

    void sleep(long nanos) throws InterruptedException;
  }

  private final Waiting waiting;
  private final Rate operations;
  private final Rate bandwidth;
  private final LongAdder delayed = new LongAdder();
  private final LongAdder delayNanos = new LongAdder();

  /**
   * Limits {@code below}.
   *
   * @param operationsPerSecond 0 for no limit
   * @param bytesPerSecond 0 for no limit
   */
  QosFilter(
      BlockDevice below,
      long operationsPerSecond,
      long bytesPerSecond,
      Duration burst,
      Waiting waiting) {
    super(below);
    this.waiting = waiting;
    long now = waiting.nanoTime();
    this.operations = new Rate(operationsPerSecond, burst.toNanos(), now);
    this.bandwidth = new Rate(bytesPerSecond, burst.toNanos(), now);
  }

  @Override
  public DeviceInfo info() {
    return below.info();
  }

  private boolean mayGo() {
    long now = waiting.nanoTime();
    return operations.waitNanos(now) <= 0 && bandwidth.waitNanos(now) <= 0;
  }

  private long charge(long bytes) {
    long now = waiting.nanoTime();
    return Math.max(operations.charge(1, now), bandwidth.charge(bytes, now));
  }

  private void await(long bytes) throws BlockException {
    long wait = charge(bytes);
    if (wait > 0) {
      delayed.increment();
      delayNanos.add(wait);
      try {
        waiting.sleep(wait);
      } catch (InterruptedException stop) {
        Thread.currentThread().interrupt();
        throw new BlockException(
            BlockException.Reason.SHUTTING_DOWN, "the request was stopped while it waited", stop);
      }
    }
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
    int bytes = target.remaining();
    if (blocking == Blocking.ALLOWED) {
      await(bytes);
      return below.read(offset, target, blocking);
    }
    if (!mayGo()) {
      return Extents.WOULD_BLOCK;
    }
    Extents extents = below.read(offset, target, blocking);
    if (extents != Extents.WOULD_BLOCK) {
      charge(bytes);
    }
    return extents;
  }

  @Override
  public Completion write(long offset, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    int bytes = source.remaining();
    if (blocking == Blocking.ALLOWED) {
      await(bytes);
      return below.write(offset, source, durability, blocking);
    }
    if (!mayGo()) {
      return Completion.WOULD_BLOCK;
    }
    return charged(bytes, below.write(offset, source, durability, blocking));
  }

  private Completion charged(long bytes, Completion completion) {
    if (completion == Completion.DONE) {
      charge(bytes);
    }
    return completion;
  }

  @Override
  public Completion zero(
      long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
      throws BlockException {
    if (blocking == Blocking.ALLOWED) {
      await(0);
      return below.zero(offset, length, mode, durability, blocking);
    }
    if (!mayGo()) {
      return Completion.WOULD_BLOCK;
    }
    return charged(0, below.zero(offset, length, mode, durability, blocking));
  }

  @Override
  public Completion trim(long offset, long length, Durability durability, Blocking blocking)
      throws BlockException {
    if (blocking == Blocking.ALLOWED) {
      await(0);
      return below.trim(offset, length, durability, blocking);
    }
    if (!mayGo()) {
      return Completion.WOULD_BLOCK;
    }
    return charged(0, below.trim(offset, length, durability, blocking));
  }

  @Override
  public Completion flush(Blocking blocking) throws BlockException {
    return below.flush(blocking);
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
    return below.extents(offset, length, blocking);
  }

  @Override
  public Map<String, Object> report() {
    Map<String, Object> report = new LinkedHashMap<>();
    report.put("delayed", delayed.sum());
    report.put("delayMillis", delayNanos.sum() / 1_000_000);
    return report;
  }
}
