package io.filterd.crypto;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * The few calls to the C library that memory for secrets needs. Linux only. Each returns what the
 * call returns, or the negative errno.
 */
final class Libc {
  static final int EINTR = 4;
  static final int MADV_DONTFORK = 10;
  static final int MADV_DONTDUMP = 16;

  /** The same number on every architecture: it is younger than their tables' unification. */
  private static final long SYS_MEMFD_SECRET = 447;

  private static final int O_CLOEXEC = 0x80000;
  private static final int PROT_READ_WRITE = 1 | 2;
  private static final int MAP_SHARED = 1;
  private static final int MAP_PRIVATE_ANONYMOUS = 2 | 0x20;

  private static final Linker LINKER = Linker.nativeLinker();
  private static final MemoryLayout CAPTURE = Linker.Option.captureStateLayout();

  private static final MethodHandle SYSCALL =
      LINKER.downcallHandle(
          LINKER.defaultLookup().findOrThrow("syscall"),
          FunctionDescriptor.of(JAVA_LONG, JAVA_LONG, JAVA_INT),
          Linker.Option.captureCallState("errno"),
          Linker.Option.firstVariadicArg(1));
  private static final MethodHandle FTRUNCATE =
      handle("ftruncate", FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_LONG));
  private static final MethodHandle CLOSE =
      handle("close", FunctionDescriptor.of(JAVA_INT, JAVA_INT));
  private static final MethodHandle MMAP =
      handle(
          "mmap",
          FunctionDescriptor.of(
              JAVA_LONG, ADDRESS, JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_LONG));
  private static final MethodHandle MUNMAP =
      handle("munmap", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_LONG));
  private static final MethodHandle MLOCK =
      handle("mlock", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_LONG));
  private static final MethodHandle MADVISE =
      handle("madvise", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_LONG, JAVA_INT));
  private static final MethodHandle GETRANDOM =
      handle("getrandom", FunctionDescriptor.of(JAVA_LONG, ADDRESS, JAVA_LONG, JAVA_INT));

  private Libc() {}

  /** memfd_secret(2): a file descriptor of secret memory. */
  static int memfdSecret() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment state = arena.allocate(CAPTURE);
      return (int) result(state, (long) SYSCALL.invokeExact(state, SYS_MEMFD_SECRET, O_CLOEXEC));
    } catch (Throwable broken) {
      throw unexpected(broken);
    }
  }

  /** ftruncate(2). */
  static int ftruncate(int descriptor, long length) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment state = arena.allocate(CAPTURE);
      return (int) result(state, (int) FTRUNCATE.invokeExact(state, descriptor, length));
    } catch (Throwable broken) {
      throw unexpected(broken);
    }
  }

  /** close(2). */
  static int close(int descriptor) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment state = arena.allocate(CAPTURE);
      return (int) result(state, (int) CLOSE.invokeExact(state, descriptor));
    } catch (Throwable broken) {
      throw unexpected(broken);
    }
  }

  /** mmap(2) of a descriptor, shared, or of private anonymous memory if it is -1: the address. */
  static long mmap(int descriptor, long length) {
    int flags = descriptor < 0 ? MAP_PRIVATE_ANONYMOUS : MAP_SHARED;
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment state = arena.allocate(CAPTURE);
      return result(
          state,
          (long)
              MMAP.invokeExact(
                  state, MemorySegment.NULL, length, PROT_READ_WRITE, flags, descriptor, 0L));
    } catch (Throwable broken) {
      throw unexpected(broken);
    }
  }

  /** munmap(2). */
  static int munmap(MemorySegment memory) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment state = arena.allocate(CAPTURE);
      return (int) result(state, (int) MUNMAP.invokeExact(state, memory, memory.byteSize()));
    } catch (Throwable broken) {
      throw unexpected(broken);
    }
  }

  /** mlock(2). */
  static int mlock(MemorySegment memory) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment state = arena.allocate(CAPTURE);
      return (int) result(state, (int) MLOCK.invokeExact(state, memory, memory.byteSize()));
    } catch (Throwable broken) {
      throw unexpected(broken);
    }
  }

  /** madvise(2). */
  static int madvise(MemorySegment memory, int advice) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment state = arena.allocate(CAPTURE);
      return (int)
          result(state, (int) MADVISE.invokeExact(state, memory, memory.byteSize(), advice));
    } catch (Throwable broken) {
      throw unexpected(broken);
    }
  }

  /** Fills {@code target} with random bytes from the kernel. */
  static void random(MemorySegment target) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment state = arena.allocate(CAPTURE);
      long at = 0;
      while (at < target.byteSize()) {
        MemorySegment rest = target.asSlice(at);
        long got = result(state, (long) GETRANDOM.invokeExact(state, rest, rest.byteSize(), 0));
        if (got < 0 && got != -EINTR) {
          throw new SecretMemoryException("getrandom: errno " + -got + " (expected: success)");
        }
        at += Math.max(got, 0);
      }
    } catch (RuntimeException failure) {
      throw failure;
    } catch (Throwable broken) {
      throw unexpected(broken);
    }
  }

  private static MethodHandle handle(String name, FunctionDescriptor descriptor) {
    return LINKER.downcallHandle(
        LINKER.defaultLookup().findOrThrow(name),
        descriptor,
        Linker.Option.captureCallState("errno"));
  }

  private static long result(MemorySegment state, long returned) {
    // The layout of the captured state on Linux is one int, errno.
    return returned == -1 ? -state.get(JAVA_INT, 0) : returned;
  }

  /** A downcall handle throws nothing of its own: only a bug gets here. */
  static AssertionError unexpected(Throwable broken) {
    return new AssertionError("downcall failed", broken);
  }
}
