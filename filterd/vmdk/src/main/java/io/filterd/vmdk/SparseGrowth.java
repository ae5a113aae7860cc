package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;
import static io.filterd.vmdk.SparseExtentHeader.TABLE_SECTORS;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * The metadata of a sparse extent that grows: a whole new set of directories and tables in a place
 * of its own, beside the old one, which is used until the header names the new one. The place is
 * where an earlier growth has left a set, if that is large enough, or behind the old set, where
 * grains have to make room first.
 */
final class SparseGrowth {
  private static final int TABLE_BYTES = TABLE_SECTORS * SECTOR_BYTES;
  private static final int TABLES_AT_A_TIME = 64;

  private final SparseExtentHeader before;
  private final SparseExtentHeader after;
  private final int[] tables;
  private final int[] redundantTables;
  private final long startSector;
  private final long endSector;

  private SparseGrowth(SparseExtentHeader before, SparseExtentHeader after, long startSector) {
    this.before = before;
    this.after = after;
    this.startSector = startSector;
    int count = after.tableCount();
    this.redundantTables =
        after.hasRedundantTables()
            ? sideBySide(after.redundantDirectoryOffset() + after.directorySectors(), count)
            : new int[0];
    this.tables = sideBySide(after.directoryOffset() + after.directorySectors(), count);
    this.endSector =
        after.directoryOffset() + after.directorySectors() + (long) count * TABLE_SECTORS;
  }

  private static int[] sideBySide(long firstSector, int count) {
    int[] sectors = new int[count];
    for (int i = 0; i < count; i++) {
      sectors[i] = (int) (firstSector + (long) i * TABLE_SECTORS);
    }
    return sectors;
  }

  /** What a growth to more tables takes. */
  static SparseGrowth of(SparseExtentHeader before, long capacitySectors) {
    long tableCount = SparseExtentHeader.tableCount(capacitySectors, before.grainSectors());
    long set = SparseExtentHeader.directorySectors(tableCount) + tableCount * (long) TABLE_SECTORS;
    long all = before.hasRedundantTables() ? 2 * set : set;
    long oldStart =
        before.hasRedundantTables()
            ? Math.min(before.redundantDirectoryOffset(), before.directoryOffset())
            : before.directoryOffset();
    boolean fitsBefore = oldStart - SparseLayout.SLOTS_END_SECTOR >= all;
    long start = fitsBefore ? SparseLayout.SLOTS_END_SECTOR : before.overheadSectors();
    int grain = before.grainSectors();
    long overhead = Math.max(before.overheadSectors(), Math.ceilDiv(start + all, grain) * grain);
    SparseExtentHeader after =
        with(
            before,
            capacitySectors,
            before.hasRedundantTables() ? start : before.redundantDirectoryOffset(),
            before.hasRedundantTables() ? start + set : start,
            overhead);
    return new SparseGrowth(before, after, start);
  }

  /** The same header with another capacity, and all else in its place. */
  static SparseExtentHeader withCapacity(SparseExtentHeader before, long capacitySectors) {
    return with(
        before,
        capacitySectors,
        before.redundantDirectoryOffset(),
        before.directoryOffset(),
        before.overheadSectors());
  }

  private static SparseExtentHeader with(
      SparseExtentHeader before,
      long capacitySectors,
      long redundantDirectory,
      long directory,
      long overhead) {
    return new SparseExtentHeader(
        before.version(),
        before.flags(),
        capacitySectors,
        before.grainSectors(),
        before.descriptorOffset(),
        before.descriptorSectors(),
        redundantDirectory,
        directory,
        overhead,
        before.uncleanShutdown(),
        before.compressAlgorithm());
  }

  /** The header of the grown extent, but for what belongs to the descriptor. */
  SparseExtentHeader header() {
    return after;
  }

  int[] tables() {
    return tables;
  }

  int[] redundantTables() {
    return redundantTables;
  }

  /** The first of the file's grains that have to make room, and the first that need not. */
  int firstGrain() {
    return (int) (before.overheadSectors() / before.grainSectors());
  }

  int endGrain() {
    return (int) (after.overheadSectors() / after.grainSectors());
  }

  /**
   * Writes the new set, with the content of the old tables; durable when this returns.
   *
   * @param oldTables where those are
   */
  void write(ExtentFile file, int[] oldTables) throws BlockException {
    long endBytes = after.overheadSectors() * SECTOR_BYTES;
    if (file.sizeBytes() < endBytes) {
      file.truncate(endBytes);
    }
    // As in a new disk: a full file system must not keep entries from being written.
    file.allocateZeros(startSector * SECTOR_BYTES, (endSector - startSector) * SECTOR_BYTES);
    if (after.hasRedundantTables()) {
      writeDirectory(file, after.redundantDirectoryOffset(), redundantTables);
    }
    writeDirectory(file, after.directoryOffset(), tables);
    ByteBuffer bytes = ByteBuffer.allocateDirect(TABLES_AT_A_TIME * TABLE_BYTES);
    for (int index = 0; index < oldTables.length; ) {
      int count = TableScan.sideBySide(oldTables, index, TABLES_AT_A_TIME);
      bytes.clear().limit(count * TABLE_BYTES);
      file.read(position(oldTables[index]), bytes, Blocking.ALLOWED);
      if (after.hasRedundantTables()) {
        file.write(position(redundantTables[index]), bytes.flip(), Blocking.ALLOWED);
      }
      file.write(position(tables[index]), bytes.flip(), Blocking.ALLOWED);
      index += count;
    }
    file.sync();
  }

  private static void writeDirectory(ExtentFile file, long sector, int[] entries)
      throws BlockException {
    ByteBuffer bytes =
        ByteBuffer.allocateDirect(entries.length * Integer.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asIntBuffer().put(entries);
    file.write(sector * SECTOR_BYTES, bytes, Blocking.ALLOWED);
  }

  private static long position(int sector) {
    return Integer.toUnsignedLong(sector) * SECTOR_BYTES;
  }

  /** Gives the space of the old set back, where that makes no difference to a later growth. */
  void punchOldSet(ExtentFile file) throws BlockException {
    long from = SparseLayout.SLOTS_END_SECTOR;
    long to = before.overheadSectors();
    if (startSector >= to) {
      file.punchHole(from * SECTOR_BYTES, (to - from) * SECTOR_BYTES);
    } else {
      file.punchHole(endSector * SECTOR_BYTES, (to - endSector) * SECTOR_BYTES);
    }
  }
}
