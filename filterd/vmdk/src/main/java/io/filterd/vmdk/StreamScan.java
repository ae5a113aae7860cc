package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;

/**
 * What is found in a stream-optimized file by going from marker to marker (Virtual Disk Format 5.0,
 * "Markers"), where the directory at its end is not there: its grains, up to the first place that
 * makes no sense. Every step leads on in the file, so it comes to an end; a step reads a sector.
 */
final class StreamScan {
  /** A marker in front of a grain: its sector in the disk, and the bytes that follow. */
  static final int GRAIN_MARKER_BYTES = 12;

  static final int END_OF_STREAM = 0;
  static final int TABLE = 1;
  static final int DIRECTORY = 2;
  static final int FOOTER = 3;

  /** In no specification, but in VMware's own writer: to be skipped. */
  private static final int PROGRESS = 4;

  private static final int SIZE_AT = 8;
  private static final int TYPE_AT = 12;

  /** The most grains that are found again: 256 GiB of the usual ones, in 32 MiB of memory. */
  private static final int GRAIN_LIMIT = 1 << 22;

  /** Grains are numbered by 31 bits here: 128 TiB of the usual ones. */
  private static final int TABLE_LIMIT = 1 << 22;

  private final ExtentFile file;
  private final SparseExtentHeader header;
  private final long fileSectors;
  private final ByteBuffer marker =
      ByteBuffer.allocateDirect(GRAIN_MARKER_BYTES + Integer.BYTES).order(ByteOrder.LITTLE_ENDIAN);

  /** A grain's number in the upper half, its sector in the file in the lower, both ascending. */
  private long[] grains = new long[1024];

  private int count;
  private boolean foundDirectory;
  private long footerSector = -1;
  private long endSector;
  private String end = "";

  private StreamScan(ExtentFile file, SparseExtentHeader header) throws BlockException {
    this.file = file;
    this.header = header;
    this.fileSectors = file.sizeBytes() / SECTOR_BYTES;
  }

  /** Goes through all of the file. */
  static StreamScan read(ExtentFile file, SparseExtentHeader header)
      throws FormatException, BlockException {
    if (header.tableCount() > TABLE_LIMIT) {
      throw new FormatException(
          file.name(),
          12,
          "capacity",
          header.capacitySectors() + " sectors, and no directory at the end of the file",
          "at most " + TABLE_LIMIT + " grain tables, to find the grains without it");
    }
    StreamScan scan = new StreamScan(file, header);
    for (long at = header.overheadSectors(); at >= 0; ) {
      scan.endSector = at;
      at = scan.step(at);
    }
    return scan;
  }

  /** The largest that a compressed grain may be: what can't be compressed gets a little larger. */
  static int largestGrainBytes(SparseExtentHeader header) {
    int grainBytes = header.grainBytes();
    return grainBytes + grainBytes / 1000 + 1024;
  }

  /** Takes the marker at a sector; says where the next one is, or -1 if this was the last. */
  private long step(long at) throws BlockException {
    if (at >= fileSectors) {
      return stop("the file's end");
    }
    file.read(at * SECTOR_BYTES, marker.clear(), Blocking.ALLOWED);
    long value = marker.getLong(0);
    long size = Integer.toUnsignedLong(marker.getInt(SIZE_AT));
    if (size != 0) {
      return grain(at, value, size);
    }
    int type = marker.getInt(TYPE_AT);
    long next = at + 1 + value;
    switch (type) {
      case END_OF_STREAM -> {
        return stop("the end of the stream");
      }
      case TABLE, PROGRESS -> {}
      case DIRECTORY -> foundDirectory = true;
      case FOOTER -> footerSector = at + 1;
      default -> {
        return stop("a marker of type " + Integer.toUnsignedString(type));
      }
    }
    if (value < 0 || value > fileSectors - at - 1) {
      return stop("a marker of type %d, its %d sectors not".formatted(type, value));
    }
    return next;
  }

  private long grain(long at, long sector, long size) {
    int grainSectors = header.grainSectors();
    if (sector < 0 || sector >= header.capacitySectors() || sector % grainSectors != 0) {
      return stop("a marker of a grain at sector " + Long.toUnsignedString(sector));
    }
    if (size > largestGrainBytes(header)) {
      return stop("a marker of a grain of " + size + " bytes");
    }
    long next = at + Math.ceilDiv(GRAIN_MARKER_BYTES + size, SECTOR_BYTES);
    // The last sector of a grain may be cut where its bytes end, or the file was.
    if (next > fileSectors || at >= 1L << 32) {
      return stop("a grain, not all of it");
    }
    long number = sector / grainSectors;
    if (count > 0 && number <= grains[count - 1] >>> 32) {
      return stop("a marker of grain " + number + " again, or too late");
    }
    if (count == GRAIN_LIMIT) {
      return stop("more than " + GRAIN_LIMIT + " grains");
    }
    if (count == grains.length) {
      grains = Arrays.copyOf(grains, Math.min(GRAIN_LIMIT, count * 2));
    }
    grains[count++] = number << 32 | at;
    return next;
  }

  private long stop(String what) {
    end = what;
    return -1;
  }

  /** Where the footer is, in sectors; -1 if none was found. */
  long footerSector() {
    return footerSector;
  }

  /** Where the scan ended, in bytes. */
  long endBytes() {
    return endSector * SECTOR_BYTES;
  }

  /** How many grains were found. */
  int count() {
    return count;
  }

  /** What was found at the end, and what is missing: a sentence. */
  String summary() {
    if (foundDirectory) {
      return "%s: at byte %d: the directory is damaged or cut off; all grains are there: %d"
          .formatted(file.name(), endBytes(), count);
    }
    long lastByte = ((grains[Math.max(0, count - 1)] >>> 32) + 1) * header.grainBytes();
    return "%s: cut off or damaged at byte %d, where there is %s; grains found: %d; "
            .formatted(file.name(), endBytes(), end, count)
        + "what the disk had from byte %d on is missing and reads as zeros"
            .formatted(Math.min(lastByte, header.capacityBytes()));
  }

  /** The grains that were found. */
  GrainMap grains() {
    return new Found(
        Arrays.copyOf(grains, count), Integer.numberOfTrailingZeros(header.grainBytes()));
  }

  /** Grains by their numbers, in order. */
  private static final class Found implements GrainMap {
    private final long[] grains;
    private final int grainShift;

    Found(long[] grains, int grainShift) {
      this.grains = grains;
      this.grainShift = grainShift;
    }

    @Override
    public long locate(long offset, Blocking blocking) {
      long number = offset >>> grainShift;
      int at = Arrays.binarySearch(grains, number << 32);
      // No grain is at sector 0, so the place is never found but where the grain would be.
      int index = at < 0 ? -at - 1 : at;
      if (index == grains.length || grains[index] >>> 32 != number) {
        return ABSENT;
      }
      return (grains[index] & 0xffff_ffffL) * SECTOR_BYTES + (offset & ((1L << grainShift) - 1));
    }

    @Override
    public long restOfGrain(long offset) {
      long grainBytes = 1L << grainShift;
      return grainBytes - (offset & (grainBytes - 1));
    }
  }
}
