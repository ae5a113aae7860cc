package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.ENTRIES_PER_TABLE;
import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;
import static io.filterd.vmdk.SparseExtentHeader.TABLE_SECTORS;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;

/**
 * The tables of a stream-optimized file whose directory stands in front of the grains, as qemu and
 * VMware's disk manager make it. Such a file has no mark at its end, so that it ends too early is
 * seen by its tables only: the grain of the last entry is looked for. Where that is not in the
 * file, all tables are gone through to say how much is missing.
 */
final class StreamTables {
  private static final int CACHE_LIMIT_TABLES = 4096;
  private static final int TABLE_BYTES = TABLE_SECTORS * SECTOR_BYTES;

  /** So many tables at the end may be empty before the file is taken for a whole one. */
  private static final int EMPTY_LIMIT_TABLES = 1024;

  /** So many tables are counted, 2 TiB of the usual grains, to say how much is missing. */
  private static final int COUNTED_LIMIT_TABLES = 1 << 16;

  private static final int DIRECTORY_CHUNK_ENTRIES = 4096;

  private final ExtentFile file;
  private final SparseExtentHeader header;
  private final long fileBytes;
  private final ByteBuffer directory =
      ByteBuffer.allocateDirect(DIRECTORY_CHUNK_ENTRIES * Integer.BYTES)
          .order(ByteOrder.LITTLE_ENDIAN);
  private final ByteBuffer table =
      ByteBuffer.allocateDirect(TABLE_BYTES).order(ByteOrder.LITTLE_ENDIAN);
  private final ByteBuffer size =
      ByteBuffer.allocateDirect(Integer.BYTES).order(ByteOrder.LITTLE_ENDIAN);

  /** The first entry of the directory that is in {@link #directory}; -1 if there is none. */
  private int chunkStart = -1;

  /** For each sector near the end: 0 if it was not looked at, 1 if a grain fits there, 2 if not. */
  private final byte[] nearEnd;

  private final long nearEndSector;

  private StreamTables(ExtentFile file, SparseExtentHeader header, long fileBytes) {
    this.file = file;
    this.header = header;
    this.fileBytes = fileBytes;
    int largest = StreamScan.GRAIN_MARKER_BYTES + StreamScan.largestGrainBytes(header);
    this.nearEndSector = Math.max(0, (fileBytes - largest) / SECTOR_BYTES);
    this.nearEnd = new byte[(int) (Math.ceilDiv(fileBytes, SECTOR_BYTES) - nearEndSector)];
  }

  /** The tables as they are in the file, for grains that all are in it. */
  static GrainMap whole(ExtentFile file, SparseExtentHeader header, long fileBytes) {
    return new GrainTables(
        file,
        header,
        GrainTables.directoryInFile(file, header, fileBytes),
        Math.ceilDiv(fileBytes, SECTOR_BYTES),
        CACHE_LIMIT_TABLES);
  }

  /**
   * The tables, with the grains that are not in the file taken for absent.
   *
   * @param warnings is told what is missing
   */
  static GrainMap open(ExtentFile file, SparseExtentHeader header, List<String> warnings)
      throws BlockException {
    long fileBytes = file.sizeBytes();
    StreamTables tables = new StreamTables(file, header, fileBytes);
    return tables.endsWell() ? whole(file, header, fileBytes) : tables.cutOff(warnings);
  }

  /** The sector of a table, wherever that is; 0 if there is none. */
  private long tableSector(int index) throws BlockException {
    int start = index / DIRECTORY_CHUNK_ENTRIES * DIRECTORY_CHUNK_ENTRIES;
    if (start != chunkStart) {
      int entries = Math.min(DIRECTORY_CHUNK_ENTRIES, header.tableCount() - start);
      long position = header.directoryOffset() * SECTOR_BYTES + (long) start * Integer.BYTES;
      chunkStart = -1;
      file.read(position, directory.clear().limit(entries * Integer.BYTES), Blocking.ALLOWED);
      chunkStart = start;
    }
    return Integer.toUnsignedLong(directory.getInt((index - start) * Integer.BYTES));
  }

  /** Reads a table that is in the file. */
  private boolean readTable(long sector) throws BlockException {
    if (sector > fileBytes / SECTOR_BYTES - TABLE_SECTORS) {
      return false;
    }
    file.read(sector * SECTOR_BYTES, table.clear(), Blocking.ALLOWED);
    return true;
  }

  /** The sector that entry {@code slot} of the table names; 0 if that is none. */
  private long grainSector(int slot) {
    long sector = Integer.toUnsignedLong(table.getInt(slot * Integer.BYTES));
    return sector == 1 && header.hasZeroGrains() ? 0 : sector;
  }

  private boolean endsWell() throws BlockException {
    int empty = 0;
    for (int index = header.tableCount() - 1; index >= 0 && empty < EMPTY_LIMIT_TABLES; index--) {
      long sector = tableSector(index);
      if (sector == 0) {
        continue;
      }
      if (!readTable(sector)) {
        return false;
      }
      for (int slot = ENTRIES_PER_TABLE - 1; slot >= 0; slot--) {
        if (grainSector(slot) != 0) {
          return isInFile(grainSector(slot));
        }
      }
      empty++;
    }
    return true;
  }

  /** Whether the grain that starts at a sector ends before the file does. */
  private boolean isInFile(long sector) throws BlockException {
    if (sector < nearEndSector) {
      return true;
    }
    if (sector * SECTOR_BYTES + StreamScan.GRAIN_MARKER_BYTES > fileBytes) {
      return false;
    }
    int known = (int) (sector - nearEndSector);
    if (nearEnd[known] == 0) {
      long start = sector * SECTOR_BYTES + StreamScan.GRAIN_MARKER_BYTES;
      file.read(start - Integer.BYTES, size.clear(), Blocking.ALLOWED);
      boolean fits = Integer.toUnsignedLong(size.getInt(0)) <= fileBytes - start;
      nearEnd[known] = (byte) (fits ? 1 : 2);
    }
    return nearEnd[known] == 1;
  }

  private GrainMap cutOff(List<String> warnings) throws BlockException {
    long missing = 0;
    long firstMissing = Long.MAX_VALUE;
    long firstMissingGrain = -1;
    boolean tablesMissing = false;
    int counted = 0;
    int index = 0;
    for (; index < header.tableCount() && counted < COUNTED_LIMIT_TABLES; index++) {
      long sector = tableSector(index);
      if (sector == 0) {
        continue;
      }
      counted++;
      if (!readTable(sector)) {
        tablesMissing = true;
        continue;
      }
      for (int slot = 0; slot < ENTRIES_PER_TABLE; slot++) {
        long grain = grainSector(slot);
        if (grain != 0 && !isInFile(grain)) {
          if (missing == 0) {
            firstMissingGrain = (long) index * ENTRIES_PER_TABLE + slot;
          }
          missing++;
          firstMissing = Math.min(firstMissing, grain);
        }
      }
    }
    boolean more = tablesMissing || index < header.tableCount();
    warnings.add(
        "%s: cut off at byte %d; missing grains, which read as zeros: %s%d%s"
            .formatted(
                file.name(),
                fileBytes,
                more ? "at least " : "",
                missing,
                missing == 0
                    ? ", and their tables"
                    : ", the first at byte %d of the disk"
                        .formatted(firstMissingGrain * header.grainBytes())));
    return new CutTables(lenientTables(), firstMissing * SECTOR_BYTES);
  }

  /** Tables that take one that is not in the file for one that does not exist. */
  private GrainTables lenientTables() {
    long lastSector = fileBytes / SECTOR_BYTES - TABLE_SECTORS;
    ByteBuffer entry = ByteBuffer.allocateDirect(Integer.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    return new GrainTables(
        file,
        header,
        index -> {
          long position = header.directoryOffset() * SECTOR_BYTES + (long) index * Integer.BYTES;
          file.read(position, entry.clear(), Blocking.ALLOWED);
          long sector = Integer.toUnsignedLong(entry.getInt(0));
          return sector > lastSector ? 0 : sector;
        },
        1L << 32,
        CACHE_LIMIT_TABLES);
  }

  /** Tables without the grains behind a place in the file. */
  private record CutTables(GrainTables tables, long endBytes) implements GrainMap {
    @Override
    public long locate(long offset, Blocking blocking) throws BlockException {
      long place = tables.locate(offset, blocking);
      long grainBytes = tables.restOfGrain(0);
      return place > 0 && place - offset % grainBytes >= endBytes ? ABSENT : place;
    }

    @Override
    public long restOfGrain(long offset) {
      return tables.restOfGrain(offset);
    }
  }
}
