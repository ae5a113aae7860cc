package io.filterd.vmdk;

import io.filterd.block.BlockException;

/**
 * The mark of a sparse extent whose disk has its descriptor in a file of its own.
 *
 * @param header for the extent's mapping alone
 * @param descriptor shared by the extents of the disk
 */
record SplitMark(HeaderSector header, TextDescriptor descriptor) implements ChangeMark {
  @Override
  public void beginChanges() throws BlockException {
    descriptor.beginChanges();
    header.write(true);
  }

  @Override
  public void endChanges() throws BlockException {
    header.clean();
  }
}
