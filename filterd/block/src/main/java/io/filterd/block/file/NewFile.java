package io.filterd.block.file;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * A large new file that is there whole or not at all. It is written under another name in the same
 * folder, for its owner only where the file system knows owners, and gets its own name when it is
 * complete and durable. After a crash the other name may be left: {@code .NAME.RANDOM.part}. For
 * one thread.
 */
public final class NewFile implements AutoCloseable {
  private final Path target;
  private final Path part;
  private final FileChannel channel;
  private boolean complete;

  private NewFile(Path target, Path part, FileChannel channel) {
    this.target = target;
    this.part = part;
    this.channel = channel;
  }

  /**
   * Starts a file.
   *
   * @throws FileAlreadyExistsException if there is something of this name, which stays as it is
   */
  public static NewFile create(Path target) throws IOException {
    checkFree(target);
    Path folder = target.toAbsolutePath().getParent();
    Path name = target.getFileName();
    if (folder == null || name == null) {
      throw new FileSystemException(target.toString(), null, "is no file (expected: a new file)");
    }
    Path part = Files.createTempFile(folder, "." + name + ".", ".part");
    boolean opened = false;
    try {
      NewFile file =
          new NewFile(
              target,
              part,
              FileChannel.open(part, StandardOpenOption.READ, StandardOpenOption.WRITE));
      opened = true;
      return file;
    } finally {
      if (!opened) {
        Files.deleteIfExists(part);
      }
    }
  }

  private static void checkFree(Path target) throws IOException {
    if (Files.exists(target, LinkOption.NOFOLLOW_LINKS)) {
      throw new FileAlreadyExistsException(target.toString());
    }
  }

  /** The file's content, empty at first. Closed with this. */
  public FileChannel channel() {
    return channel;
  }

  /**
   * Makes the file durable and gives it its name: it is there when this returns.
   *
   * @throws FileAlreadyExistsException if there is something of this name by now
   */
  public void complete() throws IOException {
    channel.force(true);
    checkFree(target);
    Files.move(part, target);
    complete = true;
    AtomicFile.syncFolderOf(target);
  }

  /** Closes the file, and removes it unless it is complete. */
  @Override
  public void close() throws IOException {
    try {
      channel.close();
    } finally {
      if (!complete) {
        Files.deleteIfExists(part);
      }
    }
  }
}
