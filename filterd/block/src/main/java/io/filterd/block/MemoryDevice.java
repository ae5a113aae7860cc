package io.filterd.block;

import io.filterd.block.BlockException.Reason;
import java.nio.ByteBuffer;
import java.util.BitSet;
import java.util.EnumSet;
import java.util.Map;
import java.util.concurrent.ConcurrentNavigableMap;
import java.util.concurrent.ConcurrentSkipListMap;
import org.jspecify.annotations.Nullable;

/**
 * A device in memory outside the Java heap. It takes space in chunks where something is written,
 * and gives back chunks that hold nothing any more, so a large device costs nothing at first. Knows
 * which allocation units hold data. Every operation is atomic; one that must not block waits for
 * nothing, not even for another operation on the same chunk.
 */
public final class MemoryDevice implements BlockDevice {
  /** The largest device, in bytes: the end of every chunk is a number. */
  public static final long MAX_SIZE_BYTES = 1L << 62;

  private static final int LEAST_CHUNK_BYTES = 1 << 16;

  /** An answer that describes more parts would cost too much. */
  private static final int MAX_EXTENTS = 1024;

  private static final ByteBuffer ZEROS =
      ByteBuffer.allocateDirect(LEAST_CHUNK_BYTES).asReadOnlyBuffer();

  private final DeviceInfo info;
  private final int unitBytes;
  private final int chunkBytes;
  private final int chunkShift;

  /** The chunks that hold data, by number. Changed only under the exclusive lock on a chunk. */
  private final ConcurrentNavigableMap<Long, Chunk> chunks = new ConcurrentSkipListMap<>();

  private final Pool<Chunk> spare;

  /** Locks whole chunks. */
  private final RangeLock lock;

  /** A part of the device. */
  private static final class Chunk {
    /** Units that hold no data are zeros here too. */
    private final ByteBuffer bytes;

    private final BitSet written = new BitSet();

    Chunk(int sizeBytes) {
      this.bytes = ByteBuffer.allocateDirect(sizeBytes);
    }

    void zero(int at, int length) {
      for (int done = 0; done < length; ) {
        int count = Math.min(length - done, ZEROS.capacity());
        bytes.put(at + done, ZEROS, 0, count);
        done += count;
      }
    }
  }

  /** A device that takes any request up to 32 MiB, with an allocation unit of 4 KiB. */
  public MemoryDevice(long sizeBytes) {
    this(sizeBytes, new BlockSizes(1, 4096, 1 << 25), 4096);
  }

  /** A device with the given geometry; {@link DeviceInfo} says what is allowed. */
  public MemoryDevice(long sizeBytes, BlockSizes blockSizes, int allocationUnitBytes) {
    if (sizeBytes > MAX_SIZE_BYTES) {
      throw new IllegalArgumentException(
          "sizeBytes: " + sizeBytes + " (expected: <= " + MAX_SIZE_BYTES + ")");
    }
    this.info =
        new DeviceInfo(
            sizeBytes,
            blockSizes,
            allocationUnitBytes,
            EnumSet.of(
                Capability.WRITE,
                Capability.FLUSH,
                Capability.DURABLE_WRITE,
                Capability.TRIM,
                Capability.ZERO,
                Capability.FAST_ZERO,
                Capability.TRACKS_ZEROS,
                Capability.MARKS_ZEROS,
                Capability.PARTIAL_ALLOCATION,
                Capability.MULTIPLE_CONNECTIONS));
    this.unitBytes = allocationUnitBytes;
    this.chunkBytes = Math.max(LEAST_CHUNK_BYTES, allocationUnitBytes);
    this.chunkShift = Integer.numberOfTrailingZeros(chunkBytes);
    this.spare = new Pool<>(() -> new Chunk(chunkBytes));
    this.lock = new RangeLock(chunkBytes);
  }

  @Override
  public DeviceInfo info() {
    return info;
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) {
    int length = target.remaining();
    if (!lock.lockShared(offset, length, blocking)) {
      return Extents.WOULD_BLOCK;
    }
    try {
      int position = target.position();
      for (int done = 0; done < length; ) {
        int at = inChunk(offset + done);
        int count = Math.min(length - done, chunkBytes - at);
        Chunk chunk = chunks.get(number(offset + done));
        if (chunk == null) {
          count = Math.min(count, ZEROS.capacity());
          target.put(position + done, ZEROS, 0, count);
        } else {
          target.put(position + done, chunk.bytes, at, count);
        }
        done += count;
      }
      target.position(target.limit());
      return describe(offset, length, Integer.MAX_VALUE);
    } finally {
      lock.unlockShared(offset, length);
    }
  }

  @Override
  public Completion write(long offset, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    int length = source.remaining();
    if (!lock.lockExclusive(offset, length, blocking)) {
      return Completion.WOULD_BLOCK;
    }
    try {
      int position = source.position();
      for (int done = 0; done < length; ) {
        int at = inChunk(offset + done);
        int count = Math.min(length - done, chunkBytes - at);
        Chunk chunk = allocate(number(offset + done));
        chunk.bytes.put(at, source, position + done, count);
        chunk.written.set(at / unitBytes, (at + count - 1) / unitBytes + 1);
        done += count;
      }
      source.position(source.limit());
      return Completion.DONE;
    } finally {
      lock.unlockExclusive(offset, length);
    }
  }

  @Override
  public Completion zero(
      long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
      throws BlockException {
    if (!lock.lockExclusive(offset, length, blocking)) {
      return Completion.WOULD_BLOCK;
    }
    try {
      if (mode.allocates()) {
        store(offset, length);
      } else {
        clear(offset, length);
      }
      return Completion.DONE;
    } finally {
      lock.unlockExclusive(offset, length);
    }
  }

  @Override
  public Completion trim(long offset, long length, Durability durability, Blocking blocking) {
    if (!lock.lockExclusive(offset, length, blocking)) {
      return Completion.WOULD_BLOCK;
    }
    try {
      clear(offset, length);
      return Completion.DONE;
    } finally {
      lock.unlockExclusive(offset, length);
    }
  }

  @Override
  public Completion flush(Blocking blocking) {
    return Completion.DONE;
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) {
    if (!lock.lockShared(offset, length, blocking)) {
      return Extents.WOULD_BLOCK;
    }
    try {
      return describe(offset, length, MAX_EXTENTS);
    } finally {
      lock.unlockShared(offset, length);
    }
  }

  /** Forgets everything. */
  @Override
  public void close() {
    chunks.clear();
  }

  /** Stores zeros. */
  private void store(long offset, long length) throws BlockException {
    for (long done = 0; done < length; ) {
      int at = inChunk(offset + done);
      int count = (int) Math.min(length - done, chunkBytes - at);
      Chunk chunk = allocate(number(offset + done));
      chunk.zero(at, count);
      chunk.written.set(at / unitBytes, (at + count - 1) / unitBytes + 1);
      done += count;
    }
  }

  /** Makes a range zeros; whole units of it hold no data then. */
  private void clear(long offset, long length) {
    long end = offset + length;
    for (Map.Entry<Long, Chunk> entry :
        chunks.subMap(number(offset), true, number(end - 1), true).entrySet()) {
      long chunkStart = entry.getKey() << chunkShift;
      int from = (int) Math.max(0, offset - chunkStart);
      int to = (int) Math.min(chunkBytes, end - chunkStart);
      Chunk chunk = entry.getValue();
      chunk.zero(from, to - from);
      // The last unit of the device may be cut short by its end.
      int toUnit = end == info.sizeBytes() ? Math.ceilDiv(to, unitBytes) : to / unitBytes;
      int fromUnit = Math.ceilDiv(from, unitBytes);
      if (fromUnit < toUnit) {
        chunk.written.clear(fromUnit, toUnit);
      }
      if (chunk.written.isEmpty()) {
        chunks.remove(entry.getKey());
        spare.giveBack(chunk);
      }
    }
  }

  private Chunk allocate(Long number) throws BlockException {
    @Nullable Chunk chunk = chunks.get(number);
    if (chunk == null) {
      try {
        chunk = spare.take();
      } catch (OutOfMemoryError full) {
        throw new BlockException(Reason.NO_SPACE, "memory: no space for a chunk", full);
      }
      chunks.put(number, chunk);
    }
    return chunk;
  }

  /** What a range is made of, in at most so many parts. */
  private Extents describe(long offset, long length, int maxParts) {
    long end = offset + length;
    boolean data = isData(offset);
    long next = endOfRun(offset, end, data);
    if (next == end) {
      return Extents.all(data ? ExtentKind.DATA : ExtentKind.ZERO);
    }
    Extents.Builder parts = new Extents.Builder();
    long at = offset;
    while (at < end && parts.count() < maxParts) {
      parts.add(next - at, data ? ExtentKind.DATA : ExtentKind.ZERO);
      at = next;
      data = !data;
      next = endOfRun(at, end, data);
    }
    return parts.build();
  }

  private boolean isData(long offset) {
    Chunk chunk = chunks.get(number(offset));
    return chunk != null && chunk.written.get(inChunk(offset) / unitBytes);
  }

  /** Where what is data, or is not, ends, from an offset on. */
  private long endOfRun(long offset, long end, boolean data) {
    long at = offset;
    while (at < end) {
      Long number = number(at);
      Chunk chunk = chunks.get(number);
      if (chunk == null) {
        if (data) {
          return at;
        }
        Long next = chunks.higherKey(number);
        at = next == null ? end : next << chunkShift;
      } else {
        int unit = inChunk(at) / unitBytes;
        int stop = data ? chunk.written.nextClearBit(unit) : chunk.written.nextSetBit(unit);
        long chunkStart = number << chunkShift;
        if (stop >= 0 && stop < chunkBytes / unitBytes) {
          return Math.min(end, chunkStart + (long) stop * unitBytes);
        }
        at = chunkStart + chunkBytes;
      }
    }
    return end;
  }

  private Long number(long offset) {
    return offset >>> chunkShift;
  }

  private int inChunk(long offset) {
    return (int) (offset & (chunkBytes - 1));
  }
}
