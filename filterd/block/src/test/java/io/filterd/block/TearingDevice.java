package io.filterd.block;

import java.nio.ByteBuffer;
import java.util.concurrent.ThreadLocalRandom;

/**
 * Does what a device may do to operations that overlap in time: works on them piece by piece, cut
 * at random multiples of the minimum block, and lets other threads come in between. Says that it
 * would block to everything that must not.
 */
public final class TearingDevice extends IoFilter {
  /** Tears operations on {@code below}. */
  public TearingDevice(BlockDevice below) {
    super(below);
  }

  @Override
  public DeviceInfo info() {
    return below.info();
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
    if (blocking == Blocking.FORBIDDEN) {
      return Extents.WOULD_BLOCK;
    }
    Extents.Builder extents = new Extents.Builder();
    int position = target.position();
    int limit = target.limit();
    inPieces(
        offset,
        limit - position,
        (at, length) -> {
          int start = position + (int) (at - offset);
          ByteBuffer piece = target.duplicate().position(start).limit(start + (int) length);
          Extents found = below.read(at, piece, blocking);
          for (int i = 0; i < found.count(); i++) {
            extents.add(found.lengthBytes(i, length), found.kind(i));
          }
        });
    target.position(limit);
    return extents.build();
  }

  @Override
  public Completion write(long offset, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    if (blocking == Blocking.FORBIDDEN) {
      return Completion.WOULD_BLOCK;
    }
    int position = source.position();
    int limit = source.limit();
    inPieces(
        offset,
        limit - position,
        (at, length) -> {
          int start = position + (int) (at - offset);
          ByteBuffer piece = source.duplicate().position(start).limit(start + (int) length);
          below.write(at, piece, durability, blocking);
        });
    source.position(limit);
    return Completion.DONE;
  }

  @Override
  public Completion zero(
      long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
      throws BlockException {
    if (blocking == Blocking.FORBIDDEN) {
      return Completion.WOULD_BLOCK;
    }
    if (mode.fast()) {
      // It may be refused as a whole, but not halfway.
      return below.zero(offset, length, mode, durability, blocking);
    }
    inPieces(offset, length, (at, count) -> below.zero(at, count, mode, durability, blocking));
    return Completion.DONE;
  }

  @Override
  public Completion trim(long offset, long length, Durability durability, Blocking blocking)
      throws BlockException {
    if (blocking == Blocking.FORBIDDEN) {
      return Completion.WOULD_BLOCK;
    }
    inPieces(offset, length, (at, count) -> below.trim(at, count, durability, blocking));
    return Completion.DONE;
  }

  @Override
  public Completion flush(Blocking blocking) throws BlockException {
    return blocking == Blocking.FORBIDDEN ? Completion.WOULD_BLOCK : below.flush(blocking);
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
    return blocking == Blocking.FORBIDDEN
        ? Extents.WOULD_BLOCK
        : below.extents(offset, length, blocking);
  }

  @FunctionalInterface
  private interface Piece {
    void process(long offset, long length) throws BlockException;
  }

  // Nothing relies on the yield: it only makes it likelier that others come in between.
  @SuppressWarnings("ThreadPriorityCheck")
  private void inPieces(long offset, long length, Piece piece) throws BlockException {
    long minimum = info().blockSizes().minimum();
    long end = offset + length;
    long at = offset;
    while (at < end) {
      // About half of the rest at a time, so that even long operations have few pieces.
      long wanted = at + ThreadLocalRandom.current().nextLong(end - at) + 1;
      long next = Math.min(end, Math.max(at + minimum, wanted / minimum * minimum));
      piece.process(at, next - at);
      at = next;
      Thread.yield();
    }
  }
}
