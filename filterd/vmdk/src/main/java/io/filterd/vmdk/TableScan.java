package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;
import static io.filterd.vmdk.SparseExtentHeader.TABLE_SECTORS;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.BitSet;

/**
 * What opening a sparse extent for writing finds out by reading all its tables once: that every
 * table and every grain has a place of its own in the file, and which places are in use. Without
 * that a write to a damaged file could end up in its metadata, or in another grain.
 *
 * @param tables the sector of each grain table
 * @param redundantTables the sector of each redundant one; empty if there are none
 * @param used the grains of the file that hold metadata or are named by a table
 */
@SuppressWarnings("ArrayRecordComponent") // never compared
record TableScan(int[] tables, int[] redundantTables, BitSet used) {
  /** Smaller grains would need more memory than is worth it for files that nobody makes. */
  private static final int SMALLEST_GRAIN_SECTORS = SparseLayout.GRAIN_SECTORS;

  /** 32 TiB of the usual grains; more than fits the file. */
  private static final int TABLE_COUNT_LIMIT = 1 << 20;

  private static final int TABLE_BYTES = TABLE_SECTORS * SECTOR_BYTES;
  private static final int CHUNK_TABLES = 512;

  /**
   * Reads and checks all tables of the extent that {@code header} describes.
   *
   * @param reservedSectors so many sectors at the start of the file hold no directory and no table
   */
  static TableScan read(ExtentFile file, SparseExtentHeader header, int reservedSectors)
      throws FormatException, BlockException {
    if (header.grainSectors() < SMALLEST_GRAIN_SECTORS) {
      throw new FormatException(
          file.name(),
          20,
          "grainSize",
          header.grainSectors() + " sectors",
          "at least " + SMALLEST_GRAIN_SECTORS + ", to write the disk");
    }
    if (header.tableCount() > TABLE_COUNT_LIMIT) {
      throw new FormatException(
          file.name(),
          12,
          "capacity",
          header.capacitySectors() + " sectors",
          "at most " + TABLE_COUNT_LIMIT + " grain tables, to write the disk");
    }
    int[] tables = directory(file, header.directoryOffset(), header.tableCount());
    int[] redundant =
        header.hasRedundantTables()
            ? directory(file, header.redundantDirectoryOffset(), header.tableCount())
            : new int[0];
    checkDirectory(file, 56, "gdOffset", header.directoryOffset(), reservedSectors);
    if (header.hasRedundantTables()) {
      checkDirectory(file, 48, "rgdOffset", header.redundantDirectoryOffset(), reservedSectors);
    }
    checkApart(file, header, tables, redundant, reservedSectors);
    return new TableScan(tables, redundant, new Grains(file, header).read(tables));
  }

  private static int[] directory(ExtentFile file, long sector, int count) throws BlockException {
    ByteBuffer bytes =
        ByteBuffer.allocateDirect(count * Integer.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    file.read(sector * SECTOR_BYTES, bytes, Blocking.ALLOWED);
    int[] entries = new int[count];
    bytes.flip().asIntBuffer().get(entries);
    return entries;
  }

  private static void checkDirectory(
      ExtentFile file, long at, String field, long sector, int reservedSectors)
      throws FormatException {
    if (sector < reservedSectors) {
      throw new FormatException(
          file.name(), at, field, "sector " + sector, "at least " + reservedSectors);
    }
  }

  /** Refuses metadata that overlaps, and tables that are missing or among the grains. */
  private static void checkApart(
      ExtentFile file,
      SparseExtentHeader header,
      int[] tables,
      int[] redundant,
      int reservedSectors)
      throws FormatException {
    long[] starts = new long[tables.length + redundant.length];
    for (int i = 0; i < starts.length; i++) {
      boolean primary = i < tables.length;
      int index = primary ? i : i - tables.length;
      long sector = Integer.toUnsignedLong(primary ? tables[index] : redundant[index]);
      if (sector == 0 || sector + TABLE_SECTORS > header.overheadSectors()) {
        // qemu's own writes damage a file whose tables are not all there.
        throw badTable(file, header, primary, index, sector);
      }
      starts[i] = sector;
    }
    Arrays.sort(starts);
    for (int i = 1; i < starts.length; i++) {
      if (starts[i] < starts[i - 1] + TABLE_SECTORS) {
        throw overlap(file, "grain tables", starts[i]);
      }
    }
    checkClear(file, starts, "header", 0, reservedSectors);
    checkClear(file, starts, "descriptor", header.descriptorOffset(), header.descriptorSectors());
    checkClear(
        file, starts, "grain directory", header.directoryOffset(), header.directorySectors());
    if (header.hasRedundantTables()) {
      checkClear(
          file,
          starts,
          "redundant grain directory",
          header.redundantDirectoryOffset(),
          header.directorySectors());
    }
  }

  private static FormatException badTable(
      ExtentFile file, SparseExtentHeader header, boolean primary, int index, long sector) {
    long directory = primary ? header.directoryOffset() : header.redundantDirectoryOffset();
    return new FormatException(
        file.name(),
        directory * SECTOR_BYTES + (long) index * Integer.BYTES,
        (primary ? "grain" : "redundant grain") + " directory entry " + index,
        "sector " + sector,
        "a table before sector "
            + header.overheadSectors()
            + ", to write the disk; it can be read, and imported into a new one");
  }

  private static void checkClear(
      ExtentFile file, long[] tableStarts, String what, long sector, long sectors)
      throws FormatException {
    int at = Arrays.binarySearch(tableStarts, sector - TABLE_SECTORS + 1);
    int next = at < 0 ? -at - 1 : at;
    if (next < tableStarts.length && tableStarts[next] < sector + sectors) {
      throw overlap(file, what + " and a grain table", tableStarts[next]);
    }
  }

  private static FormatException overlap(ExtentFile file, String what, long sector) {
    return new FormatException(
        file.name(), sector * SECTOR_BYTES, what, "overlap", "each in a place of its own");
  }

  /** Reads tables into a set of the grains they name. */
  private static final class Grains {
    private final ExtentFile file;
    private final SparseExtentHeader header;
    private final BitSet used = new BitSet();
    private final ByteBuffer chunk;
    private final long fileBytes;

    Grains(ExtentFile file, SparseExtentHeader header) throws BlockException {
      this.file = file;
      this.header = header;
      this.fileBytes = file.sizeBytes();
      int chunkTables = Math.min(header.tableCount(), CHUNK_TABLES);
      this.chunk =
          ByteBuffer.allocateDirect(chunkTables * TABLE_BYTES).order(ByteOrder.LITTLE_ENDIAN);
      used.set(0, (int) Math.ceilDiv(header.overheadSectors(), header.grainSectors()));
    }

    BitSet read(int[] tables) throws FormatException, BlockException {
      int index = 0;
      while (index < tables.length) {
        int count = sideBySide(tables, index, CHUNK_TABLES);
        long sector = Integer.toUnsignedLong(tables[index]);
        chunk.clear().limit(count * TABLE_BYTES);
        file.read(sector * SECTOR_BYTES, chunk, Blocking.ALLOWED);
        chunk.flip();
        collect(index, sector * SECTOR_BYTES);
        index += count;
      }
      return used;
    }

    private void collect(int firstTable, long position) throws FormatException {
      long firstGrain = (long) firstTable * SparseExtentHeader.ENTRIES_PER_TABLE;
      for (int at = 0; at < chunk.limit(); at += Long.BYTES) {
        if (chunk.getLong(at) == 0) {
          continue; // Two entries at a time: nearly all of a thin disk's are 0.
        }
        for (int half = at; half < at + Long.BYTES; half += Integer.BYTES) {
          long sector = Integer.toUnsignedLong(chunk.getInt(half));
          if (sector != 0) {
            long offset = (firstGrain + half / Integer.BYTES) * header.grainBytes();
            collect(sector, position + half, header.capacityBytes() - offset);
          }
        }
      }
    }

    /**
     * Notes a grain.
     *
     * @param at where its entry is
     * @param contentBytes what the disk has from it on; none behind the disk's end
     */
    private void collect(long sector, long at, long contentBytes) throws FormatException {
      boolean inside = contentBytes > 0;
      if (inside && sector == 1 && header.hasZeroGrains()) {
        return;
      }
      if (!inside
          || sector < header.overheadSectors()
          || sector * SECTOR_BYTES > fileBytes - Math.min(header.grainBytes(), contentBytes)
          || sector % header.grainSectors() != 0) {
        throw bad(
            at,
            "sector " + sector,
            inside
                ? "a multiple of %d from %d on, its grain inside the file's %d bytes"
                    .formatted(header.grainSectors(), header.overheadSectors(), fileBytes)
                : "0, behind the end of the disk");
      }
      int grain = (int) (sector / header.grainSectors());
      if (used.get(grain)) {
        throw bad(at, "sector " + sector + ", as another entry", "a grain of its own");
      }
      used.set(grain);
    }

    private FormatException bad(long at, String actual, String expected) {
      return new FormatException(file.name(), at, "grain table entry", actual, expected);
    }
  }

  /** How many tables from {@code index} on lie side by side in the file, up to a limit. */
  static int sideBySide(int[] tables, int index, int limit) {
    int count = 1;
    while (count < limit
        && index + count < tables.length
        && tables[index + count] == tables[index] + count * TABLE_SECTORS) {
      count++;
    }
    return count;
  }

  /**
   * Makes what an unclean file lost sight of good: the redundant tables as the tables, and the
   * space that no table names free. Doing it again, or half, does no harm.
   */
  void repair(ExtentFile file, SparseExtentHeader header) throws BlockException {
    for (int i = 0; i < redundantTables.length; ) {
      int count =
          Math.min(
              sideBySide(tables, i, CHUNK_TABLES), sideBySide(redundantTables, i, CHUNK_TABLES));
      repairRedundant(file, i, count);
      i += count;
    }
    // The tables may have been read from memory that a power failure could still take: what is
    // free by them is touched only when the disk says the same.
    file.sync();
    long endBytes = (long) used.length() * header.grainBytes();
    if (file.sizeBytes() > endBytes) {
      file.truncate(endBytes);
    }
    for (int free = used.nextClearBit(0); free < used.length(); ) {
      int next = used.nextSetBit(free);
      file.punchHole((long) free * header.grainBytes(), (long) (next - free) * header.grainBytes());
      free = used.nextClearBit(next);
    }
  }

  private void repairRedundant(ExtentFile file, int index, int count) throws BlockException {
    ByteBuffer right = ByteBuffer.allocateDirect(count * TABLE_BYTES);
    ByteBuffer copy = ByteBuffer.allocateDirect(count * TABLE_BYTES);
    file.read(Integer.toUnsignedLong(tables[index]) * SECTOR_BYTES, right, Blocking.ALLOWED);
    long position = Integer.toUnsignedLong(redundantTables[index]) * SECTOR_BYTES;
    file.read(position, copy, Blocking.ALLOWED);
    if (right.flip().mismatch(copy.flip()) >= 0) {
      file.write(position, right, Blocking.ALLOWED);
    }
  }
}
