package io.filterd.vmdk;

import java.util.concurrent.atomic.AtomicLongArray;

/** Remembers which units of a disk were changed. Safe for many threads. */
final class ChangedUnits {
  static final int UNIT_BYTES = 1 << 16;

  private final AtomicLongArray words;

  ChangedUnits(long sizeBytes) {
    long units = Math.ceilDiv(sizeBytes, UNIT_BYTES);
    this.words = new AtomicLongArray(Math.toIntExact(Math.ceilDiv(units, Long.SIZE)));
  }

  /** Notes a change; to be called when it is done. */
  void add(long offset, long length) {
    long last = (offset + length - 1) / UNIT_BYTES;
    for (long unit = offset / UNIT_BYTES; unit <= last; unit++) {
      int word = (int) (unit / Long.SIZE);
      long bit = 1L << (unit % Long.SIZE);
      if ((words.get(word) & bit) == 0) {
        words.accumulateAndGet(word, bit, (now, more) -> now | more);
      }
    }
  }

  /** How many units are noted. */
  long count() {
    long count = 0;
    for (int i = 0; i < words.length(); i++) {
      count += Long.bitCount(words.get(i));
    }
    return count;
  }

  int wordCount() {
    return words.length();
  }

  /** Takes 64 units, the lowest bit the first of them, and forgets that they were changed. */
  long take(int word) {
    return words.get(word) == 0 ? 0 : words.getAndSet(word, 0);
  }
}
