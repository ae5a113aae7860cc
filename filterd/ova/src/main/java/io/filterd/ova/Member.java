package io.filterd.ova;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * A file of a package.
 *
 * @param name its own name, without any folder
 * @param file the file that holds it: itself, or the archive
 * @param offset where it begins there, in bytes
 * @param sizeBytes how long it is
 */
record Member(String name, Path file, long offset, long sizeBytes) {
  private static final int LONGEST_NAME = 255;

  /** Where it is, for messages. */
  String place() {
    return file.endsWith(name) ? file.toString() : file + ": " + name;
  }

  /** Whether a file of this name can't be anywhere but in the package itself. */
  static boolean isPlainName(String name) {
    return !name.isEmpty()
        && name.length() <= LONGEST_NAME
        && !name.equals(".")
        && !name.equals("..")
        && name.chars().noneMatch(c -> c == '/' || c == '\\' || c == ':' || c < ' ' || c == 0x7f);
  }

  /** All bytes of a small one. */
  byte[] readAll(int limitBytes, String what) throws IOException {
    if (sizeBytes > limitBytes) {
      throw new PackageException(
          place(), what, sizeBytes + " bytes", "at most " + limitBytes + " bytes");
    }
    ByteBuffer bytes = ByteBuffer.allocate((int) sizeBytes);
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      while (bytes.hasRemaining()) {
        read(channel, bytes.position(), bytes);
      }
    }
    return bytes.array();
  }

  /** Reads some bytes, at least one, from {@code position} in this member on. */
  void read(FileChannel channel, long position, ByteBuffer target) throws IOException {
    if (channel.read(target, offset + position) < 0) {
      throw new PackageException(place(), "file", "ends at byte " + position, sizeBytes + " bytes");
    }
  }
}
