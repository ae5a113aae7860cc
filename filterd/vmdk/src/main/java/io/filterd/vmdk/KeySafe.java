package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.block.file.BlockFile;
import io.filterd.vmdk.LinkedDisk.Open;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.List;

/**
 * The key safe of one link, open to be changed while the disk is in use: {@link
 * LinkedDisk#keySafe}. No data is touched. Requests wait only while a link that was open for
 * reading is opened for writing, and back at the end; not for what is written and synced in
 * between. Till it is closed the disk's links stay as they are. For one thread.
 */
public final class KeySafe implements AutoCloseable {
  private final LinkedDisk disk;
  private final int index;
  private final Access before;
  private boolean closed;

  private KeySafe(LinkedDisk disk, int index, Access before) {
    this.disk = disk;
    this.index = index;
    this.before = before;
  }

  /** Opens the key safe of the link at {@code index}; {@link LinkedDisk#end} is called at close. */
  static KeySafe open(LinkedDisk disk, int index) throws IOException, BlockException {
    Access before = disk.open().get(index).access();
    if (before == Access.READ_ONLY) {
      exchange(disk, index, Access.READ_WRITE);
    }
    return new KeySafe(disk, index, before);
  }

  private static void exchange(LinkedDisk disk, int index, Access access)
      throws IOException, BlockException {
    disk.gate().pause();
    try {
      disk.exchange(index, access);
    } finally {
      disk.gate().resume();
    }
  }

  private Open link() {
    if (closed) {
      throw new IllegalStateException("key safe: closed");
    }
    return disk.open().get(index);
  }

  /** What the link's descriptor says of its encryption. */
  public EncryptionMetadata metadata() {
    return link().disk().encryption().orElseThrow();
  }

  /**
   * Replaces the lockers. A crash leaves the old ones or the new ones; when this returns the new
   * ones are durable.
   *
   * @throws BlockException as {@link VmdkDisk#rewriteDescriptor}
   */
  public void write(List<Locker> lockers) throws BlockException {
    EncryptionMetadata changed = metadata().withKeySafe(lockers);
    link().disk().rewriteDescriptor(changed::writeTo);
  }

  /**
   * Reads the link's file again.
   *
   * @return what its descriptor says of the encryption
   */
  public EncryptionMetadata stored() throws IOException, BlockException {
    Path path = link().file();
    // It is locked already, for this very object.
    try (ExtentFile file = new StoredExtent(BlockFile.open(path, BlockFile.Access.READ_ONLY))) {
      Descriptor descriptor;
      if (ExtentFiles.magic(file) == SparseExtentHeader.MAGIC) {
        ByteBuffer header = ExtentFiles.sector(file, 0);
        descriptor = VmdkDisk.embedded(file, SparseExtentHeader.parse(file.name(), 0, header));
      } else {
        ByteBuffer bytes = ExtentFiles.head(file, Descriptor.LARGEST_TEXT_BYTES);
        byte[] text = new byte[bytes.remaining()];
        bytes.get(text);
        descriptor = Descriptor.parse(file.name(), 0, text);
      }
      return EncryptionMetadata.from(descriptor)
          .orElseThrow(
              () ->
                  new FormatException(
                      file.name(),
                      descriptor.byteOffset(),
                      "ddb.filterd.version",
                      "none",
                      "an entry, as was written"));
    }
  }

  /** Opens the link as it was before. */
  @Override
  public void close() throws IOException, BlockException {
    if (closed) {
      return;
    }
    closed = true;
    try {
      if (before == Access.READ_ONLY) {
        exchange(disk, index, Access.READ_ONLY);
      }
    } finally {
      disk.end();
    }
  }
}
