package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;

import java.nio.ByteBuffer;

/**
 * The headers of a space-efficient sparse extent of ESX. VMware does not publish the format; this
 * is what qemu's developers found out (their block/vmdk.c, "SESparse"). All numbers are in sectors
 * of 512 bytes from the start of the file.
 *
 * @param capacitySectors the size of the extent's content
 * @param directoryOffset where the grain directory is
 * @param tablesOffset where the first grain table is
 * @param tableCount how many tables there is space for
 * @param grainsOffset where the first grain is
 */
record SeSparseHeader(
    long capacitySectors,
    long directoryOffset,
    long tablesOffset,
    int tableCount,
    long grainsOffset) {
  /** The first half of the constant header's magic, in little endian; the other is zeros. */
  static final int MAGIC = 0xcafebabe;

  static final int GRAIN_SECTORS = 8;
  static final int ENTRIES_PER_TABLE = 4096;
  static final int TABLE_SECTORS = 64;
  static final int TABLE_BYTES = TABLE_SECTORS * SECTOR_BYTES;

  /** The most tables an extent may have: 256 TiB. */
  private static final int TABLE_COUNT_LIMIT = 1 << 24;

  private static final long VERSION = 0x2_0000_0001L;
  private static final long VOLATILE_MAGIC = 0xcafecafeL;

  private static final int MAGIC_AT = 0;
  private static final int VERSION_AT = 8;
  private static final int CAPACITY_AT = 16;
  private static final int GRAIN_SIZE_AT = 24;
  private static final int TABLE_SIZE_AT = 32;
  private static final int FLAGS_AT = 40;
  private static final int RESERVED_AT = 48;
  private static final int RESERVED_END = 80;
  private static final int VOLATILE_AT = 80;
  private static final int DIRECTORY_AT = 128;
  private static final int TABLES_AT = 144;
  private static final int GRAINS_AT = 192;
  private static final int PAD_AT = 208;

  private static final int REPLAY_JOURNAL_AT = 24;
  private static final int VOLATILE_PAD_AT = 32;

  /** Reads the constant header of a file of {@code fileBytes} bytes. */
  static SeSparseHeader parse(String file, ByteBuffer bytes, long fileBytes)
      throws FormatException {
    FieldReader in = new FieldReader(file, 0, bytes);
    in.expectLong("magic", MAGIC_AT, Integer.toUnsignedLong(MAGIC));
    in.expectLong("version", VERSION_AT, VERSION);
    long capacity =
        in.bounded(
            "capacity",
            CAPACITY_AT,
            1,
            (long) TABLE_COUNT_LIMIT * ENTRIES_PER_TABLE * GRAIN_SECTORS,
            "sectors");
    in.expectLong("grain_size", GRAIN_SIZE_AT, GRAIN_SECTORS);
    in.expectLong("grain_table_size", TABLE_SIZE_AT, TABLE_SECTORS);
    in.expectLong("flags", FLAGS_AT, 0);
    for (int at = RESERVED_AT; at < RESERVED_END; at += Long.BYTES) {
      in.expectLong("reserved", at, 0);
    }
    long fileSectors = fileBytes / SECTOR_BYTES;
    long tables = Math.ceilDiv(capacity, (long) ENTRIES_PER_TABLE * GRAIN_SECTORS);
    long directory = in.bounded("grain_dir_offset", DIRECTORY_AT, 1, fileSectors, "sectors");
    long directorySectors =
        in.bounded(
            "grain_dir_size",
            DIRECTORY_AT + Long.BYTES,
            Math.ceilDiv(tables * Long.BYTES, SECTOR_BYTES),
            fileSectors - directory,
            "sectors");
    long tablesOffset = in.bounded("grain_tables_offset", TABLES_AT, 1, fileSectors, "sectors");
    long tablesSectors =
        in.bounded(
            "grain_tables_size", TABLES_AT + Long.BYTES, 0, fileSectors - tablesOffset, "sectors");
    long grains = in.bounded("grains_offset", GRAINS_AT, 1, fileSectors, "sectors");
    for (int at = PAD_AT; at < SECTOR_BYTES; at += Long.BYTES) {
      in.expectLong("pad", at, 0);
    }
    checkApart(in, directory, directorySectors, tablesOffset, tablesSectors, grains);
    return new SeSparseHeader(
        capacity,
        directory,
        tablesOffset,
        (int) Math.min(tablesSectors / TABLE_SECTORS, Integer.MAX_VALUE),
        grains);
  }

  /** Refuses metadata among the grains: a guest would read it, or write it. */
  private static void checkApart(
      FieldReader in,
      long directory,
      long directorySectors,
      long tables,
      long tablesSectors,
      long grains)
      throws FormatException {
    long end = Math.max(directory + directorySectors, tables + tablesSectors);
    if (grains < end) {
      throw in.bad(
          "grains_offset", GRAINS_AT, grains + " sectors", "at least " + end + ", behind tables");
    }
  }

  /** Where the volatile header is, in sectors: inside the file. */
  static long volatileOffset(String file, ByteBuffer bytes, long fileBytes) throws FormatException {
    return new FieldReader(file, 0, bytes)
        .bounded("volatile_header_offset", VOLATILE_AT, 1, fileBytes / SECTOR_BYTES - 1, "sectors");
  }

  /** Refuses an extent whose journal must be replayed first: its tables are not what they say. */
  static void checkClean(String file, long base, ByteBuffer bytes) throws FormatException {
    FieldReader in = new FieldReader(file, base, bytes);
    in.expectLong("volatile magic", MAGIC_AT, VOLATILE_MAGIC);
    if (in.u64("replay_journal", REPLAY_JOURNAL_AT) != 0) {
      throw in.bad(
          "replay_journal",
          REPLAY_JOURNAL_AT,
          Long.toUnsignedString(in.u64("replay_journal", REPLAY_JOURNAL_AT)),
          "0: open the disk on ESX once, which replays its journal");
    }
    for (int at = VOLATILE_PAD_AT; at < SECTOR_BYTES; at += Long.BYTES) {
      in.expectLong("volatile pad", at, 0);
    }
  }
}
