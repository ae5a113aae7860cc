package io.filterd.block;

import io.filterd.block.BlockException.Reason;
import java.nio.ByteBuffer;

/**
 * Enforces the contract of {@link BlockDevice} on both sides: refuses what a caller may not ask,
 * and turns an answer that a device may not give into an {@link IllegalStateException} that names
 * it. Stands at every edge of a stack. Costs a few compares an operation.
 */
public final class CheckedDevice extends IoFilter {
  private final DeviceInfo info;
  private final long sizeBytes;
  private final long alignmentMask;
  private final int maximumBytes;

  /** Checks the traffic with {@code below}, which it takes over. */
  public CheckedDevice(BlockDevice below) {
    super(below);
    this.info = below.info();
    this.sizeBytes = info.sizeBytes();
    this.alignmentMask = info.blockSizes().minimum() - 1L;
    this.maximumBytes = info.blockSizes().maximum();
  }

  @Override
  public DeviceInfo info() {
    return info;
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
    int length = target.remaining();
    checkTransfer(offset, length, target);
    int position = target.position();
    Extents extents = below.read(offset, target, blocking);
    if (extents == Extents.WOULD_BLOCK) {
      checkAnswer(blocking == Blocking.FORBIDDEN, "read would block, though blocking is allowed");
      checkAnswer(target.position() == position, "read moved the buffer, though it would block");
    } else {
      checkAnswer(target.remaining() == 0, "read left the buffer unfilled");
      checkAnswer(extents.totalBytes(length) == length, "read described another range");
    }
    return extents;
  }

  @Override
  public Completion write(long offset, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    checkWritable();
    checkTransfer(offset, source.remaining(), source);
    int position = source.position();
    Completion completion = below.write(offset, source, durability, blocking);
    if (check(completion, blocking) == Completion.DONE) {
      checkAnswer(source.remaining() == 0, "write left a part of the buffer");
    } else {
      checkAnswer(source.position() == position, "write moved the buffer, though it would block");
    }
    return completion;
  }

  @Override
  public Completion zero(
      long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
      throws BlockException {
    checkWritable();
    checkRange(offset, length);
    return check(below.zero(offset, length, mode, durability, blocking), blocking);
  }

  @Override
  public Completion trim(long offset, long length, Durability durability, Blocking blocking)
      throws BlockException {
    checkWritable();
    checkRange(offset, length);
    return check(below.trim(offset, length, durability, blocking), blocking);
  }

  @Override
  public Completion flush(Blocking blocking) throws BlockException {
    return check(below.flush(blocking), blocking);
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
    checkRange(offset, length);
    Extents extents = below.extents(offset, length, blocking);
    if (extents == Extents.WOULD_BLOCK) {
      checkAnswer(blocking == Blocking.FORBIDDEN, "extents would block, though it is allowed");
    } else {
      long total = extents.totalBytes(length);
      checkAnswer(total > 0 && total <= length, "extents described another range");
    }
    return extents;
  }

  private void checkWritable() throws BlockException {
    if (!info.can(Capability.WRITE)) {
      throw new BlockException(Reason.READ_ONLY, "the device is read-only");
    }
  }

  private void checkTransfer(long offset, int length, ByteBuffer buffer) throws BlockException {
    if (!buffer.isDirect()) {
      throw new IllegalArgumentException("buffer: on the heap (expected: direct)");
    }
    checkRange(offset, length);
    if (length > maximumBytes) {
      throw new BlockException(
          Reason.INVALID_REQUEST, "length: " + length + " (expected: <= " + maximumBytes + ")");
    }
  }

  private void checkRange(long offset, long length) throws BlockException {
    if (offset < 0 || length <= 0 || offset > sizeBytes - length) {
      throw new BlockException(
          Reason.INVALID_REQUEST,
          "range: " + offset + "+" + length + " (expected: inside 0.." + sizeBytes + ")");
    }
    // The last block of a device may be cut short by its end.
    long end = offset + length;
    if ((offset & alignmentMask) != 0 || ((end & alignmentMask) != 0 && end != sizeBytes)) {
      throw new BlockException(
          Reason.INVALID_REQUEST,
          "range: "
              + offset
              + "+"
              + length
              + " (expected: multiples of "
              + (alignmentMask + 1)
              + ")");
    }
  }

  private static Completion check(Completion completion, Blocking blocking) {
    checkAnswer(
        completion == Completion.DONE || blocking == Blocking.FORBIDDEN,
        "would block, though blocking is allowed");
    return completion;
  }

  private static void checkAnswer(boolean holds, String broken) {
    if (!holds) {
      throw new IllegalStateException("contract broken: " + broken);
    }
  }
}
