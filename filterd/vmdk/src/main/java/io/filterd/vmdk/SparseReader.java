package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.ExtentKind;
import io.filterd.block.Extents;
import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/**
 * Reads an uncompressed sparse extent through its tables. The caller keeps the entries of the range
 * from changing. Allocates nothing where the range is of one kind.
 */
final class SparseReader {
  /** One answer about extents looks at no more than this, 2 GiB of the usual grains... */
  private static final int EXTENT_GRAINS_LIMIT = 32_768;

  /** ...and has no more parts than this. */
  private static final int EXTENT_PARTS_LIMIT = 512;

  private final ExtentFile file;
  private final GrainMap tables;

  SparseReader(ExtentFile file, GrainMap tables) {
    this.file = file;
    this.tables = tables;
  }

  Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
    int start = target.position();
    int limit = target.limit();
    boolean done = false;
    try {
      Extents extents = readRuns(offset, target, blocking);
      done = extents != Extents.WOULD_BLOCK;
      return extents;
    } finally {
      target.limit(limit);
      if (!done) {
        target.position(start);
      }
    }
  }

  private Extents readRuns(long offset, ByteBuffer target, Blocking blocking)
      throws BlockException {
    int limit = target.limit();
    long end = offset + target.remaining();
    ExtentKind only = null;
    Extents.Builder mixed = null;
    long at = offset;
    while (at < end) {
      long place = tables.locate(at, blocking);
      if (place == GrainMap.WOULD_BLOCK) {
        return Extents.WOULD_BLOCK;
      }
      long length = runBytes(at, end, place, blocking);
      target.limit((int) (target.position() + length));
      if (place > 0) {
        if (!file.read(place, target, blocking)) {
          return Extents.WOULD_BLOCK;
        }
      } else {
        Zeros.fill(target);
      }
      target.limit(limit);
      ExtentKind kind = kind(place);
      if (mixed == null && only != null && only != kind) {
        mixed = new Extents.Builder().add(at - offset, only);
      }
      if (mixed != null) {
        mixed.add(length, kind);
      }
      only = kind;
      at += length;
    }
    return answer(only, mixed);
  }

  Extents extents(long offset, long length, Blocking blocking) throws BlockException {
    long end = offset + length;
    ExtentKind only = null;
    Extents.@Nullable Builder mixed = null;
    long at = offset;
    for (int grains = 0; at < end && grains < EXTENT_GRAINS_LIMIT; grains++) {
      long place = tables.locate(at, blocking);
      if (place == GrainMap.WOULD_BLOCK) {
        break;
      }
      ExtentKind kind = kind(place);
      if (mixed == null && only != null && only != kind) {
        mixed = new Extents.Builder().add(at - offset, only);
      }
      long grainBytes = Math.min(tables.restOfGrain(at), end - at);
      if (mixed != null) {
        if (mixed.count() == EXTENT_PARTS_LIMIT) {
          break;
        }
        mixed.add(grainBytes, kind);
      }
      only = kind;
      at += grainBytes;
    }
    if (only == null) {
      return Extents.WOULD_BLOCK;
    }
    if (mixed == null && at < end) {
      mixed = new Extents.Builder().add(at - offset, only);
    }
    return answer(only, mixed);
  }

  /**
   * The bytes from {@code at} on that are in one piece: of one kind, or side by side in the file.
   */
  long runBytes(long at, long end, long place, Blocking blocking) throws BlockException {
    long length = Math.min(tables.restOfGrain(at), end - at);
    while (at + length < end) {
      long next = tables.locate(at + length, blocking);
      if (next != (place > 0 ? place + length : place)) {
        break;
      }
      length += Math.min(tables.restOfGrain(at + length), end - at - length);
    }
    return length;
  }

  private static ExtentKind kind(long place) {
    if (place > 0) {
      return ExtentKind.DATA;
    }
    return place == GrainMap.ZERO ? ExtentKind.ZERO : ExtentKind.ABSENT;
  }

  private static Extents answer(@Nullable ExtentKind only, Extents.@Nullable Builder mixed) {
    if (mixed != null) {
      return mixed.build();
    }
    if (only == null) {
      throw new IllegalArgumentException("target: no bytes (expected: some)");
    }
    return Extents.all(only);
  }
}
