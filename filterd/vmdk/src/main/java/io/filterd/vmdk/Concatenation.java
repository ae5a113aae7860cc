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
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The extents of a disk, laid end to end. A request is passed on to the extents that it touches,
 * one after the other: what fails in one of them may be done in others. Some extents may be read
 * only; a change that touches such a one is refused whole.
 */
final class Concatenation implements BlockDevice {
  /** What is open beside the extents, and closed after them. */
  @FunctionalInterface
  interface Rest {
    void close() throws BlockException;
  }

  private final List<BlockDevice> extents;
  private final long[] ends;
  private final Rest rest;
  private final DeviceInfo info;
  private boolean closed;

  /** Takes over the extents, and what is to be closed after them. */
  Concatenation(List<BlockDevice> extents, Rest rest) {
    this.extents = List.copyOf(extents);
    this.rest = rest;
    this.ends = new long[extents.size()];
    long end = 0;
    for (int i = 0; i < ends.length; i++) {
      end += extents.get(i).info().sizeBytes();
      ends[i] = end;
    }
    this.info = describe();
  }

  private DeviceInfo describe() {
    int unitBytes =
        extents.stream().mapToInt(e -> e.info().allocationUnitBytes()).max().orElseThrow();
    boolean aligned = true;
    for (int i = 0; i < ends.length - 1; i++) {
      aligned &= ends[i] % unitBytes == 0;
    }
    Set<Capability> capabilities = EnumSet.noneOf(Capability.class);
    for (Capability capability : Capability.values()) {
      boolean has =
          switch (capability) {
            // Units that don't line up with those of the extents are never whole.
            case TRACKS_ZEROS -> aligned && allCan(capability, extents.stream());
            case MARKS_ZEROS ->
                aligned
                    && writable().findAny().isPresent()
                    && allCan(Capability.TRACKS_ZEROS, extents.stream())
                    && allCan(capability, writable());
            case MULTIPLE_CONNECTIONS -> allCan(capability, extents.stream());
            case WRITE, FLUSH, ROTATIONAL -> anyCan(capability);
            case DURABLE_WRITE, TRIM, ZERO, FAST_ZERO, PARTIAL_ALLOCATION ->
                writable().findAny().isPresent() && allCan(capability, writable());
          };
      if (has) {
        capabilities.add(capability);
      }
    }
    return new DeviceInfo(
        ends[ends.length - 1],
        new BlockSizes(SparseExtentHeader.SECTOR_BYTES, 4096, 32 << 20),
        aligned ? unitBytes : 4096,
        capabilities);
  }

  private Stream<BlockDevice> writable() {
    return extents.stream().filter(extent -> extent.info().can(Capability.WRITE));
  }

  private static boolean allCan(Capability capability, Stream<BlockDevice> extents) {
    return extents.allMatch(extent -> extent.info().can(capability));
  }

  private boolean anyCan(Capability capability) {
    return extents.stream().anyMatch(extent -> extent.info().can(capability));
  }

  @Override
  public DeviceInfo info() {
    return info;
  }

  /** The extent that holds the byte at {@code offset}. */
  private int indexOf(long offset) {
    int found = Arrays.binarySearch(ends, offset);
    return found < 0 ? -found - 1 : found + 1;
  }

  private long startOf(int index) {
    return index == 0 ? 0 : ends[index - 1];
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
    int start = target.position();
    int limit = target.limit();
    long end = offset + target.remaining();
    Extents.Builder parts = new Extents.Builder();
    boolean done = false;
    try {
      for (long at = offset; at < end; ) {
        int index = indexOf(at);
        int bytes = (int) (Math.min(ends[index], end) - at);
        target.limit(target.position() + bytes);
        Extents piece = extents.get(index).read(at - startOf(index), target, blocking);
        target.limit(limit);
        if (piece == Extents.WOULD_BLOCK) {
          return piece;
        }
        if (bytes == limit - start) {
          done = true;
          return piece;
        }
        for (int i = 0; i < piece.count(); i++) {
          parts.add(piece.lengthBytes(i, bytes), piece.kind(i));
        }
        at += bytes;
      }
      done = true;
      return parts.build();
    } finally {
      target.limit(limit).position(done ? limit : start);
    }
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
    int index = indexOf(offset);
    long bytes = Math.min(ends[index], offset + length) - offset;
    Extents piece = extents.get(index).extents(offset - startOf(index), bytes, blocking);
    if (piece == Extents.WOULD_BLOCK || bytes == length) {
      return piece;
    }
    Extents.Builder parts = new Extents.Builder();
    for (int i = 0; i < piece.count(); i++) {
      parts.add(piece.lengthBytes(i, bytes), piece.kind(i));
    }
    return parts.build();
  }

  /** Makes a change of one extent, or of a part of it. */
  @FunctionalInterface
  private interface Change {
    Completion make(BlockDevice extent, long offset, long length) throws BlockException;
  }

  /** Refuses a change of a range that touches an extent which takes none. */
  private void checkWritable(int first, int last) throws BlockException {
    for (int i = first; i <= last; i++) {
      if (!extents.get(i).info().can(Capability.WRITE)) {
        throw new BlockException(
            Reason.READ_ONLY,
            "bytes %d to %d of the disk are an extent that takes no writes"
                .formatted(startOf(i), ends[i] - 1));
      }
    }
  }

  /** Makes a change of all extents in a range, from its start to its end. */
  private Completion change(long offset, long length, Blocking blocking, Change change)
      throws BlockException {
    long end = offset + length;
    int first = indexOf(offset);
    int last = indexOf(end - 1);
    checkWritable(first, last);
    if (first == last) {
      return change.make(extents.get(first), offset - startOf(first), length);
    }
    if (blocking == Blocking.FORBIDDEN) {
      return Completion.WOULD_BLOCK; // A second piece could not take back the first.
    }
    for (int i = first; i <= last; i++) {
      long from = Math.max(offset, startOf(i));
      change.make(extents.get(i), from - startOf(i), Math.min(end, ends[i]) - from);
    }
    return Completion.DONE;
  }

  @Override
  public Completion write(long offset, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    int start = source.position();
    int limit = source.limit();
    long end = offset + source.remaining();
    int first = indexOf(offset);
    int last = indexOf(end - 1);
    checkWritable(first, last);
    if (first == last) {
      return extents.get(first).write(offset - startOf(first), source, durability, blocking);
    }
    if (blocking == Blocking.FORBIDDEN) {
      return Completion.WOULD_BLOCK;
    }
    boolean stored = false;
    try {
      for (int i = first; i <= last; i++) {
        long from = Math.max(offset, startOf(i));
        source.limit((int) (start + (Math.min(end, ends[i]) - offset)));
        extents.get(i).write(from - startOf(i), source, durability, blocking);
      }
      stored = true;
      return Completion.DONE;
    } finally {
      source.limit(limit).position(stored ? limit : start);
    }
  }

  @Override
  public Completion zero(
      long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
      throws BlockException {
    if (mode.fast()
        && !info.can(Capability.FAST_ZERO)
        && indexOf(offset) != indexOf(offset + length - 1)) {
      // The second of two extents could refuse when the first is zeros already.
      throw new BlockException(
          Reason.NOT_SUPPORTED, "zeroing across extents is not always faster than writing");
    }
    return change(
        offset,
        length,
        blocking,
        (extent, from, count) -> extent.zero(from, count, mode, durability, blocking));
  }

  @Override
  public Completion trim(long offset, long length, Durability durability, Blocking blocking)
      throws BlockException {
    return change(
        offset,
        length,
        blocking,
        (extent, from, count) -> extent.trim(from, count, durability, blocking));
  }

  @Override
  public Completion flush(Blocking blocking) throws BlockException {
    Completion all = Completion.DONE;
    BlockException failure = null;
    for (BlockDevice extent : extents) {
      try {
        if (extent.flush(blocking) == Completion.WOULD_BLOCK) {
          all = Completion.WOULD_BLOCK;
        }
      } catch (BlockException flushing) {
        failure = joined(failure, flushing); // It is no reason to leave the others.
      }
    }
    if (failure != null) {
      throw failure;
    }
    return all;
  }

  private static BlockException joined(@Nullable BlockException first, BlockException next) {
    if (first == null) {
      return next;
    }
    first.addSuppressed(next);
    return first;
  }

  @Override
  public synchronized void close() throws BlockException {
    if (closed) {
      return;
    }
    closed = true;
    BlockException failure = null;
    for (BlockDevice extent : extents) {
      try {
        extent.close();
      } catch (BlockException closing) {
        failure = joined(failure, closing);
      }
    }
    try {
      rest.close();
    } catch (BlockException closing) {
      failure = joined(failure, closing);
    }
    if (failure != null) {
      throw failure;
    }
  }
}
