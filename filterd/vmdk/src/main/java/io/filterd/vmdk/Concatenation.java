package io.filterd.vmdk;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Extents;
import java.nio.ByteBuffer;
import java.util.List;

/** The extents of a disk, laid end to end, for reading. */
final class Concatenation extends ReadOnlyLink {
  private final List<BlockDevice> extents;
  private final long[] ends;

  /** Takes over the extents. */
  Concatenation(List<BlockDevice> extents) {
    super(extents.stream().mapToLong(extent -> extent.info().sizeBytes()).sum());
    this.extents = List.copyOf(extents);
    this.ends = new long[extents.size()];
    long end = 0;
    for (int i = 0; i < ends.length; i++) {
      end += extents.get(i).info().sizeBytes();
      ends[i] = end;
    }
  }

  private int indexOf(long offset) {
    int index = 0;
    while (ends[index] <= offset) {
      index++;
    }
    return index;
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

  @Override
  public void close() throws BlockException {
    BlockException failure = null;
    for (BlockDevice extent : extents) {
      try {
        extent.close();
      } catch (BlockException closing) {
        if (failure == null) {
          failure = closing;
        } else {
          failure.addSuppressed(closing);
        }
      }
    }
    if (failure != null) {
      throw failure;
    }
  }
}
