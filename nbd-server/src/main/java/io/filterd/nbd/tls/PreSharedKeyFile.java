package io.filterd.nbd.tls;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Pre-shared keys by the identity of who knows them, from a file as GnuTLS's psktool writes it:
 * lines {@code identity:key}, the key in hexadecimal; so is an identity that begins with {@code #}.
 */
final class PreSharedKeyFile {
  private static final int MIN_KEY_BYTES = 16;
  private static final int MAX_KEY_BYTES = 512;
  private static final int MAX_IDENTITY_BYTES = 128;

  /** Identities are bytes; as Latin-1 they can be compared. */
  private final Map<String, byte[]> keys = new HashMap<>();

  /** Reads a file. */
  PreSharedKeyFile(Path file) throws IOException {
    int number = 0;
    String text = new String(Pem.readSecret(file), StandardCharsets.ISO_8859_1);
    for (String line : text.lines().toList()) {
      number++;
      if (!line.isBlank()) {
        // Never the line itself in a message: it holds a key.
        String problem = add(line.strip());
        if (problem != null) {
          throw new IOException(file + ":" + number + ": " + problem);
        }
      }
    }
    if (keys.isEmpty()) {
      throw new IOException(file + ": no keys (expected: lines identity:key)");
    }
  }

  private @Nullable String add(String line) {
    int colon = line.lastIndexOf(':');
    if (colon < 1) {
      return "no identity (expected: identity:key)";
    }
    String identity = line.substring(0, colon);
    byte[] key;
    try {
      if (identity.startsWith("#")) {
        byte[] bytes = HexFormat.of().parseHex(identity, 1, identity.length());
        identity = new String(bytes, StandardCharsets.ISO_8859_1);
      }
      key = HexFormat.of().parseHex(line, colon + 1, line.length());
    } catch (IllegalArgumentException notHexadecimal) {
      return "a key or an identity with # is not hexadecimal";
    }
    if (identity.isEmpty() || identity.length() > MAX_IDENTITY_BYTES) {
      return "identity: " + identity.length() + " bytes (expected: 1.." + MAX_IDENTITY_BYTES + ")";
    }
    if (key.length < MIN_KEY_BYTES || key.length > MAX_KEY_BYTES) {
      return "key: "
          + key.length
          + " bytes (expected: "
          + MIN_KEY_BYTES
          + ".."
          + MAX_KEY_BYTES
          + ")";
    }
    return keys.putIfAbsent(identity, key) == null ? null : "the identity is there twice";
  }

  /** The key of whoever says to be this, or null. */
  byte @Nullable [] key(byte[] identity) {
    byte[] key = keys.get(new String(identity, StandardCharsets.ISO_8859_1));
    return key == null ? null : key.clone();
  }
}
