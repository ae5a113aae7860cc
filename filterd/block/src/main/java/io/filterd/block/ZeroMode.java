package io.filterd.block;

/** How a range is made to read as zeros: whether space may go, and whether slowness is refused. */
public enum ZeroMode {
  /** The space may be given back. */
  MAY_DEALLOCATE(false, false),
  /** The space stays, so that a later write there can't run out of it (NBD_CMD_FLAG_NO_HOLE). */
  ALLOCATE(true, false),
  /** As {@link #MAY_DEALLOCATE}, but fails at once where zeroing is no faster than writing. */
  FAST_MAY_DEALLOCATE(false, true),
  /** As {@link #ALLOCATE}, but fails at once where zeroing is no faster than writing. */
  FAST_ALLOCATE(true, true);

  private final boolean allocates;
  private final boolean fast;

  ZeroMode(boolean allocates, boolean fast) {
    this.allocates = allocates;
    this.fast = fast;
  }

  /** Whether the range must have space of its own afterwards. */
  public boolean allocates() {
    return allocates;
  }

  /** Whether the operation is refused rather than slow (NBD_CMD_FLAG_FAST_ZERO). */
  public boolean fast() {
    return fast;
  }
}
