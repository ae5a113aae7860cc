package io.filterd.block.file;

import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.Blocking;
import io.filterd.block.Completion;
import io.filterd.block.Durability;
import java.io.IOException;
import java.lang.foreign.Linker;
import java.lang.foreign.SymbolLookup;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;

/**
 * A file of bytes that may grow, read and written at any position through the page cache. What a
 * disk format stores its extents in, and what {@link FileDevice} is made of.
 *
 * <p>Positions and lengths are in bytes. Buffers are direct, are used from position to limit, and
 * are at their limit afterwards; when an operation fails or {@link Completion#WOULD_BLOCK would
 * block}, the position is as before. All operations but {@link #close} may be called from many
 * threads at once; interrupting one does not disturb it.
 *
 * <p>On Linux x86-64 and aarch64 the C library is called ({@link Calls#NATIVE}); elsewhere, or when
 * asked for, the JDK's own files are used ({@link Calls#PORTABLE}), which never work without
 * blocking and know no holes.
 *
 * <p>Errors: a full disk or quota is {@link Reason#NO_SPACE}, a file that takes no changes {@link
 * Reason#READ_ONLY}, anything else {@link Reason#IO_ERROR} with the system's words. Once {@link
 * #dataSync} or a durable write failed nobody knows what is on the disk (the kernel forgets which
 * pages were lost), so every later write, truncation and sync fails too.
 */
public abstract sealed class BlockFile implements AutoCloseable permits NativeFile, PortableFile {
  /** What a file is opened for. */
  public enum Access {
    /** Every change fails. */
    READ_ONLY,
    /** Reads and changes. */
    READ_WRITE
  }

  /** The means by which files are used. */
  public enum Calls {
    /** The C library, by the foreign-function API. */
    NATIVE,
    /** The JDK's asynchronous file channels: an interrupt closes its other ones. */
    PORTABLE
  }

  private static final Calls CALLS = isLinux() ? Calls.NATIVE : Calls.PORTABLE;

  private final Path path;
  private final Access access;

  /** Set once, by whichever operation finds that written data was lost. */
  private volatile boolean syncFailed;

  BlockFile(Path path, Access access) {
    this.path = path;
    this.access = access;
  }

  /**
   * Opens a regular file. The last part of {@code path} must not be a symbolic link.
   *
   * @throws IOException as the JDK's own, if it is not there, not allowed or not a regular file
   */
  public static BlockFile open(Path path, Access access) throws IOException {
    return open(path, access, CALLS);
  }

  /** As {@link #open(Path, Access)}, with the means to use. */
  public static BlockFile open(Path path, Access access, Calls calls) throws IOException {
    return switch (calls) {
      case NATIVE -> NativeFile.openFile(path, access);
      case PORTABLE -> PortableFile.openFile(path, access);
    };
  }

  /**
   * Makes a new, empty file, for its owner only (mode 0600), open for reading and writing. Its name
   * is durable once {@link AtomicFile#syncFolderOf} was called.
   *
   * @throws java.nio.file.FileAlreadyExistsException if there is something of this name
   */
  public static BlockFile create(Path path) throws IOException {
    return create(path, CALLS);
  }

  /** As {@link #create(Path)}, with the means to use. */
  public static BlockFile create(Path path, Calls calls) throws IOException {
    return switch (calls) {
      case NATIVE -> NativeFile.createFile(path);
      case PORTABLE -> PortableFile.createFile(path);
    };
  }

  /**
   * What a file takes on its medium, in bytes: less than its size where it has holes. Portably its
   * size.
   */
  public static long storedBytes(Path path) throws IOException {
    return switch (CALLS) {
      case NATIVE -> NativeFile.storedBytesOf(path);
      case PORTABLE -> Files.size(path);
    };
  }

  /** Opens a folder, only to sync it. */
  static BlockFile openFolder(Path path) throws IOException {
    return switch (CALLS) {
      case NATIVE -> NativeFile.openFolder(path);
      case PORTABLE -> PortableFile.openFolder(path);
    };
  }

  /** The file as it was named when it was opened. */
  public final Path path() {
    return path;
  }

  /** What the file was opened for. */
  public final Access access() {
    return access;
  }

  /**
   * Claims the file until it is closed: for one user alone if it was opened for writing, else
   * together with others that only read. Works against this process, other processes, and qemu,
   * whose own locks it honours and which honours it. Advisory: others may still open the file.
   *
   * <p>Portably it is weaker: a shared claim does not notice that qemu writes, and when this
   * process opens the file twice, the first close gives up the claims towards other processes.
   *
   * @throws java.nio.file.FileSystemException if the file is in use, or can't be locked
   */
  public abstract void lock() throws IOException;

  /**
   * Whether the name that the file was opened by still stands for it, and not for another that was
   * put in its place. To be asked after {@link #lock}: until then the file's owner may have
   * replaced it, and let go of the lock.
   */
  public abstract boolean isNamed() throws IOException;

  /** The size now, in bytes. */
  public abstract long sizeBytes() throws BlockException;

  /**
   * Fills {@code target} with the bytes at {@code position}.
   *
   * @throws BlockException with {@code IO_ERROR} too if the file ends inside the range
   */
  public final Completion read(long position, ByteBuffer target, Blocking blocking)
      throws BlockException {
    int start = target.position();
    int limit = target.limit();
    boolean filled = false;
    try {
      for (int at = start; at < limit; ) {
        target.position(at);
        int count = readSome(position + (at - start), target, blocking);
        if (count == BLOCKED) {
          return Completion.WOULD_BLOCK;
        }
        if (count == 0) {
          throw new BlockException(
              Reason.IO_ERROR,
              "%s: ends at %d (expected: at least %d bytes)"
                  .formatted(path, sizeBytes(), position + (limit - start)));
        }
        at += count;
      }
      filled = true;
      return Completion.DONE;
    } finally {
      target.position(filled ? limit : start);
    }
  }

  /**
   * Stores all of {@code source} at {@code position}; beyond the end the file grows, and what lies
   * between is a hole. Durable on return if asked for, which always blocks. If it fails, each byte
   * of the range is old or new.
   */
  public final Completion write(
      long position, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    checkWritable();
    if (durability == Durability.DURABLE && blocking == Blocking.FORBIDDEN) {
      return Completion.WOULD_BLOCK;
    }
    int start = source.position();
    int limit = source.limit();
    boolean stored = false;
    Blocking rest = blocking;
    try {
      for (int at = start; at < limit; ) {
        source.position(at);
        int count = writeSome(position + (at - start), source, durability, rest);
        if (count == BLOCKED) {
          return Completion.WOULD_BLOCK;
        }
        at += count;
        // What was stored can't be taken back, so what is left must follow, even if it blocks.
        rest = Blocking.ALLOWED;
      }
      if (durability == Durability.DURABLE && !writesDurably()) {
        dataSync();
      }
      stored = true;
      return Completion.DONE;
    } finally {
      source.position(stored ? limit : start);
    }
  }

  /**
   * Gives back the space of a range, which reads as zeros then. Never changes the size.
   *
   * @return whether it was done; if not, the file system can't, and nothing was changed
   */
  public final boolean punchHole(long position, long length) throws BlockException {
    checkWritable();
    return punch(position, length);
  }

  /**
   * Makes a range read as zeros that keeps or gets space of its own, without writing it. Never
   * changes the size.
   *
   * @return whether it was done; if not, the file system can't, and nothing was changed
   */
  public final boolean zeroRange(long position, long length) throws BlockException {
    checkWritable();
    return zero(position, length);
  }

  /** Makes all completed changes durable, the size included. */
  public final void dataSync() throws BlockException {
    sync(false);
  }

  /** As {@link #dataSync}, with what the data does not need: a folder's names, a file's mode. */
  final void sync() throws BlockException {
    sync(true);
  }

  private void sync(boolean metadata) throws BlockException {
    checkSynced();
    boolean synced = false;
    try {
      force(metadata);
      synced = true;
    } finally {
      if (!synced) {
        syncFailed = true;
      }
    }
  }

  /** Sets the size: cuts the file, or makes it grow by a hole. */
  public final void truncate(long sizeBytes) throws BlockException {
    checkWritable();
    resize(sizeBytes);
  }

  /**
   * Where the data at or after {@code position} begins; {@code end} if there is none before it. May
   * name holes as data, never data as a hole.
   */
  public abstract long nextData(long position, long end) throws BlockException;

  /** Where the hole at or after {@code position} begins; {@code end} if there is none before it. */
  public abstract long nextHole(long position, long end) throws BlockException;

  /** Releases the file and the claim on it. Does not sync. Nothing may be called after it. */
  @Override
  public abstract void close() throws BlockException;

  /**
   * What {@link #readSome} and {@link #writeSome} return instead of a count if they would block.
   */
  static final int BLOCKED = -1;

  /** Reads at least 1 byte, wherever it leaves the position; 0 at the end of the file. */
  abstract int readSome(long position, ByteBuffer target, Blocking blocking) throws BlockException;

  /** Writes at least 1 byte, wherever it leaves the position. */
  abstract int writeSome(long position, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException;

  /** Whether {@link #writeSome} takes care of durability itself. */
  abstract boolean writesDurably();

  abstract boolean punch(long position, long length) throws BlockException;

  abstract boolean zero(long position, long length) throws BlockException;

  abstract void force(boolean metadata) throws BlockException;

  abstract void resize(long sizeBytes) throws BlockException;

  /** To be called when a durable write failed and may have lost what earlier ones wrote. */
  final void loseTrust() {
    syncFailed = true;
  }

  private void checkWritable() throws BlockException {
    if (access == Access.READ_ONLY) {
      throw new BlockException(Reason.READ_ONLY, path + ": opened for reading only");
    }
    checkSynced();
  }

  private void checkSynced() throws BlockException {
    if (syncFailed) {
      throw new BlockException(
          Reason.IO_ERROR, path + ": takes no more changes, because syncing it failed before");
    }
  }

  private static boolean isLinux() {
    String arch = System.getProperty("os.arch", "");
    SymbolLookup library = Linker.nativeLinker().defaultLookup();
    return System.getProperty("os.name", "").equals("Linux")
        && (arch.equals("amd64") || arch.equals("aarch64"))
        // The youngest of the functions: older C libraries lack them.
        && Stream.of("preadv2", "pwritev2", "statx")
            .allMatch(name -> library.find(name).isPresent());
  }
}
