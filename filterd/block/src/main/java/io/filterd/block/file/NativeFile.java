package io.filterd.block.file;

import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.Blocking;
import io.filterd.block.Durability;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

/** A file used by the C library's calls. */
final class NativeFile extends BlockFile {
  private static final long LOOKING_NANOS = TimeUnit.SECONDS.toNanos(1);

  private static final int S_IFREG = 0x8000;
  private static final int S_IFDIR = 0x4000;

  private static final int CLOSED = -1;

  // qemu claims a file by read locks on single bytes (block/file-posix.c): one for each thing it
  // does, and one for each thing that it wants nobody else to do. The numbers of the things:
  private static final long QEMU_DOES = 100;
  private static final long QEMU_FORBIDS = 200;
  private static final long CONSISTENT_READ = 0;
  private static final long WRITE = 1;
  private static final long RESIZE = 3;

  /** The bytes that a reader locks, shared. */
  static final List<Long> READER_CLAIMS =
      List.of(QEMU_DOES + CONSISTENT_READ, QEMU_FORBIDS + WRITE, QEMU_FORBIDS + RESIZE);

  private volatile int descriptor;

  // What the kernel or the file system said it can't do, so that it is not asked again.
  private volatile boolean readsWithoutBlocking = true;
  private volatile boolean writesWithoutBlocking = true;
  private volatile boolean writesDurably = true;
  private volatile boolean punchesHoles = true;
  private volatile boolean zeroesRanges = true;
  private volatile boolean findsHoles = true;

  private NativeFile(Path path, Access access, int descriptor) {
    super(path, access);
    this.descriptor = descriptor;
  }

  static NativeFile openFile(Path path, Access access) throws IOException {
    int mode = access == Access.READ_ONLY ? LinuxCalls.O_RDONLY : LinuxCalls.O_RDWR;
    return open(path, access, mode, S_IFREG, "a regular file");
  }

  static NativeFile createFile(Path path) throws IOException {
    int mode = LinuxCalls.O_RDWR | LinuxCalls.O_CREAT | LinuxCalls.O_EXCL;
    return open(path, Access.READ_WRITE, mode, S_IFREG, "a regular file");
  }

  /** Opens a folder, only to sync it. */
  static NativeFile openFolder(Path path) throws IOException {
    return open(path, Access.READ_ONLY, LinuxCalls.O_RDONLY, S_IFDIR, "a folder");
  }

  static long storedBytesOf(Path path) throws IOException {
    long blocks = LinuxCalls.storedBlocks(path);
    if (blocks < 0) {
      throw openFailure(path, (int) -blocks);
    }
    return blocks * LinuxCalls.STATX_BLOCK_BYTES;
  }

  private static NativeFile open(
      Path path, Access access, int flags, int expectedType, String expected) throws IOException {
    // Not blocking: opening a pipe would wait for its other end. For files it changes nothing.
    int all = flags | LinuxCalls.O_CLOEXEC | LinuxCalls.O_NOFOLLOW | LinuxCalls.O_NONBLOCK;
    int descriptor;
    do {
      descriptor = LinuxCalls.open(path, all, 0600);
    } while (descriptor == -LinuxCalls.EINTR);
    if (descriptor < 0) {
      throw openFailure(path, -descriptor);
    }
    int type = LinuxCalls.fileType(descriptor);
    if (type != expectedType) {
      LinuxCalls.close(descriptor);
      throw new FileSystemException(
          path.toString(),
          null,
          type < 0 ? LinuxCalls.text(-type) : "is something else (expected: " + expected + ")");
    }
    return new NativeFile(path, access, descriptor);
  }

  private static IOException openFailure(Path path, int error) {
    return switch (error) {
      case LinuxCalls.ENOENT -> new NoSuchFileException(path.toString());
      case LinuxCalls.EEXIST -> new FileAlreadyExistsException(path.toString());
      case LinuxCalls.EACCES -> new AccessDeniedException(path.toString());
      case LinuxCalls.ELOOP ->
          new FileSystemException(
              path.toString(), null, "is a symbolic link (expected: a regular file)");
      default -> new FileSystemException(path.toString(), null, LinuxCalls.text(error));
    };
  }

  @Override
  public void lock() throws IOException {
    if (access() == Access.READ_WRITE) {
      // A write lock on every byte keeps out everybody: qemu's bytes are among them. Those who only
      // look at a file, to show what it is, have it for a moment: that long it is waited for.
      long start = System.nanoTime();
      while (taken(LinuxCalls.F_WRLCK, 0, 0)) {
        if (System.nanoTime() - start > LOOKING_NANOS) {
          throw inUse(path());
        }
        LockSupport.parkNanos(LOOKING_NANOS / 50);
      }
      return;
    }
    // As qemu does for a reader: first say what we do and forbid, then look what others say. Two
    // that come at once see each other, so at worst both give up.
    for (long at : READER_CLAIMS) {
      claim(LinuxCalls.F_RDLCK, at, 1);
    }
    test(QEMU_FORBIDS + CONSISTENT_READ);
    test(QEMU_DOES + WRITE);
    test(QEMU_DOES + RESIZE);
  }

  private void claim(short type, long start, long length) throws IOException {
    if (taken(type, start, length)) {
      throw inUse(path());
    }
  }

  /** Takes a lock, if nobody has one that does not go with it. */
  private boolean taken(short type, long start, long length) throws IOException {
    int result = LinuxCalls.lock(descriptor(), type, start, length);
    if (result == -LinuxCalls.EAGAIN || result == -LinuxCalls.EACCES) {
      return true;
    }
    if (result < 0) {
      throw new FileSystemException(
          path().toString(), null, "can't be locked: " + LinuxCalls.text(-result));
    }
    return false;
  }

  private void test(long start) throws IOException {
    if (LinuxCalls.testLock(descriptor(), LinuxCalls.F_WRLCK, start, 1) != 0) {
      throw inUse(path());
    }
  }

  static IOException inUse(Path path) {
    return new FileSystemException(
        path.toString(), null, "is in use by another program or disk (expected: not in use)");
  }

  @Override
  public boolean isNamed() throws IOException {
    long result = LinuxCalls.isNamed(descriptor(), path());
    if (result < 0) {
      throw openFailure(path(), (int) -result);
    }
    return result == 1;
  }

  @Override
  public long sizeBytes() throws BlockException {
    return checked("size", LinuxCalls.seek(descriptor(), 0, LinuxCalls.SEEK_END));
  }

  @Override
  int readSome(long position, ByteBuffer target, Blocking blocking) throws BlockException {
    if (blocking == Blocking.FORBIDDEN && !readsWithoutBlocking) {
      return BLOCKED;
    }
    while (true) {
      long result =
          blocking == Blocking.FORBIDDEN
              ? LinuxCalls.read(descriptor(), target, position, LinuxCalls.RWF_NOWAIT)
              : LinuxCalls.read(descriptor(), target, position);
      if (result >= 0) {
        return (int) result;
      }
      if (blocking == Blocking.FORBIDDEN) {
        if (result == -LinuxCalls.EAGAIN) {
          return BLOCKED;
        }
        if (cannot(result)) {
          readsWithoutBlocking = false;
          return BLOCKED;
        }
      }
      if (result != -LinuxCalls.EINTR) {
        throw failure("read", position, result);
      }
    }
  }

  @Override
  int writeSome(long position, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    if (blocking == Blocking.FORBIDDEN) {
      return writeWithoutBlocking(position, source);
    }
    while (durability == Durability.DURABLE && writesDurably) {
      long result = LinuxCalls.write(descriptor(), source, position, LinuxCalls.RWF_DSYNC);
      if (result > 0) {
        return (int) result;
      }
      if (cannot(result)) {
        writesDurably = false;
      } else if (result == -LinuxCalls.ENOSPC || result == -LinuxCalls.EDQUOT) {
        // There was no space for this write, if it fails in the same way without syncing. Else
        // there was none for what was written before.
        writeBuffered(position, source);
        loseTrust();
        throw failure("write", position, result);
      } else if (result != -LinuxCalls.EINTR) {
        loseTrust();
        throw failure("write", position, result);
      }
    }
    return writeBuffered(position, source);
  }

  private int writeWithoutBlocking(long position, ByteBuffer source) throws BlockException {
    while (writesWithoutBlocking) {
      long result = LinuxCalls.write(descriptor(), source, position, LinuxCalls.RWF_NOWAIT);
      if (result > 0) {
        return (int) result;
      }
      if (cannot(result)) {
        writesWithoutBlocking = false;
      } else if (result == -LinuxCalls.EAGAIN) {
        return BLOCKED;
      } else if (result != -LinuxCalls.EINTR) {
        throw failure("write", position, result);
      }
    }
    return BLOCKED;
  }

  private int writeBuffered(long position, ByteBuffer source) throws BlockException {
    while (true) {
      long result = LinuxCalls.write(descriptor(), source, position);
      if (result > 0) {
        return (int) result;
      }
      if (result != -LinuxCalls.EINTR) {
        throw failure("write", position, result);
      }
    }
  }

  @Override
  boolean writesDurably() {
    return writesDurably;
  }

  @Override
  boolean punch(long position, long length) throws BlockException {
    int mode = LinuxCalls.FALLOC_FL_PUNCH_HOLE | LinuxCalls.FALLOC_FL_KEEP_SIZE;
    boolean done = punchesHoles && allocate("punch a hole", mode, position, length);
    punchesHoles = done;
    return done;
  }

  @Override
  boolean zero(long position, long length) throws BlockException {
    int mode = LinuxCalls.FALLOC_FL_ZERO_RANGE | LinuxCalls.FALLOC_FL_KEEP_SIZE;
    boolean done = zeroesRanges && allocate("zero", mode, position, length);
    zeroesRanges = done;
    return done;
  }

  private boolean allocate(String what, int mode, long position, long length)
      throws BlockException {
    while (true) {
      int result = LinuxCalls.allocate(descriptor(), mode, position, length);
      if (result == 0) {
        return true;
      }
      if (cannot(result)) {
        return false;
      }
      if (result != -LinuxCalls.EINTR) {
        throw failure(what, position, result);
      }
    }
  }

  @Override
  void force(boolean metadata) throws BlockException {
    int result;
    do {
      result = metadata ? LinuxCalls.sync(descriptor()) : LinuxCalls.dataSync(descriptor());
    } while (result == -LinuxCalls.EINTR);
    checked("sync", result);
  }

  @Override
  void resize(long sizeBytes) throws BlockException {
    int result;
    do {
      result = LinuxCalls.truncate(descriptor(), sizeBytes);
    } while (result == -LinuxCalls.EINTR);
    checked("truncate", result);
  }

  @Override
  public long nextData(long position, long end) throws BlockException {
    return find(LinuxCalls.SEEK_DATA, position, end, position);
  }

  @Override
  public long nextHole(long position, long end) throws BlockException {
    return find(LinuxCalls.SEEK_HOLE, position, end, end);
  }

  private long find(int whence, long position, long end, long otherwise) throws BlockException {
    if (!findsHoles) {
      return otherwise;
    }
    long result = LinuxCalls.seek(descriptor(), position, whence);
    if (result == -LinuxCalls.ENXIO) {
      // Nothing but a hole up to the end of the file, and beyond it.
      return whence == LinuxCalls.SEEK_DATA ? end : position;
    }
    if (result == -LinuxCalls.EINVAL) {
      findsHoles = false;
      return otherwise;
    }
    return Math.min(checked("find holes", result), end);
  }

  @Override
  public void close() throws BlockException {
    int open = descriptor();
    descriptor = CLOSED;
    // Whatever it returns, the descriptor is gone: another try could close someone else's.
    long result = LinuxCalls.close(open);
    if (result != -LinuxCalls.EINTR) {
      checked("close", result);
    }
  }

  private int descriptor() {
    int open = descriptor;
    if (open == CLOSED) {
      throw new IllegalStateException(path() + ": closed");
    }
    return open;
  }

  /** Whether an error says that a flag, a mode or a call is not known here. */
  private static boolean cannot(long result) {
    return result == -LinuxCalls.EOPNOTSUPP || result == -LinuxCalls.ENOSYS;
  }

  private long checked(String what, long result) throws BlockException {
    if (result < 0) {
      throw new BlockException(reason(-result), message(what, result));
    }
    return result;
  }

  private BlockException failure(String what, long position, long result) {
    return new BlockException(reason(-result), message(what + " at " + position, result));
  }

  private String message(String what, long result) {
    String text = result == 0 ? "nothing was done" : LinuxCalls.text(-result);
    return path() + ": can't " + what + ": " + text;
  }

  private static Reason reason(long error) {
    if (error == LinuxCalls.ENOSPC || error == LinuxCalls.EDQUOT || error == LinuxCalls.EFBIG) {
      return Reason.NO_SPACE;
    }
    if (error == LinuxCalls.EROFS || error == LinuxCalls.EBADF) {
      return Reason.READ_ONLY;
    }
    return Reason.IO_ERROR;
  }
}
