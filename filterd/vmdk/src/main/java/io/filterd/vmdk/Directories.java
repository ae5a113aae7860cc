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
 * The grain directories of a sparse extent as they are, for a check: which of the tables that they
 * name can be used.
 */
final class Directories {
  /** Told a range of sectors. */
  @FunctionalInterface
  interface Place {
    void at(long sector, long sectors);
  }

  private static final int TABLE_BYTES = TABLE_SECTORS * SECTOR_BYTES;
  private static final int INDEX_BITS = 20;
  private static final long REDUNDANT = 1L << INDEX_BITS;

  /** A directory; {@code sector} is 0, and it has no entries, if it can't be read. */
  private static final class Directory {
    final String field;
    long sector;
    int[] entries = new int[0];

    /** Tables whose place is no place for a table. */
    final BitSet bad = new BitSet();

    /** Whether an entry that is lost can be told from the others. */
    boolean regular;

    Directory(String field) {
      this.field = field;
    }

    long table(int index) {
      return index < entries.length ? Integer.toUnsignedLong(entries[index]) : 0;
    }

    boolean has(int index) {
      return table(index) != 0 && !bad.get(index);
    }
  }

  private final ExtentFile file;
  private final SparseExtentHeader header;
  private final long reservedSectors;
  private final Findings.In findings;
  private final long lastSector;
  private final Directory primary = new Directory("grain directory");
  private final Directory redundant = new Directory("redundant grain directory");

  Directories(
      ExtentFile file, SparseExtentHeader header, long reservedSectors, Findings.In findings)
      throws BlockException {
    this.file = file;
    this.header = header;
    this.reservedSectors = Math.max(1, reservedSectors);
    this.findings = findings;
    this.lastSector = file.sizeBytes() / SECTOR_BYTES - TABLE_SECTORS;
  }

  long table(int index) {
    return primary.table(index);
  }

  long redundantTable(int index) {
    return redundant.table(index);
  }

  /** Whether there is a table, in a place where one can be. */
  boolean hasTable(int index) {
    return primary.has(index);
  }

  boolean hasRedundant(int index) {
    return redundant.has(index);
  }

  /** Whether the table that is {@code count} behind lies that far behind, in both sets. */
  boolean follows(int index, int count) {
    long sectors = (long) count * TABLE_SECTORS;
    return hasTable(index)
        && hasTable(index + count)
        && table(index + count) == table(index) + sectors
        && hasRedundant(index) == hasRedundant(index + count)
        && (!hasRedundant(index)
            || redundantTable(index + count) == redundantTable(index) + sectors);
  }

  /** Tells the places of all metadata. */
  void forEachPlace(Place place) {
    place.at(0, reservedSectors);
    if (header.descriptorOffset() != 0) {
      place.at(header.descriptorOffset(), header.descriptorSectors());
    }
    for (Directory directory : new Directory[] {primary, redundant}) {
      if (directory.entries.length > 0) {
        place.at(directory.sector, header.directorySectors());
      }
      for (int i = 0; i < directory.entries.length; i++) {
        if (directory.has(i)) {
          place.at(directory.table(i), TABLE_SECTORS);
        }
      }
    }
  }

  void check() {
    read(primary, header.directoryOffset(), 56, "gdOffset");
    if (header.hasRedundantTables()) {
      read(redundant, header.redundantDirectoryOffset(), 48, "rgdOffset");
    }
    markImpossible(primary);
    markImpossible(redundant);
    markOverlaps();
    primary.regular = isRegular(primary, redundant);
    redundant.regular = isRegular(redundant, primary);
    for (int i = 0; i < header.tableCount(); i++) {
      if (primary.entries.length > 0) {
        tell(i, primary, redundant);
      }
      if (redundant.entries.length > 0) {
        tell(i, redundant, primary);
      }
    }
  }

  private void read(Directory directory, long sector, long at, String field) {
    if (sector == 0) {
      return; // The header's finding.
    }
    if (sector < reservedSectors) {
      findings.error(at, field, "sector " + sector, "at least " + reservedSectors);
    }
    ByteBuffer bytes =
        ByteBuffer.allocateDirect(header.tableCount() * Integer.BYTES)
            .order(ByteOrder.LITTLE_ENDIAN);
    try {
      file.read(sector * SECTOR_BYTES, bytes, Blocking.ALLOWED);
    } catch (BlockException unreadable) {
      findings.error(
          sector * SECTOR_BYTES,
          directory.field,
          String.valueOf(unreadable.getMessage()),
          "readable");
      return;
    }
    directory.sector = sector;
    directory.entries = new int[header.tableCount()];
    bytes.flip().asIntBuffer().get(directory.entries);
  }

  private void markImpossible(Directory directory) {
    for (int i = 0; i < directory.entries.length; i++) {
      long sector = directory.table(i);
      if (sector != 0 && (sector < reservedSectors || sector > lastSector)) {
        directory.bad.set(i);
      }
    }
  }

  /** Marks tables that overlap another, or a directory: none of them can be trusted then. */
  private void markOverlaps() {
    long[] starts = new long[primary.entries.length + redundant.entries.length];
    int count = 0;
    for (int i = 0; i < header.tableCount(); i++) {
      if (primary.has(i)) {
        starts[count++] = primary.table(i) << (INDEX_BITS + 1) | i;
      }
      if (redundant.has(i)) {
        starts[count++] = redundant.table(i) << (INDEX_BITS + 1) | REDUNDANT | i;
      }
    }
    Arrays.sort(starts, 0, count);
    long end = 0;
    long last = 0;
    for (int i = 0; i < count; i++) {
      long start = starts[i] >>> (INDEX_BITS + 1);
      if (start < end) {
        markOverlap(last);
        markOverlap(starts[i]);
      } else if (isTaken(start, TABLE_SECTORS)) {
        markOverlap(starts[i]);
      }
      last = starts[i];
      end = start + TABLE_SECTORS;
    }
  }

  private void markOverlap(long packed) {
    Directory directory = (packed & REDUNDANT) == 0 ? primary : redundant;
    directory.bad.set((int) (packed & (REDUNDANT - 1)));
  }

  /** Whether a directory or the descriptor is in a range of sectors. */
  private boolean isTaken(long sector, long sectors) {
    return overlaps(sector, sectors, header.descriptorOffset(), header.descriptorSectors())
        || isTaken(sector, sectors, primary)
        || isTaken(sector, sectors, redundant);
  }

  private boolean isTaken(long sector, long sectors, Directory directory) {
    return directory.entries.length > 0
        && overlaps(sector, sectors, directory.sector, header.directorySectors());
  }

  private static boolean overlaps(long start, long length, long sector, long sectors) {
    return start < sector + sectors && sector < start + length;
  }

  /**
   * Whether all tables of a directory that are known lie side by side, behind it, as in every file
   * that is made, and nothing else lies where the others must be.
   */
  private boolean isRegular(Directory directory, Directory other) {
    long base = directory.sector + header.directorySectors();
    long sectors = (long) directory.entries.length * TABLE_SECTORS;
    if (base + sectors > header.overheadSectors()
        || base < reservedSectors
        || isTaken(base, sectors)) {
      return false;
    }
    for (int i = 0; i < directory.entries.length; i++) {
      if (directory.has(i) && directory.table(i) != base + (long) i * TABLE_SECTORS) {
        return false;
      }
    }
    for (int i = 0; i < other.entries.length; i++) {
      if (other.table(i) != 0 && overlaps(base, sectors, other.table(i), TABLE_SECTORS)) {
        return false;
      }
    }
    return true;
  }

  /** Says what is wrong with an entry of a directory. */
  private void tell(int index, Directory directory, Directory other) {
    long sector = directory.table(index);
    long at = directory.sector * SECTOR_BYTES + (long) index * Integer.BYTES;
    String field = directory.field + " entry " + index;
    boolean bad = directory.bad.get(index);
    if (!bad && sector != 0) {
      if (header.overheadSectors() != 0 && sector + TABLE_SECTORS > header.overheadSectors()) {
        findings.warning(
            at,
            field,
            "sector " + sector,
            "a table before sector " + header.overheadSectors() + ", to write the disk");
      }
      return;
    }
    if (!bad && !other.has(index)) {
      findings.warning(at, field, "0, no table", "a table, for others to write the disk");
      return;
    }
    String actual = bad ? "sector " + sector : "0, no table, and there is one in the other set";
    if (!other.has(index) || !directory.regular) {
      findings.error(at, field, actual, "the place of a table of its own");
      return;
    }
    long place = directory.sector + header.directorySectors() + (long) index * TABLE_SECTORS;
    byte[] entry = new byte[Integer.BYTES];
    ByteBuffer.wrap(entry).order(ByteOrder.LITTLE_ENDIAN).putInt((int) place);
    findings.error(
        at,
        field,
        actual,
        "sector " + place + ", beside the other tables",
        new Patch.Copy(other.table(index) * SECTOR_BYTES, place * SECTOR_BYTES, TABLE_BYTES),
        new Patch.Bytes(Patch.Step.DIRECTORIES, at, entry));
  }
}
