package io.filterd.crypto;

/** A way to compute AES-256-XTS. Safe for many threads. */
public interface XtsEngine {
  /** The length of a data key: an AES-256 key for the data, then one for the tweak. */
  int DEK_BYTES = 64;

  /** The name it has in the configuration. */
  String name();

  /** Whether the data key and all that is derived from it stay in native memory. */
  boolean keepsKeysOffHeap();

  /**
   * A cipher under {@code dek}, which stays the caller's: the cipher keeps a copy of its own, in
   * secret memory, until it is closed.
   *
   * @param dek {@link #DEK_BYTES} long; its halves differ
   * @param unitBytes the data unit: 512 or 4096
   * @throws IllegalArgumentException if the key or the unit is not as it should be
   */
  SectorCipher cipher(SecretBytes dek, int unitBytes);
}
