package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.Blocking;
import io.filterd.block.file.AtomicFile;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;

/**
 * A descriptor's file on a file system. It is locked for as long as it is open, and so is whichever
 * takes its place, from before it has the name. For one thread at a time.
 */
final class DescriptorFile implements TextDescriptor.TextFile {
  private final Path path;
  private ExtentFile locked;

  /** Takes over the file, which is open for writing and locked. */
  DescriptorFile(Path path, ExtentFile locked) {
    this.path = path;
    this.locked = locked;
  }

  @Override
  public void replace(byte[] text) throws BlockException {
    try {
      ExtentFile old = locked;
      locked = new StoredExtent(AtomicFile.replaceLocked(path, text));
      old.close();
      AtomicFile.syncFolderOf(path);
    } catch (IOException failure) {
      throw new BlockException(
          Reason.IO_ERROR,
          path + ": the descriptor can't be replaced: " + failure.getMessage(),
          failure);
    }
  }

  @Override
  public void overwrite(byte[] text) throws BlockException {
    ByteBuffer bytes = ByteBuffer.allocateDirect(text.length).put(text).flip();
    locked.write(0, bytes, Blocking.ALLOWED);
    locked.sync();
  }

  @Override
  public void close() throws BlockException {
    locked.close();
  }
}
