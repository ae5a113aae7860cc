package io.filterd.daemon;

import io.filterd.block.Blocking;
import io.filterd.nbd.MetaContext;
import io.filterd.vmdk.ChangeTracking;

/**
 * What was changed since a named point, in the terms of qemu's context {@code
 * qemu:dirty-bitmap:NAME}: 1 for what was, 0 for the rest.
 */
record DirtyBitmap(ChangeTracking tracking, String point) implements MetaContext {
  private static final int DIRTY = 1;

  @Override
  public String name() {
    return "qemu:dirty-bitmap:" + point;
  }

  @Override
  public boolean describe(long offset, long lengthBytes, Parts parts, Blocking blocking) {
    boolean known =
        tracking.changes(
            point, offset, lengthBytes, (bytes, changed) -> parts.add(bytes, changed ? DIRTY : 0));
    if (!known) {
      parts.add(lengthBytes, DIRTY); // Forgotten meanwhile: nothing is known of any part.
    }
    return true;
  }
}
