package io.filterd.vmdk;

import io.filterd.block.Blocking;
import io.filterd.block.Extents;
import java.nio.ByteBuffer;

/** An extent that is stored nowhere and reads as zeros. */
final class ZeroExtent extends ReadOnlyLink {
  ZeroExtent(long sizeBytes) {
    super(sizeBytes, 512);
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) {
    Zeros.fill(target);
    return Extents.ALL_ZERO;
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) {
    return Extents.ALL_ZERO;
  }

  @Override
  public void close() {}
}
