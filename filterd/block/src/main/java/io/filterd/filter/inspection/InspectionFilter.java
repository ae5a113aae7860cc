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
import io.filterd.filter.inspection.OperationFigures.Outcome;
import java.nio.ByteBuffer;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.LongSupplier;

/**
 * Counts operations, bytes and failures, and times what passes. A try that would block is not an
 * operation: only the call that finishes is counted and timed, so a time does not hold what passed
 * between a client's first try and that call. What failed is counted, not timed.
 */
final class InspectionFilter extends IoFilter implements Reporting {
  private final LongSupplier nanoTime;
  private final OperationFigures reads = new OperationFigures();
  private final OperationFigures writes = new OperationFigures();
  private final OperationFigures zeros = new OperationFigures();
  private final OperationFigures trims = new OperationFigures();
  private final OperationFigures flushes = new OperationFigures();
  private final OperationFigures extents = new OperationFigures();

  /** Inspects {@code below}, which it takes over. */
  InspectionFilter(BlockDevice below, LongSupplier nanoTime) {
    super(below);
    this.nanoTime = nanoTime;
  }

  @Override
  public DeviceInfo info() {
    return below.info();
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
    long length = target.remaining();
    long start = start(reads);
    Outcome outcome = Outcome.FAILED;
    try {
      Extents parts = below.read(offset, target, blocking);
      outcome = outcome(parts);
      return parts;
    } finally {
      reads.ended(outcome, length, nanoTime.getAsLong() - start);
    }
  }

  @Override
  public Completion write(long offset, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    long length = source.remaining();
    long start = start(writes);
    Outcome outcome = Outcome.FAILED;
    try {
      Completion completion = below.write(offset, source, durability, blocking);
      outcome = outcome(completion);
      return completion;
    } finally {
      writes.ended(outcome, length, nanoTime.getAsLong() - start);
    }
  }

  @Override
  public Completion zero(
      long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
      throws BlockException {
    long start = start(zeros);
    Outcome outcome = Outcome.FAILED;
    try {
      Completion completion = below.zero(offset, length, mode, durability, blocking);
      outcome = outcome(completion);
      return completion;
    } finally {
      zeros.ended(outcome, length, nanoTime.getAsLong() - start);
    }
  }

  @Override
  public Completion trim(long offset, long length, Durability durability, Blocking blocking)
      throws BlockException {
    long start = start(trims);
    Outcome outcome = Outcome.FAILED;
    try {
      Completion completion = below.trim(offset, length, durability, blocking);
      outcome = outcome(completion);
      return completion;
    } finally {
      trims.ended(outcome, length, nanoTime.getAsLong() - start);
    }
  }

  @Override
  public Completion flush(Blocking blocking) throws BlockException {
    long start = start(flushes);
    Outcome outcome = Outcome.FAILED;
    try {
      Completion completion = below.flush(blocking);
      outcome = outcome(completion);
      return completion;
    } finally {
      flushes.ended(outcome, 0, nanoTime.getAsLong() - start);
    }
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
    long start = start(extents);
    long described = 0;
    Outcome outcome = Outcome.FAILED;
    try {
      Extents parts = below.extents(offset, length, blocking);
      outcome = outcome(parts);
      described = parts.totalBytes(length);
      return parts;
    } finally {
      extents.ended(outcome, described, nanoTime.getAsLong() - start);
    }
  }

  private long start(OperationFigures figures) {
    figures.started();
    return nanoTime.getAsLong();
  }

  private static Outcome outcome(Extents parts) {
    return parts == Extents.WOULD_BLOCK ? Outcome.WOULD_BLOCK : Outcome.DONE;
  }

  private static Outcome outcome(Completion completion) {
    return switch (completion) {
      case DONE -> Outcome.DONE;
      case WOULD_BLOCK -> Outcome.WOULD_BLOCK;
    };
  }

  /** For each operation its count, bytes, failures, how many are in flight, and latencies. */
  @Override
  public Map<String, Object> report() {
    Map<String, Object> report = new LinkedHashMap<>();
    report.put("read", reads.report());
    report.put("write", writes.report());
    report.put("zero", zeros.report());
    report.put("trim", trims.report());
    report.put("flush", flushes.report());
    report.put("extents", extents.report());
    return report;
  }
}
