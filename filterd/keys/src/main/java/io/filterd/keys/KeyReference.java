package io.filterd.keys;

import java.util.regex.Pattern;

/**
 * Names a key-encryption key: what the inventory and a disk's descriptor keep of it.
 *
 * @param provider the name of the key provider in this host's configuration
 * @param keyId the provider's name for the key, opaque; at most 512 characters, no control
 *     characters, so that it stands unambiguously in the associated data
 * @param checkValue 16 lower-case hexadecimal digits that tell two keys of the same id apart: the
 *     first 8 bytes of HMAC-SHA-256(key, "filterd-kcv-v1")
 */
public record KeyReference(String provider, String keyId, String checkValue) {
  /** The most characters a provider's name has. */
  public static final int MAX_PROVIDER_LENGTH = 64;

  /** The most characters a key id has. */
  public static final int MAX_KEY_ID_LENGTH = 512;

  private static final Pattern CHECK_VALUE = Pattern.compile("[0-9a-f]{16}");

  /**
   * Checks the parts.
   *
   * @throws IllegalArgumentException if a part is not as described
   */
  public KeyReference {
    checkText("provider", provider, MAX_PROVIDER_LENGTH);
    checkText("keyId", keyId, MAX_KEY_ID_LENGTH);
    if (!CHECK_VALUE.matcher(checkValue).matches()) {
      throw new IllegalArgumentException(
          "checkValue: " + quoted(checkValue) + " (expected: 16 lower-case hexadecimal digits)");
    }
  }

  /** Checks that {@code text} can stand on a line of the associated data. */
  static void checkText(String name, String text, int maxLength) {
    if (text.isEmpty() || text.length() > maxLength) {
      throw new IllegalArgumentException(
          name + ": " + text.length() + " characters (expected: 1.." + maxLength + ")");
    }
    // A lone surrogate has no UTF-8: two such texts would be bound as the same bytes.
    if (text.codePoints()
        .anyMatch(
            c ->
                Character.isISOControl(c)
                    || (c >= Character.MIN_SURROGATE && c <= Character.MAX_SURROGATE))) {
      throw new IllegalArgumentException(
          name + ": control characters (expected: printable characters)");
    }
  }

  /** At most 40 characters of {@code text} for a message, harmless on a terminal. */
  static String quoted(String text) {
    String start = text.length() > 40 ? text.substring(0, 40) + "..." : text;
    return '"' + start.replaceAll("\\p{Cc}", "?") + '"';
  }
}
