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
    boolean exists = Files.exists(file, LinkOption.NOFOLLOW_LINKS);
    if (exists && !Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS)) {
      throw new FileSystemException(
          file.toString(), null, "is something else (expected: a regular file)");
    }
    Path next = file.resolveSibling(file.getFileName() + ".new");
    Files.deleteIfExists(next);
    try {
      write(next, contents, exists ? file : next);
      Files.move(next, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    } catch (IOException failure) {
      try {
        Files.deleteIfExists(next);
      } catch (IOException second) {
        failure.addSuppressed(second);
      }
      throw failure;
    }
    syncFolderOf(file);
  }

  private static void write(Path next, byte[] contents, Path mode) throws IOException {
    ByteBuffer bytes = ByteBuffer.allocateDirect(contents.length).put(contents).flip();
    try (BlockFile file = BlockFile.create(next)) {
      file.write(0, bytes, Durability.BUFFERED, Blocking.ALLOWED);
      if (next.getFileSystem().supportedFileAttributeViews().contains("posix")) {
        Files.setPosixFilePermissions(next, Files.getPosixFilePermissions(mode));
      }
      file.sync();
    } catch (BlockException failure) {
      throw new FileSystemException(next.toString(), null, failure.getMessage());
    }
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
