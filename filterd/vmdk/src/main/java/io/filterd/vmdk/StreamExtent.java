package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;

import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.Blocking;
import io.filterd.block.ExtentKind;
import io.filterd.block.Extents;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.zip.DataFormatException;
import java.util.zip.Inflater;

/**
 * A stream-optimized extent, for reading: every grain is compressed, behind a marker with its
 * address and length (Virtual Disk Format 5.0, "Compressed grains").
 */
final class StreamExtent extends ReadOnlyLink {
  private static final int CACHE_LIMIT_TABLES = 4096;
  private static final int MARKER_BYTES = 12;

  private final ExtentFile file;
  private final GrainTables tables;
  private final int grainBytes;
  private final int largestCompressed;

  // One grain at a time, guarded by this: streams are read to be imported, in order.
  private final ByteBuffer marker =
      ByteBuffer.allocateDirect(MARKER_BYTES).order(ByteOrder.LITTLE_ENDIAN);
  private final ByteBuffer compressed;
  private final byte[] content;
  private long contentGrain = -1;

  /** Takes over {@code file}; {@code header} is the footer where the file has one. */
  StreamExtent(ExtentFile file, SparseExtentHeader header) throws BlockException {
    super(header.capacityBytes(), header.grainBytes());
    this.file = file;
    this.grainBytes = header.grainBytes();
    // What deflate makes of a grain that can't be compressed, and some more: that is seen, too.
    this.largestCompressed = grainBytes + grainBytes / 1000 + 1024;
    this.compressed = ByteBuffer.allocateDirect(largestCompressed);
    this.content = new byte[grainBytes];
    long fileBytes = file.sizeBytes();
    this.tables =
        new GrainTables(
            file,
            header,
            GrainTables.directoryInFile(file, header, fileBytes),
            Math.ceilDiv(fileBytes, SECTOR_BYTES),
            CACHE_LIMIT_TABLES);
  }

  @Override
  public synchronized Extents read(long offset, ByteBuffer target, Blocking blocking)
      throws BlockException {
    if (blocking == Blocking.FORBIDDEN) {
      return Extents.WOULD_BLOCK;
    }
    int start = target.position();
    boolean done = false;
    try {
      Extents.Builder parts = new Extents.Builder();
      long end = offset + target.remaining();
      for (long at = offset; at < end; ) {
        int bytes = (int) Math.min(tables.restOfGrain(at), end - at);
        ExtentKind kind = readPiece(at, bytes, target);
        parts.add(bytes, kind);
        at += bytes;
      }
      done = true;
      Extents extents = parts.build();
      return extents.count() == 1 ? Extents.all(extents.kind(0)) : extents;
    } finally {
      if (!done) {
        target.position(start);
      }
    }
  }

  private ExtentKind readPiece(long at, int bytes, ByteBuffer target) throws BlockException {
    long inGrain = at % grainBytes;
    long place = tables.locate(at, Blocking.ALLOWED);
    if (place <= 0) {
      int limit = target.limit();
      Zeros.fill(target.limit(target.position() + bytes));
      target.limit(limit);
      return place == GrainTables.ZERO ? ExtentKind.ZERO : ExtentKind.ABSENT;
    }
    if (contentGrain != at / grainBytes) {
      contentGrain = -1;
      inflate(place - inGrain, at / grainBytes);
      contentGrain = at / grainBytes;
    }
    target.put(content, (int) inGrain, bytes);
    return ExtentKind.DATA;
  }

  private void inflate(long position, long grain) throws BlockException {
    marker.clear();
    file.read(position, marker, Blocking.ALLOWED);
    long sector = marker.getLong(0);
    long length = Integer.toUnsignedLong(marker.getInt(8));
    long expectedSector = grain * (grainBytes / SECTOR_BYTES);
    if (sector != expectedSector) {
      throw bad(position, "marker address: " + sector + " (expected: " + expectedSector + ")");
    }
    if (length == 0 || length > largestCompressed) {
      throw bad(position, "marker size: " + length + " (expected: 1.." + largestCompressed + ")");
    }
    compressed.clear().limit((int) length);
    file.read(position + MARKER_BYTES, compressed, Blocking.ALLOWED);
    compressed.flip();
    long rest = info().sizeBytes() - grain * grainBytes;
    int expected = (int) Math.min(grainBytes, rest);
    Inflater inflater = new Inflater();
    try {
      inflater.setInput(compressed);
      int total = inflate(inflater, content);
      // The output is bounded by the grain, whatever the input says: more than that is damage.
      if (total == grainBytes && !inflater.finished()) {
        total += inflate(inflater, new byte[1]);
      }
      if (!inflater.finished() || total < expected || total > grainBytes) {
        throw bad(
            position,
            "grain: %d bytes%s (expected: %d..%d)"
                .formatted(total, inflater.finished() ? "" : ", and no end", expected, grainBytes));
      }
    } catch (DataFormatException damage) {
      throw bad(position, "grain: not deflated data (" + damage.getMessage() + ")");
    } finally {
      inflater.end();
    }
  }

  /** Inflates until {@code target} is full or there is no more. */
  private static int inflate(Inflater inflater, byte[] target) throws DataFormatException {
    int total = 0;
    while (total < target.length) {
      int count = inflater.inflate(target, total, target.length - total);
      if (count == 0) {
        break;
      }
      total += count;
    }
    return total;
  }

  private BlockException bad(long position, String what) {
    return new BlockException(Reason.IO_ERROR, file.name() + ": at byte " + position + ": " + what);
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
    return new SparseReader(file, tables).extents(offset, length, blocking);
  }

  @Override
  public void close() throws BlockException {
    file.close();
  }
}
