package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Extents;
import java.nio.ByteBuffer;

/** A flat extent, for reading: the bytes of a file from an offset on. */
final class FlatExtent extends ReadOnlyLink {
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
  public Extents extents(long offset, long length, Blocking blocking) {
    return Extents.ALL_DATA;
  }

  @Override
  public void close() throws BlockException {
    file.close();
  }
}
