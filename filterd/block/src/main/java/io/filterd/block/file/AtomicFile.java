package io.filterd.block.file;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Durability;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;

/**
 * Small files that are replaced whole: a crash at any moment leaves the old or the new contents.
 * One thread at a time for each file.
 */
public final class AtomicFile {
  private AtomicFile() {}

  /**
   * Makes {@code contents} the whole file, new or not; durable when this returns. The new contents
   * are first written beside it, to a file of the same name with {@code .new} at the end; what a
   * crash left there is overwritten. An existing file keeps its mode, a new one is for its owner
   * only. If this fails, the file is as it was before (but for a failure of the very last step, the
   * folder's sync).
   *
   * @throws IOException as the JDK's own; also if {@code file} is not a regular file, such as a
   *     symbolic link
   */
  public static void replace(Path file, byte[] contents) throws IOException {
    try (BlockFile next = replaced(file, contents, false)) {
      syncFolderOf(next.path());
    } catch (BlockException failure) {
      throw new FileSystemException(file.toString(), null, failure.getMessage());
    }
  }

  /**
   * As {@link #replace}, for a file that its user has locked: the new one is locked before it gets
   * the name, so that nobody comes in between. It is not durable under this name before {@link
   * #syncFolderOf} was called.
   *
   * @return the new file, open for writing and locked, to be closed by the caller
   */
  public static BlockFile replaceLocked(Path file, byte[] contents)
      throws IOException, BlockException {
    return replaced(file, contents, true);
  }

  private static BlockFile replaced(Path file, byte[] contents, boolean locked)
      throws IOException, BlockException {
    boolean exists = Files.exists(file, LinkOption.NOFOLLOW_LINKS);
    if (exists && !Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS)) {
      throw new FileSystemException(
          file.toString(), null, "is something else (expected: a regular file)");
    }
    Path next = file.resolveSibling(file.getFileName() + ".new");
    Files.deleteIfExists(next);
    BlockFile written = BlockFile.create(next);
    boolean done = false;
    try {
      if (locked) {
        written.lock();
      }
      write(written, contents, exists ? file : next);
      Files.move(next, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
      done = true;
      return written;
    } finally {
      if (!done) {
        try (written) {
          Files.deleteIfExists(next);
        }
      }
    }
  }

  private static void write(BlockFile file, byte[] contents, Path mode)
      throws IOException, BlockException {
    ByteBuffer bytes = ByteBuffer.allocateDirect(contents.length).put(contents).flip();
    file.write(0, bytes, Durability.BUFFERED, Blocking.ALLOWED);
    if (file.path().getFileSystem().supportedFileAttributeViews().contains("posix")) {
      Files.setPosixFilePermissions(file.path(), Files.getPosixFilePermissions(mode));
    }
    file.sync();
  }

  /** Makes the names in the folder of {@code file} durable: that it was made, renamed, deleted. */
  public static void syncFolderOf(Path file) throws IOException {
    Path folder = file.toAbsolutePath().getParent();
    if (folder == null) {
      throw new FileSystemException(file.toString(), null, "is in no folder (expected: a file)");
    }
    try (BlockFile open = BlockFile.openFolder(folder)) {
      open.sync();
    } catch (BlockException failure) {
      throw new FileSystemException(folder.toString(), null, failure.getMessage());
    }
  }
}
