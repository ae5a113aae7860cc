package io.filterd.keys.pkcs11;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import io.filterd.keys.KeyException;
import io.filterd.keys.KeyException.Reason;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.EnumMap;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import org.jspecify.annotations.Nullable;

/**
 * A PKCS#11 module (2.40) on Linux with 64 bits: its shared library, initialised once for the
 * process and never finalised but to be initialised again. {@code CK_ULONG} is a long here.
 *
 * <p>Safe for many threads: whoever calls functions holds {@link #shared} for as long as it needs
 * its sessions, so that {@link #reinitialise} waits for it.
 */
final class Cryptoki {
  /** The functions that are called, with their place in {@code CK_FUNCTION_LIST}. */
  enum Function {
    INITIALIZE("C_Initialize", 0, "p"),
    FINALIZE("C_Finalize", 1, "p"),
    GET_SLOT_LIST("C_GetSlotList", 4, "bpp"),
    GET_TOKEN_INFO("C_GetTokenInfo", 6, "np"),
    OPEN_SESSION("C_OpenSession", 12, "nnppp"),
    CLOSE_SESSION("C_CloseSession", 13, "n"),
    LOGIN("C_Login", 18, "nnpn"),
    DESTROY_OBJECT("C_DestroyObject", 22, "nn"),
    GET_ATTRIBUTE_VALUE("C_GetAttributeValue", 24, "nnpn"),
    SET_ATTRIBUTE_VALUE("C_SetAttributeValue", 25, "nnpn"),
    FIND_OBJECTS_INIT("C_FindObjectsInit", 26, "npn"),
    FIND_OBJECTS("C_FindObjects", 27, "npnp"),
    FIND_OBJECTS_FINAL("C_FindObjectsFinal", 28, "n"),
    ENCRYPT_INIT("C_EncryptInit", 29, "npn"),
    ENCRYPT("C_Encrypt", 30, "npnpp"),
    DECRYPT_INIT("C_DecryptInit", 33, "npn"),
    DECRYPT("C_Decrypt", 34, "npnpp"),
    GENERATE_KEY("C_GenerateKey", 58, "nppnp");

    private final String text;
    private final int index;
    private final String arguments;

    /**
     * A function.
     *
     * @param arguments a letter for each: a number (n), a pointer (p) or a byte (b)
     */
    Function(String text, int index, String arguments) {
      this.text = text;
      this.index = index;
      this.arguments = arguments;
    }

    private FunctionDescriptor descriptor() {
      MemoryLayout[] layouts =
          arguments
              .chars()
              .mapToObj(
                  letter ->
                      switch (letter) {
                        case 'n' -> JAVA_LONG;
                        case 'p' -> ADDRESS;
                        default -> JAVA_BYTE;
                      })
              .toArray(MemoryLayout[]::new);
      return FunctionDescriptor.of(JAVA_LONG, layouts);
    }
  }

  /**
   * What {@code C_GetTokenInfo} says of a token.
   *
   * @param maxSessions the most sessions one program may have, 0 if there is no limit or none known
   */
  record TokenInfo(String label, String serial, long flags, long maxSessions) {
    static final long LOGIN_REQUIRED = 4;
    static final long INITIALIZED = 0x400;
    static final long FINAL_TRY = 0x20000;
    static final long PIN_LOCKED = 0x40000;

    boolean has(long flag) {
      return (flags & flag) != 0;
    }
  }

  private static final int MAX_SLOTS = 4096;
  private static final long FUNCTIONS_AT = 8; // After CK_VERSION, aligned.
  private static final long OS_LOCKING_OK = 2;
  private static final long INITIALIZE_ARGUMENTS_BYTES = 48;
  private static final long FLAGS_AT = 32;
  private static final long TOKEN_INFO_BYTES = 208;
  private static final int LABEL_BYTES = 32;
  private static final long SERIAL_AT = 80;
  private static final int SERIAL_BYTES = 16;
  private static final long TOKEN_FLAGS_AT = 96;
  private static final long MAX_SESSIONS_AT = 104;

  /** Modules are initialised once in a process, however many providers use them. */
  private static final Map<Path, Cryptoki> LOADED = new ConcurrentHashMap<>();

  /** PINs that a token has refused, by its serial number: not to be tried again. */
  final RefusedPins refusedPins = new RefusedPins();

  private final Map<Function, MethodHandle> functions = new EnumMap<>(Function.class);
  private final ReentrantReadWriteLock lock = new ReentrantReadWriteLock();
  private final AtomicLong generation = new AtomicLong();

  private Cryptoki(Path file) throws CryptokiException {
    SymbolLookup library = SymbolLookup.libraryLookup(file, Arena.global());
    Linker linker = Linker.nativeLinker();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment pointer = arena.allocate(ADDRESS);
      MethodHandle getFunctionList =
          linker.downcallHandle(
              library.findOrThrow("C_GetFunctionList"), FunctionDescriptor.of(JAVA_LONG, ADDRESS));
      long result = invoke(getFunctionList, pointer);
      if (result != 0) {
        throw new CryptokiException("C_GetFunctionList", result);
      }
      Function[] all = Function.values();
      long bytes = FUNCTIONS_AT + (all[all.length - 1].index + 1) * ADDRESS.byteSize();
      MemorySegment list = pointer.get(ADDRESS, 0).reinterpret(bytes);
      for (Function function : all) {
        MemorySegment address =
            list.get(ADDRESS, FUNCTIONS_AT + function.index * ADDRESS.byteSize());
        functions.put(function, linker.downcallHandle(address, function.descriptor()));
      }
    }
    initialise();
  }

  /**
   * The module in this file, initialised.
   *
   * @throws KeyException with {@code NOT_FOUND} if there is none, otherwise as it fails
   */
  static Cryptoki load(Path file) throws KeyException {
    synchronized (LOADED) {
      Cryptoki loaded = LOADED.get(file);
      if (loaded == null) {
        try {
          loaded = new Cryptoki(file);
        } catch (IllegalArgumentException | NoSuchElementException none) {
          throw new KeyException(
              Reason.NOT_FOUND,
              "PKCS#11 module " + file + ": not there, or no module: " + none.getMessage(),
              none);
        } catch (CryptokiException failure) {
          throw new KeyException(
              failure.value().kind().reason(),
              "PKCS#11 module " + file + ": " + failure.getMessage(),
              failure);
        }
        LOADED.put(file, loaded);
      }
      return loaded;
    }
  }

  private void initialise() throws CryptokiException {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment arguments =
          arena.allocate(INITIALIZE_ARGUMENTS_BYTES, JAVA_LONG.byteAlignment());
      arguments.set(JAVA_LONG, FLAGS_AT, OS_LOCKING_OK);
      long result = result(Function.INITIALIZE, arguments);
      if (result != 0 && ReturnValue.of(result) != ReturnValue.CRYPTOKI_ALREADY_INITIALIZED) {
        throw new CryptokiException(Function.INITIALIZE.text, result);
      }
    }
  }

  /** Held by whoever calls functions. */
  ReentrantReadWriteLock.ReadLock shared() {
    return lock.readLock();
  }

  /** Counts how often the module was initialised again: sessions are good for one only. */
  long generation() {
    return generation.get();
  }

  /**
   * Finalises and initialises the module, which ends all sessions of this process: many modules
   * look for tokens only then. Waits for those that use it, and must not be called by one.
   */
  void reinitialise() throws CryptokiException {
    lock.writeLock().lock();
    try {
      generation.incrementAndGet();
      long ignored = result(Function.FINALIZE, MemorySegment.NULL);
      initialise();
    } finally {
      lock.writeLock().unlock();
    }
  }

  /** The slots with a token in them. */
  long[] slots() throws CryptokiException {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment count = arena.allocateFrom(JAVA_LONG, MAX_SLOTS);
      MemorySegment slots = arena.allocate(JAVA_LONG, MAX_SLOTS);
      call(Function.GET_SLOT_LIST, (byte) 1, slots, count);
      long found = Math.min(count.get(JAVA_LONG, 0), MAX_SLOTS);
      return slots.asSlice(0, found * JAVA_LONG.byteSize()).toArray(JAVA_LONG);
    }
  }

  /** The token in a slot. */
  TokenInfo tokenInfo(long slot) throws CryptokiException {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment info = arena.allocate(TOKEN_INFO_BYTES, JAVA_LONG.byteAlignment());
      call(Function.GET_TOKEN_INFO, slot, info);
      long most = info.get(JAVA_LONG, MAX_SESSIONS_AT);
      return new TokenInfo(
          text(info, 0, LABEL_BYTES),
          text(info, SERIAL_AT, SERIAL_BYTES),
          info.get(JAVA_LONG, TOKEN_FLAGS_AT),
          Math.max(0, most));
    }
  }

  /** Blanks fill what a text leaves. */
  private static String text(MemorySegment info, long at, int lengthBytes) {
    byte[] bytes = info.asSlice(at, lengthBytes).toArray(JAVA_BYTE);
    return new String(bytes, StandardCharsets.UTF_8).replaceAll("[\\p{Cc}]", "?").strip();
  }

  /** Calls a function, which must return {@code CKR_OK}. */
  void call(Function function, @Nullable Object... arguments) throws CryptokiException {
    long result = result(function, arguments);
    if (result != 0) {
      throw new CryptokiException(function.text, result);
    }
  }

  private long result(Function function, @Nullable Object... arguments) {
    MethodHandle handle = functions.get(function);
    if (handle == null) {
      throw new IllegalStateException(function.text + ": not in the module");
    }
    return invoke(handle, arguments);
  }

  private static long invoke(MethodHandle handle, @Nullable Object... arguments) {
    Object result;
    try {
      result = handle.invokeWithArguments(arguments);
    } catch (RuntimeException | Error failure) {
      throw failure;
    } catch (Throwable broken) {
      throw new IllegalStateException("a native call failed", broken);
    }
    if (result instanceof Long code) {
      return code;
    }
    throw new IllegalStateException("a native call returned " + result);
  }
}
