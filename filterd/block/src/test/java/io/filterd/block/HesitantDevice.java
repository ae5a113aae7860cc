package io.filterd.block;

import java.nio.ByteBuffer;
import java.util.SplittableRandom;

/**
 * Says that it would block to about half of what must not block, at random, and lets the device
 * below do the rest. For one thread at a time.
 */
public final class HesitantDevice extends IoFilter {
  private final SplittableRandom random;

  /** Hesitates in front of {@code below}, in the same way for the same seed. */
  public HesitantDevice(BlockDevice below, long seed) {
    super(below);
    this.random = new SplittableRandom(seed);
  }

  @Override
  public DeviceInfo info() {
    return below.info();
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
    return hesitates(blocking) ? Extents.WOULD_BLOCK : below.read(offset, target, blocking);
  }

  @Override
  public Completion write(long offset, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    return hesitates(blocking)
        ? Completion.WOULD_BLOCK
        : below.write(offset, source, durability, blocking);
  }

  @Override
  public Completion zero(
      long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
      throws BlockException {
    return hesitates(blocking)
        ? Completion.WOULD_BLOCK
        : below.zero(offset, length, mode, durability, blocking);
  }

  @Override
  public Completion trim(long offset, long length, Durability durability, Blocking blocking)
      throws BlockException {
    return hesitates(blocking)
        ? Completion.WOULD_BLOCK
        : below.trim(offset, length, durability, blocking);
  }

  @Override
  public Completion flush(Blocking blocking) throws BlockException {
    return hesitates(blocking) ? Completion.WOULD_BLOCK : below.flush(blocking);
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
    return hesitates(blocking) ? Extents.WOULD_BLOCK : below.extents(offset, length, blocking);
  }

  private boolean hesitates(Blocking blocking) {
    return blocking == Blocking.FORBIDDEN && random.nextBoolean();
  }
}
