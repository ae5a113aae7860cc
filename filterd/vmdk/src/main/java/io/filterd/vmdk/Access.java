package io.filterd.vmdk;

/** What a disk is opened for. */
public enum Access {
  /** Nothing is changed, not even a mark that the disk was open. Others may read it too. */
  READ_ONLY,
  /** Reads and changes, by this opener alone. */
  READ_WRITE
}
