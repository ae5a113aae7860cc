package io.filterd.daemon.control;

/** Told how far a long operation is. */
@FunctionalInterface
public interface Progress {
  /** Nobody wants to know. */
  Progress NONE = (doneBytes, totalBytes) -> true;

  /**
   * Some of the work is done.
   *
   * @return false if the operation should stop, because nobody waits for it any more
   */
  boolean at(long doneBytes, long totalBytes);
}
