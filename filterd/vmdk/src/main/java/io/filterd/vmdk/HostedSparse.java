package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;

/** Chooses the mapping of a hosted sparse extent ("KDMV") that is open for reading. */
final class HostedSparse {
  private static final int CACHE_LIMIT_TABLES = 4096;

  private HostedSparse() {}

  /**
   * Opens the mapping of an extent whose header is checked; takes over {@code file}.
   *
   * @param warnings is told what is missing of a stream, if that does not keep it from being read
   */
  static BlockDevice open(ExtentFile file, SparseExtentHeader header, List<String> warnings)
      throws FormatException, BlockException {
    if (header.isCompressed()) {
      return new StreamExtent(file, header, grainsOfStream(file, header, warnings));
    }
    long fileBytes = file.sizeBytes();
    GrainTables tables =
        new GrainTables(
            file,
            header,
            GrainTables.directoryInFile(file, header, fileBytes),
            Math.ceilDiv(fileBytes, SECTOR_BYTES),
            CACHE_LIMIT_TABLES);
    return new SparseExtent(file, tables, header.capacityBytes(), header.grainBytes());
  }

  private static GrainMap grainsOfStream(
      ExtentFile file, SparseExtentHeader header, List<String> warnings)
      throws FormatException, BlockException {
    long fileBytes = file.sizeBytes();
    long fileSectors = fileBytes / SECTOR_BYTES;
    if (header.directoryOffset() != SparseExtentHeader.DIRECTORY_AT_END
        && header.directoryOffset() <= fileSectors - header.directorySectors()) {
      // Even if there is a footer: what stands there may also be the end of a guest's grain.
      return StreamTables.open(file, header, warnings);
    }
    if (header.directoryOffset() == SparseExtentHeader.DIRECTORY_AT_END) {
      // Footer marker, footer, end-of-stream marker: a sector each.
      long footerSector = fileSectors - 2;
      if (isFooter(file, footerSector)) {
        return withFooter(file, header, footerSector);
      }
    }
    StreamScan scan = StreamScan.read(file, header);
    if (header.directoryOffset() == SparseExtentHeader.DIRECTORY_AT_END
        && isFooter(file, scan.footerSector())) {
      long end = scan.endBytes() + SECTOR_BYTES;
      if (end < fileBytes) {
        warnings.add(
            "%s: its stream ends at byte %d; the %d bytes behind it are ignored"
                .formatted(file.name(), end, fileBytes - end));
      }
      return withFooter(file, header, scan.footerSector());
    }
    if (scan.count() == 0) {
      throw new FormatException(
          file.name(),
          scan.endBytes(),
          "footer",
          "none, and no grain from sector " + header.overheadSectors() + " on",
          "grains, and at the end the place of their directory");
    }
    warnings.add(scan.summary());
    return scan.grains();
  }

  /** Whether a footer stands at a sector, behind its marker. */
  private static boolean isFooter(ExtentFile file, long sector)
      throws FormatException, BlockException {
    if (sector < 1 || sector >= file.sizeBytes() / SECTOR_BYTES) {
      return false;
    }
    ByteBuffer marker =
        ExtentFiles.sector(file, (sector - 1) * SECTOR_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    ByteBuffer footer =
        ExtentFiles.sector(file, sector * SECTOR_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    return marker.getInt(8) == 0
        && marker.getInt(12) == StreamScan.FOOTER
        && footer.getInt(0) == SparseExtentHeader.MAGIC;
  }

  private static GrainMap withFooter(ExtentFile file, SparseExtentHeader header, long sector)
      throws FormatException, BlockException {
    long at = sector * SECTOR_BYTES;
    SparseExtentHeader footer =
        SparseExtentHeader.parse(file.name(), at, ExtentFiles.sector(file, at));
    footer.checkFits(file.name(), at, file.sizeBytes());
    if (!footer.isCompressed()
        || footer.directoryOffset() == SparseExtentHeader.DIRECTORY_AT_END
        || footer.directoryOffset() > sector - footer.directorySectors()
        || footer.capacitySectors() != header.capacitySectors()
        || footer.grainSectors() != header.grainSectors()) {
      throw new FormatException(
          file.name(), at, "footer", "other than the header", "the header with its directory");
    }
    return StreamTables.whole(file, footer, file.sizeBytes());
  }
}
