package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.Blocking;
import io.filterd.block.Extents;
import java.nio.ByteBuffer;

/**
 * An extent that its descriptor forbids to read (NOACCESS). Its file is never opened. Reads fail:
 * zeros in its place would be taken for the content, in a copy for ever.
 */
final class NoAccessExtent extends ReadOnlyLink {
  private final String file;
  private final long byteOffset;

  /**
   * An extent of {@code sizeBytes} bytes.
   *
   * @param file the descriptor's file
   * @param byteOffset where in it the extent's line is
   */
  NoAccessExtent(String file, long byteOffset, long sizeBytes) {
    super(sizeBytes);
    this.file = file;
    this.byteOffset = byteOffset;
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
    throw new BlockException(
        Reason.IO_ERROR,
        "%s: at byte %d: extent access: NOACCESS (expected: RW or RDONLY, to read it)"
            .formatted(file, byteOffset));
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) {
    return Extents.ALL_DATA;
  }

  @Override
  public void close() {}
}
