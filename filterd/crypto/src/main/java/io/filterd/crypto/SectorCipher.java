package io.filterd.crypto;

import java.nio.ByteBuffer;

/**
 * AES-256-XTS (IEEE 1619, NIST SP 800-38E) under one data key, over data units of a fixed size. The
 * tweak of a data unit is its number, as 128 bits little endian. The last unit of a call may be
 * shorter: that is the last unit of a device whose size is not a multiple of the unit; any multiple
 * of 16 bytes will do, and it is enciphered as a data unit of that length.
 *
 * <p>Buffers are direct; their bytes from position to limit are used, and position and limit stay.
 * Safe for many threads. A call allocates nothing once as many calls have run at the same time
 * before.
 */
public interface SectorCipher extends AutoCloseable {
  /** The size of a data unit, in bytes. */
  int unitBytes();

  /**
   * Enciphers data units from {@code source} to {@code target}, which are as long as each other and
   * don't overlap. The bytes of {@code source} don't change.
   *
   * @param firstUnit the number of the first data unit, at least 0
   * @throws IllegalStateException after {@link #close}
   */
  void encipher(long firstUnit, ByteBuffer source, ByteBuffer target);

  /**
   * Deciphers data units in place.
   *
   * @param firstUnit the number of the first data unit, at least 0
   * @throws IllegalStateException after {@link #close}
   */
  void decipher(long firstUnit, ByteBuffer buffer);

  /**
   * Refuses every later call and wipes the key and its schedules; a call that runs at this moment
   * ends as usual and wipes the schedule that it used itself. Does nothing the second time.
   */
  @Override
  void close();
}
