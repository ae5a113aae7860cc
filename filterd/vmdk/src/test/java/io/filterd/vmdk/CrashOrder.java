package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;

/** The order of what is done to the files of a disk. For one thread. */
final class CrashOrder {
  private int size;
  private int failsAt = -1;

  /** The number of changes and syncs so far, of all files. */
  int size() {
    return size;
  }

  /** The number of a change or sync that is done now. */
  int next() {
    return size++;
  }

  /** Lets the change or sync with this number fail, and no other. */
  void failAt(int number) {
    failsAt = number;
  }

  void failIfTold() throws BlockException {
    if (size == failsAt) {
      failsAt = -1;
      throw new BlockException(Reason.IO_ERROR, "told to fail");
    }
  }
}
