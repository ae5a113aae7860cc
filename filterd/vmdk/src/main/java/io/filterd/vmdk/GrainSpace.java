package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import java.util.BitSet;

/**
 * Which grains of a sparse extent's file are in use. Grains are numbered from the start of the
 * file. For one thread at a time.
 */
final class GrainSpace {
  /** Grains side by side. */
  record Run(int first, int count) {}

  private final String file;
  private final BitSet used;
  private final int limit;

  /** Every grain before this one is in use. */
  private int firstFree;

  /**
   * The space of a file.
   *
   * @param used the grains in use, among them those that hold metadata; taken over
   * @param limit no grain has this number or a higher one
   */
  GrainSpace(String file, BitSet used, int limit) {
    this.file = file;
    this.used = used;
    this.limit = limit;
  }

  /** Takes free grains: at least one, and no more than {@code wanted}. */
  Run take(int wanted) throws BlockException {
    int first = used.nextClearBit(firstFree);
    if (first >= limit) {
      firstFree = limit;
      throw new BlockException(
          Reason.NO_SPACE, file + ": is full: the format's places end at 2 TiB of the file");
    }
    int next = used.nextSetBit(first);
    int count = Math.min(wanted, (next < 0 ? limit : Math.min(next, limit)) - first);
    used.set(first, first + count);
    firstFree = first + count;
    return new Run(first, count);
  }

  /** Whether a grain is in use. */
  boolean isUsed(int grain) {
    return used.get(grain);
  }

  /** Makes grains those of metadata: in use, and never given back. */
  void reserve(int first, int end) {
    used.set(first, end);
  }

  /** Makes grains free for the next who takes. */
  void giveBack(int first, int count) {
    used.clear(first, first + count);
    firstFree = Math.min(firstFree, first);
  }

  /** The number behind the last grain in use. */
  int end() {
    return used.length();
  }
}
