package io.filterd.keys.pkcs11;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import io.filterd.crypto.SecretBytes;
import io.filterd.keys.KeyDescription;
import io.filterd.keys.KeyException;
import io.filterd.keys.KeyException.Reason;
import io.filterd.keys.KeyLabel;
import io.filterd.keys.KeyReference;
import io.filterd.keys.KeyState;
import io.filterd.keys.ProviderStatus;
import io.filterd.keys.ProviderStatus.State;
import io.filterd.keys.WrappingProvider;
import io.filterd.keys.pkcs11.Cryptoki.Function;
import io.filterd.keys.pkcs11.Token.Access;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.security.SecureRandom;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.regex.Pattern;

/**
 * Keys in a PKCS#11 token, which never leave it: AES-256, sensitive and not extractable. A wrapped
 * data key is {@code nonce (12 bytes) || ciphertext || tag (16)} of the token's AES-GCM.
 *
 * <p>A key's id is its {@code CKA_ID} in hexadecimal digits, random when this makes it; its check
 * value is the first 8 bytes of what AES deciphers the block {@code filterd-kcv-v1}, filled with
 * zeros, to. That works with keys that were revoked too: they have no {@code CKA_ENCRYPT} any more.
 *
 * <p>The token is asked only when it is needed, and may go and come back. Safe for many threads.
 */
final class Pkcs11Provider implements WrappingProvider {
  /** The type's name in the configuration. */
  static final String TYPE = "pkcs11";

  /** How data keys are wrapped. */
  static final String ALGORITHM = "PKCS11-AES-256-GCM";

  private static final int NONCE_BYTES = 12;
  private static final int TAG_BYTES = 16;
  private static final int KEY_BYTES = 32;
  private static final int ID_BYTES = 16;
  private static final int CHECK_VALUE_BYTES = 8;
  private static final int BLOCK_BYTES = 16;
  private static final String CHECK_VALUE_LABEL = "filterd-kcv-v1";
  private static final Pattern ID = Pattern.compile("(?:[0-9a-f]{2}){1,255}");

  /** The most keys of one id that are looked at: a token need not keep ids unique. */
  private static final int MAX_SAME_ID = 16;

  private static final long AES_KEY_GEN = 0x1080;
  private static final long AES_ECB = 0x1081;
  private static final long AES_GCM = 0x1087;
  private static final int MECHANISM_BYTES = 24;
  private static final int GCM_PARAMETERS_BYTES = 48;

  private static final SecureRandom RANDOM = new SecureRandom();

  private final String name;
  private final String place;
  private final Cryptoki module;
  private final Token token;

  /**
   * Owns the token.
   *
   * @param place where the keys are, for people
   */
  Pkcs11Provider(String name, String place, Cryptoki module, Token token) {
    this.name = name;
    this.place = place;
    this.module = module;
    this.token = token;
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public String algorithm() {
    return ALGORITHM;
  }

  @Override
  public KeyReference create(KeyLabel label) throws KeyException {
    byte[] id = new byte[ID_BYTES];
    RANDOM.nextBytes(id);
    String text = "filterd " + label.scope().name().toLowerCase(Locale.ROOT) + " " + label.name();
    return token.use(
        Access.WRITES,
        session -> {
          try (Arena arena = Arena.ofConfined()) {
            Attributes template =
                aesKey(arena, id)
                    .with(Attributes.VALUE_LEN, KEY_BYTES)
                    .with(Attributes.LABEL, text.getBytes(StandardCharsets.UTF_8))
                    .withTrue(Attributes.PRIVATE)
                    .withTrue(Attributes.SENSITIVE)
                    .withFalse(Attributes.EXTRACTABLE)
                    .withTrue(Attributes.ENCRYPT)
                    .withTrue(Attributes.DECRYPT)
                    .withFalse(Attributes.WRAP)
                    .withFalse(Attributes.UNWRAP)
                    .withFalse(Attributes.DERIVE);
            MemorySegment handle = arena.allocate(JAVA_LONG);
            module.call(
                Function.GENERATE_KEY,
                session,
                mechanism(arena, AES_KEY_GEN, MemorySegment.NULL),
                template.segment(),
                (long) template.count(),
                handle);
            String checkValue = checkValue(arena, session, handle.get(JAVA_LONG, 0));
            return new KeyReference(name, HexFormat.of().formatHex(id), checkValue);
          }
        });
  }

  private static Attributes aesKey(Arena arena, byte[] id) {
    return new Attributes(arena)
        .with(Attributes.CLASS, Attributes.SECRET_KEY)
        .with(Attributes.KEY_TYPE, Attributes.AES)
        .withTrue(Attributes.TOKEN)
        .with(Attributes.ID, id);
  }

  private static MemorySegment mechanism(Arena arena, long type, MemorySegment parameters) {
    MemorySegment mechanism = arena.allocate(MECHANISM_BYTES, JAVA_LONG.byteAlignment());
    mechanism.set(JAVA_LONG, 0, type);
    mechanism.set(JAVA_LONG, 8, parameters.address());
    mechanism.set(JAVA_LONG, 16, parameters.byteSize());
    return mechanism;
  }

  /** {@code CK_GCM_PARAMS} of 2.40 with its errata: with the nonce's length in bits. */
  private static MemorySegment gcm(Arena arena, MemorySegment nonce, byte[] associatedData) {
    MemorySegment data = arena.allocateFrom(JAVA_BYTE, associatedData);
    MemorySegment parameters = arena.allocate(GCM_PARAMETERS_BYTES, JAVA_LONG.byteAlignment());
    parameters.set(JAVA_LONG, 0, nonce.address());
    parameters.set(JAVA_LONG, 8, nonce.byteSize());
    parameters.set(JAVA_LONG, 16, nonce.byteSize() * Byte.SIZE);
    parameters.set(JAVA_LONG, 24, data.address());
    parameters.set(JAVA_LONG, 32, data.byteSize());
    parameters.set(JAVA_LONG, 40, (long) TAG_BYTES * Byte.SIZE);
    return mechanism(arena, AES_GCM, parameters);
  }

  private String checkValue(Arena arena, long session, long key) throws CryptokiException {
    MemorySegment block = arena.allocate(BLOCK_BYTES);
    block.copyFrom(MemorySegment.ofArray(CHECK_VALUE_LABEL.getBytes(StandardCharsets.US_ASCII)));
    MemorySegment result = arena.allocate(BLOCK_BYTES);
    module.call(Function.DECRYPT_INIT, session, mechanism(arena, AES_ECB, MemorySegment.NULL), key);
    module.call(
        Function.DECRYPT,
        session,
        block,
        (long) BLOCK_BYTES,
        result,
        arena.allocateFrom(JAVA_LONG, BLOCK_BYTES));
    return HexFormat.of().formatHex(result.asSlice(0, CHECK_VALUE_BYTES).toArray(JAVA_BYTE));
  }

  /** The handle of a key in this session's token, its check value checked. */
  private long find(Arena arena, long session, KeyReference reference)
      throws CryptokiException, KeyException {
    if (!reference.provider().equals(name) || !ID.matcher(reference.keyId()).matches()) {
      throw notFound(reference);
    }
    byte[] id = HexFormat.of().parseHex(reference.keyId());
    Attributes template = aesKey(arena, id);
    MemorySegment handles = arena.allocate(JAVA_LONG, MAX_SAME_ID);
    MemorySegment count = arena.allocate(JAVA_LONG);
    module.call(Function.FIND_OBJECTS_INIT, session, template.segment(), (long) template.count());
    module.call(Function.FIND_OBJECTS, session, handles, (long) MAX_SAME_ID, count);
    module.call(Function.FIND_OBJECTS_FINAL, session);
    long found = Math.min(count.get(JAVA_LONG, 0), MAX_SAME_ID);
    if (found == 0) {
      token.checkPresent();
      throw notFound(reference);
    }
    String actual = "none";
    for (long i = 0; i < found; i++) {
      long handle = handles.getAtIndex(JAVA_LONG, i);
      try {
        actual = checkValue(arena, session, handle);
      } catch (CryptokiException failure) {
        // A key of somebody else may not be for deciphering.
        if (failure.value().kind() == ReturnValue.Kind.LOST) {
          throw failure;
        }
      }
      if (actual.equals(reference.checkValue())) {
        return handle;
      }
    }
    throw new KeyException(
        Reason.WRONG_KEY,
        "key provider %s, key %s: its check value is %s (expected: %s): this is another key of the same id"
            .formatted(name, reference.keyId(), actual, reference.checkValue()));
  }

  private KeyException notFound(KeyReference reference) {
    return new KeyException(
        Reason.NOT_FOUND,
        "key provider %s: there is no key %s in %s".formatted(name, reference.keyId(), place));
  }

  @Override
  public byte[] wrap(KeyReference kek, SecretBytes dek, byte[] associatedData) throws KeyException {
    int wrappedBytes = NONCE_BYTES + dek.lengthBytes() + TAG_BYTES;
    if (wrappedBytes > MAX_WRAPPED_BYTES) {
      throw new IllegalArgumentException(
          "dek: %d bytes (expected: at most %d)"
              .formatted(dek.lengthBytes(), MAX_WRAPPED_BYTES - NONCE_BYTES - TAG_BYTES));
    }
    byte[] nonce = new byte[NONCE_BYTES];
    RANDOM.nextBytes(nonce);
    return token.use(
        Access.READS,
        session -> {
          try (Arena arena = Arena.ofConfined()) {
            long key = find(arena, session, kek);
            MemorySegment wrapped = arena.allocate(wrappedBytes);
            wrapped.copyFrom(MemorySegment.ofArray(nonce));
            long room = (long) wrappedBytes - NONCE_BYTES;
            MemorySegment written = arena.allocateFrom(JAVA_LONG, room);
            initEncryption(
                arena, session, key, kek, wrapped.asSlice(0, NONCE_BYTES), associatedData);
            module.call(
                Function.ENCRYPT,
                session,
                dek.segment(),
                (long) dek.lengthBytes(),
                wrapped.asSlice(NONCE_BYTES),
                written);
            checkLength("C_Encrypt", written.get(JAVA_LONG, 0), room);
            return wrapped.toArray(JAVA_BYTE);
          }
        });
  }

  private void initEncryption(
      Arena arena,
      long session,
      long key,
      KeyReference kek,
      MemorySegment nonce,
      byte[] associatedData)
      throws CryptokiException, KeyException {
    try {
      module.call(Function.ENCRYPT_INIT, session, gcm(arena, nonce, associatedData), key);
    } catch (CryptokiException failure) {
      if (failure.value() == ReturnValue.KEY_FUNCTION_NOT_PERMITTED) {
        throw new KeyException(
            Reason.NOT_ACTIVE,
            "key provider %s, key %s: revoked (expected: active)".formatted(name, kek.keyId()),
            failure);
      }
      throw failure;
    }
  }

  private void checkLength(String function, long actual, long expected) throws KeyException {
    if (actual != expected) {
      throw new KeyException(
          Reason.PROTOCOL,
          "key provider %s: %s: %d bytes (expected: %d)"
              .formatted(name, function, actual, expected));
    }
  }

  @Override
  public SecretBytes unwrap(KeyReference kek, byte[] wrapped, byte[] associatedData)
      throws KeyException {
    int dekBytes = wrapped.length - NONCE_BYTES - TAG_BYTES;
    if (dekBytes < 1 || wrapped.length > MAX_WRAPPED_BYTES) {
      throw new KeyException(
          Reason.PROTOCOL,
          "wrapped data key: %d bytes (expected: %d..%d)"
              .formatted(wrapped.length, NONCE_BYTES + TAG_BYTES + 1, MAX_WRAPPED_BYTES));
    }
    return token.use(
        Access.READS,
        session -> {
          try (Arena arena = Arena.ofConfined();
              // Some modules want room for the tag too.
              SecretBytes plain = SecretBytes.allocate(dekBytes + TAG_BYTES)) {
            long key = find(arena, session, kek);
            MemorySegment all = arena.allocateFrom(JAVA_BYTE, wrapped);
            MemorySegment nonce = all.asSlice(0, NONCE_BYTES);
            MemorySegment written = arena.allocateFrom(JAVA_LONG, plain.lengthBytes());
            module.call(Function.DECRYPT_INIT, session, gcm(arena, nonce, associatedData), key);
            try {
              module.call(
                  Function.DECRYPT,
                  session,
                  all.asSlice(NONCE_BYTES),
                  all.byteSize() - NONCE_BYTES,
                  plain.segment(),
                  written);
            } catch (CryptokiException failure) {
              throw decryption(kek, failure);
            }
            checkLength("C_Decrypt", written.get(JAVA_LONG, 0), dekBytes);
            return SecretBytes.copyOf(plain.segment().asSlice(0, dekBytes));
          }
        });
  }

  /**
   * What failed when a data key was to be deciphered: SoftHSM for one calls a tag that is wrong a
   * general error, which is also what it says when its token has gone.
   */
  private KeyException decryption(KeyReference kek, CryptokiException failure)
      throws CryptokiException {
    switch (failure.value()) {
      case ENCRYPTED_DATA_INVALID, ENCRYPTED_DATA_LEN_RANGE, AEAD_DECRYPT_FAILED -> {}
      case GENERAL_ERROR, FUNCTION_FAILED -> token.checkPresent();
      default -> throw failure;
    }
    return new KeyException(
        Reason.WRONG_KEY,
        "key provider %s, key %s: the wrapped data key does not authenticate: it was changed, or belongs to another disk, link, cipher or key"
            .formatted(name, kek.keyId()),
        failure);
  }

  @Override
  public KeyDescription describe(KeyReference reference) throws KeyException {
    return token.use(
        Access.READS,
        session -> {
          try (Arena arena = Arena.ofConfined()) {
            Attributes may = new Attributes(arena).withFalse(Attributes.ENCRYPT);
            MemorySegment array = may.segment();
            long key = find(arena, session, reference);
            module.call(Function.GET_ATTRIBUTE_VALUE, session, key, array, 1L);
            KeyState state = may.isTrue(0) ? KeyState.ACTIVE : KeyState.DEACTIVATED;
            return new KeyDescription(reference, state, Optional.empty(), Optional.empty());
          }
        });
  }

  /** {@inheritDoc} It is for deciphering only then. */
  @Override
  public void revoke(KeyReference reference) throws KeyException {
    change(
        reference,
        (session, key, arena) ->
            module.call(
                Function.SET_ATTRIBUTE_VALUE,
                session,
                key,
                new Attributes(arena).withFalse(Attributes.ENCRYPT).segment(),
                1L));
  }

  @Override
  public void destroy(KeyReference reference) throws KeyException {
    change(reference, (session, key, arena) -> module.call(Function.DESTROY_OBJECT, session, key));
  }

  /** What is done to a key. */
  private interface Change {
    void to(long session, long key, Arena arena) throws CryptokiException;
  }

  private void change(KeyReference reference, Change change) throws KeyException {
    KeyReference changed =
        token.use(
            Access.WRITES,
            session -> {
              try (Arena arena = Arena.ofConfined()) {
                change.to(session, find(arena, session, reference), arena);
                return reference;
              }
            });
    if (!changed.equals(reference)) {
      throw new IllegalStateException("another key was changed");
    }
  }

  @Override
  public ProviderStatus status() {
    if (token.isClosed()) {
      return status(State.CLOSED, "It is closed.");
    }
    String serial = token.connectedTo();
    return serial.isEmpty()
        ? status(State.LOCKED, "Not logged in: that is done when a key is needed.")
        : status(State.READY, "Logged in to the token with serial number " + serial + ".");
  }

  /** {@inheritDoc} Logs in, if that was not done. */
  @Override
  public ProviderStatus probe() {
    try {
      String serial =
          token.use(
              Access.READS,
              session -> {
                token.checkPresent();
                return token.connectedTo();
              });
      return status(State.READY, "Logged in to the token with serial number " + serial + ".");
    } catch (KeyException failure) {
      State state = failure.reason() == Reason.DENIED ? State.LOCKED : State.UNAVAILABLE;
      return status(state, String.valueOf(failure.getMessage()));
    }
  }

  private ProviderStatus status(State state, String sentence) {
    return new ProviderStatus(name, TYPE, state, List.of("Keys in " + place + ".", sentence));
  }

  @Override
  public void close() {
    token.close();
  }

  @Override
  public String toString() {
    return "Pkcs11Provider[" + name + ", " + place + "]";
  }
}
