package io.filterd.filter;

/** A filter that holds requests back. */
public interface Delaying {
  /**
   * Holds nothing back from now on, neither what waits nor what comes: the disk is about to be
   * closed, and whoever closes it waits for the last request. Safe for many threads.
   */
  void stopDelaying();
}
