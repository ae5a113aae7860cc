package io.filterd.vmdk;

/**
 * Where things are in a sparse extent that is made here, in sectors: header, two slots for the
 * descriptor if it is in the same file, the redundant directory and its tables, the directory and
 * its tables, grains. All tables have their space from the start: qemu damages files that lack one
 * (its writes into a region without a table end up at the start of the file).
 *
 * @param capacitySectors the size of the extent's content
 * @param embedded whether the descriptor is in the same file
 */
record SparseLayout(long capacitySectors, boolean embedded) {
  static final int GRAIN_SECTORS = 128;
  static final int GRAIN_BYTES = GRAIN_SECTORS * SparseExtentHeader.SECTOR_BYTES;

  /** The space of each descriptor slot: what qemu and VMware give a descriptor. */
  static final int SLOT_SECTORS = 20;

  static final int SLOT_BYTES = SLOT_SECTORS * SparseExtentHeader.SECTOR_BYTES;
  static final int FIRST_SLOT = 1;
  static final int SECOND_SLOT = FIRST_SLOT + SLOT_SECTORS;

  /** The entry of the disk database that names the two slots, without {@code ddb.}. */
  static final String SLOTS_KEY = "filterd.slots";

  /** What that entry says of files with this layout. */
  static final String SLOTS = FIRST_SLOT + "," + SECOND_SLOT;

  /** The places of sectors are 32 bits wide, so a file ends before this sector. */
  static final long FILE_LIMIT_SECTORS = 1L << 32;

  /** With this size, tables and a full set of grains stay below the limit of the file. */
  static final long LARGEST_DISK_BYTES = (2L << 40) - (512L << 20);

  /** The sector behind header and slots. */
  static final int SLOTS_END_SECTOR = SECOND_SLOT + SLOT_SECTORS;

  /** The layout of a disk in one file. */
  SparseLayout(long capacitySectors) {
    this(capacitySectors, true);
  }

  int tableCount() {
    return (int) SparseExtentHeader.tableCount(capacitySectors, GRAIN_SECTORS);
  }

  long redundantTable(int index) {
    return redundantDirectory() + directorySectors() + tableSectors(index);
  }

  long directory() {
    return redundantTable(tableCount());
  }

  long table(int index) {
    return directory() + directorySectors() + tableSectors(index);
  }

  long overheadSectors() {
    return Math.ceilDiv(table(tableCount()), GRAIN_SECTORS) * GRAIN_SECTORS;
  }

  /** The header of a disk without a parent: version 1, which every reader knows. */
  SparseExtentHeader header() {
    return header(
        1, SparseExtentHeader.FLAG_NEWLINE_TEST | SparseExtentHeader.FLAG_REDUNDANT_TABLES);
  }

  /** The header of a child: version 2, in which a grain of zeros hides the parent's. */
  SparseExtentHeader childHeader() {
    return header(
        2,
        SparseExtentHeader.FLAG_NEWLINE_TEST
            | SparseExtentHeader.FLAG_REDUNDANT_TABLES
            | SparseExtentHeader.FLAG_ZERO_GRAINS);
  }

  private SparseExtentHeader header(int version, int flags) {
    return new SparseExtentHeader(
        version,
        flags,
        capacitySectors,
        GRAIN_SECTORS,
        embedded ? FIRST_SLOT : 0,
        embedded ? SLOT_SECTORS : 0,
        redundantDirectory(),
        directory(),
        overheadSectors(),
        false,
        0);
  }

  private long redundantDirectory() {
    return embedded ? SLOTS_END_SECTOR : 1;
  }

  private long directorySectors() {
    return SparseExtentHeader.directorySectors(tableCount());
  }

  private static long tableSectors(int count) {
    return (long) count * SparseExtentHeader.TABLE_SECTORS;
  }
}
