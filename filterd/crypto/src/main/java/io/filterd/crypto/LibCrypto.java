package io.filterd.crypto;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Optional;

/**
 * A libcrypto with OpenSSL's EVP interface, called by the foreign-function API, so that keys go
 * from native memory to native memory. Loaded once and kept. Safe for many threads; a context is
 * for one at a time.
 */
final class LibCrypto {
  private static final List<String> SYSTEM_LIBRARIES =
      List.of("libcrypto.so.3", "libcrypto.so.1.1");

  // evp.h
  private static final int EVP_CTRL_AEAD_GET_TAG = 0x10;
  private static final int EVP_CTRL_AEAD_SET_TAG = 0x11;
  private static final int OPENSSL_VERSION_TEXT = 0;

  // The handles take the function's address as their first argument, so that they are constants to
  // the compiler and still serve several libraries.
  private static final MethodHandle GET = handle(FunctionDescriptor.of(ADDRESS));
  private static final MethodHandle FREE = handle(FunctionDescriptor.ofVoid(ADDRESS));
  private static final MethodHandle VERSION = handle(FunctionDescriptor.of(ADDRESS, JAVA_INT));
  private static final MethodHandle INIT =
      handle(
          FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, JAVA_INT));
  private static final MethodHandle UPDATE =
      handle(FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS, ADDRESS, ADDRESS, JAVA_INT));
  private static final MethodHandle FINAL =
      handle(FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS, ADDRESS));
  private static final MethodHandle CTRL =
      handle(FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT, JAVA_INT, ADDRESS));

  private final String version;
  private final MemorySegment aes256Xts;
  private final MemorySegment aes256Gcm;
  private final MemorySegment contextNew;
  private final MemorySegment contextFree;
  private final MemorySegment contextCtrl;
  private final MemorySegment cipherInit;
  private final MemorySegment cipherUpdate;
  private final MemorySegment cipherFinal;

  private LibCrypto(SymbolLookup library) {
    this.contextNew = library.findOrThrow("EVP_CIPHER_CTX_new");
    this.contextFree = library.findOrThrow("EVP_CIPHER_CTX_free");
    this.contextCtrl = library.findOrThrow("EVP_CIPHER_CTX_ctrl");
    this.cipherInit = library.findOrThrow("EVP_CipherInit_ex");
    this.cipherUpdate = library.findOrThrow("EVP_CipherUpdate");
    this.cipherFinal = library.findOrThrow("EVP_CipherFinal_ex");
    this.aes256Xts = get(library.findOrThrow("EVP_aes_256_xts"));
    this.aes256Gcm = get(library.findOrThrow("EVP_aes_256_gcm"));
    this.version = version(library.findOrThrow("OpenSSL_version"));
  }

  private static final class Installed {
    private static final Optional<LibCrypto> LIBRARY = find(SYSTEM_LIBRARIES);
  }

  /**
   * The library that the system has.
   *
   * @throws IllegalStateException if it has none
   */
  static LibCrypto system() {
    return Installed.LIBRARY.orElseThrow(
        () ->
            new IllegalStateException(
                "libcrypto: not found (expected: one of "
                    + SYSTEM_LIBRARIES
                    + "; Debian has it in the package libssl3)"));
  }

  private static Optional<LibCrypto> find(List<String> names) {
    for (String name : names) {
      try {
        return Optional.of(new LibCrypto(SymbolLookup.libraryLookup(name, Arena.global())));
      } catch (IllegalArgumentException | NoSuchElementException notThere) {
        // The next one may be.
      }
    }
    return Optional.empty();
  }

  /** What the library calls itself, for example {@code OpenSSL 3.0.19 27 Jan 2026}. */
  String version() {
    return version;
  }

  /** A new context. Whoever makes it frees it. */
  MemorySegment newContext() {
    MemorySegment context = get(contextNew);
    if (context.address() == 0) {
      throw new OutOfMemoryError("EVP_CIPHER_CTX_new");
    }
    return context;
  }

  /** Wipes and frees a context. */
  void freeContext(MemorySegment context) {
    try {
      FREE.invokeExact(contextFree, context);
    } catch (Throwable broken) {
      throw Libc.unexpected(broken);
    }
  }

  /** Readies a context for one AES-256-GCM message. */
  void initGcm(MemorySegment context, MemorySegment key, MemorySegment nonce, boolean encrypts) {
    init(context, aes256Gcm, key, nonce, encrypts ? 1 : 0);
  }

  private void init(
      MemorySegment context,
      MemorySegment cipher,
      MemorySegment key,
      MemorySegment nonce,
      int direction) {
    int done;
    try {
      done =
          (int)
              INIT.invokeExact(
                  cipherInit, context, cipher, MemorySegment.NULL, key, nonce, direction);
    } catch (Throwable broken) {
      throw Libc.unexpected(broken);
    }
    check(done, "EVP_CipherInit_ex");
  }

  /**
   * Feeds bytes to the cipher; associated data if {@code target} is {@link MemorySegment#NULL}.
   *
   * @param written room for an int that is not looked at
   */
  void update(
      MemorySegment context, MemorySegment target, MemorySegment written, MemorySegment source) {
    int done;
    try {
      done =
          (int)
              UPDATE.invokeExact(
                  cipherUpdate,
                  context,
                  target,
                  written,
                  source,
                  Math.toIntExact(source.byteSize()));
    } catch (Throwable broken) {
      throw Libc.unexpected(broken);
    }
    check(done, "EVP_CipherUpdate");
  }

  /**
   * Ends a message of an AEAD cipher, which has nothing left to write.
   *
   * @return whether the tag fits; always true when encrypting
   */
  boolean finish(MemorySegment context, MemorySegment target, MemorySegment written) {
    try {
      return (int) FINAL.invokeExact(cipherFinal, context, target, written) == 1;
    } catch (Throwable broken) {
      throw Libc.unexpected(broken);
    }
  }

  /** Reads the tag of the message that was encrypted. */
  void getTag(MemorySegment context, MemorySegment tag) {
    ctrl(context, EVP_CTRL_AEAD_GET_TAG, tag);
  }

  /** Says which tag the message that is being decrypted must have. */
  void setTag(MemorySegment context, MemorySegment tag) {
    ctrl(context, EVP_CTRL_AEAD_SET_TAG, tag);
  }

  private void ctrl(MemorySegment context, int command, MemorySegment memory) {
    int done;
    try {
      done =
          (int)
              CTRL.invokeExact(
                  contextCtrl, context, command, Math.toIntExact(memory.byteSize()), memory);
    } catch (Throwable broken) {
      throw Libc.unexpected(broken);
    }
    check(done, "EVP_CIPHER_CTX_ctrl");
  }

  /** An AES-256-XTS key schedule for both directions. */
  XtsContext xts(SecretBytes dek) {
    MemorySegment encipher = newContext();
    MemorySegment decipher = newContext();
    XtsContext context = new Xts(encipher, decipher);
    try {
      init(encipher, aes256Xts, dek.segment(), MemorySegment.NULL, 1);
      init(decipher, aes256Xts, dek.segment(), MemorySegment.NULL, 0);
      return context;
    } catch (IllegalStateException failure) {
      context.close();
      throw failure;
    }
  }

  /** One context for each direction: they differ in the schedule of the data half of the key. */
  private final class Xts extends NativeContext {
    // For the data path. A unit takes about a microsecond, so these calls need not let the
    // collector
    // run, which makes them as cheap as a call from C. Contexts and buffers are plain addresses.
    private static final MethodHandle REINIT =
        handle(
            FunctionDescriptor.of(
                JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_INT),
            Linker.Option.critical(false));
    private static final MethodHandle CRYPT =
        handle(
            FunctionDescriptor.of(JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_INT),
            Linker.Option.critical(false));

    private final MemorySegment encipher;
    private final MemorySegment decipher;

    private Xts(MemorySegment encipher, MemorySegment decipher) {
      this.encipher = encipher;
      this.decipher = decipher;
    }

    @Override
    void encipherUnit(long tweak, long source, long target, int lengthBytes) {
      crypt(encipher.address(), tweak, source, target, lengthBytes);
    }

    @Override
    void decipherUnit(long tweak, long buffer, int lengthBytes) {
      crypt(decipher.address(), tweak, buffer, buffer, lengthBytes);
    }

    private void crypt(long context, long tweak, long source, long target, int lengthBytes) {
      int done;
      try {
        // Neither cipher nor key nor direction: all but the tweak stays as it is.
        done = (int) REINIT.invokeExact(cipherInit, context, 0L, 0L, 0L, tweak, -1);
        if (done == 1) {
          done =
              (int)
                  CRYPT.invokeExact(
                      cipherUpdate, context, target, spareAddress(), source, lengthBytes);
        }
      } catch (Throwable broken) {
        throw Libc.unexpected(broken);
      }
      check(done, "EVP_CipherUpdate");
    }

    @Override
    public void close() {
      freeContext(encipher);
      freeContext(decipher);
    }
  }

  private static void check(int done, String function) {
    if (done != 1) {
      throw new IllegalStateException("libcrypto: " + function + " failed (expected: 1)");
    }
  }

  private static MemorySegment get(MemorySegment function) {
    try {
      return (MemorySegment) GET.invokeExact(function);
    } catch (Throwable broken) {
      throw Libc.unexpected(broken);
    }
  }

  private static String version(MemorySegment function) {
    try {
      MemorySegment text = (MemorySegment) VERSION.invokeExact(function, OPENSSL_VERSION_TEXT);
      return text.reinterpret(256).getString(0);
    } catch (Throwable broken) {
      throw Libc.unexpected(broken);
    }
  }

  private static MethodHandle handle(FunctionDescriptor descriptor, Linker.Option... options) {
    return Linker.nativeLinker().downcallHandle(descriptor, options);
  }
}
