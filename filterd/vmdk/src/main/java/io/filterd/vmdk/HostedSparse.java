package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;

/** Chooses the mapping of a hosted sparse extent ("KDMV") that is open for reading. */
final class HostedSparse {
  private static final int CACHE_LIMIT_TABLES = 4096;

  private HostedSparse() {}

  /** Opens the mapping of an extent whose header is checked; takes over {@code file}. */
  static BlockDevice open(ExtentFile file, SparseExtentHeader header)
      throws FormatException, BlockException {
    if (!header.isCompressed()) {
      return new SparseExtent(
          file, tables(file, header), header.capacityBytes(), header.grainBytes());
    }
    SparseExtentHeader effective = header;
    if (header.directoryOffset() == SparseExtentHeader.DIRECTORY_AT_END) {
      // Footer marker, footer, end-of-stream marker: a sector each.
      long at = file.sizeBytes() / SECTOR_BYTES * SECTOR_BYTES - 2L * SECTOR_BYTES;
      effective =
          SparseExtentHeader.parse(file.name(), at, ExtentFiles.sector(file, Math.max(0, at)));
      effective.checkFits(file.name(), at, file.sizeBytes());
      if (effective.directoryOffset() == SparseExtentHeader.DIRECTORY_AT_END
          || effective.capacitySectors() != header.capacitySectors()
          || effective.grainSectors() != header.grainSectors()) {
        throw new FormatException(
            file.name(), at, "footer", "other than the header", "the header with its directory");
      }
    }
    return new StreamExtent(file, effective);
  }

  private static GrainTables tables(ExtentFile file, SparseExtentHeader header)
      throws BlockException {
    long fileBytes = file.sizeBytes();
    return new GrainTables(
        file,
        header,
        GrainTables.directoryInFile(file, header, fileBytes),
        Math.ceilDiv(fileBytes, SECTOR_BYTES),
        CACHE_LIMIT_TABLES);
  }
}
