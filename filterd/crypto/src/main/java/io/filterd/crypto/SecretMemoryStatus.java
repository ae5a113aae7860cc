package io.filterd.crypto;

/**
 * Where this process keeps its secrets, and how much of that there is.
 *
 * @param kind how the memory is protected
 * @param reservedBytes taken from the kernel so far; counts against RLIMIT_MEMLOCK
 * @param usedBytes of these, in use by secrets that are not closed
 */
public record SecretMemoryStatus(Kind kind, long reservedBytes, long usedBytes) {
  /** How the memory of secrets is protected. */
  public enum Kind {
    /**
     * memfd_secret(2): in nobody's page tables but this process's, not even in the kernel's. Never
     * swapped, never dumped, out of reach of ptrace and /proc/pid/mem.
     */
    MEMFD_SECRET,
    /** mlock(2) and MADV_DONTDUMP: never swapped, not in core dumps, not inherited by children. */
    LOCKED
  }
}
