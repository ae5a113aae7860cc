package io.filterd.vmdk;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * The header of a hosted sparse extent (Virtual Disk Format 5.0, "Hosted Sparse Extent Header").
 * All numbers are in sectors of 512 bytes, from the start of the file where they are places.
 *
 * @param version 1; 2 where grains may be marked as zeros; 3 where compressed, or change-tracked
 * @param flags what the extent uses; see the constants
 * @param capacitySectors the size of the extent's content
 * @param grainSectors the size of a grain, a power of two
 * @param descriptorOffset where the embedded descriptor is; 0 if there is none
 * @param descriptorSectors the space of the embedded descriptor
 * @param redundantDirectoryOffset where the copy of the grain directory is; meant only with {@link
 *     #FLAG_REDUNDANT_TABLES}
 * @param directoryOffset where the grain directory is, or {@link #DIRECTORY_AT_END}
 * @param overheadSectors the space of everything before the first grain
 * @param uncleanShutdown whether the extent is open for writing, or was when it was last left
 * @param compressAlgorithm 0 for none, 1 for deflate
 */
record SparseExtentHeader(
    int version,
    int flags,
    long capacitySectors,
    int grainSectors,
    long descriptorOffset,
    int descriptorSectors,
    long redundantDirectoryOffset,
    long directoryOffset,
    long overheadSectors,
    boolean uncleanShutdown,
    int compressAlgorithm) {
  static final int SECTOR_BYTES = 512;
  static final int SIZE_BYTES = 512;

  /** "KDMV" in little endian. */
  static final int MAGIC = 0x564d444b;

  /** The bytes that FTP's text mode would change are valid. */
  static final int FLAG_NEWLINE_TEST = 1;

  /** There is a second, equal set of directory and tables. */
  static final int FLAG_REDUNDANT_TABLES = 1 << 1;

  /** A table entry of 1 means a grain of zeros. */
  static final int FLAG_ZERO_GRAINS = 1 << 2;

  /** Grains are compressed. */
  static final int FLAG_COMPRESSED = 1 << 16;

  /** Grains and metadata are preceded by markers. */
  static final int FLAG_MARKERS = 1 << 17;

  /** The directory's place is told by a footer at the end of the file. */
  static final long DIRECTORY_AT_END = -1L;

  /** Entries of a grain table. The format has a field for it, every file in the world says 512. */
  static final int ENTRIES_PER_TABLE = 512;

  /** The space of a grain table. */
  static final int TABLE_SECTORS = ENTRIES_PER_TABLE * Integer.BYTES / SECTOR_BYTES;

  /** Capacities below 2 EiB: sums and products of byte positions never overflow a long. */
  static final long CAPACITY_LIMIT_SECTORS = 1L << 52;

  /** The most grain tables an extent may have: 512 TiB of the usual grains. */
  static final int TABLE_COUNT_LIMIT = 1 << 24;

  static final int SMALLEST_GRAIN_SECTORS = 8;
  static final int LARGEST_GRAIN_SECTORS = 2048;

  /** The longest embedded descriptor that is read. */
  static final int DESCRIPTOR_LIMIT_SECTORS = Descriptor.LARGEST_TEXT_BYTES / SECTOR_BYTES;

  private static final int HIGHEST_VERSION = 3;
  private static final int INCOMPATIBLE_FLAGS = 0xFFFF_0000;
  // A place of a sector is 32 bits wide in directories and tables.
  private static final long PLACE_LIMIT = 1L << 32;

  private static final int MAGIC_AT = 0;
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
  private static final int NEWLINES = 0x0a0d200a; // 0A 20 0D 0A, little endian
  private static final int COMPRESSION_AT = 77;

  /**
   * Reads a header that stands at byte {@code base} of a file. Everything that can be judged by the
   * header alone is judged here; {@link #checkFits} does the rest.
   */
  static SparseExtentHeader parse(String file, long base, ByteBuffer bytes) throws FormatException {
    FieldReader in = new FieldReader(file, base, bytes);
    long magic = in.u32("magic", MAGIC_AT);
    if (magic != MAGIC) {
      throw in.bad(
          "magic", MAGIC_AT, "0x" + Long.toHexString(magic), "0x" + Integer.toHexString(MAGIC));
    }
    long version = in.u32("version", VERSION_AT);
    if (version < 1 || version > HIGHEST_VERSION) {
      throw in.bad("version", VERSION_AT, Long.toString(version), "1.." + HIGHEST_VERSION);
    }
    int flags = (int) in.u32("flags", FLAGS_AT);
    boolean compressed = (flags & FLAG_COMPRESSED) != 0;
    boolean markers = (flags & FLAG_MARKERS) != 0;
    if ((flags & INCOMPATIBLE_FLAGS & ~(FLAG_COMPRESSED | FLAG_MARKERS)) != 0) {
      throw in.bad(
          "flags", FLAGS_AT, "0x" + Integer.toHexString(flags), "of the high 16 only 0x30000");
    }
    if (markers != compressed) {
      // Compressed grains without a marker have no length and no address of their own.
      throw in.bad(
          "flags", FLAGS_AT, "0x" + Integer.toHexString(flags), "0x10000 and 0x20000 together");
    }
    long capacity = in.bounded("capacity", CAPACITY_AT, 1, CAPACITY_LIMIT_SECTORS - 1, "sectors");
    long grain = in.u64("grainSize", GRAIN_SIZE_AT);
    if (Long.bitCount(grain) != 1
        || grain < SMALLEST_GRAIN_SECTORS
        || grain > LARGEST_GRAIN_SECTORS) {
      throw in.bad(
          "grainSize",
          GRAIN_SIZE_AT,
          Long.toUnsignedString(grain) + " sectors",
          "a power of two in " + SMALLEST_GRAIN_SECTORS + ".." + LARGEST_GRAIN_SECTORS);
    }
    long entries = in.u32("numGTEsPerGT", ENTRIES_PER_TABLE_AT);
    if (entries != ENTRIES_PER_TABLE) {
      throw in.bad(
          "numGTEsPerGT",
          ENTRIES_PER_TABLE_AT,
          Long.toString(entries),
          Integer.toString(ENTRIES_PER_TABLE));
    }
    long tables = tableCount(capacity, (int) grain);
    if (tables > TABLE_COUNT_LIMIT) {
      throw in.bad(
          "capacity",
          CAPACITY_AT,
          capacity + " sectors in " + tables + " grain tables",
          "at most " + TABLE_COUNT_LIMIT + " grain tables");
    }
    long descriptorOffset =
        in.bounded("descriptorOffset", DESCRIPTOR_OFFSET_AT, 0, PLACE_LIMIT - 1, "sectors");
    long descriptorSectors =
        descriptorOffset == 0
            ? 0
            : in.bounded(
                "descriptorSize", DESCRIPTOR_SIZE_AT, 1, DESCRIPTOR_LIMIT_SECTORS, "sectors");
    boolean redundant = (flags & FLAG_REDUNDANT_TABLES) != 0;
    // Some writers leave a stale place there without the flag: it is kept and never followed.
    long redundantDirectory =
        redundant && !compressed
            ? in.bounded("rgdOffset", REDUNDANT_DIRECTORY_AT, 1, PLACE_LIMIT - 1, "sectors")
            : in.u64("rgdOffset", REDUNDANT_DIRECTORY_AT);
    long directory = in.u64("gdOffset", DIRECTORY_AT);
    if (directory != DIRECTORY_AT_END || !compressed) {
      directory = in.bounded("gdOffset", DIRECTORY_AT, 1, PLACE_LIMIT - 1, "sectors");
    }
    long overhead = in.bounded("overHead", OVERHEAD_AT, 1, PLACE_LIMIT - 1, "sectors");
    int unclean = in.u8("uncleanShutdown", UNCLEAN_SHUTDOWN_AT);
    if ((flags & FLAG_NEWLINE_TEST) != 0 && in.u32("newlines", NEWLINES_AT) != NEWLINES) {
      throw in.bad(
          "newlines",
          NEWLINES_AT,
          "0x" + Long.toHexString(in.u32("newlines", NEWLINES_AT)),
          "0x" + Integer.toHexString(NEWLINES) + "; was the file sent in a text mode?");
    }
    int compression = in.u16("compressAlgorithm", COMPRESSION_AT);
    if (compression != (compressed ? 1 : 0)) {
      throw in.bad(
          "compressAlgorithm",
          COMPRESSION_AT,
          Integer.toString(compression),
          compressed ? "1 (deflate), as the flags say" : "0 (none), as the flags say");
    }
    return new SparseExtentHeader(
        (int) version,
        flags,
        capacity,
        (int) grain,
        descriptorOffset,
        (int) descriptorSectors,
        redundantDirectory,
        directory,
        overhead,
        unclean != 0,
        compression);
  }

  /**
   * Refuses a header whose places are not inside a file of {@code fileBytes} bytes; but for the
   * directory of a stream, which may be at the end, and be cut off.
   */
  void checkFits(String file, long base, long fileBytes) throws FormatException {
    long fileSectors = fileBytes / SECTOR_BYTES;
    checkInside(file, base + OVERHEAD_AT, "overHead", 0, overheadSectors, fileSectors);
    checkInside(
        file,
        base + DESCRIPTOR_OFFSET_AT,
        "descriptorOffset + descriptorSize",
        descriptorOffset,
        descriptorSectors,
        fileSectors);
    if (!isCompressed()) {
      checkInside(
          file, base + DIRECTORY_AT, "gdOffset", directoryOffset, directorySectors(), fileSectors);
    }
    if (hasRedundantTables()) {
      checkInside(
          file,
          base + REDUNDANT_DIRECTORY_AT,
          "rgdOffset",
          redundantDirectoryOffset,
          directorySectors(),
          fileSectors);
    }
  }

  private static void checkInside(
      String file, long at, String field, long offset, long sectors, long fileSectors)
      throws FormatException {
    if (offset > fileSectors || sectors > fileSectors - offset) {
      throw new FormatException(
          file,
          at,
          field,
          "sectors " + offset + "+" + sectors,
          "inside the file's " + fileSectors + " sectors");
    }
  }

  /** Writes all 512 bytes. */
  void writeTo(ByteBuffer target) {
    ByteBuffer out = target.slice(target.position(), SIZE_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    for (int at = 0; at < SIZE_BYTES; at += Long.BYTES) {
      out.putLong(at, 0);
    }
    out.putInt(MAGIC_AT, MAGIC)
        .putInt(VERSION_AT, version)
        .putInt(FLAGS_AT, flags)
        .putLong(CAPACITY_AT, capacitySectors)
        .putLong(GRAIN_SIZE_AT, grainSectors)
        .putLong(DESCRIPTOR_OFFSET_AT, descriptorOffset)
        .putLong(DESCRIPTOR_SIZE_AT, descriptorSectors)
        .putInt(ENTRIES_PER_TABLE_AT, ENTRIES_PER_TABLE)
        .putLong(REDUNDANT_DIRECTORY_AT, redundantDirectoryOffset)
        .putLong(DIRECTORY_AT, directoryOffset)
        .putLong(OVERHEAD_AT, overheadSectors)
        .put(UNCLEAN_SHUTDOWN_AT, (byte) (uncleanShutdown ? 1 : 0))
        .putInt(NEWLINES_AT, NEWLINES)
        .putShort(COMPRESSION_AT, (short) compressAlgorithm);
    target.position(target.position() + SIZE_BYTES);
  }

  boolean hasRedundantTables() {
    return (flags & FLAG_REDUNDANT_TABLES) != 0 && !isCompressed();
  }

  boolean hasZeroGrains() {
    return (flags & FLAG_ZERO_GRAINS) != 0;
  }

  boolean isCompressed() {
    return (flags & FLAG_COMPRESSED) != 0;
  }

  /** The size of the extent's content, in bytes. */
  long capacityBytes() {
    return capacitySectors * SECTOR_BYTES;
  }

  int grainBytes() {
    return grainSectors * SECTOR_BYTES;
  }

  /** The number of grain tables, which is the number of entries of the directory. */
  int tableCount() {
    return (int) tableCount(capacitySectors, grainSectors);
  }

  /** The space of a grain directory. */
  long directorySectors() {
    return directorySectors(tableCount());
  }

  static long tableCount(long capacitySectors, int grainSectors) {
    return Math.ceilDiv(capacitySectors, (long) grainSectors * ENTRIES_PER_TABLE);
  }

  static long directorySectors(long tableCount) {
    return Math.ceilDiv(tableCount * Integer.BYTES, SECTOR_BYTES);
  }
}
