package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** The grain tables of a space-efficient sparse extent of ESX (SESPARSE), for reading. */
final class SeSparseTables implements GrainMap {
  /** 16 MiB of tables: those of 8 GiB. */
  private static final int CACHE_LIMIT_TABLES = 512;

  private static final int GRAIN_BYTES = SeSparseHeader.GRAIN_SECTORS * SECTOR_BYTES;
  private static final int GRAIN_SHIFT = Integer.numberOfTrailingZeros(GRAIN_BYTES);

  /** The upper half of a directory entry that names a table; the lower half is its number. */
  private static final int TABLE_IS_THERE = 0x1000_0000;

  // The kinds of a table entry: its top four bits.
  private static final int UNALLOCATED = 0;
  private static final int UNMAPPED = 1;
  private static final int ZERO_GRAIN = 2;
  private static final int ALLOCATED = 3;

  private final ExtentFile file;
  private final SeSparseHeader header;
  private final TableCache tables;

  /** Grains with this number or a higher one are not in the file. */
  private final long grainLimit;

  /** Guarded by this. */
  private final ByteBuffer entry =
      ByteBuffer.allocateDirect(Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);

  private SeSparseTables(ExtentFile file, SeSparseHeader header, long fileBytes) {
    this.file = file;
    this.header = header;
    this.grainLimit =
        Math.ceilDiv(fileBytes - header.grainsOffset() * SECTOR_BYTES, (long) GRAIN_BYTES);
    this.tables =
        new TableCache(file, this::tableAt, SeSparseHeader.TABLE_BYTES, CACHE_LIMIT_TABLES);
  }

  /**
   * Opens the extent; takes over {@code file}.
   *
   * @param sectors the size that the descriptor gives it
   */
  static BlockDevice open(ExtentFile file, long sectors) throws FormatException, BlockException {
    long fileBytes = file.sizeBytes();
    ByteBuffer bytes = ExtentFiles.sector(file, 0);
    SeSparseHeader header = SeSparseHeader.parse(file.name(), bytes, fileBytes);
    if (header.capacitySectors() != sectors) {
      throw new FormatException(
          file.name(),
          16,
          "capacity",
          header.capacitySectors() + " sectors",
          sectors + ", as the descriptor says");
    }
    long volatileAt = SeSparseHeader.volatileOffset(file.name(), bytes, fileBytes) * SECTOR_BYTES;
    SeSparseHeader.checkClean(file.name(), volatileAt, ExtentFiles.sector(file, volatileAt));
    return new SparseExtent(
        file, new SeSparseTables(file, header, fileBytes), sectors * SECTOR_BYTES, GRAIN_BYTES);
  }

  @Override
  public long locate(long offset, Blocking blocking) throws BlockException {
    long grain = offset >>> GRAIN_SHIFT;
    int index = (int) (grain / SeSparseHeader.ENTRIES_PER_TABLE);
    int slot = (int) (grain % SeSparseHeader.ENTRIES_PER_TABLE);
    ByteBuffer table = tables.table(index, blocking);
    if (table == null) {
      return WOULD_BLOCK;
    }
    long value = table.getLong(slot * Long.BYTES);
    switch ((int) (value >>> 60)) {
      case UNALLOCATED -> {
        if (value == 0) {
          return ABSENT;
        }
      }
      case UNMAPPED, ZERO_GRAIN -> {
        return ZERO;
      }
      case ALLOCATED -> {
        long number = (value >>> 48 & 0xfff) | (value & 0xffff_ffff_ffffL) << 12;
        if (number < grainLimit) {
          return (header.grainsOffset() + number * SeSparseHeader.GRAIN_SECTORS) * SECTOR_BYTES
              + (offset & (GRAIN_BYTES - 1));
        }
      }
      default -> {}
    }
    throw bad(
        entryAt(index, slot),
        "entry of grain " + grain,
        value,
        "0, or of kind 1 or 2, or of kind 3 and a grain below " + grainLimit);
  }

  private synchronized long entryAt(int index, int slot) throws BlockException {
    return tableAt(index) + (long) slot * Long.BYTES;
  }

  private synchronized long tableAt(int index) throws BlockException {
    long at = header.directoryOffset() * SECTOR_BYTES + (long) index * Long.BYTES;
    file.read(at, entry.clear(), Blocking.ALLOWED);
    long value = entry.getLong(0);
    if (value == 0) {
      return 0;
    }
    long number = value & 0xffff_ffffL;
    if (value >>> 32 != TABLE_IS_THERE || number >= header.tableCount()) {
      throw bad(
          at,
          "grain directory entry " + index,
          value,
          "0, or 0x1000000000000000 and a table below " + header.tableCount());
    }
    return (header.tablesOffset() + number * SeSparseHeader.TABLE_SECTORS) * SECTOR_BYTES;
  }

  private BlockException bad(long at, String field, long value, String expected) {
    return new FormatException(file.name(), at, field, "0x%016x".formatted(value), expected)
        .asDamage();
  }

  @Override
  public long restOfGrain(long offset) {
    return GRAIN_BYTES - (offset & (GRAIN_BYTES - 1));
  }
}
