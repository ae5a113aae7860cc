package io.filterd.keys;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import io.filterd.crypto.SecretBytes;
import java.io.File;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * A pipe between secret memory and another program: what {@link Process} offers for that would
 * leave the secret in buffers on the heap. Its ends have names for {@link ProcessBuilder.Redirect}.
 * Linux only. For one thread.
 */
final class SecretPipe implements AutoCloseable {
  private static final int O_NONBLOCK = 0x800;
  private static final int O_CLOEXEC = 0x80000;
  private static final MethodHandle PIPE2 =
      handle("pipe2", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT));
  private static final MethodHandle READ =
      handle("read", FunctionDescriptor.of(JAVA_LONG, JAVA_INT, ADDRESS, JAVA_LONG));
  private static final MethodHandle WRITE =
      handle("write", FunctionDescriptor.of(JAVA_LONG, JAVA_INT, ADDRESS, JAVA_LONG));
  private static final MethodHandle CLOSE =
      handle("close", FunctionDescriptor.of(JAVA_INT, JAVA_INT));

  private final int reader;
  private int writer;

  /** Opens it; neither end waits in this process. */
  SecretPipe() throws IOException {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment ends = arena.allocate(JAVA_INT, 2);
      check("pipe2", call(PIPE2, ends, O_NONBLOCK | O_CLOEXEC));
      this.reader = ends.getAtIndex(JAVA_INT, 0);
      this.writer = ends.getAtIndex(JAVA_INT, 1);
    }
  }

  private static MethodHandle handle(String name, FunctionDescriptor descriptor) {
    Linker linker = Linker.nativeLinker();
    return linker.downcallHandle(linker.defaultLookup().findOrThrow(name), descriptor);
  }

  private static long call(MethodHandle handle, Object... arguments) {
    Object result;
    try {
      result = handle.invokeWithArguments(arguments);
    } catch (RuntimeException | Error failure) {
      throw failure;
    } catch (Throwable broken) {
      throw new IllegalStateException("a native call failed", broken);
    }
    return result instanceof Number number ? number.longValue() : -1;
  }

  private static void check(String what, long result) throws IOException {
    if (result < 0) {
      throw new IOException(what + ": failed (expected: success)");
    }
  }

  /** A name of the end that is read, in this process and while this is open. */
  File readerName() {
    return new File("/proc/self/fd/" + reader);
  }

  /** A name of the end that is written. */
  File writerName() {
    return new File("/proc/self/fd/" + writer);
  }

  /** Puts a secret into the pipe, at most 4096 bytes, and ends it: there will be no more. */
  void write(SecretBytes secret) throws IOException {
    long written = call(WRITE, writer, secret.segment(), (long) secret.lengthBytes());
    if (written != secret.lengthBytes()) {
      throw new IOException("pipe: not written (expected: room for a secret)");
    }
    closeWriter();
  }

  private void closeWriter() {
    if (writer >= 0) {
      long ignored = call(CLOSE, writer);
      writer = -1;
    }
  }

  /** Takes what is in the pipe, at most {@code target}'s length, and returns how much it was. */
  int take(SecretBytes target) {
    long taken = 0;
    while (taken < target.lengthBytes()) {
      MemorySegment rest = target.segment().asSlice(taken);
      long more = call(READ, reader, rest, rest.byteSize());
      if (more <= 0) {
        break;
      }
      taken += more;
    }
    return (int) taken;
  }

  @Override
  public void close() {
    closeWriter();
    long ignored = call(CLOSE, reader);
  }
}
