package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Extents;
import java.nio.ByteBuffer;

/** An extent of uncompressed grains, for reading. */
final class SparseExtent extends ReadOnlyLink {
  private final ExtentFile file;
  private final SparseReader reader;

  /** Takes over {@code file}. */
  SparseExtent(ExtentFile file, GrainMap grains, long sizeBytes, int grainBytes) {
    super(sizeBytes, grainBytes);
    this.file = file;
    this.reader = new SparseReader(file, grains);
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
    return reader.read(offset, target, blocking);
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
    return reader.extents(offset, length, blocking);
  }

  @Override
  public void close() throws BlockException {
    file.close();
  }
}
