package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * The header's sector of a sparse extent that is open for writing. What is unknown in a foreign one
 * is kept. For one thread at a time.
 */
final class HeaderSector {
  private static final int CAPACITY_AT = 12;
  private static final int DESCRIPTOR_OFFSET_AT = 28;
  private static final int REDUNDANT_DIRECTORY_AT = 48;
  private static final int DIRECTORY_AT = 56;
  private static final int OVERHEAD_AT = 64;
  private static final int UNCLEAN_SHUTDOWN_AT = 72;

  private final ExtentFile file;
  private final ByteBuffer bytes;

  /**
   * The header as it is in the file.
   *
   * @param bytes the sector, direct; taken over
   */
  HeaderSector(ExtentFile file, ByteBuffer bytes) {
    this.file = file;
    this.bytes = bytes.order(ByteOrder.LITTLE_ENDIAN);
  }

  /** Whether the extent is marked as open for writing. */
  boolean isUnclean() {
    return bytes.get(UNCLEAN_SHUTDOWN_AT) != 0;
  }

  /** Takes the mark away, once all else is durable: given back space too, or it leaks. */
  void clean() throws BlockException {
    file.sync();
    write(false);
  }

  /** Sets the mark; durable when this returns. */
  void write(boolean unclean) throws BlockException {
    write(bytes.getLong(DESCRIPTOR_OFFSET_AT), unclean);
  }

  /** Sets the place of the descriptor and the mark; durable when this returns. */
  void write(long descriptorSector, boolean unclean) throws BlockException {
    long oldSector = bytes.getLong(DESCRIPTOR_OFFSET_AT);
    byte oldUnclean = bytes.get(UNCLEAN_SHUTDOWN_AT);
    bytes.putLong(DESCRIPTOR_OFFSET_AT, descriptorSector);
    bytes.put(UNCLEAN_SHUTDOWN_AT, (byte) (unclean ? 1 : 0));
    boolean written = false;
    try {
      file.write(0, bytes.clear(), Blocking.ALLOWED);
      written = true;
    } finally {
      if (!written) {
        bytes.putLong(DESCRIPTOR_OFFSET_AT, oldSector).put(UNCLEAN_SHUTDOWN_AT, oldUnclean);
      }
    }
    file.sync();
  }

  /**
   * Changes the capacity and the places of the tables; what is written next makes it count.
   *
   * @return what takes it back
   */
  ByteBuffer grow(SparseExtentHeader grown) {
    ByteBuffer old = ByteBuffer.allocate(bytes.capacity()).put(bytes.clear()).flip();
    bytes
        .putLong(CAPACITY_AT, grown.capacitySectors())
        .putLong(REDUNDANT_DIRECTORY_AT, grown.redundantDirectoryOffset())
        .putLong(DIRECTORY_AT, grown.directoryOffset())
        .putLong(OVERHEAD_AT, grown.overheadSectors());
    return old;
  }

  /** Makes the sector what it was before {@link #grow}. */
  void takeBack(ByteBuffer old) {
    bytes.clear().put(old).clear();
  }
}
