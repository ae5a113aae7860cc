package io.filterd.block.file;

import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.Blocking;
import io.filterd.block.Durability;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.AsynchronousFileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.OpenOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Locale;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.jspecify.annotations.Nullable;

/**
 * A file used by the JDK's own means. By an asynchronous channel, because an interrupt of a thread
 * that is in an operation of any other channel closes that, and with it all locks on the file.
 */
final class PortableFile extends BlockFile {
  private final AsynchronousFileChannel channel;

  /** What told the file from others when it was opened; null where the file system has no such. */
  private final @Nullable Object key;

  private PortableFile(Path path, Access access, AsynchronousFileChannel channel)
      throws IOException {
    super(path, access);
    this.channel = channel;
    this.key = key(path);
  }

  private static @Nullable Object key(Path path) throws IOException {
    return Files.readAttributes(path, BasicFileAttributes.class, LinkOption.NOFOLLOW_LINKS)
        .fileKey();
  }

  @Override
  public boolean isNamed() throws IOException {
    return Files.exists(path(), LinkOption.NOFOLLOW_LINKS) && Objects.equals(key, key(path()));
  }

  static PortableFile openFile(Path path, Access access) throws IOException {
    // Opening a pipe would wait for its other end.
    if (Files.exists(path, LinkOption.NOFOLLOW_LINKS)
        && !Files.isRegularFile(path, LinkOption.NOFOLLOW_LINKS)) {
      throw new FileSystemException(
          path.toString(), null, "is something else (expected: a regular file)");
    }
    Set<OpenOption> options =
        access == Access.READ_ONLY
            ? Set.of(StandardOpenOption.READ, LinkOption.NOFOLLOW_LINKS)
            : Set.of(StandardOpenOption.READ, StandardOpenOption.WRITE, LinkOption.NOFOLLOW_LINKS);
    return new PortableFile(path, access, AsynchronousFileChannel.open(path, options, null));
  }

  static PortableFile createFile(Path path) throws IOException {
    Set<OpenOption> options =
        Set.of(StandardOpenOption.READ, StandardOpenOption.WRITE, StandardOpenOption.CREATE_NEW);
    FileAttribute<?>[] attributes =
        path.getFileSystem().supportedFileAttributeViews().contains("posix")
            ? new FileAttribute<?>[] {
              PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------"))
            }
            : new FileAttribute<?>[0];
    return new PortableFile(
        path, Access.READ_WRITE, AsynchronousFileChannel.open(path, options, null, attributes));
  }

  /** Opens a folder, only to sync it. */
  static PortableFile openFolder(Path path) throws IOException {
    return new PortableFile(
        path,
        Access.READ_ONLY,
        AsynchronousFileChannel.open(path, Set.of(StandardOpenOption.READ), null));
  }

  @Override
  public void lock() throws IOException {
    if (access() == Access.READ_WRITE) {
      claim(0, Long.MAX_VALUE, false);
    } else {
      // The bytes that NativeFile locks, so that each honours the other.
      for (long at : NativeFile.READER_CLAIMS) {
        claim(at, 1, true);
      }
    }
  }

  private void claim(long start, long length, boolean shared) throws IOException {
    @Nullable FileLock lock;
    try {
      lock = channel.tryLock(start, length, shared);
    } catch (OverlappingFileLockException ours) {
      lock = null;
    }
    if (lock == null) {
      throw NativeFile.inUse(path());
    }
  }

  @Override
  public long sizeBytes() throws BlockException {
    try {
      return channel.size();
    } catch (IOException failure) {
      throw failure("size", failure);
    }
  }

  @Override
  int readSome(long position, ByteBuffer target, Blocking blocking) throws BlockException {
    if (blocking == Blocking.FORBIDDEN) {
      return BLOCKED;
    }
    return Math.max(0, outcome("read at " + position, channel.read(target, position)));
  }

  @Override
  int writeSome(long position, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    if (blocking == Blocking.FORBIDDEN) {
      return BLOCKED;
    }
    return outcome("write at " + position, channel.write(source, position));
  }

  /** Waits for an operation, interrupted or not: it goes on either way, and uses the buffer. */
  private int outcome(String what, Future<Integer> operation) throws BlockException {
    boolean interrupted = false;
    try {
      while (true) {
        try {
          return operation.get();
        } catch (InterruptedException interruption) {
          interrupted = true;
        }
      }
    } catch (ExecutionException failed) {
      if (failed.getCause() instanceof IOException failure) {
        throw failure(what, failure);
      }
      throw new IllegalStateException(path() + ": can't " + what, failed);
    } finally {
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }

  @Override
  boolean writesDurably() {
    return false;
  }

  @Override
  boolean punch(long position, long length) {
    return false;
  }

  @Override
  boolean zero(long position, long length) {
    return false;
  }

  @Override
  void force(boolean metadata) throws BlockException {
    try {
      channel.force(metadata);
    } catch (IOException failure) {
      throw failure("sync", failure);
    }
  }

  @Override
  void resize(long sizeBytes) throws BlockException {
    try {
      if (sizeBytes > channel.size()) {
        writeSome(
            sizeBytes - 1, ByteBuffer.allocateDirect(1), Durability.BUFFERED, Blocking.ALLOWED);
      } else {
        channel.truncate(sizeBytes);
      }
    } catch (IOException failure) {
      throw failure("truncate", failure);
    }
  }

  @Override
  public long nextData(long position, long end) {
    return position;
  }

  @Override
  public long nextHole(long position, long end) {
    return end;
  }

  @Override
  public void close() throws BlockException {
    try {
      channel.close();
    } catch (IOException failure) {
      throw failure("close", failure);
    }
  }

  private BlockException failure(String what, IOException failure) {
    String text = String.valueOf(failure.getMessage());
    return new BlockException(
        reason(text.toLowerCase(Locale.ROOT)), path() + ": can't " + what + ": " + text, failure);
  }

  /** The JDK gives nothing but the system's words. */
  private static Reason reason(String text) {
    if (text.contains("no space left")
        || text.contains("quota exceeded")
        || text.contains("not enough space")
        || text.contains("file too large")) {
      return Reason.NO_SPACE;
    }
    return text.contains("read-only file system") ? Reason.READ_ONLY : Reason.IO_ERROR;
  }
}
