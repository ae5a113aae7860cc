package io.filterd.filter.inspection;

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
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.LongSupplier;

/**
 * Counts operations, bytes and failures, and times what passes. A try that would block is not an
 * operation: only the call that finishes is counted and timed.
 */
final class InspectionFilter extends IoFilter implements Reporting {
  private enum Kind {
    READ,
    WRITE,
    ZERO,
    TRIM,
    FLUSH,
    EXTENTS
  }

  private static final class Figures {
    final LongAdder bytes = new LongAdder();
    final LongAdder count = new LongAdder();
    final LongAdder failures = new LongAdder();
    final LatencyHistogram latency = new LatencyHistogram();
  }

  private final LongSupplier nanoTime;
  private final EnumMap<Kind, Figures> figures = new EnumMap<>(Kind.class);

  InspectionFilter(BlockDevice below, LongSupplier nanoTime) {
    super(below);
    this.nanoTime = nanoTime;
    for (Kind kind : Kind.values()) {
      figures.put(kind, new Figures());
    }
  }

  @Override
  public DeviceInfo info() {
    return below.info();
  }

  private Figures of(Kind kind) {
    Figures found = figures.get(kind);
    if (found == null) {
      throw new IllegalStateException("kind: " + kind);
    }
    return found;
  }

  private void finished(Kind kind, long startNanos, long bytes) {
    Figures of = of(kind);
    of.count.increment();
    of.bytes.add(bytes);
    of.latency.record(nanoTime.getAsLong() - startNanos);
  }

  private BlockException failed(Kind kind, BlockException failure) {
    of(kind).failures.increment();
    return failure;
  }

  private Completion finished(Kind kind, long startNanos, long bytes, Completion completion) {
    if (completion == Completion.DONE) {
      finished(kind, startNanos, bytes);
    }
    return completion;
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
    long start = nanoTime.getAsLong();
    int bytes = target.remaining();
    try {
      Extents extents = below.read(offset, target, blocking);
      if (extents != Extents.WOULD_BLOCK) {
        finished(Kind.READ, start, bytes);
      }
      return extents;
    } catch (BlockException failure) {
      throw failed(Kind.READ, failure);
    }
  }

  @Override
  public Completion write(long offset, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    long start = nanoTime.getAsLong();
    int bytes = source.remaining();
    try {
      return finished(Kind.WRITE, start, bytes, below.write(offset, source, durability, blocking));
    } catch (BlockException failure) {
      throw failed(Kind.WRITE, failure);
    }
  }

  @Override
  public Completion zero(
      long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
      throws BlockException {
    long start = nanoTime.getAsLong();
    try {
      return finished(
          Kind.ZERO, start, length, below.zero(offset, length, mode, durability, blocking));
    } catch (BlockException failure) {
      throw failed(Kind.ZERO, failure);
    }
  }

  @Override
  public Completion trim(long offset, long length, Durability durability, Blocking blocking)
      throws BlockException {
    long start = nanoTime.getAsLong();
    try {
      return finished(Kind.TRIM, start, length, below.trim(offset, length, durability, blocking));
    } catch (BlockException failure) {
      throw failed(Kind.TRIM, failure);
    }
  }

  @Override
  public Completion flush(Blocking blocking) throws BlockException {
    long start = nanoTime.getAsLong();
    try {
      return finished(Kind.FLUSH, start, 0, below.flush(blocking));
    } catch (BlockException failure) {
      throw failed(Kind.FLUSH, failure);
    }
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
    long start = nanoTime.getAsLong();
    try {
      Extents extents = below.extents(offset, length, blocking);
      if (extents != Extents.WOULD_BLOCK) {
        finished(Kind.EXTENTS, start, 0);
      }
      return extents;
    } catch (BlockException failure) {
      throw failed(Kind.EXTENTS, failure);
    }
  }

  @Override
  public Map<String, Object> report() {
    Map<String, Object> report = new LinkedHashMap<>();
    figures.forEach(
        (kind, of) -> {
          Map<String, Object> entry = new LinkedHashMap<>();
          entry.put("count", of.count.sum());
          entry.put("bytes", of.bytes.sum());
          entry.put("failures", of.failures.sum());
          entry.put("latencyP50Nanos", of.latency.percentileNanos(0.5));
          entry.put("latencyP99Nanos", of.latency.percentileNanos(0.99));
          entry.put("latencyP999Nanos", of.latency.percentileNanos(0.999));
          entry.put("latencyMaxNanos", of.latency.percentileNanos(1));
          report.put(kind.name().toLowerCase(Locale.ROOT), entry);
        });
    return report;
  }
}
