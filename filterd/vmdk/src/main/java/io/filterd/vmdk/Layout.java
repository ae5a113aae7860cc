package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;

import java.util.Optional;

/** How a new disk is laid out in files (Virtual Disk Format 5.0, "createType"). */
public enum Layout {
  /** Thin, in one file that holds the descriptor too. */
  MONOLITHIC_SPARSE("monolithicSparse", SparseLayout.LARGEST_DISK_BYTES / SECTOR_BYTES, ""),
  /** All space taken and zeroed, in one file, beside the descriptor's. */
  MONOLITHIC_FLAT("monolithicFlat", SparseExtentHeader.CAPACITY_LIMIT_SECTORS - 1, "flat"),
  /** Thin, in files of less than 2 GiB. */
  TWO_GB_MAX_EXTENT_SPARSE("twoGbMaxExtentSparse", Layout.PIECE_SECTORS, "s%03d"),
  /** All space taken and zeroed, in files of less than 2 GiB. */
  TWO_GB_MAX_EXTENT_FLAT("twoGbMaxExtentFlat", Layout.PIECE_SECTORS, "f%03d");

  /**
   * What VMware puts into one file of a split disk: 2047 MiB, so that with its tables too it stays
   * below 2 GiB. (With qemu's 2 GiB even a flat file is one byte too long for file systems that end
   * there.)
   */
  static final long PIECE_SECTORS = 4_192_256;

  private final String createType;
  private final long extentSectors;
  private final String suffix;

  Layout(String createType, long extentSectors, String suffix) {
    this.createType = createType;
    this.extentSectors = extentSectors;
    this.suffix = suffix;
  }

  /** The layout of a create type, as VMware writes it. */
  public static Optional<Layout> of(String createType) {
    for (Layout layout : values()) {
      if (layout.createType.equals(createType)) {
        return Optional.of(layout);
      }
    }
    return Optional.empty();
  }

  /** The create type that the descriptor names: {@code monolithicSparse}. */
  public String createType() {
    return createType;
  }

  /** The size of the largest disk, in bytes. */
  public long largestDiskBytes() {
    return isSplit() ? Descriptor.EXTENT_COUNT_LIMIT * extentBytes() : extentBytes();
  }

  /** Whether the descriptor is inside of the one extent's file. */
  boolean isEmbedded() {
    return suffix.isEmpty();
  }

  /** Whether all space is taken from the start. */
  public boolean isFlat() {
    return this == MONOLITHIC_FLAT || this == TWO_GB_MAX_EXTENT_FLAT;
  }

  private boolean isSplit() {
    return extentSectors == PIECE_SECTORS;
  }

  /** The most that one extent holds. */
  long extentBytes() {
    return extentSectors * SECTOR_BYTES;
  }

  /** The name of an extent's file, from 1 on: {@code disk-s001.vmdk} of {@code disk.vmdk}. */
  String extentName(String descriptorName, int number) {
    String base =
        descriptorName.endsWith(".vmdk")
            ? descriptorName.substring(0, descriptorName.length() - ".vmdk".length())
            : descriptorName;
    return base + "-" + suffix.formatted(number) + ".vmdk";
  }
}
