package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.CAPACITY_LIMIT_SECTORS;
import static io.filterd.vmdk.SparseExtentHeader.ENTRIES_PER_TABLE;
import static io.filterd.vmdk.SparseExtentHeader.LARGEST_GRAIN_SECTORS;
import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;
import static io.filterd.vmdk.SparseExtentHeader.SMALLEST_GRAIN_SECTORS;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.jspecify.annotations.Nullable;

/**
 * Reads the header of a sparse extent, whatever stands in it: says all that is wrong, where {@link
 * SparseExtentHeader#parse} stops at the first, and goes on with what is right.
 */
final class HeaderCheck {
  private static final int VERSION_AT = 4;
  private static final int FLAGS_AT = 8;
  private static final int CAPACITY_AT = 12;
  private static final int GRAIN_SIZE_AT = 20;
  private static final int DESCRIPTOR_OFFSET_AT = 28;
  private static final int DESCRIPTOR_SIZE_AT = 36;
  private static final int ENTRIES_PER_TABLE_AT = 44;
  private static final int REDUNDANT_DIRECTORY_AT = 48;
  private static final int DIRECTORY_AT = 56;
  private static final int OVERHEAD_AT = 64;
  private static final int UNCLEAN_SHUTDOWN_AT = 72;
  private static final int NEWLINES_AT = 73;
  private static final int NEWLINES = 0x0a0d200a;
  private static final int COMPRESSION_AT = 77;
  private static final int UNKNOWN_INCOMPATIBLE_FLAGS =
      0xFFFF_0000 & ~(SparseExtentHeader.FLAG_COMPRESSED | SparseExtentHeader.FLAG_MARKERS);

  private final Findings.In findings;
  private final ByteBuffer bytes;
  private final long base;
  private final long fileSectors;

  private HeaderCheck(Findings.In findings, ByteBuffer bytes, long base, long fileBytes) {
    this.findings = findings;
    this.bytes = bytes.duplicate().order(ByteOrder.LITTLE_ENDIAN);
    this.base = base;
    this.fileSectors = fileBytes / SECTOR_BYTES;
  }

  /**
   * Reads a header that stands at byte {@code base} of a file.
   *
   * @return what can be used of it: no descriptor, no redundant directory where their places are
   *     wrong, and 0 for a directory or an overhead that is; null if capacity or grain size are
   */
  static @Nullable SparseExtentHeader read(
      Findings.In findings, ByteBuffer bytes, long base, long fileBytes) {
    return new HeaderCheck(findings, bytes, base, fileBytes).read();
  }

  private @Nullable SparseExtentHeader read() {
    long version = Integer.toUnsignedLong(bytes.getInt(VERSION_AT));
    if (version < 1 || version > 3) {
      error(VERSION_AT, "version", Long.toString(version), "1..3");
    }
    int flags = bytes.getInt(FLAGS_AT);
    boolean compressed = (flags & SparseExtentHeader.FLAG_COMPRESSED) != 0;
    checkFlags(flags, compressed);
    long capacity = bytes.getLong(CAPACITY_AT);
    boolean usable = true;
    if (capacity < 1 || capacity >= CAPACITY_LIMIT_SECTORS) {
      usable = false;
      error(
          CAPACITY_AT,
          "capacity",
          Long.toUnsignedString(capacity) + " sectors",
          "1.." + (CAPACITY_LIMIT_SECTORS - 1));
    }
    long grain = bytes.getLong(GRAIN_SIZE_AT);
    if (Long.bitCount(grain) != 1
        || grain < SMALLEST_GRAIN_SECTORS
        || grain > LARGEST_GRAIN_SECTORS) {
      usable = false;
      error(
          GRAIN_SIZE_AT,
          "grainSize",
          Long.toUnsignedString(grain) + " sectors",
          "a power of two in " + SMALLEST_GRAIN_SECTORS + ".." + LARGEST_GRAIN_SECTORS);
    }
    long entries = Integer.toUnsignedLong(bytes.getInt(ENTRIES_PER_TABLE_AT));
    if (entries != ENTRIES_PER_TABLE) {
      error(ENTRIES_PER_TABLE_AT, "numGTEsPerGT", Long.toString(entries), "" + ENTRIES_PER_TABLE);
    }
    if (bytes.get(UNCLEAN_SHUTDOWN_AT) != 0) {
      findings.warning(
          base + UNCLEAN_SHUTDOWN_AT,
          "uncleanShutdown",
          Integer.toString(Byte.toUnsignedInt(bytes.get(UNCLEAN_SHUTDOWN_AT))),
          "0, as after a clean close",
          new Patch.Bytes(Patch.Step.MARK, base + UNCLEAN_SHUTDOWN_AT, new byte[1]));
    }
    return usable ? places((int) version, flags, capacity, (int) grain) : null;
  }

  private void checkFlags(int flags, boolean compressed) {
    String actual = "0x" + Integer.toHexString(flags);
    if ((flags & UNKNOWN_INCOMPATIBLE_FLAGS) != 0) {
      error(FLAGS_AT, "flags", actual, "of the high 16 only 0x30000");
    }
    if (((flags & SparseExtentHeader.FLAG_MARKERS) != 0) != compressed) {
      error(FLAGS_AT, "flags", actual, "0x10000 and 0x20000 together");
    }
    int newlines = bytes.getInt(NEWLINES_AT);
    if ((flags & SparseExtentHeader.FLAG_NEWLINE_TEST) != 0 && newlines != NEWLINES) {
      error(
          NEWLINES_AT,
          "newlines",
          "0x" + Integer.toHexString(newlines),
          "0x" + Integer.toHexString(NEWLINES) + "; was the file sent in a text mode?");
    }
    int compression = Short.toUnsignedInt(bytes.getShort(COMPRESSION_AT));
    if (compression != (compressed ? 1 : 0)) {
      error(
          COMPRESSION_AT,
          "compressAlgorithm",
          Integer.toString(compression),
          compressed ? "1, as the flags say" : "0, as the flags say");
    }
  }

  private SparseExtentHeader places(int version, int flags, long capacity, int grain) {
    boolean compressed = (flags & SparseExtentHeader.FLAG_COMPRESSED) != 0;
    long directorySectors =
        SparseExtentHeader.directorySectors(SparseExtentHeader.tableCount(capacity, grain));
    long descriptor = bytes.getLong(DESCRIPTOR_OFFSET_AT);
    long descriptorSectors = bytes.getLong(DESCRIPTOR_SIZE_AT);
    if (descriptor != 0
        && !(isInside(DESCRIPTOR_OFFSET_AT, "descriptorOffset", descriptor, descriptorSectors)
            && isDescriptorSize(descriptorSectors))) {
      descriptor = 0;
    }
    long directory = bytes.getLong(DIRECTORY_AT);
    boolean atEnd = compressed && directory == SparseExtentHeader.DIRECTORY_AT_END;
    if (!atEnd && !isInside(DIRECTORY_AT, "gdOffset", directory, directorySectors)) {
      directory = 0;
    }
    long redundant = bytes.getLong(REDUNDANT_DIRECTORY_AT);
    int usedFlags = flags;
    if ((flags & SparseExtentHeader.FLAG_REDUNDANT_TABLES) != 0
        && !compressed
        && !isInside(REDUNDANT_DIRECTORY_AT, "rgdOffset", redundant, directorySectors)) {
      usedFlags &= ~SparseExtentHeader.FLAG_REDUNDANT_TABLES;
    }
    long overhead = bytes.getLong(OVERHEAD_AT);
    if (!isInside(OVERHEAD_AT, "overHead", overhead, 0)) {
      overhead = 0;
    }
    return new SparseExtentHeader(
        version,
        usedFlags,
        capacity,
        grain,
        descriptor,
        descriptor == 0 ? 0 : (int) descriptorSectors,
        redundant,
        directory,
        overhead,
        bytes.get(UNCLEAN_SHUTDOWN_AT) != 0,
        Short.toUnsignedInt(bytes.getShort(COMPRESSION_AT)));
  }

  private boolean isDescriptorSize(long sectors) {
    if (sectors < 1 || sectors > SparseExtentHeader.DESCRIPTOR_LIMIT_SECTORS) {
      error(
          DESCRIPTOR_SIZE_AT,
          "descriptorSize",
          Long.toUnsignedString(sectors) + " sectors",
          "1.." + SparseExtentHeader.DESCRIPTOR_LIMIT_SECTORS);
      return false;
    }
    return true;
  }

  private boolean isInside(int at, String field, long sector, long sectors) {
    if (sector >= 1 && sector <= fileSectors && sectors >= 0 && sectors <= fileSectors - sector) {
      return true;
    }
    error(
        at,
        field,
        "sectors " + Long.toUnsignedString(sector) + "+" + Long.toUnsignedString(sectors),
        "inside the file's " + fileSectors + " sectors, behind the first");
    return false;
  }

  private void error(int at, String field, String actual, String expected) {
    findings.error(base + at, field, actual, expected);
  }
}
