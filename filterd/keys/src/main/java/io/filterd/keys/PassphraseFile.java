package io.filterd.keys;

import io.filterd.crypto.SecretBytes;
import io.filterd.keys.KeyException.Reason;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFileAttributes;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.EnumSet;
import java.util.Set;

/** A file that holds a passphrase or a PIN and that nobody but its owner may read. */
public final class PassphraseFile {
  /** The most bytes a passphrase has. */
  public static final int MAX_BYTES = 4096;

  private static final Set<PosixFilePermission> OF_OTHERS =
      EnumSet.of(
          PosixFilePermission.GROUP_READ,
          PosixFilePermission.GROUP_WRITE,
          PosixFilePermission.OTHERS_READ,
          PosixFilePermission.OTHERS_WRITE);

  private PassphraseFile() {}

  /**
   * The passphrase in {@code file}: its bytes, without one line end at the end. The caller closes
   * it.
   *
   * @throws KeyException if there is none, or others than the owner may read or change it
   */
  static SecretBytes read(Path file) throws KeyException {
    return read("passphrase file", file);
  }

  /**
   * As {@link #read(Path)}, of a file that messages call {@code what}, for example {@code PIN
   * file}.
   */
  public static SecretBytes read(String what, Path file) throws KeyException {
    try {
      checkAttributes(what, file);
      try (SecretBytes content = SecretBytes.read(file, MAX_BYTES)) {
        MemorySegment passphrase = withoutLineEnd(content.segment());
        if (passphrase.byteSize() == 0) {
          throw new KeyException(
              Reason.PROTOCOL, what + " " + file + ": empty (expected: a secret)");
        }
        return SecretBytes.copyOf(passphrase);
      }
    } catch (NoSuchFileException missing) {
      throw new KeyException(
          Reason.NOT_FOUND, what + " " + file + ": there is no such file", missing);
    } catch (IOException failure) {
      throw new KeyException(Reason.UNAVAILABLE, what + ": " + failure.getMessage(), failure);
    }
  }

  private static void checkAttributes(String what, Path file) throws KeyException, IOException {
    PosixFileAttributes attributes = Files.readAttributes(file, PosixFileAttributes.class);
    if (!attributes.isRegularFile()) {
      throw new KeyException(
          Reason.PROTOCOL, what + " " + file + ": not a file (expected: a regular file)");
    }
    if (attributes.size() < 1 || attributes.size() > MAX_BYTES) {
      throw new KeyException(
          Reason.PROTOCOL,
          "%s %s: %s (expected: 1..%d bytes)"
              .formatted(
                  what,
                  file,
                  attributes.size() < 1 ? "empty" : attributes.size() + " bytes",
                  MAX_BYTES));
    }
    if (attributes.permissions().stream().anyMatch(OF_OTHERS::contains)) {
      throw new KeyException(
          Reason.DENIED,
          "%s %s: mode %s lets others than its owner at it (expected: rw-------; run chmod 600 %s)"
              .formatted(
                  what, file, PosixFilePermissions.toString(attributes.permissions()), file));
    }
  }

  private static MemorySegment withoutLineEnd(MemorySegment content) {
    long end = content.byteSize();
    if (end > 0 && content.get(ValueLayout.JAVA_BYTE, end - 1) == '\n') {
      end--;
      if (end > 0 && content.get(ValueLayout.JAVA_BYTE, end - 1) == '\r') {
        end--;
      }
    }
    return content.asSlice(0, end);
  }
}
