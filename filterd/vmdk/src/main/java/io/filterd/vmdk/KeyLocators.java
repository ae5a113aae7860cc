package io.filterd.vmdk;

import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Locale;

/**
 * Reads VMware's key locators, as far as it takes to say which keys a disk is encrypted with:
 * {@code vmware:key/list/(pair/(fqid/<VMWARE-NULL>/provider/key,HMAC%2dSHA%2d256,locked key),...)}.
 * Locked keys are looked at for their form only, and never kept. Recursion and length are bounded.
 */
final class KeyLocators {
  private static final int LENGTH_LIMIT = 1 << 16;
  private static final int DEPTH_LIMIT = 8;
  private static final String PREFIX = "vmware:key/";

  /** Stands for a field that there is not. */
  private static final String NULL = "<VMWARE-NULL>";

  /** The initialisation vector of a locked key, and the smallest ciphertext. */
  private static final int BLOCK_BYTES = 16;

  private final String file;
  private final long byteOffset;
  private final String text;
  private final List<String> keys = new ArrayList<>();
  private int at;

  private KeyLocators(String file, long byteOffset, String text) {
    this.file = file;
    this.byteOffset = byteOffset;
    this.text = text;
  }

  /**
   * The ids of the keys that a locator names, each with its provider: {@code provider/key}.
   *
   * @param file the file the locator is from, for messages
   * @param byteOffset where in the file it is
   */
  static List<String> keys(String file, long byteOffset, String locator) throws FormatException {
    KeyLocators reading = new KeyLocators(file, byteOffset, locator);
    if (locator.length() > LENGTH_LIMIT) {
      throw reading.bad(locator.length() + " characters", "at most " + LENGTH_LIMIT);
    }
    if (!locator.regionMatches(true, 0, PREFIX, 0, PREFIX.length())) {
      throw reading.bad(locator, PREFIX + "...");
    }
    reading.at = PREFIX.length();
    reading.body(1);
    if (reading.at < locator.length()) {
      throw reading.bad("more from character " + reading.at + " on", "the locator's end");
    }
    return List.copyOf(reading.keys);
  }

  private void body(int depth) throws FormatException {
    if (depth > DEPTH_LIMIT) {
      throw bad("nested deeper", "at most " + DEPTH_LIMIT + " deep");
    }
    String type = field().toLowerCase(Locale.ROOT);
    take('/');
    switch (type) {
      case "list" -> list(depth);
      case "pair" -> pair(depth);
      case "fqid" -> {
        fields(1);
        String provider = field();
        take('/');
        keys.add(provider + "/" + field());
      }
      case "null", "rawkey" -> field();
      case "phrase", "role" -> {
        fields(1);
        field();
      }
      case "script" -> {
        fields(2);
        field();
      }
      case "ldap" -> {
        fields(5);
        field();
      }
      default -> throw bad("type " + type, "list, pair, fqid, phrase, or another of VMware's");
    }
  }

  private void list(int depth) throws FormatException {
    take('(');
    body(depth + 1);
    while (at < text.length() && text.charAt(at) == ',') {
      at++;
      body(depth + 1);
    }
    take(')');
  }

  private void pair(int depth) throws FormatException {
    take('(');
    body(depth + 1);
    take(',');
    String mac = field();
    take(',');
    int macBytes =
        switch (mac) {
          case "HMAC-SHA-1" -> 20;
          case "HMAC-SHA-1-128" -> 16;
          case "HMAC-SHA-256" -> 32;
          default -> throw bad("authentication by " + mac, "HMAC-SHA-1 or HMAC-SHA-256");
        };
    int start = at;
    int end = text.indexOf(')', start);
    if (end < 0) {
      throw bad("no end", "a )");
    }
    at = end;
    checkLocked(unescaped(text.substring(start, end)), macBytes);
    take(')');
  }

  /** Checks the form of a locked key: initialisation vector, whole blocks, authentication code. */
  private void checkLocked(String base64, int macBytes) throws FormatException {
    int length;
    try {
      length = Base64.getDecoder().decode(base64).length;
    } catch (IllegalArgumentException notBase64) {
      throw bad("a locked key that is not base64", "base64");
    }
    int cipherBytes = length - BLOCK_BYTES - macBytes;
    if (cipherBytes < BLOCK_BYTES || cipherBytes % BLOCK_BYTES != 0) {
      throw bad(
          "a locked key of " + length + " bytes",
          "16, whole blocks of 16, and " + macBytes + " bytes");
    }
  }

  /** Skips so many fields, each with the slash behind it. */
  private void fields(int count) throws FormatException {
    for (int i = 0; i < count; i++) {
      field();
      take('/');
    }
  }

  /** Reads up to the next delimiter. */
  private String field() throws FormatException {
    int start = at;
    while (at < text.length() && "/,()".indexOf(text.charAt(at)) < 0) {
      at++;
    }
    return unescaped(text.substring(start, at));
  }

  private String unescaped(String field) throws FormatException {
    if (field.equals(NULL)) {
      return "";
    }
    StringBuilder out = new StringBuilder(field.length());
    for (int i = 0; i < field.length(); i++) {
      char c = field.charAt(i);
      if (c != '%') {
        out.append(c);
        continue;
      }
      boolean whole = i + 2 < field.length();
      int high = whole ? Character.digit(field.charAt(i + 1), 16) : -1;
      int low = whole ? Character.digit(field.charAt(i + 2), 16) : -1;
      if (high < 0 || low < 0) {
        throw bad("% without two digits", "%xx");
      }
      out.append((char) (high << 4 | low));
      i += 2;
    }
    return out.toString();
  }

  private void take(char expected) throws FormatException {
    if (at >= text.length() || text.charAt(at) != expected) {
      throw bad(
          at < text.length() ? "'" + text.charAt(at) + "' at character " + at : "the end",
          "'" + expected + "'");
    }
    at++;
  }

  private FormatException bad(String actual, String expected) {
    return new FormatException(file, byteOffset, "encryptionKeys", actual, expected);
  }
}
