package io.filterd.crypto;

/**
 * Memory for secrets can't be had, usually because RLIMIT_MEMLOCK is used up. Unchecked: no caller
 * can do anything about it but give up what it was doing.
 */
public final class SecretMemoryException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  SecretMemoryException(String message) {
    super(message);
  }
}
