package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.DIRECTORY_AT_END;
import static io.filterd.vmdk.SparseExtentHeader.ENTRIES_PER_TABLE;
import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;
import static io.filterd.vmdk.SparseLayout.GRAIN_BYTES;
import static io.filterd.vmdk.SparseLayout.GRAIN_SECTORS;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.ExtentKind;
import io.filterd.block.Extents;
import io.filterd.block.file.NewFile;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.Channels;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.stream.Stream;

/**
 * Writes a device's content as a stream-optimized disk, in the layout of VMware's exports (facts
 * 1.5 a; Virtual Disk Format 5.0, "Stream-Optimized Compressed Sparse Extents"): header,
 * descriptor, from sector 128 the compressed grains, each table behind its grains, the directory,
 * and a footer that tells where that is. Written strictly from front to end, so that it can go into
 * a pipe. Takes a few MiB of memory, and 4 bytes for every 32 MiB of the source.
 *
 * <p>Grains of zeros, and tables of such grains, are left out. The content of the source should not
 * change meanwhile; where it does, each grain is as it was at some moment.
 */
public final class StreamWriter {
  /** Grains that are in work for each thread that compresses: one, and one that waits. */
  private static final int GRAINS_PER_THREAD = 2;

  /** More would only wait for the one that reads. */
  private static final int MOST_THREADS = 8;

  /** The listener may be far away: it is told once for so many bytes. */
  private static final long TOLD_BYTES = 1 << 20;

  private static final int FIRST_GRAIN_SECTOR = 128;
  private static final int TYPE_END = 0;
  private static final int TYPE_TABLE = 1;
  private static final int TYPE_DIRECTORY = 2;
  private static final int TYPE_FOOTER = 3;
  private static final int MARKER_TYPE_AT = 12;

  private final OutputStream out;
  private final long capacitySectors;
  private long sector;

  /** Where the tables are; grows with the tables that were written. */
  private int[] directory = new int[64];

  private final ByteBuffer table =
      ByteBuffer.allocate(ENTRIES_PER_TABLE * Integer.BYTES).order(ByteOrder.LITTLE_ENDIAN);
  private int tableIndex;
  private boolean tableUsed;

  private StreamWriter(OutputStream out, long capacitySectors) {
    this.out = out;
    this.capacitySectors = capacitySectors;
  }

  /**
   * Writes all of {@code source} into a new file, which is there whole and durable when this
   * returns true, else not at all.
   *
   * @return false if the listener stopped it
   * @throws java.nio.file.FileAlreadyExistsException if there is something of this name, which
   *     stays as it is
   */
  public static boolean toFile(BlockDevice source, Path target, DiskCopy.Listener listener)
      throws IOException, BlockException {
    try (NewFile file = NewFile.create(target)) {
      String name = String.valueOf(target.getFileName());
      boolean written = write(source, name, Channels.newOutputStream(file.channel()), listener);
      if (written) {
        file.complete();
      }
      return written;
    }
  }

  /**
   * Writes all of {@code source} to a stream, which stays open.
   *
   * @param source 1 byte to 512 TiB; what is missing in its last sector is filled with zeros
   * @param name the name that the file will have: some readers insist on it
   * @return false if the listener stopped it; what was written is then of no use
   * @throws IOException if {@code target} fails, or it becomes 2 TiB long, which is more than the
   *     format can address
   */
  public static boolean write(
      BlockDevice source, String name, OutputStream target, DiskCopy.Listener listener)
      throws IOException, BlockException {
    long sizeBytes = source.info().sizeBytes();
    long capacitySectors = Math.ceilDiv(sizeBytes, (long) SECTOR_BYTES);
    long tables = SparseExtentHeader.tableCount(capacitySectors, GRAIN_SECTORS);
    if (sizeBytes == 0 || tables > SparseExtentHeader.TABLE_COUNT_LIMIT) {
      throw new IllegalArgumentException(
          "sizeBytes: " + sizeBytes + " (expected: 1 byte to 512 TiB)");
    }
    StreamWriter writer = new StreamWriter(target, capacitySectors);
    writer.writeFront(name);
    boolean written = writer.writeGrains(source, listener);
    if (written) {
      writer.writeEnd();
      target.flush();
    }
    return written;
  }

  private SparseExtentHeader header(long directorySector) {
    return new SparseExtentHeader(
        3,
        SparseExtentHeader.FLAG_NEWLINE_TEST
            | SparseExtentHeader.FLAG_COMPRESSED
            | SparseExtentHeader.FLAG_MARKERS,
        capacitySectors,
        GRAIN_SECTORS,
        SparseLayout.FIRST_SLOT,
        SparseLayout.SLOT_SECTORS,
        0,
        directorySector,
        FIRST_GRAIN_SECTOR,
        false,
        1);
  }

  private void writeFront(String name) throws IOException {
    ByteBuffer front = ByteBuffer.allocate(FIRST_GRAIN_SECTOR * SECTOR_BYTES);
    header(DIRECTORY_AT_END).writeTo(front);
    front.put(descriptor(name).getBytes(StandardCharsets.UTF_8));
    write(front.array(), front.capacity());
  }

  private String descriptor(String name) {
    long cylinders = Math.clamp(capacitySectors / (255 * 63), 1, 65_535);
    long cid = EmbeddedDescriptor.newContentId();
    return """
    # Disk DescriptorFile
    version=1
    encoding="UTF-8"
    CID=%08x
    parentCID=ffffffff
    createType="streamOptimized"

    # Extent description
    RW %d SPARSE "%s"

    # The Disk Data Base
    #DDB

    ddb.virtualHWVersion = "10"
    ddb.geometry.cylinders = "%d"
    ddb.geometry.heads = "255"
    ddb.geometry.sectors = "63"
    ddb.adapterType = "lsilogic"
    ddb.longContentID = "%s"
    """
        .formatted(
            cid,
            capacitySectors,
            name.replaceAll("[\"\\p{Cntrl}]", "_"),
            cylinders,
            EmbeddedDescriptor.longContentId(cid));
  }

  /** Reads and writes in order, and lets other threads compress what is between. */
  private boolean writeGrains(BlockDevice source, DiskCopy.Listener listener)
      throws IOException, BlockException {
    long total = source.info().sizeBytes();
    int threadCount = Math.min(Runtime.getRuntime().availableProcessors(), MOST_THREADS);
    List<PackedGrain> grains =
        Stream.generate(PackedGrain::new).limit((long) threadCount * GRAINS_PER_THREAD).toList();
    ArrayDeque<PackedGrain> idle = new ArrayDeque<>(grains);
    ArrayDeque<PackedGrain> busy = new ArrayDeque<>();
    try (ExecutorService threads =
        Executors.newFixedThreadPool(
            threadCount, Thread.ofPlatform().daemon().name("compress-", 0).factory())) {
      long at = 0;
      while (at < total) {
        long before = at;
        long hole = holeBytes(source, at, total);
        if (hole > 0) {
          at += hole;
        } else {
          if (idle.isEmpty()) {
            PackedGrain oldest = busy.remove();
            write(oldest);
            idle.add(oldest);
          }
          PackedGrain grain = idle.remove();
          if (grain.read(source, at)) {
            grain.startPacking(threads);
            busy.add(grain);
          } else {
            idle.add(grain);
          }
          at = Math.min(at + GRAIN_BYTES, total);
        }
        boolean told = at / TOLD_BYTES != before / TOLD_BYTES || at == total;
        if (told && !listener.at(at, total)) {
          return false;
        }
      }
      while (!busy.isEmpty()) {
        write(busy.remove());
      }
      return true;
    } finally {
      // Nobody compresses any more: the pool is closed.
      grains.forEach(PackedGrain::close);
    }
  }

  /** How many bytes of whole grains, or up to the end, from {@code at} on hold no data. */
  private static long holeBytes(BlockDevice source, long at, long total) throws BlockException {
    Extents extents = source.extents(at, total - at, Blocking.ALLOWED);
    long bytes = 0;
    for (int i = 0; i < extents.count() && extents.kind(i) != ExtentKind.DATA; i++) {
      bytes += extents.lengthBytes(i, total - at);
    }
    return at + bytes == total ? bytes : bytes / GRAIN_BYTES * GRAIN_BYTES;
  }

  private void write(PackedGrain grain) throws IOException, BlockException {
    byte[] bytes = grain.awaitPacked();
    int index = (int) (grain.firstSector() / GRAIN_SECTORS / ENTRIES_PER_TABLE);
    if (index != tableIndex) {
      writeTable();
      tableIndex = index;
    }
    int entry = (int) (grain.firstSector() / GRAIN_SECTORS % ENTRIES_PER_TABLE);
    table.putInt(entry * Integer.BYTES, (int) sector);
    tableUsed = true;
    write(bytes, grain.packedBytes());
  }

  /** The table that is complete: behind its grains. */
  private void writeTable() throws IOException {
    if (!tableUsed) {
      return;
    }
    writeMarker(TYPE_TABLE, SparseExtentHeader.TABLE_SECTORS);
    if (tableIndex >= directory.length) {
      directory = Arrays.copyOf(directory, Math.max(tableIndex + 1, directory.length * 2));
    }
    directory[tableIndex] = (int) sector;
    write(table.array(), table.capacity());
    Arrays.fill(table.array(), (byte) 0);
    tableUsed = false;
  }

  private void writeEnd() throws IOException {
    writeTable();
    SparseExtentHeader header = header(DIRECTORY_AT_END);
    int directorySectors = (int) header.directorySectors();
    writeMarker(TYPE_DIRECTORY, directorySectors);
    long directorySector = sector;
    ByteBuffer bytes =
        ByteBuffer.allocate(directorySectors * SECTOR_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asIntBuffer().put(directory, 0, Math.min(directory.length, header.tableCount()));
    write(bytes.array(), bytes.capacity());
    writeMarker(TYPE_FOOTER, 1);
    ByteBuffer footer = ByteBuffer.allocate(SECTOR_BYTES);
    header(directorySector).writeTo(footer);
    write(footer.array(), SECTOR_BYTES);
    writeMarker(TYPE_END, 0);
  }

  private void writeMarker(int type, int sectors) throws IOException {
    ByteBuffer marker = ByteBuffer.allocate(SECTOR_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    marker.putLong(0, sectors).putInt(MARKER_TYPE_AT, type);
    write(marker.array(), SECTOR_BYTES);
  }

  private void write(byte[] bytes, int length) throws IOException {
    sector += length / SECTOR_BYTES;
    if (sector >= SparseLayout.FILE_LIMIT_SECTORS) {
      throw new IOException(
          "stream: " + sector + " sectors (expected: less than 2 TiB, as the format demands)");
    }
    out.write(bytes, 0, length);
  }
}
