package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.ENTRIES_PER_TABLE;
import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;
import static io.filterd.vmdk.SparseExtentHeader.TABLE_SECTORS;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.BitSet;

/**
 * Looks at the directories and tables of an uncompressed sparse extent, and at the space of its
 * file: every table in a place of its own, both sets equal, every entry the place of a grain that
 * no other entry names, and no space that none names.
 *
 * <p>A table that is not whole is taken from the other set if it is whole there. Memory is bounded:
 * 32 MiB whatever the file says.
 */
final class TableCheck {
  /** The most tables: more than a file of 2 TiB holds grains for. */
  private static final int TABLE_COUNT_LIMIT = 1 << 20;

  /** So many grains of the file are looked at in one pass over the tables: 16 MiB of bits. */
  private static final int GRAINS_AT_A_TIME = 1 << 27;

  private static final int TABLE_BYTES = TABLE_SECTORS * SECTOR_BYTES;
  private static final int TABLES_AT_A_TIME = 256;

  private final ExtentFile file;
  private final SparseExtentHeader header;
  private final Findings.In findings;
  private final long fileBytes;
  private final Directories directories;

  /** The tables that are taken from the redundant set. */
  private final BitSet fromRedundant = new BitSet();

  private final ByteBuffer chunk = buffer();
  private final ByteBuffer redundantChunk = buffer();

  /**
   * Prepares the check of an extent.
   *
   * @param header as {@link HeaderCheck} leaves it
   * @param reservedSectors so many sectors at the start of the file hold no directory and no table
   */
  TableCheck(ExtentFile file, SparseExtentHeader header, long reservedSectors, Findings.In findings)
      throws BlockException {
    this.file = file;
    this.header = header;
    this.findings = findings;
    this.fileBytes = file.sizeBytes();
    this.directories = new Directories(file, header, reservedSectors, findings);
  }

  private static ByteBuffer buffer() {
    return ByteBuffer.allocateDirect(TABLES_AT_A_TIME * TABLE_BYTES).order(ByteOrder.LITTLE_ENDIAN);
  }

  void check() throws BlockException {
    if (header.tableCount() > TABLE_COUNT_LIMIT) {
      findings.warning(
          12,
          "capacity",
          header.capacitySectors() + " sectors in " + header.tableCount() + " grain tables",
          "at most " + TABLE_COUNT_LIMIT + ", to be checked");
      return;
    }
    directories.check();
    findings.all().tables += header.tableCount();
    for (int index = 0; index < header.tableCount(); ) {
      int count = run(index);
      compare(index, count);
      index += count;
    }
    checkSpace();
  }

  /** How many tables from {@code index} on lie side by side, in both sets. */
  private int run(int index) {
    int count = 1;
    while (count < TABLES_AT_A_TIME
        && index + count < header.tableCount()
        && directories.follows(index, count)) {
      count++;
    }
    return count;
  }

  /** Compares the tables of both sets, and says what is wrong with the entries. */
  private void compare(int index, int count) throws BlockException {
    boolean read = directories.hasTable(index) && read(directories.table(index), count, chunk);
    boolean both =
        directories.hasRedundant(index)
            && read(directories.redundantTable(index), count, redundantChunk);
    if (count > 1 && (!read || both != directories.hasRedundant(index))) {
      for (int i = 0; i < count; i++) { // Which of them can't be read?
        compare(index + i, 1);
      }
      return;
    }
    if (read && both && chunk.mismatch(redundantChunk) < 0) {
      for (int i = 0; i < count; i++) {
        firstBad(chunk, i, index + i, true);
      }
      return;
    }
    for (int i = 0; i < count; i++) {
      compareOne(index + i, i, read, both);
    }
  }

  private void compareOne(int index, int slot, boolean read, boolean both) throws BlockException {
    boolean whole = read && firstBad(chunk, slot, index, false) < 0;
    boolean redundantWhole = both && firstBad(redundantChunk, slot, index, false) < 0;
    long at = directories.table(index) * SECTOR_BYTES;
    long redundantAt = directories.redundantTable(index) * SECTOR_BYTES;
    if (!whole && redundantWhole) {
      fromRedundant.set(index);
      if (directories.hasTable(index)) {
        findings.error(
            read ? at + (long) firstBad(chunk, slot, index, false) * Integer.BYTES : at,
            "grain table " + index,
            read ? "not whole" : "unreadable",
            "as its redundant table, which is whole",
            new Patch.Copy(redundantAt, at, TABLE_BYTES));
      }
      return;
    }
    if (read) {
      firstBad(chunk, slot, index, true);
    } else if (directories.hasTable(index)) {
      findings.error(at, "grain table " + index, "unreadable", "readable, here or redundantly");
    } else if (both) {
      fromRedundant.set(index);
      firstBad(redundantChunk, slot, index, true);
    }
    boolean equal = both && read && sameTable(slot);
    if (directories.hasRedundant(index) && directories.hasTable(index) && read && !equal) {
      String actual = both ? "other than the grain table" : "unreadable";
      String expected = "equal to grain table " + index;
      String field = "redundant grain table " + index;
      if (whole) {
        findings.error(
            redundantAt, field, actual, expected, new Patch.Copy(at, redundantAt, TABLE_BYTES));
      } else {
        findings.error(redundantAt, field, actual, expected);
      }
    }
  }

  private boolean sameTable(int slot) {
    int from = slot * TABLE_BYTES;
    return chunk.slice(from, TABLE_BYTES).equals(redundantChunk.slice(from, TABLE_BYTES));
  }

  private boolean read(long sector, int count, ByteBuffer target) {
    target.clear().limit(count * TABLE_BYTES);
    try {
      file.read(sector * SECTOR_BYTES, target, Blocking.ALLOWED);
      target.flip();
      return true;
    } catch (BlockException unreadable) {
      target.clear();
      return false;
    }
  }

  /**
   * The number of the first wrong entry of a table, or -1.
   *
   * @param tell whether to tell all that is wrong
   */
  private int firstBad(ByteBuffer tables, int slot, int index, boolean tell) {
    int first = -1;
    int start = slot * TABLE_BYTES;
    for (int entry = 0; entry < ENTRIES_PER_TABLE; entry++) {
      long sector = Integer.toUnsignedLong(tables.getInt(start + entry * Integer.BYTES));
      if (sector == 0 || isPossible(index, entry, sector)) {
        continue;
      }
      if (!tell) {
        return entry;
      }
      first = first < 0 ? entry : first;
      tellImpossible(index, entry, sector);
    }
    return first;
  }

  private boolean isPossible(int index, int entry, long sector) {
    long content = contentBytes(index, entry);
    if (sector == 1 && header.hasZeroGrains()) {
      return content > 0;
    }
    return content > 0
        && sector >= Math.max(1, header.overheadSectors())
        && sector % header.grainSectors() == 0
        && sector * SECTOR_BYTES <= fileBytes - Math.min(header.grainBytes(), content);
  }

  /** What the disk has from a grain on, in bytes; none behind the disk's end. */
  private long contentBytes(int index, int entry) {
    long grain = (long) index * ENTRIES_PER_TABLE + entry;
    return header.capacityBytes() - grain * header.grainBytes();
  }

  private void tellImpossible(int index, int entry, long sector) {
    boolean inside = contentBytes(index, entry) > 0;
    findings.error(
        entryAt(index, entry),
        "grain table entry",
        "sector " + sector,
        inside
            ? "a multiple of %d from %d on, its grain inside the file's %d bytes"
                .formatted(header.grainSectors(), header.overheadSectors(), fileBytes)
            : "0, behind the end of the disk");
  }

  private long entryAt(int index, int entry) {
    return effectiveTable(index) * SECTOR_BYTES + (long) entry * Integer.BYTES;
  }

  private long effectiveTable(int index) {
    return fromRedundant.get(index) ? directories.redundantTable(index) : directories.table(index);
  }

  /** Finds grains with several names, and space with none. */
  private void checkSpace() throws BlockException {
    // Behind that no entry can point.
    long nameable = Math.min(fileBytes, SparseLayout.FILE_LIMIT_SECTORS * SECTOR_BYTES);
    long grains = Math.ceilDiv(nameable, header.grainBytes());
    BitSet used = new BitSet();
    FreeSpace free = new FreeSpace();
    for (long first = 0; first < grains; first += GRAINS_AT_A_TIME) {
      int count = (int) Math.min(GRAINS_AT_A_TIME, grains - first);
      used.clear();
      markMetadata(used, first, count);
      markGrains(used, first, count);
      int at = 0;
      while (at < count) {
        int next = used.nextSetBit(at);
        int end = next < 0 ? count : Math.min(next, count);
        if (end > at) {
          free.add(first + at, first + end);
        }
        at = used.nextClearBit(end);
        if (end < count) {
          free.end();
        }
      }
    }
    if (fileBytes > nameable) {
      free.add(grains, Math.ceilDiv(fileBytes, header.grainBytes()));
    }
    free.cutTail();
  }

  private void markMetadata(BitSet used, long first, int count) {
    long overhead = Math.ceilDiv(header.overheadSectors(), header.grainSectors());
    if (overhead > first) {
      used.set(0, (int) Math.min(count, overhead - first));
    }
    long end = first + count;
    directories.forEachPlace(
        (sector, sectors) -> {
          long from = Math.max(first, sector / header.grainSectors());
          long to = Math.min(end, Math.ceilDiv(sector + sectors, header.grainSectors()));
          if (from < to) {
            used.set((int) (from - first), (int) (to - first));
          }
        });
  }

  private void markGrains(BitSet used, long first, int count) throws BlockException {
    for (int index = 0; index < header.tableCount(); ) {
      int tables = 1;
      while (tables < TABLES_AT_A_TIME
          && index + tables < header.tableCount()
          && effectiveTable(index) > 0
          && effectiveTable(index + tables)
              == effectiveTable(index) + (long) tables * TABLE_SECTORS) {
        tables++;
      }
      if (isUsable(index) && read(effectiveTable(index), tables, chunk)) {
        for (int i = 0; i < tables; i++) {
          markTable(used, first, count, index + i, i);
        }
      }
      index += tables;
    }
  }

  private boolean isUsable(int index) {
    return fromRedundant.get(index) ? directories.hasRedundant(index) : directories.hasTable(index);
  }

  private void markTable(BitSet used, long first, int count, int index, int slot) {
    int start = slot * TABLE_BYTES;
    for (int entry = 0; entry < ENTRIES_PER_TABLE; entry++) {
      long sector = Integer.toUnsignedLong(chunk.getInt(start + entry * Integer.BYTES));
      if (sector == 0 || !isPossible(index, entry, sector)) {
        continue;
      }
      if (sector == 1) {
        findings.all().zeroGrains += first == 0 ? 1 : 0;
        continue;
      }
      long grain = sector / header.grainSectors() - first;
      if (grain < 0 || grain >= count) {
        continue;
      }
      findings.all().grains++;
      if (used.get((int) grain)) {
        findings.error(
            entryAt(index, entry),
            "grain table entry",
            "sector " + sector + ", which is used already",
            "a grain of its own");
      }
      used.set((int) grain);
    }
  }

  /** What no entry names. */
  private final class FreeSpace {
    private long from = -1;
    private long to;

    /** Adds free grains, of which those before may go on. */
    void add(long firstGrain, long endGrain) {
      from = from < 0 ? firstGrain : from;
      to = endGrain;
    }

    /** A used grain follows. */
    void end() throws BlockException {
      if (from >= 0) {
        long start = from * header.grainBytes();
        long end = to * header.grainBytes();
        long bytes = dataBytes(start, end);
        if (bytes > 0) {
          findings.leak(
              start,
              bytes,
              "grains",
              bytes + " bytes of data that no entry names",
              "none",
              new Patch.Punch(start, end - start));
        }
      }
      from = -1;
    }

    private long dataBytes(long start, long end) throws BlockException {
      long bytes = 0;
      for (long at = file.nextData(start, end); at < end; ) {
        long hole = file.nextHole(at, end);
        bytes += hole - at;
        at = file.nextData(hole, end);
      }
      return bytes;
    }

    /** The end of the file follows. */
    void cutTail() {
      long start = from * header.grainBytes();
      if (from >= 0 && start < fileBytes) {
        findings.leak(
            start,
            fileBytes - start,
            "file size",
            fileBytes + " bytes",
            start + ", where the last grain ends",
            new Patch.Cut(start, fileBytes - start));
      }
    }
  }
}
