package io.filterd.daemon;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.nbd.MetaContext;
import io.filterd.vmdk.LinkedDisk;

/**
 * Which link of a chain each range comes from, in the terms of qemu's context {@code
 * qemu:allocation-depth}: 1 for the top link, 2 for its parent, 0 where none has it.
 */
record AllocationDepth(LinkedDisk chain) implements MetaContext {
  @Override
  public String name() {
    return "qemu:allocation-depth";
  }

  @Override
  public boolean describe(long offset, long lengthBytes, Parts parts, Blocking blocking)
      throws BlockException {
    // A link knows whole blocks only.
    long block = chain.info().blockSizes().minimum();
    long start = offset / block * block;
    long end =
        Math.min(chain.info().sizeBytes(), Math.ceilDiv(offset + lengthBytes, block) * block);
    long[] before = {offset - start};
    return chain.depths(
        start,
        end - start,
        (partBytes, depth) -> {
          long skipped = Math.min(partBytes, before[0]);
          before[0] -= skipped;
          return skipped == partBytes || parts.add(partBytes - skipped, depth);
        },
        blocking);
  }
}
