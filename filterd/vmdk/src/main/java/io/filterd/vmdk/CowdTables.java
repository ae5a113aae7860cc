package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;

/** The grain tables of a sparse extent of ESX ("COWD", VMFSSPARSE), for reading. */
final class CowdTables implements GrainMap {
  /** 16 MiB of tables: with the usual grains, those of 2 GiB. */
  private static final int CACHE_LIMIT_TABLES = 1024;

  private static final long ZERO_ENTRY = 1;

  private final ExtentFile file;
  private final CowdHeader header;
  private final TableCache tables;
  private final long endSector;
  private final int grainShift;

  /** Guarded by the cache, which asks for one place at a time. */
  private final ByteBuffer entry =
      ByteBuffer.allocateDirect(Integer.BYTES).order(ByteOrder.LITTLE_ENDIAN);

  private CowdTables(ExtentFile file, CowdHeader header, long fileBytes) {
    this.file = file;
    this.header = header;
    this.endSector = Math.ceilDiv(fileBytes, SECTOR_BYTES);
    this.grainShift = Integer.numberOfTrailingZeros(header.grainSectors() * SECTOR_BYTES);
    this.tables = new TableCache(file, this::tableAt, CowdHeader.TABLE_BYTES, CACHE_LIMIT_TABLES);
  }

  /**
   * Opens the extent; takes over {@code file}.
   *
   * @param sectors the size that the descriptor gives it
   * @param warnings is told what is not right, but does not keep the extent from being read
   */
  static BlockDevice open(ExtentFile file, long sectors, List<String> warnings)
      throws FormatException, BlockException {
    long fileBytes = file.sizeBytes();
    CowdHeader header =
        CowdHeader.parse(file.name(), ExtentFiles.head(file, CowdHeader.SIZE_BYTES), fileBytes);
    if (header.capacitySectors() != sectors) {
      throw new FormatException(
          file.name(),
          12,
          "numSectors",
          Long.toString(header.capacitySectors()),
          sectors + ", as the descriptor says");
    }
    if (header.uncleanShutdown()) {
      warnings.add(
          file.name()
              + ": was not closed by who wrote it last: what it wrote at the end may be missing");
    }
    return new SparseExtent(
        file,
        new CowdTables(file, header, fileBytes),
        sectors * SECTOR_BYTES,
        header.grainSectors() * SECTOR_BYTES);
  }

  @Override
  public long locate(long offset, Blocking blocking) throws BlockException {
    long grain = offset >>> grainShift;
    int index = (int) (grain / CowdHeader.ENTRIES_PER_TABLE);
    int slot = (int) (grain % CowdHeader.ENTRIES_PER_TABLE);
    ByteBuffer table = tables.table(index, blocking);
    if (table == null) {
      return WOULD_BLOCK;
    }
    long sector = Integer.toUnsignedLong(table.getInt(slot * Integer.BYTES));
    if (sector == 0) {
      return ABSENT;
    }
    if (sector == ZERO_ENTRY) {
      return ZERO;
    }
    if (sector < header.firstSector() || sector >= endSector) {
      throw bad(
          entryAt(index, slot), "entry of grain " + grain, sector, header.firstSector(), endSector);
    }
    return sector * SECTOR_BYTES + (offset & ((1L << grainShift) - 1));
  }

  private synchronized long entryAt(int index, int slot) throws BlockException {
    return tableAt(index) + (long) slot * Integer.BYTES;
  }

  private synchronized long tableAt(int index) throws BlockException {
    long at = header.directoryOffset() * SECTOR_BYTES + (long) index * Integer.BYTES;
    file.read(at, entry.clear(), Blocking.ALLOWED);
    long sector = Integer.toUnsignedLong(entry.getInt(0));
    long end = endSector - CowdHeader.TABLE_BYTES / SECTOR_BYTES + 1;
    if (sector != 0 && (sector < header.firstSector() || sector >= end)) {
      throw bad(at, "grain directory entry " + index, sector, header.firstSector(), end);
    }
    return sector * SECTOR_BYTES;
  }

  private BlockException bad(long at, String field, long sector, long first, long end) {
    return new FormatException(
            file.name(), at, field, "sector " + sector, "in %d..%d".formatted(first, end - 1))
        .asDamage();
  }

  @Override
  public long restOfGrain(long offset) {
    long grainBytes = 1L << grainShift;
    return grainBytes - (offset & (grainBytes - 1));
  }
}
