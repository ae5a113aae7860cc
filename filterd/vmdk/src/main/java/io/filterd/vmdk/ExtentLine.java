package io.filterd.vmdk;

import java.util.Optional;

/**
 * A line of a descriptor that names one extent of the disk.
 *
 * @param access what a guest may do with the extent
 * @param sectors its size in sectors of 512 bytes, at least 1
 * @param type how it is stored
 * @param fileName the file it is stored in, as the descriptor writes it; none for {@link
 *     Type#ZERO}. Not to be trusted as a path
 * @param offsetSectors where it starts in the file; 0 unless it is flat
 * @param byteOffset where the line stands, in bytes from the start of the descriptor's file
 */
public record ExtentLine(
    Access access,
    long sectors,
    Type type,
    Optional<String> fileName,
    long offsetSectors,
    long byteOffset) {
  /** What a guest may do with an extent. */
  public enum Access {
    /** Read and write. */
    RW,
    /** Read only. */
    RDONLY,
    /** Neither. */
    NOACCESS
  }

  /** How an extent is stored: the words of the format's specification. */
  public enum Type {
    /** Byte for byte, from an offset on. */
    FLAT,
    /** In grains: a hosted sparse extent. */
    SPARSE,
    /** Nowhere: it reads as zeros. */
    ZERO,
    /** Byte for byte, on a VMFS volume. */
    VMFS,
    /** In grains, as ESX snapshots are. */
    VMFSSPARSE,
    /** On a device, by its map. */
    VMFSRDM,
    /** On a device. */
    VMFSRAW,
    /** In small grains, as snapshots of large disks are. */
    SESPARSE,
    /** In a vSAN object. */
    VSANSPARSE
  }

  /** The size in bytes. */
  public long sizeBytes() {
    return sectors * SparseExtentHeader.SECTOR_BYTES;
  }
}
