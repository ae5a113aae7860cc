package io.filterd.nbd;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Completion;
import io.filterd.block.DeviceInfo;
import io.filterd.block.Durability;
import io.filterd.block.Extents;
import io.filterd.block.IoFilter;
import io.filterd.block.MemoryDevice;
import io.filterd.block.ZeroMode;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/** Loses at a crash what was neither written durably nor flushed. Takes writes and reads only. */
final class LosingDevice extends IoFilter {
  private record Change(long offset, ByteBuffer data) {}

  private final MemoryDevice stable;
  private final List<Change> unflushed = new ArrayList<>();

  LosingDevice(long sizeBytes) {
    super(new MemoryDevice(sizeBytes));
    this.stable = new MemoryDevice(sizeBytes);
  }

  /** What there is after a crash now. */
  MemoryDevice afterCrash() {
    return stable;
  }

  @Override
  public DeviceInfo info() {
    return below.info();
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
    return below.read(offset, target, blocking);
  }

  @Override
  public synchronized Completion write(
      long offset, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    ByteBuffer copy = ByteBuffer.allocateDirect(source.remaining()).put(source.duplicate()).flip();
    below.write(offset, source, Durability.BUFFERED, Blocking.ALLOWED);
    if (durability == Durability.DURABLE) {
      stable.write(offset, copy, Durability.BUFFERED, Blocking.ALLOWED);
    } else {
      unflushed.add(new Change(offset, copy));
    }
    return Completion.DONE;
  }

  @Override
  public Completion zero(
      long offset, long length, ZeroMode mode, Durability durability, Blocking blocking) {
    throw new UnsupportedOperationException("zero");
  }

  @Override
  public Completion trim(long offset, long length, Durability durability, Blocking blocking) {
    throw new UnsupportedOperationException("trim");
  }

  @Override
  public synchronized Completion flush(Blocking blocking) throws BlockException {
    if (blocking == Blocking.FORBIDDEN) {
      return Completion.WOULD_BLOCK;
    }
    for (Change change : unflushed) {
      stable.write(change.offset(), change.data(), Durability.BUFFERED, Blocking.ALLOWED);
    }
    unflushed.clear();
    return Completion.DONE;
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
    return below.extents(offset, length, blocking);
  }
}
