package io.filterd.vmdk;

import io.filterd.block.BlockException;
import java.io.IOException;
import java.nio.file.Path;

/**
 * Opens disks that are a part of another file, such as the members of an .ova, where they are: no
 * copy of them is made. Only disks in one file, with their descriptor in it, can be there.
 */
public final class ContainedDisk {
  private ContainedDisk() {}

  /**
   * Opens a disk for reading.
   *
   * @param container the file that it is in, which is locked for readers meanwhile
   * @param name what the disk is called in messages
   * @param offset where it begins, in bytes
   * @param sizeBytes how long it is
   * @throws FormatException if there is no sparse or stream-optimized disk in one file, or a
   *     damaged one
   * @throws IOException if the file can't be opened, is in use, or ends before the disk does
   */
  public static VmdkDisk open(Path container, String name, long offset, long sizeBytes)
      throws IOException, BlockException {
    ExtentFile whole = ExtentFiles.open(container, Access.READ_ONLY);
    boolean opened = false;
    try {
      if (offset < 0 || sizeBytes < 0 || offset > whole.sizeBytes() - sizeBytes) {
        throw new IOException(
            name
                + ": bytes "
                + offset
                + "+"
                + sizeBytes
                + " (expected: inside the "
                + whole.sizeBytes()
                + " bytes of "
                + container
                + ")");
      }
      ExtentFile part = new FilePart(whole, name, offset, sizeBytes);
      int magic = ExtentFiles.magic(part);
      if (magic != SparseExtentHeader.MAGIC) {
        throw new FormatException(
            name,
            0,
            "magic",
            "0x" + Integer.toHexString(magic),
            "0x" + Integer.toHexString(SparseExtentHeader.MAGIC) + ", a disk in one file");
      }
      VmdkDisk disk = VmdkDisk.openSparse(part, Access.READ_ONLY);
      if (!disk.warnings().isEmpty()) {
        // What lies in a package is not what is left of something.
        throw new FormatException(
            name, sizeBytes, "content", disk.warnings().getFirst(), "a whole disk");
      }
      opened = true;
      return disk;
    } finally {
      if (!opened) {
        whole.close();
      }
    }
  }
}
