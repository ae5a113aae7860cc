package io.filterd.vmdk;

import io.filterd.block.BlockException;

/** Where an extent says that it is open for writing. */
interface ChangeMark {
  /**
   * Marks the extent as open for writing, durably, and gives its disk a new content id unless it
   * has got one since it was opened. To be called before the first change of the content.
   */
  void beginChanges() throws BlockException;

  /** Marks the extent as closed; to be called when all else is durable. */
  void endChanges() throws BlockException;
}
