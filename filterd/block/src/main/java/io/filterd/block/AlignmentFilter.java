package io.filterd.block;

import java.nio.ByteBuffer;
import java.util.concurrent.ConcurrentLinkedQueue;

/**
 * Lets clients use smaller blocks than the device below takes. The only read-modify-write in the
 * house: a cipher or a chain never sees a part of its block.
 *
 * <p>Locks: a range of blocks below, shared by requests of whole blocks, exclusive to change a part
 * of one. Held across calls of the device below, since that is what it guards: nobody may write a
 * block between its reading and its writing.
 */
public final class AlignmentFilter extends IoFilter {
  private final DeviceInfo info;
  private final int blockBytes;
  private final int maximumBytes;
  private final long sizeBytes;
  private final RangeLock blocks;
  private final ConcurrentLinkedQueue<ByteBuffer> scratch = new ConcurrentLinkedQueue<>();

  /**
   * Takes over {@code below}.
   *
   * @param minimumBytes the block that clients may use: a power of two
   */
  public AlignmentFilter(BlockDevice below, int minimumBytes) {
    super(below);
    DeviceInfo given = below.info();
    BlockSizes sizes = given.blockSizes();
    this.blockBytes = sizes.minimum();
    this.maximumBytes = sizes.maximum();
    this.sizeBytes = given.sizeBytes();
    this.blocks = new RangeLock(Math.max(blockBytes, 512));
    this.info =
        new DeviceInfo(
            sizeBytes,
            new BlockSizes(
                Math.min(minimumBytes, blockBytes),
                sizes.preferred(),
                Math.max(maximumBytes, 32 << 20)),
            given.allocationUnitBytes(),
            given.capabilities());
  }

  @Override
  public DeviceInfo info() {
    return info;
  }

  private boolean isWhole(long offset, long length) {
    long end = offset + length;
    return offset % blockBytes == 0 && (end % blockBytes == 0 || end == sizeBytes);
  }

  private long blockStart(long offset) {
    return offset / blockBytes * blockBytes;
  }

  private long blockEnd(long end) {
    return Math.min(sizeBytes, Math.ceilDiv(end, blockBytes) * blockBytes);
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
    int length = target.remaining();
    if (isWhole(offset, length) && length <= maximumBytes) {
      return below.read(offset, target, blocking);
    }
    if (blocking == Blocking.FORBIDDEN) {
      return Extents.WOULD_BLOCK;
    }
    return readPieces(offset, target);
  }

  private Extents readPieces(long offset, ByteBuffer target) throws BlockException {
    int start = target.position();
    int limit = target.limit();
    long end = offset + target.remaining();
    Extents.Builder parts = new Extents.Builder();
    boolean done = false;
    try {
      for (long at = offset; at < end; ) {
        int piece = (int) pieceBytes(at, end);
        target.limit(target.position() + piece);
        Extents extents =
            isWhole(at, piece) ? below.read(at, target, Blocking.ALLOWED) : readPart(at, target);
        target.limit(limit);
        for (int i = 0; i < extents.count(); i++) {
          parts.add(extents.lengthBytes(i, piece), extents.kind(i));
        }
        at += piece;
      }
      done = true;
      return parts.build();
    } finally {
      target.limit(limit).position(done ? limit : start);
    }
  }

  /** Reads a part of one block. */
  private Extents readPart(long offset, ByteBuffer target) throws BlockException {
    ByteBuffer block = takeScratch();
    try {
      long blockStart = blockStart(offset);
      int blockLength = (int) (blockEnd(offset + 1) - blockStart);
      block.clear().limit(blockLength);
      Extents extents = below.read(blockStart, block, Blocking.ALLOWED);
      int skip = (int) (offset - blockStart);
      block.limit(skip + target.remaining()).position(skip);
      int length = target.remaining();
      target.put(block);
      return part(extents, blockLength, skip, length);
    } finally {
      scratch.add(block);
    }
  }

  /**
   * The parts of {@code extents}, which describe {@code total} bytes, that lie in a range of it.
   */
  private static Extents part(Extents extents, long total, long skip, long length) {
    if (extents.count() == 1) {
      return Extents.all(extents.kind(0));
    }
    Extents.Builder parts = new Extents.Builder();
    long at = 0;
    for (int i = 0; i < extents.count(); i++) {
      long end = at + extents.lengthBytes(i, total);
      parts.add(Math.max(0, Math.min(end, skip + length) - Math.max(at, skip)), extents.kind(i));
      at = end;
    }
    return parts.build();
  }

  /** A part of one block, or whole blocks, at most the longest request below. */
  private long pieceBytes(long at, long end) {
    if (at % blockBytes != 0 || end - at < blockBytes) {
      return Math.min(blockEnd(at + 1), end) - at;
    }
    long wholeEnd = end == sizeBytes ? end : blockStart(end);
    return Math.min(wholeEnd - at, maximumBytes);
  }

  private ByteBuffer takeScratch() {
    ByteBuffer block = scratch.poll();
    return block == null ? ByteBuffer.allocateDirect(blockBytes) : block;
  }

  @Override
  public Completion write(long offset, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    int length = source.remaining();
    if (isWhole(offset, length) && length <= maximumBytes) {
      if (!blocks.lockShared(offset, length, blocking)) {
        return Completion.WOULD_BLOCK;
      }
      try {
        return below.write(offset, source, durability, blocking);
      } finally {
        blocks.unlockShared(offset, length);
      }
    }
    if (blocking == Blocking.FORBIDDEN) {
      return Completion.WOULD_BLOCK;
    }
    int start = source.position();
    int limit = source.limit();
    long end = offset + length;
    boolean done = false;
    try {
      for (long at = offset; at < end; ) {
        int piece = (int) pieceBytes(at, end);
        source.limit(source.position() + piece);
        if (isWhole(at, piece)) {
          writeWhole(at, source, durability);
        } else {
          writePart(at, source, durability);
        }
        source.limit(limit);
        at += piece;
      }
      done = true;
      return Completion.DONE;
    } finally {
      source.limit(limit).position(done ? limit : start);
    }
  }

  private void writeWhole(long offset, ByteBuffer source, Durability durability)
      throws BlockException {
    int length = source.remaining();
    blocks.lockShared(offset, length, Blocking.ALLOWED);
    try {
      below.write(offset, source, durability, Blocking.ALLOWED);
    } finally {
      blocks.unlockShared(offset, length);
    }
  }

  /** Changes a part of one block: the read-modify-write. */
  private void writePart(long offset, ByteBuffer source, Durability durability)
      throws BlockException {
    long blockStart = blockStart(offset);
    int blockLength = (int) (blockEnd(offset + 1) - blockStart);
    ByteBuffer block = takeScratch();
    blocks.lockExclusive(blockStart, blockLength, Blocking.ALLOWED);
    try {
      block.clear().limit(blockLength);
      below.read(blockStart, block, Blocking.ALLOWED);
      block.put((int) (offset - blockStart), source, source.position(), source.remaining());
      below.write(blockStart, block.flip(), durability, Blocking.ALLOWED);
      source.position(source.limit());
    } finally {
      blocks.unlockExclusive(blockStart, blockLength);
      scratch.add(block);
    }
  }

  @Override
  public Completion zero(
      long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
      throws BlockException {
    if (mode.fast() && !isWhole(offset, length)) {
      throw new BlockException(
          BlockException.Reason.NOT_SUPPORTED, "only whole blocks are zeroed fast");
    }
    if (!isWhole(offset, length) && blocking == Blocking.FORBIDDEN) {
      return Completion.WOULD_BLOCK;
    }
    long wholeStart = Math.ceilDiv(offset, blockBytes) * blockBytes;
    long end = offset + length;
    long wholeEnd = end == sizeBytes ? end : blockStart(end);
    if (wholeEnd <= wholeStart) {
      zeroParts(offset, end, durability);
      return Completion.DONE;
    }
    if (!blocks.lockShared(wholeStart, wholeEnd - wholeStart, blocking)) {
      return Completion.WOULD_BLOCK;
    }
    try {
      Completion completion =
          below.zero(wholeStart, wholeEnd - wholeStart, mode, durability, blocking);
      if (completion == Completion.WOULD_BLOCK) {
        return completion;
      }
    } finally {
      blocks.unlockShared(wholeStart, wholeEnd - wholeStart);
    }
    zeroParts(offset, wholeStart, durability);
    zeroParts(wholeEnd, end, durability);
    return Completion.DONE;
  }

  /** Zeros what is less than a block each; blocks that are zeros already are left alone. */
  private void zeroParts(long offset, long end, Durability durability) throws BlockException {
    for (long at = offset; at < end; ) {
      long piece = Math.min(blockEnd(at + 1), end) - at;
      long blockStart = blockStart(at);
      Extents block = below.extents(blockStart, blockEnd(at + 1) - blockStart, Blocking.ALLOWED);
      if (!block.isAll(ExtentKind.ZERO)) {
        ByteBuffer zeros = ByteBuffer.allocateDirect((int) piece);
        writePart(at, zeros, durability);
      }
      at += piece;
    }
  }

  @Override
  public Completion trim(long offset, long length, Durability durability, Blocking blocking)
      throws BlockException {
    if (isWhole(offset, length)) {
      if (!blocks.lockShared(offset, length, blocking)) {
        return Completion.WOULD_BLOCK;
      }
      try {
        return below.trim(offset, length, durability, blocking);
      } finally {
        blocks.unlockShared(offset, length);
      }
    }
    if (blocking == Blocking.FORBIDDEN) {
      return Completion.WOULD_BLOCK;
    }
    long wholeStart = Math.ceilDiv(offset, blockBytes) * blockBytes;
    long end = offset + length;
    long wholeEnd = end == sizeBytes ? end : blockStart(end);
    if (wholeEnd <= wholeStart) {
      trimParts(offset, end, durability);
      return Completion.DONE;
    }
    trim(wholeStart, wholeEnd - wholeStart, durability, blocking);
    trimParts(offset, wholeStart, durability);
    trimParts(wholeEnd, end, durability);
    return Completion.DONE;
  }

  /** A part of a block gives nothing back, but reads as zeros like the rest. */
  private void trimParts(long offset, long end, Durability durability) throws BlockException {
    if (info.can(Capability.TRIM)) {
      zeroParts(offset, end, durability);
    }
  }

  @Override
  public Completion flush(Blocking blocking) throws BlockException {
    return below.flush(blocking);
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
    if (isWhole(offset, length)) {
      return below.extents(offset, length, blocking);
    }
    long start = blockStart(offset);
    long total = blockEnd(offset + length) - start;
    Extents extents = below.extents(start, total, blocking);
    if (extents == Extents.WOULD_BLOCK) {
      return extents;
    }
    long described = extents.totalBytes(total);
    return part(extents, described, offset - start, Math.min(length, start + described - offset));
  }
}
