package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;

import java.nio.ByteBuffer;

/**
 * The header of a sparse extent of ESX (Virtual Disk Format 1.1, "ESX Server Sparse Extent
 * Header"). All numbers are in sectors of 512 bytes, from the start of the file where they are
 * places.
 *
 * @param capacitySectors the size of the extent's content
 * @param grainSectors the size of a grain, a power of two; ESX itself makes grains of 1
 * @param directoryOffset where the grain directory is
 * @param directoryEntries how many grain tables it has a place for
 * @param uncleanShutdown whether the extent is open for writing, or was when it was last left
 */
record CowdHeader(
    long capacitySectors,
    int grainSectors,
    long directoryOffset,
    int directoryEntries,
    boolean uncleanShutdown) {
  /** "COWD" in little endian. */
  static final int MAGIC = 0x44574f43;

  static final int SIZE_BYTES = 2048;

  /** The entries of a grain table. */
  static final int ENTRIES_PER_TABLE = 4096;

  static final int TABLE_BYTES = ENTRIES_PER_TABLE * Integer.BYTES;

  private static final int LARGEST_GRAIN_SECTORS = 2048;
  private static final int VERSION = 1;
  private static final int FLAGS = 3;

  private static final int MAGIC_AT = 0;
  private static final int VERSION_AT = 4;
  private static final int FLAGS_AT = 8;
  private static final int CAPACITY_AT = 12;
  private static final int GRAIN_SIZE_AT = 16;
  private static final int DIRECTORY_AT = 20;
  private static final int DIRECTORY_ENTRIES_AT = 24;
  private static final int UNCLEAN_SHUTDOWN_AT = 1648;

  /** Reads the header of a file of {@code fileBytes} bytes. */
  static CowdHeader parse(String file, ByteBuffer bytes, long fileBytes) throws FormatException {
    FieldReader in = new FieldReader(file, 0, bytes);
    in.expect("magic", MAGIC_AT, MAGIC);
    in.expect("version", VERSION_AT, VERSION);
    in.expect("flags", FLAGS_AT, FLAGS);
    long capacity = in.u32("numSectors", CAPACITY_AT);
    if (capacity == 0) {
      throw in.bad("numSectors", CAPACITY_AT, "0", "at least 1");
    }
    long grain = in.u32("grainSize", GRAIN_SIZE_AT);
    if (Long.bitCount(grain) != 1 || grain > LARGEST_GRAIN_SECTORS) {
      throw in.bad(
          "grainSize",
          GRAIN_SIZE_AT,
          grain + " sectors",
          "a power of two in 1.." + LARGEST_GRAIN_SECTORS);
    }
    long tables = Math.ceilDiv(capacity, grain * ENTRIES_PER_TABLE);
    long entries = in.u32("numGDEntries", DIRECTORY_ENTRIES_AT);
    if (entries < tables || entries > Integer.MAX_VALUE) {
      throw in.bad(
          "numGDEntries",
          DIRECTORY_ENTRIES_AT,
          Long.toString(entries),
          tables + ", for " + capacity + " sectors");
    }
    long directory = in.u32("gdOffset", DIRECTORY_AT);
    long directorySectors = Math.ceilDiv(entries * Integer.BYTES, SECTOR_BYTES);
    long fileSectors = fileBytes / SECTOR_BYTES;
    if (directory < SIZE_BYTES / SECTOR_BYTES || directory + directorySectors > fileSectors) {
      throw in.bad(
          "gdOffset",
          DIRECTORY_AT,
          "sectors " + directory + "+" + directorySectors,
          "behind the header, inside the file's " + fileSectors + " sectors");
    }
    return new CowdHeader(
        capacity,
        (int) grain,
        directory,
        (int) entries,
        in.u32("uncleanShutdown", UNCLEAN_SHUTDOWN_AT) != 0);
  }

  /** The first sector that may hold a table or a grain. */
  long firstSector() {
    return directoryOffset + Math.ceilDiv((long) directoryEntries * Integer.BYTES, SECTOR_BYTES);
  }
}
