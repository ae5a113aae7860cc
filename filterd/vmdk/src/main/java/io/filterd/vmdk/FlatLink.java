package io.filterd.vmdk;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.BlockSizes;
import io.filterd.block.Blocking;
import io.filterd.block.Capability;
import io.filterd.block.Completion;
import io.filterd.block.DeviceInfo;
import io.filterd.block.Durability;
import io.filterd.block.Extents;
import io.filterd.block.ZeroMode;
import java.nio.ByteBuffer;
import java.util.Set;
import java.util.concurrent.atomic.AtomicLong;

/**
 * A flat extent, open for writing: the bytes of a file from an offset on. Zeros and trims make
 * holes where the file system can, and holes are extents of zeros; but a read can't tell them from
 * data.
 */
final class FlatLink implements BlockDevice {
  private static final int UNIT_BYTES = 4096;

  private final ExtentFile file;
  private final long start;
  private final TextDescriptor descriptor;
  private final DeviceInfo info;

  /** Counts completed changes. */
  private final AtomicLong changes = new AtomicLong();

  /** So many of the changes are durable. */
  private final AtomicLong durableChanges = new AtomicLong();

  /** Whether the disk has a new content id since it was opened. */
  private volatile boolean changing;

  private boolean closed;

  /**
   * An extent that is wholly inside of its file.
   *
   * @param file the locked file; taken over
   * @param start where the extent begins in the file, in bytes
   */
  FlatLink(ExtentFile file, long start, long sizeBytes, TextDescriptor descriptor) {
    this.file = file;
    this.start = start;
    this.descriptor = descriptor;
    this.info =
        new DeviceInfo(
            sizeBytes,
            new BlockSizes(SparseExtentHeader.SECTOR_BYTES, UNIT_BYTES, 32 << 20),
            UNIT_BYTES,
            Set.of(
                Capability.WRITE,
                Capability.FLUSH,
                Capability.TRIM,
                Capability.ZERO,
                Capability.PARTIAL_ALLOCATION,
                Capability.MULTIPLE_CONNECTIONS));
  }

  @Override
  public DeviceInfo info() {
    return info;
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
    return file.read(start + offset, target, blocking) ? Extents.ALL_DATA : Extents.WOULD_BLOCK;
  }

  @Override
  public Completion write(long offset, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    if (blocking == Blocking.FORBIDDEN && (durability == Durability.DURABLE || !changing)) {
      return Completion.WOULD_BLOCK;
    }
    beginChanges();
    if (!file.write(start + offset, source, blocking)) {
      return Completion.WOULD_BLOCK;
    }
    finishChange(durability);
    return Completion.DONE;
  }

  private void beginChanges() throws BlockException {
    if (!changing) {
      descriptor.beginChanges();
      changing = true;
    }
  }

  private void finishChange(Durability durability) throws BlockException {
    changes.incrementAndGet();
    if (durability == Durability.DURABLE) {
      sync();
    }
  }

  private void sync() throws BlockException {
    long covered = changes.get();
    file.sync();
    durableChanges.accumulateAndGet(covered, Math::max);
  }

  @Override
  public Completion zero(
      long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
      throws BlockException {
    if (mode == ZeroMode.FAST_ALLOCATE) {
      throw slow();
    }
    if (blocking == Blocking.FORBIDDEN) {
      return Completion.WOULD_BLOCK;
    }
    beginChanges();
    if (mode.allocates()) {
      file.allocateZeros(start + offset, length);
    } else if (!file.punchHole(start + offset, length)) {
      if (mode.fast()) {
        throw slow();
      }
      Zeros.write(file, start + offset, length);
    }
    finishChange(durability);
    return Completion.DONE;
  }

  private BlockException slow() {
    return new BlockException(
        Reason.NOT_SUPPORTED, file.name() + ": zeroing here may mean to write the zeros");
  }

  @Override
  public Completion trim(long offset, long length, Durability durability, Blocking blocking)
      throws BlockException {
    return zero(offset, length, ZeroMode.MAY_DEALLOCATE, durability, blocking);
  }

  @Override
  public Completion flush(Blocking blocking) throws BlockException {
    if (durableChanges.get() >= changes.get()) {
      return Completion.DONE;
    }
    if (blocking == Blocking.FORBIDDEN) {
      return Completion.WOULD_BLOCK;
    }
    sync();
    return Completion.DONE;
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
    return FlatExtent.extents(file, start + offset, length, blocking);
  }

  /** Syncs, and releases the file; it is released in any case. */
  @Override
  public synchronized void close() throws BlockException {
    if (closed) {
      return;
    }
    closed = true;
    try (file) {
      flush(Blocking.ALLOWED);
    }
  }
}
