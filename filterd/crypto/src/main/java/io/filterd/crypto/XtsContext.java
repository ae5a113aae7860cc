package io.filterd.crypto;

import java.nio.ByteBuffer;

/**
 * An expanded data key and the scratch to use it with, for one thread at a time. Checks nothing.
 * Tweaks are 128-bit numbers in two halves; units after the first have the next numbers.
 */
interface XtsContext extends AutoCloseable {
  /** Enciphers units from position to limit. */
  void encipher(long tweakLow, long tweakHigh, ByteBuffer source, ByteBuffer target, int unitBytes);

  /** Deciphers units from position to limit, in place. */
  void decipher(long tweakLow, long tweakHigh, ByteBuffer buffer, int unitBytes);

  /** Wipes what can be wiped. */
  @Override
  void close();

  /** Expands a data key of {@link XtsEngine#DEK_BYTES}. */
  @FunctionalInterface
  interface Maker {
    /** A context under {@code dek}, which stays the caller's. */
    XtsContext make(SecretBytes dek);
  }
}
