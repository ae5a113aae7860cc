package io.filterd.crypto;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.NoSuchElementException;
import java.util.Optional;

/**
 * The system's libgcrypt, called by the foreign-function API. Its XTS uses the vector AES
 * instructions of current processors. Loaded once and kept. Safe for many threads; a handle is for
 * one at a time.
 */
final class LibGcrypt {
  private static final String LIBRARY = "libgcrypt.so.20";

  // gcrypt.h
  private static final int GCRYCTL_DISABLE_SECMEM = 37;
  private static final int GCRYCTL_INITIALIZATION_FINISHED = 38;
  private static final int GCRYCTL_INITIALIZATION_FINISHED_P = 39;
  private static final int GCRY_CIPHER_AES256 = 9;
  private static final int GCRY_CIPHER_MODE_XTS = 13;

  // The handles take the function's address as their first argument: see LibCrypto.
  private static final MethodHandle CHECK_VERSION = handle(FunctionDescriptor.of(ADDRESS, ADDRESS));
  private static final MethodHandle CONTROL =
      handle(
          FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_INT), Linker.Option.firstVariadicArg(1));
  private static final MethodHandle OPEN =
      handle(FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT, JAVA_INT, JAVA_INT));
  private static final MethodHandle SET_KEY =
      handle(FunctionDescriptor.of(JAVA_INT, JAVA_LONG, ADDRESS, JAVA_LONG));
  private static final MethodHandle CLOSE = handle(FunctionDescriptor.ofVoid(JAVA_LONG));

  // A unit takes less than a microsecond, so these calls need not let the collector run.
  private static final MethodHandle SET_IV =
      handle(
          FunctionDescriptor.of(JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_LONG),
          Linker.Option.critical(false));
  private static final MethodHandle CRYPT =
      handle(
          FunctionDescriptor.of(JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG),
          Linker.Option.critical(false));

  private final String version;
  private final MemorySegment open;
  private final MemorySegment setKey;
  private final MemorySegment setIv;
  private final MemorySegment encrypt;
  private final MemorySegment decrypt;
  private final MemorySegment close;

  // A handle and a key that protect nothing. Guarded by decoyKey.
  private final long decoy;
  private final MemorySegment decoyKey = Arena.global().allocate(XtsEngine.DEK_BYTES);

  private LibGcrypt(SymbolLookup library) {
    this.open = library.findOrThrow("gcry_cipher_open");
    this.setKey = library.findOrThrow("gcry_cipher_setkey");
    this.setIv = library.findOrThrow("gcry_cipher_setiv");
    this.encrypt = library.findOrThrow("gcry_cipher_encrypt");
    this.decrypt = library.findOrThrow("gcry_cipher_decrypt");
    this.close = library.findOrThrow("gcry_cipher_close");
    this.version =
        initialize(library.findOrThrow("gcry_check_version"), library.findOrThrow("gcry_control"));
    this.decoy = openXts();
    // The library refuses two equal halves.
    decoyKey.set(ValueLayout.JAVA_BYTE, 0, (byte) 1);
  }

  private static final class Installed {
    private static final Optional<LibGcrypt> LIBRARY = find();
  }

  /**
   * The library that the system has.
   *
   * @throws IllegalStateException if it has none
   */
  static LibGcrypt system() {
    return Installed.LIBRARY.orElseThrow(
        () ->
            new IllegalStateException(
                "libgcrypt: not found (expected: "
                    + LIBRARY
                    + "; Debian has it in the package libgcrypt20)"));
  }

  private static Optional<LibGcrypt> find() {
    try {
      return Optional.of(new LibGcrypt(SymbolLookup.libraryLookup(LIBRARY, Arena.global())));
    } catch (IllegalArgumentException | NoSuchElementException notThere) {
      return Optional.empty();
    }
  }

  /** The library wants to be asked for its version before anything else. */
  private static String initialize(MemorySegment checkVersion, MemorySegment control) {
    try {
      MemorySegment text =
          (MemorySegment) CHECK_VERSION.invokeExact(checkVersion, MemorySegment.NULL);
      if ((int) CONTROL.invokeExact(control, GCRYCTL_INITIALIZATION_FINISHED_P, 0) == 0) {
        // Its own locked memory is not used: it is of a fixed size, too small for many disks.
        check((int) CONTROL.invokeExact(control, GCRYCTL_DISABLE_SECMEM, 0), "gcry_control");
        check(
            (int) CONTROL.invokeExact(control, GCRYCTL_INITIALIZATION_FINISHED, 0), "gcry_control");
      }
      return text.reinterpret(64).getString(0);
    } catch (Throwable broken) {
      throw Libc.unexpected(broken);
    }
  }

  /** What the library calls itself, for example {@code 1.10.1}. */
  String version() {
    return version;
  }

  /** An AES-256-XTS key schedule for both directions. */
  XtsContext xts(SecretBytes dek) {
    Context context = new Context(openXts());
    try {
      setKey(context.handle, dek.segment());
      return context;
    } catch (IllegalStateException failure) {
      context.close();
      throw failure;
    } finally {
      overwriteRegisters();
    }
  }

  private long openXts() {
    int error;
    long handle;
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment out = arena.allocate(JAVA_LONG);
      error = (int) OPEN.invokeExact(open, out, GCRY_CIPHER_AES256, GCRY_CIPHER_MODE_XTS, 0);
      handle = out.get(JAVA_LONG, 0);
    } catch (Throwable broken) {
      throw Libc.unexpected(broken);
    }
    check(error, "gcry_cipher_open");
    return handle;
  }

  private void setKey(long handle, MemorySegment key) {
    int error;
    try {
      error = (int) SET_KEY.invokeExact(setKey, handle, key, key.byteSize());
    } catch (Throwable broken) {
      throw Libc.unexpected(broken);
    }
    check(error, "gcry_cipher_setkey");
  }

  /**
   * Sets a key that protects nothing. Setting a key copies its schedules, and the C library's copy
   * leaves the last of them in vector registers that no cipher clears; a stub of the virtual
   * machine may save those on the thread's stack, where they would stay. The same call with another
   * key puts that key's schedules in the same registers.
   */
  private void overwriteRegisters() {
    synchronized (decoyKey) {
      setKey(decoy, decoyKey);
    }
  }

  private final class Context extends NativeContext {
    private final long handle;

    private Context(long handle) {
      this.handle = handle;
    }

    @Override
    void encipherUnit(long tweak, long source, long target, int lengthBytes) {
      int error;
      try {
        error = (int) SET_IV.invokeExact(setIv, handle, tweak, 16L);
        if (error == 0) {
          error =
              (int)
                  CRYPT.invokeExact(
                      encrypt, handle, target, (long) lengthBytes, source, (long) lengthBytes);
        }
      } catch (Throwable broken) {
        throw Libc.unexpected(broken);
      }
      check(error, "gcry_cipher_encrypt");
    }

    @Override
    void decipherUnit(long tweak, long buffer, int lengthBytes) {
      int error;
      try {
        error = (int) SET_IV.invokeExact(setIv, handle, tweak, 16L);
        if (error == 0) {
          // No source: in place.
          error = (int) CRYPT.invokeExact(decrypt, handle, buffer, (long) lengthBytes, 0L, 0L);
        }
      } catch (Throwable broken) {
        throw Libc.unexpected(broken);
      }
      check(error, "gcry_cipher_decrypt");
    }

    /** Wipes and frees the handle. */
    @Override
    public void close() {
      try {
        CLOSE.invokeExact(close, handle);
      } catch (Throwable broken) {
        throw Libc.unexpected(broken);
      }
    }
  }

  private static void check(int error, String function) {
    if (error != 0) {
      throw new IllegalStateException(
          "libgcrypt: " + function + " failed with " + (error & 0xffff) + " (expected: 0)");
    }
  }

  private static MethodHandle handle(FunctionDescriptor descriptor, Linker.Option... options) {
    return Linker.nativeLinker().downcallHandle(descriptor, options);
  }
}
