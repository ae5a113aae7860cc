package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;

/** Says where in its file each grain of an extent is. Many threads may ask at once. */
interface GrainMap {
  /** A grain that is not stored. */
  long ABSENT = 0;

  /** A grain that is marked as zeros. */
  long ZERO = -1;

  /** An answer that would need a table from the file. */
  long WOULD_BLOCK = -2;

  /**
   * Where the byte at {@code offset} of the extent is, in bytes from the start of the file; or
   * {@link #ABSENT}, {@link #ZERO} or {@link #WOULD_BLOCK}.
   */
  long locate(long offset, Blocking blocking) throws BlockException;

  /** The bytes from {@code offset} to the end of its grain. */
  long restOfGrain(long offset);
}
