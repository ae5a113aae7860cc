package io.filterd.filter.qos;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.Blocking;
import io.filterd.block.Completion;
import io.filterd.block.DeviceInfo;
import io.filterd.block.Durability;
import io.filterd.block.Extents;
import io.filterd.block.IoFilter;
import io.filterd.block.ZeroMode;
import io.filterd.filter.Delaying;
import io.filterd.filter.Reporting;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.atomic.LongAdder;

/**
 * Delays requests so that a disk keeps to its operations and bytes per second: in any time it does
 * at most what the rates allow in that time and the burst, and one request more. A large request is
 * charged whole, and makes those behind it wait.
 *
 * <p>Reads and writes are charged one operation and their bytes; zeros and trims one operation,
 * whatever their length, for they move no data; flushes and questions about extents nothing, for
 * delaying them would only keep what was done from being durable or known.
 *
 * <p>A request that may block waits for its turn, in the order in which requests came. One that may
 * not goes on if it is its turn, or would block. What the device below would block on is given
 * back: the request is charged when it comes again. A request that failed below remains charged.
 */
final class QosFilter extends IoFilter implements Reporting, Delaying {
  /** The time, and how to let it pass. */
  interface Waiting {
    /** As {@link System#nanoTime}. */
    long nanoTime();

    /** Waits for at most so long for the filter to close, or to delay no more; whether it has. */
    boolean awaitClose(CountDownLatch closed, long nanos) throws InterruptedException;
  }

  private final Waiting waiting;
  private final long originNanos;
  private final AtomicReference<Limits> limits;
  private final CountDownLatch closed = new CountDownLatch(1);
  private volatile boolean delaying = true;
  private final LongAdder waiters = new LongAdder();
  private final LongAdder delayed = new LongAdder();
  private final LongAdder delayNanos = new LongAdder();

  /**
   * Limits {@code below}, which it takes over.
   *
   * @param operationsPerSecond 0 for no limit
   * @param bytesPerSecond 0 for no limit
   * @param burst how much an idle disk saves up, as a time at the full rate
   */
  QosFilter(
      BlockDevice below,
      long operationsPerSecond,
      long bytesPerSecond,
      Duration burst,
      Waiting waiting) {
    super(below);
    this.waiting = waiting;
    this.originNanos = waiting.nanoTime();
    this.limits = new AtomicReference<>(Limits.of(operationsPerSecond, bytesPerSecond, burst));
  }

  @Override
  public DeviceInfo info() {
    return below.info();
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
    long length = target.remaining();
    if (!enter(length, blocking)) {
      return Extents.WOULD_BLOCK;
    }
    Extents parts = below.read(offset, target, blocking);
    if (parts == Extents.WOULD_BLOCK) {
      giveBack(length);
    }
    return parts;
  }

  @Override
  public Completion write(long offset, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    long length = source.remaining();
    if (!enter(length, blocking)) {
      return Completion.WOULD_BLOCK;
    }
    return leave(length, below.write(offset, source, durability, blocking));
  }

  @Override
  public Completion zero(
      long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
      throws BlockException {
    if (!enter(0, blocking)) {
      return Completion.WOULD_BLOCK;
    }
    return leave(0, below.zero(offset, length, mode, durability, blocking));
  }

  @Override
  public Completion trim(long offset, long length, Durability durability, Blocking blocking)
      throws BlockException {
    if (!enter(0, blocking)) {
      return Completion.WOULD_BLOCK;
    }
    return leave(0, below.trim(offset, length, durability, blocking));
  }

  @Override
  public Completion flush(Blocking blocking) throws BlockException {
    return below.flush(blocking);
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
    return below.extents(offset, length, blocking);
  }

  /** Lets everything through at once. */
  @Override
  public void stopDelaying() {
    delaying = false;
    closed.countDown();
  }

  /** Lets nobody wait any longer: what waits fails, undone. */
  @Override
  public void close() throws BlockException {
    closed.countDown();
    super.close();
  }

  /** Charges a request and waits for its turn; or, where that is forbidden, says it is not. */
  private boolean enter(long lengthBytes, Blocking blocking) throws BlockException {
    if (!delaying) {
      return true;
    }
    long start;
    while (true) {
      Limits before = limits.get();
      long now = nowNanos();
      start = before.startNanos(now);
      if (start > now && blocking == Blocking.FORBIDDEN) {
        return false;
      }
      if (limits.compareAndSet(before, before.take(lengthBytes, start))) {
        break;
      }
    }
    long delay = start - nowNanos();
    if (delay > 0) {
      await(start, lengthBytes);
      delayed.increment();
      delayNanos.add(delay);
    }
    return true;
  }

  private void await(long startNanos, long lengthBytes) throws BlockException {
    boolean itsTurn = false;
    waiters.increment();
    try {
      for (long rest = startNanos - nowNanos(); rest > 0; rest = startNanos - nowNanos()) {
        if (waiting.awaitClose(closed, rest)) {
          if (!delaying) {
            break;
          }
          throw new BlockException(Reason.SHUTTING_DOWN, "the disk closed before it was its turn");
        }
      }
      itsTurn = true;
    } catch (InterruptedException stop) {
      Thread.currentThread().interrupt();
      throw new BlockException(
          Reason.SHUTTING_DOWN, "the request was stopped before it was its turn", stop);
    } finally {
      waiters.decrement();
      if (!itsTurn) {
        giveBack(lengthBytes);
      }
    }
  }

  private Completion leave(long lengthBytes, Completion completion) {
    if (completion == Completion.WOULD_BLOCK) {
      giveBack(lengthBytes);
    }
    return completion;
  }

  private void giveBack(long lengthBytes) {
    limits.updateAndGet(each -> each.giveBack(lengthBytes));
  }

  private long nowNanos() {
    return waiting.nanoTime() - originNanos;
  }

  /** How many requests wait, how many have waited, and for how long together. */
  @Override
  public Map<String, Object> report() {
    Map<String, Object> report = new LinkedHashMap<>();
    report.put("waiting", waiters.sum());
    report.put("delayed", delayed.sum());
    report.put("delayMillis", delayNanos.sum() / 1_000_000);
    return report;
  }
}
