package io.filterd.block;

import io.filterd.block.BlockException.Reason;
import java.nio.ByteBuffer;

/**
 * Takes requests of any alignment, and of any length up to 32 MiB, for a device that takes whole
 * blocks only: the only read-modify-write of the house. A request that is aligned already is passed
 * on as it is. Of any other, the whole blocks in the middle are passed on, and those at the ends
 * are read, changed and written back. Requests above the maximum of the device below are split.
 *
 * <p>The last block of the device below may be cut short by its end; it is whole as it is.
 *
 * <p>What must not block and is not aligned is only read; changes would block.
 */
public final class AlignmentFilter extends IoFilter {
  /** The longest read or write, if the device below takes no longer ones: what NBD clients send. */
  private static final int MAXIMUM_BYTES = 1 << 25;

  /** Up to here one request with a copy is cheaper than two or three without. */
  private static final int SCRATCH_BYTES = 1 << 16;

  private final DeviceInfo info;
  private final long sizeBytes;

  /** The blocks of the device below. */
  private final int blockBytes;

  private final long mask;
  private final int belowMaximumBytes;

  private final int scratchBytes;
  private final Pool<ByteBuffer> scratch;

  /**
   * Guards blocks against being changed between a read and the write that follows it: whoever does
   * that locks them exclusive, whoever only writes whole blocks, shared. Held across calls of the
   * device below, since that is what it guards.
   */
  private final RangeLock lock;

  /**
   * A device with a minimum block of {@code minimumBytes}, a power of two, or of that of {@code
   * below} if it is smaller; takes over {@code below}.
   */
  public AlignmentFilter(BlockDevice below, int minimumBytes) {
    this(below, minimumBytes, new RangeLock(below.info().blockSizes().minimum()));
  }

  /**
   * As the other one, for several that are exchanged for each other on one device.
   *
   * @param lock guards the blocks for all of them; its unit is the minimum block of {@code below}
   */
  public AlignmentFilter(BlockDevice below, int minimumBytes, RangeLock lock) {
    super(below);
    DeviceInfo belowInfo = below.info();
    BlockSizes sizes = belowInfo.blockSizes();
    this.sizeBytes = belowInfo.sizeBytes();
    this.blockBytes = sizes.minimum();
    this.mask = blockBytes - 1L;
    this.belowMaximumBytes = sizes.maximum();
    int wanted = Math.max(SCRATCH_BYTES, 2 * blockBytes);
    this.scratchBytes = Math.min(wanted, belowMaximumBytes) / blockBytes * blockBytes;
    this.scratch = new Pool<>(() -> ByteBuffer.allocateDirect(scratchBytes));
    this.lock = lock;
    int minimum = Math.min(minimumBytes, blockBytes);
    DeviceInfo aligned =
        belowInfo.withBlockSizes(
            new BlockSizes(minimum, sizes.preferred(), Math.max(belowMaximumBytes, MAXIMUM_BYTES)));
    // A part of a block is zeroed by writing it.
    this.info = minimum < blockBytes ? aligned.without(Capability.FAST_ZERO) : aligned;
  }

  @Override
  public DeviceInfo info() {
    return info;
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
    int length = target.remaining();
    if (length <= belowMaximumBytes && isAligned(offset, offset + length)) {
      return below.read(offset, target, blocking);
    }
    int position = target.position();
    int limit = target.limit();
    boolean done = false;
    try {
      Extents.Builder extents = new Extents.Builder();
      long end = offset + length;
      for (long at = offset; at < end; ) {
        long next = endOfPiece(at, end);
        target.limit(position + (int) (next - offset));
        if (!(isAligned(at, next)
            ? readBlocks(at, target, extents, blocking)
            : readPart(at, target, extents, blocking))) {
          return Extents.WOULD_BLOCK;
        }
        at = next;
      }
      done = true;
      return extents.build();
    } finally {
      target.limit(limit).position(done ? limit : position);
    }
  }

  private boolean readBlocks(
      long offset, ByteBuffer target, Extents.Builder extents, Blocking blocking)
      throws BlockException {
    int length = target.remaining();
    Extents found = below.read(offset, target, blocking);
    extents.add(found, length, 0, length);
    return found != Extents.WOULD_BLOCK;
  }

  private boolean readPart(
      long offset, ByteBuffer target, Extents.Builder extents, Blocking blocking)
      throws BlockException {
    int length = target.remaining();
    long from = floor(offset);
    int blocksLength = (int) (ceiling(offset + length) - from);
    int skip = (int) (offset - from);
    ByteBuffer blocks = scratch.take();
    try {
      Extents found = below.read(from, blocks.limit(blocksLength).position(0), blocking);
      if (found == Extents.WOULD_BLOCK) {
        return false;
      }
      target.put(target.position(), blocks, skip, length).position(target.limit());
      extents.add(found, blocksLength, skip, length);
      return true;
    } finally {
      scratch.giveBack(blocks);
    }
  }

  @Override
  public Completion write(long offset, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    int length = source.remaining();
    if (length <= belowMaximumBytes && isAligned(offset, offset + length)) {
      return writeBlocks(offset, source, durability, blocking);
    }
    if (blocking == Blocking.FORBIDDEN) {
      return Completion.WOULD_BLOCK;
    }
    int position = source.position();
    int limit = source.limit();
    boolean done = false;
    try {
      long end = offset + length;
      for (long at = offset; at < end; ) {
        long next = endOfPiece(at, end);
        source.limit(position + (int) (next - offset));
        if (isAligned(at, next)) {
          writeBlocks(at, source, durability, Blocking.ALLOWED);
        } else {
          writePart(at, source, durability);
        }
        at = next;
      }
      done = true;
      return Completion.DONE;
    } finally {
      source.limit(limit).position(done ? limit : position);
    }
  }

  private Completion writeBlocks(
      long offset, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    int length = source.remaining();
    if (!lock.lockShared(offset, length, blocking)) {
      return Completion.WOULD_BLOCK;
    }
    try {
      return below.write(offset, source, durability, blocking);
    } finally {
      lock.unlockShared(offset, length);
    }
  }

  private void writePart(long offset, ByteBuffer source, Durability durability)
      throws BlockException {
    int length = source.remaining();
    long from = floor(offset);
    long to = ceiling(offset + length);
    int skip = (int) (offset - from);
    ByteBuffer blocks = scratch.take();
    lock.lockExclusive(from, to - from, Blocking.ALLOWED);
    try {
      // What the source covers whole need not be read.
      boolean headIsPartial = skip > 0;
      boolean tailIsPartial = offset + length < to;
      long tail = floor(to - 1);
      if (headIsPartial && tailIsPartial && tail - from <= blockBytes) {
        readInto(blocks, from, from, to);
      } else {
        if (headIsPartial) {
          readInto(blocks, from, from, Math.min(to, from + blockBytes));
        }
        if (tailIsPartial) {
          readInto(blocks, from, tail, to);
        }
      }
      blocks.limit((int) (to - from)).position(0);
      blocks.put(skip, source, source.position(), length);
      below.write(from, blocks, durability, Blocking.ALLOWED);
      source.position(source.limit());
    } finally {
      lock.unlockExclusive(from, to - from);
      scratch.giveBack(blocks);
    }
  }

  /** Reads a range of blocks into its place in a buffer that begins with the block {@code base}. */
  private Extents readInto(ByteBuffer blocks, long base, long from, long to) throws BlockException {
    blocks.limit((int) (to - base)).position((int) (from - base));
    return below.read(from, blocks, Blocking.ALLOWED);
  }

  @Override
  public Completion zero(
      long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
      throws BlockException {
    long end = offset + length;
    if (isAligned(offset, end)) {
      return zeroBlocks(offset, length, mode, durability, blocking);
    }
    if (blocking == Blocking.FORBIDDEN) {
      return Completion.WOULD_BLOCK;
    }
    long from = ceiling(offset);
    long to = end == sizeBytes ? end : floor(end);
    // First the blocks: if that is refused, nothing was changed.
    if (from < to) {
      zeroBlocks(from, to - from, mode, durability, Blocking.ALLOWED);
    } else if (mode.fast()) {
      throw new BlockException(
          Reason.NOT_SUPPORTED, "zeroing less than a block is no faster than writing it");
    }
    zeroParts(offset, end, mode.allocates(), durability);
    return Completion.DONE;
  }

  private Completion zeroBlocks(
      long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
      throws BlockException {
    if (!lock.lockShared(offset, length, blocking)) {
      return Completion.WOULD_BLOCK;
    }
    try {
      return below.zero(offset, length, mode, durability, blocking);
    } finally {
      lock.unlockShared(offset, length);
    }
  }

  @Override
  public Completion trim(long offset, long length, Durability durability, Blocking blocking)
      throws BlockException {
    long end = offset + length;
    if (isAligned(offset, end)) {
      return trimBlocks(offset, length, durability, blocking);
    }
    boolean zeroes = info.can(Capability.TRIM);
    if (zeroes && blocking == Blocking.FORBIDDEN) {
      return Completion.WOULD_BLOCK;
    }
    long from = ceiling(offset);
    long to = end == sizeBytes ? end : floor(end);
    Completion completion =
        from < to ? trimBlocks(from, to - from, durability, blocking) : Completion.DONE;
    if (zeroes) {
      zeroParts(offset, end, false, durability);
    }
    return completion;
  }

  private Completion trimBlocks(long offset, long length, Durability durability, Blocking blocking)
      throws BlockException {
    if (!lock.lockShared(offset, length, blocking)) {
      return Completion.WOULD_BLOCK;
    }
    try {
      return below.trim(offset, length, durability, blocking);
    } finally {
      lock.unlockShared(offset, length);
    }
  }

  /** Zeroes the parts of blocks at the ends of a range. */
  private void zeroParts(long offset, long end, boolean allocates, Durability durability)
      throws BlockException {
    long head = floor(offset);
    long tail = floor(end);
    boolean tailIsPartial = tail < end && end < sizeBytes;
    if (head < offset || (tailIsPartial && tail == head)) {
      zeroPart(offset, Math.min(end, ceiling(head + 1)), allocates, durability);
    }
    if (tailIsPartial && tail > head) {
      zeroPart(tail, end, allocates, durability);
    }
  }

  /** Zeroes a part of one block. */
  private void zeroPart(long offset, long end, boolean allocates, Durability durability)
      throws BlockException {
    long from = floor(offset);
    long to = ceiling(end);
    ByteBuffer block = scratch.take();
    lock.lockExclusive(from, to - from, Blocking.ALLOWED);
    try {
      Extents found = readInto(block, from, from, to);
      if (found.isAll(ExtentKind.ZERO) && !allocates) {
        // No space is taken for zeros. But what made them zeros may not be durable.
        if (durability == Durability.DURABLE) {
          below.flush(Blocking.ALLOWED);
        }
        return;
      }
      for (int i = (int) (offset - from); i < end - from; i++) {
        block.put(i, (byte) 0);
      }
      block.limit((int) (to - from)).position(0);
      below.write(from, block, durability, Blocking.ALLOWED);
    } finally {
      lock.unlockExclusive(from, to - from);
      scratch.giveBack(block);
    }
  }

  @Override
  public Completion flush(Blocking blocking) throws BlockException {
    return below.flush(blocking);
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
    long from = floor(offset);
    long blocksLength = ceiling(offset + length) - from;
    Extents found = below.extents(from, blocksLength, blocking);
    return found == Extents.WOULD_BLOCK || blocksLength == length
        ? found
        : found.part(blocksLength, offset - from, length);
  }

  /**
   * Where the next piece of a range ends: whole blocks as far as possible, or a part that fits the
   * scratch buffer with all blocks that it touches.
   */
  private long endOfPiece(long at, long end) {
    if (isAligned(at, end)) {
      return Math.min(end, at + belowMaximumBytes);
    }
    if (ceiling(end) - floor(at) <= scratchBytes) {
      return end;
    }
    return at == floor(at)
        ? Math.min(floor(end), at + belowMaximumBytes)
        : Math.min(end, ceiling(at));
  }

  private boolean isAligned(long offset, long end) {
    return (offset & mask) == 0 && ((end & mask) == 0 || end == sizeBytes);
  }

  private long floor(long offset) {
    return offset & ~mask;
  }

  /** Where the block that ends at or after {@code end} ends. */
  private long ceiling(long end) {
    long floor = floor(end);
    if (floor == end) {
      return end;
    }
    return floor > sizeBytes - blockBytes ? sizeBytes : floor + blockBytes;
  }
}
