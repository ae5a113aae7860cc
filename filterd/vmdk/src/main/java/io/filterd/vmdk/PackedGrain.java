package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;
import static io.filterd.vmdk.SparseLayout.GRAIN_BYTES;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.Blocking;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Future;
import java.util.zip.Deflater;
import org.jspecify.annotations.Nullable;

/**
 * A grain on its way into a stream: read, compressed by another thread, written. Used again for
 * others. For one thread, but for the compressing itself.
 */
final class PackedGrain implements AutoCloseable {
  /**
   * The fastest, as VMware's exports have it. Of programs, libraries and texts of a Debian it
   * leaves 40.8 % at 68 MiB/s of processor time, zlib's default (6) 37.8 % at 27 MiB/s.
   */
  private static final int LEVEL = Deflater.BEST_SPEED;

  /** Address and length of what follows (facts 1.5). */
  private static final int MARKER_BYTES = 12;

  private static final int LENGTH_AT = 8;

  private final ByteBuffer content = ByteBuffer.allocateDirect(GRAIN_BYTES);

  /** As much as deflate makes of a grain that can't be compressed, and the rest of a sector. */
  private final byte[] packed =
      new byte[MARKER_BYTES + GRAIN_BYTES + GRAIN_BYTES / 1000 + 1024 + SECTOR_BYTES];

  private final Deflater deflater = new Deflater(LEVEL);
  private long firstSector;
  private @Nullable Future<Integer> packing;
  private int packedBytes;

  /**
   * Reads the grain at byte {@code offset} of a device, or as much of it as there is.
   *
   * @return false if all of it is zeros
   */
  boolean read(BlockDevice source, long offset) throws BlockException {
    int length = (int) Math.min(GRAIN_BYTES, source.info().sizeBytes() - offset);
    source.read(offset, content.clear().limit(length), Blocking.ALLOWED);
    // The last grain is stored whole, as VMware does: all readers take that.
    Zeros.fill(content.limit(GRAIN_BYTES).position(length));
    firstSector = offset / SECTOR_BYTES;
    return !Zeros.isAll(content.flip());
  }

  /** The address of the grain, in sectors from the start of the disk. */
  long firstSector() {
    return firstSector;
  }

  /** Has the grain compressed; {@link #awaitPacked} is to be called next. */
  void startPacking(ExecutorService threads) {
    packing = threads.submit(this::pack);
  }

  private int pack() {
    deflater.reset();
    deflater.setInput(content);
    deflater.finish();
    int room = packed.length - MARKER_BYTES - SECTOR_BYTES;
    int length = deflater.deflate(packed, MARKER_BYTES, room);
    if (!deflater.finished()) {
      throw new IllegalStateException("deflated: more than " + room + " bytes");
    }
    ByteBuffer.wrap(packed)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putLong(0, firstSector)
        .putInt(LENGTH_AT, length);
    int end = Math.ceilDiv(MARKER_BYTES + length, SECTOR_BYTES) * SECTOR_BYTES;
    Arrays.fill(packed, MARKER_BYTES + length, end, (byte) 0);
    return end;
  }

  /** Waits until the grain is compressed: marker, data, and zeros to the end of a sector. */
  byte[] awaitPacked() throws BlockException {
    Future<Integer> started = packing;
    if (started == null) {
      throw new IllegalStateException("grain: is not being compressed");
    }
    try {
      packedBytes = started.get();
      packing = null;
      return packed;
    } catch (InterruptedException stop) {
      Thread.currentThread().interrupt();
      throw new BlockException(Reason.SHUTTING_DOWN, "export: interrupted", stop);
    } catch (ExecutionException bug) {
      throw new IllegalStateException(bug);
    }
  }

  /** How many bytes {@link #awaitPacked} has given. */
  int packedBytes() {
    return packedBytes;
  }

  @Override
  public void close() {
    deflater.end();
  }
}
