package io.filterd.keys;

import io.filterd.crypto.KeyWrap;
import io.filterd.crypto.SecretBytes;
import io.filterd.crypto.WrapException;
import io.filterd.keys.KeyException.Reason;
import java.nio.charset.StandardCharsets;
import java.security.SecureRandom;
import java.time.DateTimeException;
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.UUID;
import java.util.regex.Pattern;
import org.bouncycastle.crypto.generators.Argon2BytesGenerator;
import org.bouncycastle.crypto.params.Argon2Parameters;

/**
 * The native provider's key-derivation key, sealed by a passphrase: what is in a state file and in
 * a backup. The format is described in filterd/keys/docs/native-provider.md.
 *
 * <p>Every line before the sealed key is authenticated with it. Immutable.
 *
 * @param kind what file this is, so that one can't be passed off as the other
 * @param id names the key-derivation key: the same in a state file and its backups
 * @param created when the key-derivation key was made, to the second
 * @param backedUp whether a backup was made of it
 * @param cost of trying one passphrase
 * @param salt of the passphrase, 32 hexadecimal digits
 * @param sealed nonce, ciphertext and tag, 120 hexadecimal digits
 */
record SealedKey(
    Kind kind,
    UUID id,
    Instant created,
    Backed backedUp,
    Argon2Cost cost,
    String salt,
    String sealed) {
  /** The most bytes that a file of this format has. */
  static final int MAX_FILE_BYTES = 4096;

  static final int KEY_BYTES = 32;

  private static final String FORMAT = "filterd-native-provider";
  private static final String VERSION = "1";
  private static final String KDF = "argon2id";
  private static final String CIPHER = "AES-256-GCM";
  private static final int SALT_BYTES = 16;
  private static final SecureRandom RANDOM = new SecureRandom();
  private static final Pattern HEX = Pattern.compile("(?:[0-9a-f]{2})*");
  private static final Pattern NUMBER = Pattern.compile("[1-9][0-9]{0,8}");

  /** What a sealed key's file is for. */
  enum Kind {
    STATE("state"),
    BACKUP("backup");

    private final String text;

    Kind(String text) {
      this.text = text;
    }
  }

  /** Whether there is a backup. */
  enum Backed {
    YES("true"),
    NO("false");

    private final String text;

    Backed(String text) {
      this.text = text;
    }
  }

  /**
   * What Argon2id (RFC 9106) costs.
   *
   * @param memoryKib memory, in KiB
   * @param iterations passes over the memory
   * @param parallelism lanes
   */
  record Argon2Cost(int memoryKib, int iterations, int parallelism) {
    /**
     * The first of the settings, all as strong as each other, that OWASP's password storage cheat
     * sheet gives for Argon2id. The daemon does it on its heap while it starts.
     */
    static final Argon2Cost DEFAULT = new Argon2Cost(19456, 2, 1);

    /** The memory is on the heap, which is of 96 MiB in a daemon. */
    private static final int MAX_MEMORY_KIB = 48 << 10;

    /** Half a minute or so: a file from outside must not keep this host busy for longer. */
    private static final int MAX_ITERATIONS = 64;

    private static final int MAX_PARALLELISM = 16;

    private String problem() {
      if (memoryKib > MAX_MEMORY_KIB || memoryKib < 8 * parallelism) {
        return "memoryKib: %d (expected: %d..%d)"
            .formatted(memoryKib, 8 * parallelism, MAX_MEMORY_KIB);
      }
      if (iterations > MAX_ITERATIONS) {
        return "iterations: %d (expected: 1..%d)".formatted(iterations, MAX_ITERATIONS);
      }
      if (parallelism > MAX_PARALLELISM) {
        return "parallelism: %d (expected: 1..%d)".formatted(parallelism, MAX_PARALLELISM);
      }
      return "";
    }
  }

  /** Seals {@code key} under {@code passphrase}, with a fresh salt and nonce. */
  static SealedKey seal(
      Kind kind,
      UUID id,
      Instant created,
      Backed backedUp,
      Argon2Cost cost,
      SecretBytes key,
      SecretBytes passphrase) {
    byte[] salt = new byte[SALT_BYTES];
    RANDOM.nextBytes(salt);
    SealedKey header =
        new SealedKey(kind, id, created, backedUp, cost, HexFormat.of().formatHex(salt), "");
    try (SecretBytes wrappingKey = header.wrappingKey(passphrase)) {
      byte[] sealed = KeyWrap.wrap(wrappingKey, key, header.associatedData());
      return header.withSealed(HexFormat.of().formatHex(sealed));
    }
  }

  private SealedKey withSealed(String newSealed) {
    return new SealedKey(kind, id, created, backedUp, cost, salt, newSealed);
  }

  /**
   * The key-derivation key. The caller closes it.
   *
   * @throws WrapException if the passphrase is another, or a line was changed: the two can't be
   *     told apart
   */
  SecretBytes open(SecretBytes passphrase) throws WrapException {
    try (SecretBytes wrappingKey = wrappingKey(passphrase)) {
      return KeyWrap.unwrap(wrappingKey, HexFormat.of().parseHex(sealed), associatedData());
    }
  }

  private SecretBytes wrappingKey(SecretBytes passphrase) {
    byte[] password = new byte[passphrase.lengthBytes()];
    byte[] result = new byte[KeyWrap.KEK_BYTES];
    try {
      passphrase.copySecretTo(password, 0);
      Argon2BytesGenerator argon2 = new Argon2BytesGenerator();
      argon2.init(
          new Argon2Parameters.Builder(Argon2Parameters.ARGON2_id)
              .withVersion(Argon2Parameters.ARGON2_VERSION_13)
              .withMemoryAsKB(cost.memoryKib())
              .withIterations(cost.iterations())
              .withParallelism(cost.parallelism())
              .withSalt(HexFormat.of().parseHex(salt))
              .build());
      argon2.generateBytes(password, result);
      return SecretBytes.copyOf(result);
    } finally {
      Arrays.fill(password, (byte) 0);
      Arrays.fill(result, (byte) 0);
    }
  }

  private byte[] associatedData() {
    return header().getBytes(StandardCharsets.UTF_8);
  }

  private String header() {
    return ("format=" + FORMAT + "\n")
        + ("version=" + VERSION + "\n")
        + ("kind=" + kind.text + "\n")
        + ("id=" + id + "\n")
        + ("created=" + created + "\n")
        + ("backedUp=" + backedUp.text + "\n")
        + ("kdf=" + KDF + "\n")
        + ("memoryKib=" + cost.memoryKib() + "\n")
        + ("iterations=" + cost.iterations() + "\n")
        + ("parallelism=" + cost.parallelism() + "\n")
        + ("salt=" + salt + "\n")
        + ("cipher=" + CIPHER + "\n");
  }

  /** The file's text, which {@link #parse} reads. */
  String text() {
    return header() + "sealedKey=" + sealed + "\n";
  }

  /**
   * Reads a file's text.
   *
   * @param file its name, for messages
   * @throws KeyException with {@code PROTOCOL} if it is anything but what {@link #text} writes
   */
  static SealedKey parse(String file, Kind kind, String text) throws KeyException {
    Lines lines = new Lines(file, text);
    lines.expect("format", FORMAT);
    lines.expect("version", VERSION);
    lines.expect("kind", kind.text);
    UUID id = lines.uuid("id");
    Instant created = lines.instant("created");
    Backed backedUp = lines.flag("backedUp");
    lines.expect("kdf", KDF);
    Argon2Cost cost =
        new Argon2Cost(
            lines.number("memoryKib"), lines.number("iterations"), lines.number("parallelism"));
    if (!cost.problem().isEmpty()) {
      throw lines.bad(cost.problem());
    }
    String salt = lines.hex("salt", SALT_BYTES);
    lines.expect("cipher", CIPHER);
    String sealed = lines.hex("sealedKey", KEY_BYTES + KeyWrap.OVERHEAD_BYTES);
    lines.expectEnd();
    return new SealedKey(kind, id, created, backedUp, cost, salt, sealed);
  }

  /** Takes {@code key=value} lines one by one, in the only order there is. */
  private static final class Lines {
    private final String file;
    private final ArrayDeque<String> rest;
    private int lineNumber;

    Lines(String file, String text) {
      this.file = file;
      // The limit keeps the empty string after the last line end: expectEnd looks for it.
      this.rest = new ArrayDeque<>(List.of(text.split("\n", -1)));
    }

    KeyException bad(String problem) {
      return new KeyException(
          Reason.PROTOCOL, "%s: line %d: %s".formatted(file, lineNumber, problem));
    }

    String value(String key) throws KeyException {
      lineNumber++;
      String line = rest.isEmpty() ? "" : rest.remove();
      if (!line.startsWith(key + "=")) {
        throw bad(KeyReference.quoted(line) + " (expected: " + key + "=...)");
      }
      return line.substring(key.length() + 1);
    }

    private KeyException bad(String key, String value, String expected) {
      return bad(key + ": " + KeyReference.quoted(value) + " (expected: " + expected + ")");
    }

    void expect(String key, String expected) throws KeyException {
      String value = value(key);
      if (!value.equals(expected)) {
        throw bad(key, value, expected);
      }
    }

    int number(String key) throws KeyException {
      String value = value(key);
      if (!NUMBER.matcher(value).matches()) {
        throw bad(key, value, "a positive number");
      }
      return Integer.parseInt(value);
    }

    String hex(String key, int lengthBytes) throws KeyException {
      String value = value(key);
      if (value.length() != 2 * lengthBytes || !HEX.matcher(value).matches()) {
        throw bad(key, value, lengthBytes + " bytes in lower-case hexadecimal digits");
      }
      return value;
    }

    Backed flag(String key) throws KeyException {
      String value = value(key);
      for (Backed backed : Backed.values()) {
        if (backed.text.equals(value)) {
          return backed;
        }
      }
      throw bad(key, value, "true or false");
    }

    UUID uuid(String key) throws KeyException {
      String value = value(key);
      try {
        UUID uuid = UUID.fromString(value);
        if (uuid.toString().equals(value)) {
          return uuid;
        }
      } catch (IllegalArgumentException notOne) {
        // As any other text that is none.
      }
      throw bad(key, value, "a UUID");
    }

    Instant instant(String key) throws KeyException {
      String value = value(key);
      try {
        Instant instant = Instant.parse(value);
        if (instant.toString().equals(value)) {
          return instant;
        }
      } catch (DateTimeException notOne) {
        // As any other text that is none.
      }
      throw bad(key, value, "a time such as 2026-01-31T12:00:00Z");
    }

    void expectEnd() throws KeyException {
      lineNumber++;
      if (rest.size() != 1 || !rest.element().isEmpty()) {
        throw bad("(expected: the end of the file)");
      }
    }
  }
}
