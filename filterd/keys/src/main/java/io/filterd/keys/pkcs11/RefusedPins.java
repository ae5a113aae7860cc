package io.filterd.keys.pkcs11;

import io.filterd.keys.KeyException;
import io.filterd.keys.KeyException.Reason;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileTime;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * Remembers which PIN files had the wrong PIN for which token, so that none is tried twice: a token
 * locks itself after some wrong ones. A file that was changed since may be tried. Safe for many
 * threads.
 */
final class RefusedPins {
  private final Map<String, Version> byToken = new ConcurrentHashMap<>();

  /** A file as it was; the key tells it from another one of the same name. */
  record Version(Path file, FileTime changed, long size, @Nullable Object key) {}

  /**
   * What the file is now; to be taken before it is read.
   *
   * @throws KeyException with {@code NOT_FOUND} if it is not there
   */
  static Version version(Path file) throws KeyException {
    try {
      BasicFileAttributes now = Files.readAttributes(file, BasicFileAttributes.class);
      return new Version(file, now.lastModifiedTime(), now.size(), now.fileKey());
    } catch (IOException failure) {
      throw new KeyException(
          Reason.NOT_FOUND, "PIN file " + file + ": cannot be read: " + failure, failure);
    }
  }

  /** Whether this token has refused this file, which was not changed since. */
  boolean has(String serial, Version file) {
    return file.equals(byToken.get(serial));
  }

  /** Notes that this token refuses this file. */
  void add(String serial, Version file) {
    byToken.put(serial, file);
  }
}
