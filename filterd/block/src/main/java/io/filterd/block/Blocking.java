package io.filterd.block;

/** The caller's word on whether an operation may wait for anything but the processor. */
public enum Blocking {
  /** The operation may wait, for a disk or a lock, and always finishes. */
  ALLOWED,
  /** The operation finishes from memory, or says it would block and leaves no trace. */
  FORBIDDEN
}
