package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import java.nio.ByteBuffer;
import java.util.BitSet;

/**
 * Makes room in the file of a sparse extent, for metadata that grows: moves the grains that are
 * there to other places. Whoever does it keeps everyone else from the extent, and commits before
 * and afterwards.
 */
record GrainMove(
    ExtentFile file, SparseExtentHeader header, GrainTables tables, GrainPlaces places) {
  /**
   * Moves the grains in a range of the file, and lets nobody have their places.
   *
   * @param first no grain of the file before this one is named by a table
   * @param room is told which grains of the file are in nobody's use any more
   */
  void outOf(int first, int end, BitSet room) throws BlockException {
    if (!places.reserve(first, end, room)) {
      return;
    }
    int grainBytes = header.grainBytes();
    int grainSectors = header.grainSectors();
    ByteBuffer content = ByteBuffer.allocateDirect(grainBytes);
    for (long at = 0; at < header.capacityBytes(); at += grainBytes) {
      long place = tables.locate(at, Blocking.ALLOWED);
      if (place > 0 && place / grainBytes < end) {
        content.clear().limit((int) Math.min(grainBytes, file.sizeBytes() - place));
        file.read(place, content, Blocking.ALLOWED);
        GrainSpace.Run run = places.take(1);
        file.write((long) run.first() * grainBytes, content.flip(), Blocking.ALLOWED);
        tables.lock.lock();
        try {
          tables.set(
              at / grainBytes,
              1,
              (long) run.first() * grainSectors,
              sector -> room.set((int) (sector / grainSectors)));
        } finally {
          tables.lock.unlock();
        }
      }
    }
  }

  /** Makes zeros of what the last grain has behind the disk's end: it is about to be seen. */
  void clearBehindEnd() throws BlockException {
    long end = header.capacityBytes();
    long rest = end % header.grainBytes();
    long place = rest == 0 ? 0 : tables.locate(end - rest, Blocking.ALLOWED);
    if (place > 0) {
      Zeros.write(file, place + rest, header.grainBytes() - rest);
      file.sync();
    }
  }
}
