package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import java.nio.ByteBuffer;
import java.util.BitSet;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.ReentrantLock;

/**
 * The places for grains in the file of a sparse extent: taken, filled, given up, and free again
 * once no table on the disk names them. Many threads may use it at once.
 */
final class GrainPlaces {
  private final ExtentFile file;
  private final int grainBytes;
  private final int grainSectors;

  /** Innermost: nothing is locked under it. */
  private final ReentrantLock lock = new ReentrantLock();

  // Guarded by the lock: what is used, and which of that no entry in memory names any more, though
  // one on the disk may.
  private final GrainSpace space;
  private BitSet givenUp = new BitSet();

  /** Changed under the lock only. */
  private final AtomicInteger givenUpCount = new AtomicInteger();

  private volatile boolean leaks;

  /**
   * The places of a file.
   *
   * @param used the grains of the file that are in use, among them those that hold metadata; taken
   *     over
   */
  GrainPlaces(ExtentFile file, SparseExtentHeader header, BitSet used) {
    this.file = file;
    this.grainBytes = header.grainBytes();
    this.grainSectors = header.grainSectors();
    this.space =
        new GrainSpace(
            file.name(), used, (int) (SparseLayout.FILE_LIMIT_SECTORS / header.grainSectors()));
  }

  /** Takes free places side by side: at least one, and no more than {@code wanted}. */
  GrainSpace.Run take(int wanted) throws BlockException {
    lock.lock();
    try {
      return space.take(wanted);
    } finally {
      lock.unlock();
    }
  }

  /**
   * Writes the next bytes of {@code source} to taken places, {@code head} bytes behind their start,
   * and zeros around them: a new grain is always written whole, because its space may hold what was
   * there before.
   */
  void fill(GrainSpace.Run run, long head, ByteBuffer source, int bytes) throws BlockException {
    long place = position(run.first());
    int limit = source.limit();
    Zeros.write(file, place, head);
    source.limit(source.position() + bytes);
    file.write(place + head, source, Blocking.ALLOWED);
    source.limit(limit);
    Zeros.write(file, place + head + bytes, position(run.count()) - head - bytes);
  }

  /** Writes zeros to taken places: a hole could run out of space later. */
  void fillWithZeros(GrainSpace.Run run) throws BlockException {
    Zeros.write(file, position(run.first()), position(run.count()));
  }

  /** Where a grain of the file starts, or how long so many are, in bytes. */
  private long position(int grain) {
    return (long) grain * grainBytes;
  }

  /** Gives back places that were taken and then not used, after a failure; or are free by now. */
  void takeBack(GrainSpace.Run run) throws BlockException {
    boolean punched = false;
    try {
      file.punchHole(position(run.first()), position(run.count()));
      punched = true;
    } finally {
      if (!punched) {
        leaks = true;
      }
      lock.lock();
      try {
        space.giveBack(run.first(), run.count());
      } finally {
        lock.unlock();
      }
    }
  }

  /** Notes that no entry in memory names a sector any more. */
  void giveUp(long sector) {
    if (sector < grainSectors) {
      return; // The mark of a grain of zeros.
    }
    int grain = (int) (sector / grainSectors);
    lock.lock();
    try {
      if (!givenUp.get(grain)) {
        givenUp.set(grain);
        givenUpCount.incrementAndGet();
      }
    } finally {
      lock.unlock();
    }
  }

  /** Notes that no entry in memory names these grains of the file any more. */
  void giveUp(BitSet grains) {
    lock.lock();
    try {
      givenUp.or(grains);
      givenUpCount.set(givenUp.cardinality());
    } finally {
      lock.unlock();
    }
  }

  /** How many places wait for a commit to be free. */
  int givenUpCount() {
    return givenUpCount.get();
  }

  /** Takes the places that are free once the tables as they are now are on the disk. */
  BitSet takeGivenUp() {
    lock.lock();
    try {
      BitSet taken = givenUp;
      givenUp = new BitSet();
      givenUpCount.set(0);
      return taken;
    } finally {
      lock.unlock();
    }
  }

  /** No entry names these any more, on the disk either: nobody reads them, and no crash can. */
  void reuse(BitSet free) throws BlockException {
    for (int first = free.nextSetBit(0); first >= 0; ) {
      int end = free.nextClearBit(first);
      takeBack(new GrainSpace.Run(first, end - first));
      first = free.nextSetBit(end);
    }
  }

  /**
   * Lets nobody have the places of a range again.
   *
   * @param unused is told which of them are in nobody's use
   * @return whether others are
   */
  boolean reserve(int first, int end, BitSet unused) {
    boolean anyUsed = false;
    lock.lock();
    try {
      for (int grain = first; grain < end; grain++) {
        boolean used = space.isUsed(grain);
        unused.set(grain, !used);
        anyUsed |= used;
      }
      space.reserve(first, end);
      return anyUsed;
    } finally {
      lock.unlock();
    }
  }

  /** Where the last place in use ends, in bytes. */
  long endBytes() {
    lock.lock();
    try {
      return position(space.end());
    } finally {
      lock.unlock();
    }
  }

  /** Whether free space could not be given back. */
  boolean leaks() {
    return leaks;
  }
}
