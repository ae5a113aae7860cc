package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Extents;
import java.nio.ByteBuffer;

/** An uncompressed sparse extent, for reading. */
final class SparseExtent extends ReadOnlyLink {
  private static final int CACHE_LIMIT_TABLES = 4096;

  private final ExtentFile file;
  private final SparseReader reader;

  /** Takes over {@code file}. */
  SparseExtent(ExtentFile file, SparseExtentHeader header) throws BlockException {
    super(header.capacityBytes(), header.grainBytes());
    this.file = file;
    long fileBytes = file.sizeBytes();
    GrainTables tables =
        new GrainTables(
            file,
            header,
            GrainTables.directoryInFile(file, header, fileBytes),
            Math.ceilDiv(fileBytes, SparseExtentHeader.SECTOR_BYTES),
            CACHE_LIMIT_TABLES);
    this.reader = new SparseReader(file, tables);
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
