package io.filterd.kmip.cert;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/**
 * The servers' certificates that an operator has looked at and trusts: a line each, the fingerprint
 * and, for people, a note. Lines that start with {@code #} are for people alone. For one caller at
 * a time.
 */
public final class FingerprintFile {
  private static final int MAX_BYTES = 64 << 10;

  private final Path file;

  /** The file need not be there. */
  public FingerprintFile(Path file) {
    this.file = file;
  }

  /**
   * Those that are trusted; empty if there is no file.
   *
   * @throws IdentityException if it is too long, or a line holds something else
   * @throws IOException if it can't be read
   */
  public Set<Fingerprint> read() throws IOException {
    return Collections.unmodifiableSet(lines().keySet());
  }

  private Map<Fingerprint, String> lines() throws IOException {
    Map<Fingerprint, String> trusted = new LinkedHashMap<>();
    if (!Files.exists(file)) {
      return trusted;
    }
    if (Files.size(file) > MAX_BYTES) {
      throw new IdentityException(file + ": longer (expected: up to " + MAX_BYTES + " bytes)");
    }
    for (String line : Files.readAllLines(file)) {
      String text = line.strip();
      if (!text.isEmpty() && !text.startsWith("#")) {
        String[] parts = text.split("\\s+", 2);
        try {
          trusted.put(Fingerprint.parse(parts[0]), parts.length == 2 ? parts[1] : "");
        } catch (IllegalArgumentException wrong) {
          throw new IdentityException(file + ": " + wrong.getMessage(), wrong);
        }
      }
    }
    return trusted;
  }

  /**
   * Trusts these, too, in one step that a crash leaves done or not done. The file is for its owner
   * alone.
   *
   * @param notes what each of them belongs to, one word such as a server's address
   * @throws IllegalArgumentException for a note that is no word: a line must not become two
   * @throws IOException if it can't be written; then all is as before
   */
  public void add(Map<Fingerprint, String> notes) throws IOException {
    Map<Fingerprint, String> trusted = lines();
    for (Map.Entry<Fingerprint, String> each : notes.entrySet()) {
      if (!each.getValue().matches("[\\x21-\\x7e]{1,300}")) {
        throw new IllegalArgumentException(
            "note: " + each.getValue().length() + " characters (expected: one word)");
      }
      trusted.put(each.getKey(), each.getValue());
    }
    StringBuilder text =
        new StringBuilder("# Certificates of servers that are trusted: SHA-256, server.\n");
    trusted.forEach(
        (fingerprint, note) -> text.append((fingerprint.hex() + " " + note).strip()).append('\n'));
    if (text.length() > MAX_BYTES) {
      throw new IdentityException(
          file + ": full with " + trusted.size() + " servers (expected: old ones removed by hand)");
    }
    KeyFiles.writeText(file, text.toString());
  }
}
