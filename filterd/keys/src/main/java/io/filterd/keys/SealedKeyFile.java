package io.filterd.keys;

import io.filterd.keys.KeyException.Reason;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Reads and writes the files of sealed keys: mode 0600, durable when a method returns. */
final class SealedKeyFile {
  /** What to do about a state file that this host can't open any more. */
  static final String RESTORE_SENTENCE =
      "restore it from the backup: move the state file and this one away, then run `filterd provider"
          + " restore`";

  private static final FileAttribute<Set<PosixFilePermission>> OWNER_ONLY =
      PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------"));

  private SealedKeyFile() {}

  static SealedKey read(Path file, SealedKey.Kind kind) throws KeyException {
    byte[] bytes = read(file, SealedKey.MAX_FILE_BYTES);
    return SealedKey.parse(file.toString(), kind, new String(bytes, StandardCharsets.ISO_8859_1));
  }

  /** A file's bytes, which are at most {@code maxBytes}. */
  static byte[] read(Path file, int maxBytes) throws KeyException {
    byte[] bytes;
    try (InputStream in = Files.newInputStream(file)) {
      bytes = in.readNBytes(maxBytes + 1);
    } catch (NoSuchFileException missing) {
      throw new KeyException(Reason.NOT_FOUND, file + ": there is no such file", missing);
    } catch (IOException failure) {
      throw unavailable("read", file, failure);
    }
    if (bytes.length > maxBytes) {
      throw new KeyException(
          Reason.PROTOCOL,
          "%s: longer than %d bytes (expected: a native provider's file)"
              .formatted(file, maxBytes));
    }
    return bytes;
  }

  /** As {@link #create(Path, byte[])}. */
  static void create(Path file, SealedKey key) throws KeyException {
    create(file, key.text().getBytes(StandardCharsets.US_ASCII));
  }

  /**
   * Writes a new file. A crash may leave it cut short, but never touches one that is there.
   *
   * @throws KeyException with {@code DENIED} if the file is there already
   */
  static void create(Path file, byte[] content) throws KeyException {
    try {
      writeNew(file, content);
      syncFolder(file);
    } catch (FileAlreadyExistsException exists) {
      throw exists(file, exists);
    } catch (IOException failure) {
      throw unavailable("write", file, failure);
    }
  }

  /** Puts {@code key} in place of a file: a crash leaves the file before or after it. */
  static void replace(Path file, SealedKey key) throws KeyException {
    Path next = file.resolveSibling(file.getFileName() + ".new");
    try {
      // One that a crash left behind may have another owner or mode.
      Files.deleteIfExists(next);
      writeNew(next, key.text().getBytes(StandardCharsets.US_ASCII));
      Files.move(next, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
      syncFolder(file);
    } catch (IOException failure) {
      throw unavailable("write", file, failure);
    }
  }

  private static void writeNew(Path file, byte[] content) throws IOException {
    try (FileChannel channel =
        FileChannel.open(
            file, Set.of(StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE), OWNER_ONLY)) {
      try {
        ByteBuffer text = ByteBuffer.wrap(content);
        while (text.hasRemaining()) {
          channel.write(text);
        }
        channel.force(true);
      } catch (IOException failure) {
        // It is ours, and holds nothing whole: the next try shall not find it in its way.
        Files.deleteIfExists(file);
        throw failure;
      }
    }
  }

  private static void syncFolder(Path file) throws IOException {
    try (FileChannel folder =
        FileChannel.open(file.toAbsolutePath().getParent(), StandardOpenOption.READ)) {
      folder.force(true);
    }
  }

  /** A file that stays as it is. */
  static KeyException exists(Path file, @Nullable Throwable cause) {
    return new KeyException(
        Reason.DENIED,
        file + " is there already, and is never overwritten: losing it could lose every disk",
        cause);
  }

  /** Removes a file, if it is there. */
  static void delete(Path file) throws KeyException {
    try {
      Files.deleteIfExists(file);
    } catch (IOException failure) {
      throw unavailable("delete", file, failure);
    }
  }

  private static KeyException unavailable(String action, Path file, IOException failure) {
    return new KeyException(
        Reason.UNAVAILABLE, "%s: cannot %s it: %s".formatted(file, action, failure), failure);
  }
}
