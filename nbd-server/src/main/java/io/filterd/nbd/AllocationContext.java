package io.filterd.nbd;

import static io.filterd.nbd.wire.Protocol.BASE_ALLOCATION;
import static io.filterd.nbd.wire.Protocol.NBD_STATE_HOLE;
import static io.filterd.nbd.wire.Protocol.NBD_STATE_ZERO;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.ExtentKind;
import io.filterd.block.Extents;

/** Where a device holds data: {@code base:allocation}. */
record AllocationContext(BlockDevice device) implements MetaContext {
  @Override
  public String name() {
    return BASE_ALLOCATION;
  }

  @Override
  public boolean describe(long offset, long lengthBytes, Parts parts, Blocking blocking)
      throws BlockException {
    Extents extents = device.extents(offset, lengthBytes, blocking);
    if (extents == Extents.WOULD_BLOCK) {
      return false;
    }
    boolean more = true;
    for (int i = 0; i < extents.count() && more; i++) {
      boolean data = extents.kind(i) == ExtentKind.DATA;
      more =
          parts.add(
              extents.lengthBytes(i, lengthBytes), data ? 0 : NBD_STATE_HOLE | NBD_STATE_ZERO);
    }
    return true;
  }
}
