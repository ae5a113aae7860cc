package io.filterd.vmdk;

import io.filterd.block.BlockException;
import java.io.IOException;
import java.nio.file.Path;

/**
 * Checks a link of a disk, whole, without changing it: the fields of headers, the descriptor and
 * filterd's entries in it, both of its slots, the extents' files and their sizes, that tables and
 * grains each have a place of their own inside the file, that both sets of tables are equal, what
 * stands behind the disk's end, the mark of an open file, space that nothing names, and the content
 * id of the parent. Looks at files that {@link VmdkDisk#open} refuses, too.
 *
 * <p>Grains are not read: what a guest has stored is its own. Memory stays below 48 MiB whatever
 * the file says. ESX's COWD and seSparse extents are recognised and not looked into.
 */
public final class DiskCheck {
  private DiskCheck() {}

  /**
   * Checks a disk by its file: the one with the descriptor, or a sparse extent alone.
   *
   * @return what was found; damage is no exception
   * @throws IOException if the file can't be opened, or is in use by who may write it
   * @throws BlockException if it can't be read
   */
  public static CheckReport check(Path file) throws IOException, BlockException {
    try (Inspection inspection = Inspection.of(file, Access.READ_ONLY)) {
      return inspection.report();
    }
  }
}
