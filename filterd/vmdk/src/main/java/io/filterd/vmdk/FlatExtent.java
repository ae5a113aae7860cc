package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.ExtentKind;
import io.filterd.block.Extents;
import java.nio.ByteBuffer;

/**
 * A flat extent, for reading: the bytes of a file from an offset on. Holes of the file are extents
 * of zeros, but a read can't tell them from data.
 */
final class FlatExtent extends ReadOnlyLink {
  /** One answer about extents has no more parts than this. */
  private static final int EXTENT_PARTS_LIMIT = 512;

  private final ExtentFile file;
  private final long start;

  /** Takes over {@code file}. */
  FlatExtent(ExtentFile file, long start, long sizeBytes) {
    super(sizeBytes);
    this.file = file;
    this.start = start;
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
    return file.read(start + offset, target, blocking) ? Extents.ALL_DATA : Extents.WOULD_BLOCK;
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
    return extents(file, start + offset, length, blocking);
  }

  /** What a range of a file is made of. */
  static Extents extents(ExtentFile file, long position, long length, Blocking blocking)
      throws BlockException {
    if (blocking == Blocking.FORBIDDEN) {
      return Extents.WOULD_BLOCK;
    }
    long end = position + length;
    Extents.Builder parts = new Extents.Builder();
    for (long at = position; at < end && parts.count() < EXTENT_PARTS_LIMIT; ) {
      // The file may change in between: no answer is taken to be in order.
      long data = Math.clamp(file.nextData(at, end), at, end);
      parts.add(data - at, ExtentKind.ZERO);
      long hole = data < end ? Math.clamp(file.nextHole(data, end), data + 1, end) : end;
      parts.add(hole - data, ExtentKind.DATA);
      at = hole;
    }
    Extents extents = parts.build();
    return extents.count() == 1 && parts.totalBytes() == length
        ? Extents.all(extents.kind(0))
        : extents;
  }

  @Override
  public void close() throws BlockException {
    file.close();
  }
}
