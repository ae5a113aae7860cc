package io.filterd.inventory;

/**
 * How a disk is served.
 *
 * @param mode what clients may do with it
 * @param maxClients how many may use it at a time; 0 for any number
 * @param cowMemoryBytes the most that changes may take that are kept in memory; 0 where none are
 */
public record ServeOptions(Mode mode, int maxClients, long cowMemoryBytes) {
  /** For writing, by any number of clients. */
  public static final ServeOptions DEFAULT = new ServeOptions(Mode.READ_WRITE, 0, 0);

  /** The least memory for changes, in bytes. */
  public static final long LEAST_COW_MEMORY_BYTES = 1 << 20;

  /** What clients may do with a disk. */
  public enum Mode {
    /** Read and write. */
    READ_WRITE,
    /** Read. The file is opened for reading only. */
    READ_ONLY,
    /** Read and write, but what they write vanishes when the disk is served no more. */
    COPY_ON_WRITE
  }

  /** Checks the rules of the parameters. */
  public ServeOptions {
    if (mode == null) {
      throw new IllegalArgumentException("mode: is missing");
    }
    if (maxClients < 0) {
      throw new IllegalArgumentException("maxClients: " + maxClients + " (expected: >= 0)");
    }
    long least = mode == Mode.COPY_ON_WRITE ? LEAST_COW_MEMORY_BYTES : 0;
    long most = mode == Mode.COPY_ON_WRITE ? Long.MAX_VALUE : 0;
    if (cowMemoryBytes < least || cowMemoryBytes > most) {
      throw new IllegalArgumentException(
          "cowMemoryBytes: "
              + cowMemoryBytes
              + (most == 0 ? " (expected: 0 without copy-on-write)" : " (expected: >= 1048576)"));
    }
  }

  /** The same, for clients to read only or to write. */
  public ServeOptions withMode(Mode changed) {
    return new ServeOptions(changed, maxClients, cowMemoryBytes);
  }
}
