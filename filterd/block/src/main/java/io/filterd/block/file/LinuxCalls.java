package io.filterd.block.file;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import io.filterd.block.Pool;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.charset.Charset;
import java.nio.file.Path;

/**
 * The calls to the C library that {@link NativeFile} is made of: Linux on x86-64 and aarch64, whose
 * numbers they use. Each returns what the call returns, or the negative errno. None allocates on
 * the heap once it is warm, except {@link #open}. Safe for many threads.
 */
final class LinuxCalls {
  // asm-generic/errno-base.h, errno.h
  static final int ENOENT = 2;
  static final int EINTR = 4;
  static final int ENXIO = 6;
  static final int EBADF = 9;
  static final int EAGAIN = 11;
  static final int EACCES = 13;
  static final int EEXIST = 17;
  static final int EINVAL = 22;
  static final int EFBIG = 27;
  static final int ENOSPC = 28;
  static final int EROFS = 30;
  static final int ENOSYS = 38;
  static final int ELOOP = 40;
  static final int EOPNOTSUPP = 95;
  static final int EDQUOT = 122;

  // asm-generic/fcntl.h; O_NOFOLLOW is one of the few that differ between architectures
  static final int O_RDONLY = 0;
  static final int O_RDWR = 2;
  static final int O_CREAT = 0x40;
  static final int O_EXCL = 0x80;
  static final int O_NONBLOCK = 0x800;
  static final int O_CLOEXEC = 0x80000;
  static final int O_NOFOLLOW =
      System.getProperty("os.arch", "").equals("aarch64") ? 0x8000 : 0x20000;

  // linux/fs.h
  static final int RWF_DSYNC = 2;
  static final int RWF_NOWAIT = 8;
  static final int SEEK_END = 2;
  static final int SEEK_DATA = 3;
  static final int SEEK_HOLE = 4;

  // linux/falloc.h
  static final int FALLOC_FL_KEEP_SIZE = 1;
  static final int FALLOC_FL_PUNCH_HOLE = 2;
  static final int FALLOC_FL_ZERO_RANGE = 0x10;

  // asm-generic/fcntl.h
  static final int F_OFD_GETLK = 36;
  static final int F_OFD_SETLK = 37;
  static final short F_RDLCK = 0;
  static final short F_WRLCK = 1;
  static final short F_UNLCK = 2;

  private static final int AT_FDCWD = -100;
  private static final int AT_SYMLINK_NOFOLLOW = 0x100;
  private static final int AT_EMPTY_PATH = 0x1000;
  private static final int STATX_BASIC_STATS = 0x7ff;
  private static final int STATX_BYTES = 256;
  private static final int STATX_MODE_AT = 28;
  private static final int STATX_INODE_AT = 32;
  private static final int STATX_BLOCKS_AT = 48;
  private static final int STATX_DEVICE_AT = 136;

  /** The unit of what a file takes, whatever the blocks of its file system are. */
  static final int STATX_BLOCK_BYTES = 512;

  private static final int S_IFMT = 0xf000;

  /** Longer than any of the C library's texts. */
  private static final int MAX_TEXT_BYTES = 256;

  private static final Linker LINKER = Linker.nativeLinker();

  private static final MethodHandle OPEN =
      variadicHandle("open", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT, JAVA_INT));
  private static final MethodHandle CLOSE =
      handle("close", FunctionDescriptor.of(JAVA_INT, JAVA_INT));
  private static final MethodHandle PREAD =
      handle("pread", FunctionDescriptor.of(JAVA_LONG, JAVA_INT, ADDRESS, JAVA_LONG, JAVA_LONG));
  private static final MethodHandle PWRITE =
      handle("pwrite", FunctionDescriptor.of(JAVA_LONG, JAVA_INT, ADDRESS, JAVA_LONG, JAVA_LONG));
  private static final MethodHandle PREADV2 =
      handle(
          "preadv2",
          FunctionDescriptor.of(JAVA_LONG, JAVA_INT, ADDRESS, JAVA_INT, JAVA_LONG, JAVA_INT));
  private static final MethodHandle PWRITEV2 =
      handle(
          "pwritev2",
          FunctionDescriptor.of(JAVA_LONG, JAVA_INT, ADDRESS, JAVA_INT, JAVA_LONG, JAVA_INT));
  private static final MethodHandle FDATASYNC =
      handle("fdatasync", FunctionDescriptor.of(JAVA_INT, JAVA_INT));
  private static final MethodHandle FSYNC =
      handle("fsync", FunctionDescriptor.of(JAVA_INT, JAVA_INT));
  private static final MethodHandle FTRUNCATE =
      handle("ftruncate", FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_LONG));
  private static final MethodHandle FALLOCATE =
      handle(
          "fallocate", FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_LONG));
  private static final MethodHandle LSEEK =
      handle("lseek", FunctionDescriptor.of(JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_INT));
  private static final MethodHandle FCNTL =
      variadicHandle("fcntl", FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_INT, ADDRESS));
  private static final MethodHandle STATX =
      handle(
          "statx", FunctionDescriptor.of(JAVA_INT, JAVA_INT, ADDRESS, JAVA_INT, JAVA_INT, ADDRESS));
  private static final MethodHandle STRERROR =
      LINKER.downcallHandle(
          LINKER.defaultLookup().findOrThrow("strerror"), FunctionDescriptor.of(ADDRESS, JAVA_INT));

  private static final Pool<Scratch> SCRATCH = new Pool<>(Scratch::new);

  private LinuxCalls() {}

  /** What a call needs in native memory beside its buffer. */
  private static final class Scratch {
    // Freed when the pool has let go of it.
    private final MemorySegment memory = Arena.ofAuto().allocate(64, 8);
    // The captured state of a call is one int on Linux: errno.
    private final MemorySegment state = memory.asSlice(0, Linker.Option.captureStateLayout());
    private final MemorySegment vector = memory.asSlice(16, 16);
    private final MemorySegment lock = memory.asSlice(32, 32);

    long result(long returned) {
      return returned == -1 ? -state.get(JAVA_INT, 0) : returned;
    }

    /** struct iovec: base, length. Whoever uses it keeps {@code bytes} reachable. */
    MemorySegment vector(MemorySegment bytes) {
      vector.set(JAVA_LONG, 0, bytes.address());
      vector.set(JAVA_LONG, 8, bytes.byteSize());
      return vector;
    }

    /** struct flock: type, whence, start, length, pid. The last must be 0 (fcntl(2)). */
    MemorySegment lock(short type, long start, long length) {
      lock.fill((byte) 0);
      lock.set(JAVA_SHORT, 0, type);
      lock.set(JAVA_LONG, 8, start);
      lock.set(JAVA_LONG, 16, length);
      return lock;
    }
  }

  /** open(2): a descriptor. */
  static int open(Path path, int flags, int mode) {
    Scratch scratch = SCRATCH.take();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment name = arena.allocateFrom(path.toString(), nativeCharset());
      return (int) scratch.result((int) OPEN.invokeExact(scratch.state, name, flags, mode));
    } catch (Throwable broken) {
      throw unexpected(broken);
    } finally {
      SCRATCH.giveBack(scratch);
    }
  }

  /** close(2). */
  static int close(int descriptor) {
    Scratch scratch = SCRATCH.take();
    try {
      return (int) scratch.result((int) CLOSE.invokeExact(scratch.state, descriptor));
    } catch (Throwable broken) {
      throw unexpected(broken);
    } finally {
      SCRATCH.giveBack(scratch);
    }
  }

  /** pread(2) into {@code target}, from its position to its limit, neither of which moves. */
  static long read(int descriptor, ByteBuffer target, long position) {
    Scratch scratch = SCRATCH.take();
    try {
      MemorySegment bytes = MemorySegment.ofBuffer(target);
      return scratch.result(
          (long) PREAD.invokeExact(scratch.state, descriptor, bytes, bytes.byteSize(), position));
    } catch (Throwable broken) {
      throw unexpected(broken);
    } finally {
      SCRATCH.giveBack(scratch);
    }
  }

  /** pwrite(2) of {@code source}, from its position to its limit, neither of which moves. */
  static long write(int descriptor, ByteBuffer source, long position) {
    Scratch scratch = SCRATCH.take();
    try {
      MemorySegment bytes = MemorySegment.ofBuffer(source);
      return scratch.result(
          (long) PWRITE.invokeExact(scratch.state, descriptor, bytes, bytes.byteSize(), position));
    } catch (Throwable broken) {
      throw unexpected(broken);
    } finally {
      SCRATCH.giveBack(scratch);
    }
  }

  /** As {@link #read(int, ByteBuffer, long)}, by preadv2(2) with flags. */
  static long read(int descriptor, ByteBuffer target, long position, int flags) {
    Scratch scratch = SCRATCH.take();
    try {
      MemorySegment vector = scratch.vector(MemorySegment.ofBuffer(target));
      return scratch.result(
          (long) PREADV2.invokeExact(scratch.state, descriptor, vector, 1, position, flags));
    } catch (Throwable broken) {
      throw unexpected(broken);
    } finally {
      Reference.reachabilityFence(target);
      SCRATCH.giveBack(scratch);
    }
  }

  /** As {@link #write(int, ByteBuffer, long)}, by pwritev2(2) with flags. */
  static long write(int descriptor, ByteBuffer source, long position, int flags) {
    Scratch scratch = SCRATCH.take();
    try {
      MemorySegment vector = scratch.vector(MemorySegment.ofBuffer(source));
      return scratch.result(
          (long) PWRITEV2.invokeExact(scratch.state, descriptor, vector, 1, position, flags));
    } catch (Throwable broken) {
      throw unexpected(broken);
    } finally {
      Reference.reachabilityFence(source);
      SCRATCH.giveBack(scratch);
    }
  }

  /** fdatasync(2). */
  static int dataSync(int descriptor) {
    Scratch scratch = SCRATCH.take();
    try {
      return (int) scratch.result((int) FDATASYNC.invokeExact(scratch.state, descriptor));
    } catch (Throwable broken) {
      throw unexpected(broken);
    } finally {
      SCRATCH.giveBack(scratch);
    }
  }

  /** fsync(2). */
  static int sync(int descriptor) {
    Scratch scratch = SCRATCH.take();
    try {
      return (int) scratch.result((int) FSYNC.invokeExact(scratch.state, descriptor));
    } catch (Throwable broken) {
      throw unexpected(broken);
    } finally {
      SCRATCH.giveBack(scratch);
    }
  }

  /** ftruncate(2). */
  static int truncate(int descriptor, long sizeBytes) {
    Scratch scratch = SCRATCH.take();
    try {
      return (int)
          scratch.result((int) FTRUNCATE.invokeExact(scratch.state, descriptor, sizeBytes));
    } catch (Throwable broken) {
      throw unexpected(broken);
    } finally {
      SCRATCH.giveBack(scratch);
    }
  }

  /** fallocate(2). */
  static int allocate(int descriptor, int mode, long position, long length) {
    Scratch scratch = SCRATCH.take();
    try {
      return (int)
          scratch.result(
              (int) FALLOCATE.invokeExact(scratch.state, descriptor, mode, position, length));
    } catch (Throwable broken) {
      throw unexpected(broken);
    } finally {
      SCRATCH.giveBack(scratch);
    }
  }

  /** lseek(2). Moves the descriptor's own position, which nothing here uses. */
  static long seek(int descriptor, long position, int whence) {
    Scratch scratch = SCRATCH.take();
    try {
      return scratch.result((long) LSEEK.invokeExact(scratch.state, descriptor, position, whence));
    } catch (Throwable broken) {
      throw unexpected(broken);
    } finally {
      SCRATCH.giveBack(scratch);
    }
  }

  /** fcntl(2), F_OFD_SETLK: takes or releases a lock that belongs to the open file; 0 if it did. */
  static int lock(int descriptor, short type, long start, long length) {
    Scratch scratch = SCRATCH.take();
    try {
      MemorySegment lock = scratch.lock(type, start, length);
      return (int)
          scratch.result((int) FCNTL.invokeExact(scratch.state, descriptor, F_OFD_SETLK, lock));
    } catch (Throwable broken) {
      throw unexpected(broken);
    } finally {
      SCRATCH.giveBack(scratch);
    }
  }

  /** fcntl(2), F_OFD_GETLK: 1 if another open file's lock is in the way of this one, 0 if none. */
  static int testLock(int descriptor, short type, long start, long length) {
    Scratch scratch = SCRATCH.take();
    try {
      MemorySegment lock = scratch.lock(type, start, length);
      int result =
          (int)
              scratch.result((int) FCNTL.invokeExact(scratch.state, descriptor, F_OFD_GETLK, lock));
      return result < 0 ? result : lock.get(JAVA_SHORT, 0) == F_UNLCK ? 0 : 1;
    } catch (Throwable broken) {
      throw unexpected(broken);
    } finally {
      SCRATCH.giveBack(scratch);
    }
  }

  /** statx(2): the file type, one of the {@code S_IF} numbers. */
  static int fileType(int descriptor) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment answer = arena.allocate(STATX_BYTES, 8);
      long result = status(descriptor, arena.allocateFrom(""), AT_EMPTY_PATH, answer);
      return (int) (result < 0 ? result : answer.get(JAVA_SHORT, STATX_MODE_AT) & S_IFMT);
    }
  }

  /** statx(2): 1 if a name stands for the file that is open, 0 if for another or none. */
  static long isNamed(int descriptor, Path path) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment open = arena.allocate(STATX_BYTES, 8);
      MemorySegment named = arena.allocate(STATX_BYTES, 8);
      long result = status(descriptor, arena.allocateFrom(""), AT_EMPTY_PATH, open);
      if (result == 0) {
        MemorySegment name = arena.allocateFrom(path.toString(), nativeCharset());
        result = status(AT_FDCWD, name, AT_SYMLINK_NOFOLLOW, named);
      }
      if (result < 0) {
        return result == -ENOENT ? 0 : result;
      }
      return same(open, named, STATX_INODE_AT) && same(open, named, STATX_DEVICE_AT) ? 1 : 0;
    }
  }

  /** The device is two ints side by side: major, minor. */
  private static boolean same(MemorySegment first, MemorySegment second, int at) {
    return first.get(JAVA_LONG, at) == second.get(JAVA_LONG, at);
  }

  /** statx(2): the blocks of 512 bytes that a file takes. */
  static long storedBlocks(Path path) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment answer = arena.allocate(STATX_BYTES, 8);
      MemorySegment name = arena.allocateFrom(path.toString(), nativeCharset());
      long result = status(AT_FDCWD, name, 0, answer);
      return result < 0 ? result : answer.get(JAVA_LONG, STATX_BLOCKS_AT);
    }
  }

  private static long status(int folder, MemorySegment name, int flags, MemorySegment answer) {
    Scratch scratch = SCRATCH.take();
    try {
      return scratch.result(
          (int) STATX.invokeExact(scratch.state, folder, name, flags, STATX_BASIC_STATS, answer));
    } catch (Throwable broken) {
      throw unexpected(broken);
    } finally {
      SCRATCH.giveBack(scratch);
    }
  }

  /** The C library's words for an error: {@code No space left on device}. */
  static String text(long error) {
    try {
      MemorySegment text = (MemorySegment) STRERROR.invokeExact((int) error);
      return text.reinterpret(MAX_TEXT_BYTES).getString(0, nativeCharset());
    } catch (Throwable broken) {
      throw unexpected(broken);
    }
  }

  /** What the JDK's own files use for names. */
  private static Charset nativeCharset() {
    return Charset.forName(System.getProperty("sun.jnu.encoding", "UTF-8"));
  }

  private static MethodHandle handle(String name, FunctionDescriptor descriptor) {
    return LINKER.downcallHandle(
        LINKER.defaultLookup().findOrThrow(name),
        descriptor,
        Linker.Option.captureCallState("errno"));
  }

  /** For the functions whose third argument is the first of a variable number. */
  private static MethodHandle variadicHandle(String name, FunctionDescriptor descriptor) {
    return LINKER.downcallHandle(
        LINKER.defaultLookup().findOrThrow(name),
        descriptor,
        Linker.Option.captureCallState("errno"),
        Linker.Option.firstVariadicArg(2));
  }

  /** The functions behind the handles throw nothing: only a bug gets here, and passes. */
  private static AssertionError unexpected(Throwable broken) {
    if (broken instanceof RuntimeException failure) {
      throw failure;
    }
    if (broken instanceof Error failure) {
      throw failure;
    }
    return new AssertionError("downcall failed", broken);
  }
}
