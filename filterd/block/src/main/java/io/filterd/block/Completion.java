package io.filterd.block;

/** Whether an operation was done. */
public enum Completion {
  /** The operation was done, whole. */
  DONE,
  /** Nothing was done, because it could not be done without blocking and blocking was forbidden. */
  WOULD_BLOCK
}
