package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;

import io.filterd.block.BlockException;
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
  private static final int MARKER_BYTES = StreamScan.GRAIN_MARKER_BYTES;

  private final ExtentFile file;
  private final GrainMap grains;
  private final SparseReader reader;
  private final int grainBytes;
  private final int largestCompressed;

  // One grain at a time, guarded by this: streams are read to be imported, in order.
  private final ByteBuffer marker =
      ByteBuffer.allocateDirect(MARKER_BYTES).order(ByteOrder.LITTLE_ENDIAN);
  private final ByteBuffer compressed;
  private final byte[] content;
  private long contentGrain = -1;

  /** Takes over {@code file}. */
  StreamExtent(ExtentFile file, SparseExtentHeader header, GrainMap grains) {
    super(header.capacityBytes(), header.grainBytes());
    this.file = file;
    this.grains = grains;
    this.reader = new SparseReader(file, grains);
    this.grainBytes = header.grainBytes();
    this.largestCompressed = StreamScan.largestGrainBytes(header);
    this.compressed = ByteBuffer.allocateDirect(largestCompressed);
    this.content = new byte[grainBytes];
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
        int bytes = (int) Math.min(grains.restOfGrain(at), end - at);
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
    long place = grains.locate(at, Blocking.ALLOWED);
    if (place <= 0) {
      int limit = target.limit();
      Zeros.fill(target.limit(target.position() + bytes));
      target.limit(limit);
      return place == GrainMap.ZERO ? ExtentKind.ZERO : ExtentKind.ABSENT;
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
      throw bad(
          position,
          "marker address",
          Long.toUnsignedString(sector),
          expectedSector + ", as the table says");
    }
    if (length == 0 || length > largestCompressed) {
      throw bad(
          position + Long.BYTES, "marker size", Long.toString(length), "1.." + largestCompressed);
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
            position + MARKER_BYTES,
            "grain",
            total + " bytes" + (inflater.finished() ? "" : ", and no end"),
            "%d..%d bytes".formatted(expected, grainBytes));
      }
    } catch (DataFormatException damage) {
      throw bad(
          position + MARKER_BYTES,
          "grain",
          "not deflated data: " + damage.getMessage(),
          "data in the zlib format");
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

  private BlockException bad(long position, String field, String actual, String expected) {
    return new FormatException(file.name(), position, field, actual, expected).asDamage();
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
    return reader.extents(offset, length, blocking);
  }

  @Override
  public void close() throws BlockException {
    file.close();
  }
}
