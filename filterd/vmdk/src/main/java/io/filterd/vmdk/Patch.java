package io.filterd.vmdk;

/**
 * A change of a file that mends something. Made again, or half, it does no harm, and what it needs
 * is still there.
 */
sealed interface Patch {
  /** In this order patches are made, with a sync after each kind. */
  enum Step {
    /** The content of tables. */
    TABLES,
    /** The entries of directories, which name them. */
    DIRECTORIES,
    /** The descriptor's slot that is not in use. */
    SPARE_SLOT,
    /** Space that nothing names. */
    SPACE,
    /** The mark of an open file. */
    MARK
  }

  Step step();

  /** The first byte that is changed. */
  long position();

  /** How many bytes are changed. */
  long length();

  /** Writes bytes. */
  @SuppressWarnings("ArrayRecordComponent") // never compared
  record Bytes(Step step, long position, byte[] bytes) implements Patch {
    @Override
    public long length() {
      return bytes.length;
    }
  }

  /** Copies tables. */
  record Copy(long from, long position, long length) implements Patch {
    @Override
    public Step step() {
      return Step.TABLES;
    }
  }

  /** Gives space back. */
  record Punch(long position, long length) implements Patch {
    @Override
    public Step step() {
      return Step.SPACE;
    }
  }

  /** Ends the file at {@code position}. */
  record Cut(long position, long length) implements Patch {
    @Override
    public Step step() {
      return Step.SPACE;
    }
  }
}
