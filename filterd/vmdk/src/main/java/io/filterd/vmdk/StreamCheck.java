package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.ENTRIES_PER_TABLE;
import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;
import static io.filterd.vmdk.SparseExtentHeader.TABLE_SECTORS;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.BitSet;
import org.jspecify.annotations.Nullable;

/**
 * Looks at a stream-optimized extent: its footer, its tables, and the marker in front of every
 * grain. Nothing of it is mended: such files are written once, so they can be made again.
 */
final class StreamCheck {
  private static final int MARKER_BYTES = 12;
  private static final int TABLE_BYTES = TABLE_SECTORS * SECTOR_BYTES;

  private static final int DIRECTORY_BYTES = 1 << 16;

  /** The compressed grains of so many sectors are compared with each other: 16 MiB of bits. */
  private static final long SECTORS_COMPARED = 1 << 27;

  private final ExtentFile file;
  private final Findings.In findings;
  private final long fileBytes;
  private final BitSet used = new BitSet();
  private final ByteBuffer table =
      ByteBuffer.allocateDirect(TABLE_BYTES).order(ByteOrder.LITTLE_ENDIAN);
  private final ByteBuffer small =
      ByteBuffer.allocateDirect(MARKER_BYTES).order(ByteOrder.LITTLE_ENDIAN);

  StreamCheck(ExtentFile file, Findings.In findings) throws BlockException {
    this.file = file;
    this.findings = findings;
    this.fileBytes = file.sizeBytes();
  }

  void check(SparseExtentHeader header) throws BlockException {
    SparseExtentHeader effective = footer(header);
    if (effective == null || effective.directoryOffset() == 0) {
      return;
    }
    ByteBuffer entries = ByteBuffer.allocateDirect(DIRECTORY_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    for (int index = 0; index < effective.tableCount(); index++) {
      int slot = index * Integer.BYTES % DIRECTORY_BYTES;
      long at = effective.directoryOffset() * SECTOR_BYTES + (long) index * Integer.BYTES;
      if (slot == 0) {
        int rest = (effective.tableCount() - index) * Integer.BYTES;
        file.read(at, entries.clear().limit(Math.min(DIRECTORY_BYTES, rest)), Blocking.ALLOWED);
      }
      long sector = Integer.toUnsignedLong(entries.getInt(slot));
      if (sector == 0) {
        continue;
      }
      if (sector * SECTOR_BYTES > fileBytes - TABLE_BYTES) {
        findings.error(
            at,
            "grain directory entry " + index,
            "sector " + sector,
            "a table inside the file's " + fileBytes + " bytes");
      } else if (isFirstUse(at, "grain directory entry " + index, sector)) {
        findings.all().tables++;
        checkTable(effective, index, sector * SECTOR_BYTES);
      }
    }
  }

  /** The header with the place of the directory; null if there is none. */
  private @Nullable SparseExtentHeader footer(SparseExtentHeader header) throws BlockException {
    if (header.directoryOffset() != SparseExtentHeader.DIRECTORY_AT_END) {
      return header;
    }
    long at = fileBytes / SECTOR_BYTES * SECTOR_BYTES - 2L * SECTOR_BYTES;
    if (at < SECTOR_BYTES) {
      findings.error(fileBytes, "footer", "the file ends here", "a footer");
      return null;
    }
    ByteBuffer sector = ByteBuffer.allocateDirect(SECTOR_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    file.read(at, sector, Blocking.ALLOWED);
    sector.flip();
    if (sector.getInt(0) != SparseExtentHeader.MAGIC) {
      findings.error(at, "footer", "none", "a footer; was the file cut off?");
      return null;
    }
    SparseExtentHeader footer = HeaderCheck.read(findings, sector, at, fileBytes);
    if (footer == null
        || footer.directoryOffset() == SparseExtentHeader.DIRECTORY_AT_END
        || footer.capacitySectors() != header.capacitySectors()
        || footer.grainSectors() != header.grainSectors()) {
      findings.error(at, "footer", "other than the header", "the header with its directory");
      return null;
    }
    return footer;
  }

  private void checkTable(SparseExtentHeader header, int index, long position)
      throws BlockException {
    table.clear();
    file.read(position, table, Blocking.ALLOWED);
    for (int entry = 0; entry < ENTRIES_PER_TABLE; entry++) {
      long sector = Integer.toUnsignedLong(table.getInt(entry * Integer.BYTES));
      if (sector == 0) {
        continue;
      }
      long grain = (long) index * ENTRIES_PER_TABLE + entry;
      long at = position + (long) entry * Integer.BYTES;
      if (grain * header.grainSectors() >= header.capacitySectors()) {
        findings.error(at, "grain table entry", "sector " + sector, "0, behind the disk's end");
      } else if (sector == 1 && header.hasZeroGrains()) {
        findings.all().zeroGrains++;
      } else if (sector * SECTOR_BYTES > fileBytes - MARKER_BYTES) {
        findings.error(
            at,
            "grain table entry",
            "sector " + sector,
            "a grain inside the file's " + fileBytes + " bytes");
      } else if (isFirstUse(at, "grain table entry", sector)) {
        findings.all().grains++;
        checkMarker(header, sector * SECTOR_BYTES, grain);
      }
    }
  }

  /** Whether a place is named for the first time; else it is not looked at again. */
  private boolean isFirstUse(long at, String field, long sector) {
    if (sector >= SECTORS_COMPARED) {
      findings.warning(at, field, "sector " + sector, "< " + SECTORS_COMPARED + ", to be checked");
      return false;
    }
    if (used.get((int) sector)) {
      findings.error(at, field, "sector " + sector + ", which is used already", "its own place");
      return false;
    }
    used.set((int) sector);
    return true;
  }

  private void checkMarker(SparseExtentHeader header, long position, long grain)
      throws BlockException {
    small.clear();
    file.read(position, small, Blocking.ALLOWED);
    long sector = small.getLong(0);
    long expected = grain * header.grainSectors();
    if (sector != expected) {
      findings.error(
          position, "grain marker address", Long.toUnsignedString(sector), "" + expected);
      return;
    }
    long length = Integer.toUnsignedLong(small.getInt(8));
    long most =
        Math.min(
            header.grainBytes() + header.grainBytes() / 1000 + 1024L,
            fileBytes - position - MARKER_BYTES);
    if (length == 0 || length > most) {
      findings.error(position + 8, "grain marker size", "" + length, "1.." + most);
    }
  }
}
