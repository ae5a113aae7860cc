package io.filterd.vmdk;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.util.Base64;
import java.util.regex.Pattern;

/**
 * A data key, wrapped by a key-encryption key, with what it takes to find that key: one pair of a
 * disk's key safe. Holds no secret.
 *
 * @param provider the key provider's name, 1 to 255 bytes in UTF-8
 * @param keyId the key's id there, an opaque text of 1 to 1024 bytes in UTF-8
 * @param checkValue proves that the fetched key is the right one: 16 lower-case hexadecimal digits
 * @param algorithm how the data key is wrapped: {@code AES-256-GCM}
 * @param wrappedDek the wrapped data key in base64, of 4 to 1024 characters
 */
public record Locker(
    String provider, String keyId, String checkValue, String algorithm, String wrappedDek) {
  static final int LONGEST_PROVIDER_BYTES = 255;
  static final int LONGEST_KEY_ID_BYTES = 1024;
  static final int LONGEST_WRAPPED_DEK = 1024;

  private static final Pattern CHECK_VALUE = Pattern.compile("[0-9a-f]{16}");
  private static final Pattern ALGORITHM = Pattern.compile("[A-Za-z0-9-]{1,32}");
  private static final String[] FIELDS = {
    "provider", "keyId", "checkValue", "algorithm", "wrappedDek"
  };

  /** Checks the rules of the parameters. */
  public Locker {
    check("provider", provider, isText(provider, LONGEST_PROVIDER_BYTES));
    check("keyId", keyId, isText(keyId, LONGEST_KEY_ID_BYTES));
    check("checkValue", checkValue, CHECK_VALUE.matcher(checkValue).matches());
    check("algorithm", algorithm, ALGORITHM.matcher(algorithm).matches());
    check("wrappedDek", wrappedDek, isBase64(wrappedDek));
  }

  /** The text in the descriptor: {@code provider=...,keyId=...,...}. */
  String format() {
    return "provider=%s,keyId=%s,checkValue=%s,algorithm=%s,wrappedDek=%s"
        .formatted(escaped(provider), escaped(keyId), checkValue, algorithm, wrappedDek);
  }

  /** Reads what {@link #format} wrote, from the entry {@code ddb.<key>} of {@code from}. */
  static Locker parse(Descriptor from, String key, String text) throws FormatException {
    String[] parts = text.split(",", FIELDS.length + 1);
    if (parts.length != FIELDS.length) {
      throw from.badDdb(key, parts.length + " fields", String.join(", ", FIELDS));
    }
    String[] values = new String[FIELDS.length];
    for (int i = 0; i < FIELDS.length; i++) {
      if (!parts[i].startsWith(FIELDS[i] + "=")) {
        throw from.badDdb(key, parts[i], FIELDS[i] + "=...");
      }
      values[i] = parts[i].substring(FIELDS[i].length() + 1);
    }
    String provider = unescaped(from, key, "provider", values[0]);
    String keyId = unescaped(from, key, "keyId", values[1]);
    try {
      return new Locker(provider, keyId, values[2], values[3], values[4]);
    } catch (IllegalArgumentException e) {
      throw from.badDdb(key, String.valueOf(e.getMessage()), "a key that was wrapped by filterd");
    }
  }

  private static void check(String field, String value, boolean holds) {
    if (!holds) {
      throw new IllegalArgumentException(field + ": not valid, " + value.length() + " characters");
    }
  }

  private static boolean isText(String text, int longestBytes) {
    int length = text.getBytes(UTF_8).length;
    return length >= 1
        && length <= longestBytes
        && UTF_8.newEncoder().canEncode(text)
        && text.chars().noneMatch(Character::isISOControl);
  }

  private static boolean isBase64(String text) {
    if (text.length() < 4 || text.length() > LONGEST_WRAPPED_DEK || text.length() % 4 != 0) {
      return false;
    }
    try {
      // Only the one canonical text of some bytes.
      return Base64.getEncoder().encodeToString(Base64.getDecoder().decode(text)).equals(text);
    } catch (IllegalArgumentException e) {
      return false;
    }
  }

  /** RFC 3986, section 2.1: everything but the unreserved characters as %XX of its UTF-8 bytes. */
  private static String escaped(String text) {
    StringBuilder out = new StringBuilder();
    for (byte b : text.getBytes(UTF_8)) {
      if (isUnreserved(b)) {
        out.append((char) b);
      } else {
        out.append("%%%02X".formatted(Byte.toUnsignedInt(b)));
      }
    }
    return out.toString();
  }

  private static boolean isUnreserved(int c) {
    return (c >= 'A' && c <= 'Z')
        || (c >= 'a' && c <= 'z')
        || (c >= '0' && c <= '9')
        || "-._~".indexOf(c) >= 0;
  }

  private static String unescaped(Descriptor from, String key, String field, String text)
      throws FormatException {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      if (isUnreserved(c)) {
        out.write(c);
      } else if (c == '%'
          && i + 2 < text.length()
          && isHex(text.charAt(i + 1))
          && isHex(text.charAt(i + 2))) {
        out.write(Integer.parseInt(text, i + 1, i + 3, 16));
        i += 2;
      } else {
        throw from.badDdb(key, field + " with '" + c + "'", "%XX in its place");
      }
    }
    try {
      return UTF_8.newDecoder().decode(ByteBuffer.wrap(out.toByteArray())).toString();
    } catch (CharacterCodingException e) {
      throw from.badDdb(key, field + " that is not UTF-8", "UTF-8");
    }
  }

  private static boolean isHex(char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f');
  }
}
