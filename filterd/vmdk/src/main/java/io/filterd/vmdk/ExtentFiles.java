package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.file.BlockFile;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Opens the files of disks: each locked, and none outside its descriptor's folder. */
final class ExtentFiles {
  /** What a file of changed blocks starts with, in little endian. */
  static final int CHANGE_TRACKING_MAGIC = 0xf61972a2;

  /** The names that VMware gives to extents, and how they begin with their descriptor's. */
  private static final Pattern EXTENT_NAME =
      Pattern.compile("(.*)-(?:flat|delta|sesparse|rdmp?|ctk|[sf][0-9]{3})\\.vmdk");

  private static final int OPEN_TRIES = 5;

  private ExtentFiles() {}

  /** Opens a file, and locks it: for one writer, or for readers. */
  static ExtentFile open(Path path, Access access) throws IOException {
    for (int i = 0; i < OPEN_TRIES; i++) {
      BlockFile file = openLocked(path, access);
      boolean named = false;
      try {
        named = file.isNamed();
      } finally {
        if (!named) {
          closeQuietly(file);
        }
      }
      if (named) {
        return new StoredExtent(file);
      }
      // Between opening and locking it, its user has put a new one in its place: so with
      // descriptors, which are replaced whole.
    }
    throw new FileSystemException(
        path.toString(), null, "is being replaced all the time (expected: to stay)");
  }

  private static BlockFile openLocked(Path path, Access access) throws IOException {
    BlockFile file =
        BlockFile.open(
            path,
            access == Access.READ_ONLY ? BlockFile.Access.READ_ONLY : BlockFile.Access.READ_WRITE);
    boolean locked = false;
    try {
      file.lock();
      locked = true;
      return file;
    } finally {
      if (!locked) {
        closeQuietly(file);
      }
    }
  }

  private static void closeQuietly(BlockFile file) throws IOException {
    try {
      file.close();
    } catch (BlockException closing) {
      throw new IOException(closing);
    }
  }

  /** Opens the file of an extent: in the descriptor's folder, and nowhere else. */
  static ExtentFile open(Path descriptor, ExtentLine line, Access access) throws IOException {
    String name = line.fileName().orElse("");
    if (!isPlain(name)) {
      throw bad(descriptor, line, "a file in the descriptor's folder");
    }
    return open(descriptor.resolveSibling(name), access);
  }

  private static boolean isPlain(String name) {
    return !name.isEmpty()
        && !name.equals(".")
        && !name.equals("..")
        && name.indexOf('/') < 0
        && name.indexOf('\\') < 0
        && name.indexOf('\0') < 0;
  }

  /** Refuses a file that is a part of a disk; names the one to be opened if it is there. */
  static FormatException notADisk(ExtentFile file, String field, long at, String actual) {
    Path path = Path.of(file.name());
    Matcher name = EXTENT_NAME.matcher(String.valueOf(path.getFileName()));
    String expected = "a descriptor, or a disk in one file";
    if (name.matches()) {
      Path descriptor = path.resolveSibling(name.group(1) + ".vmdk");
      if (Files.isRegularFile(descriptor)) {
        expected = "the disk's descriptor; open " + descriptor;
      }
    }
    return new FormatException(file.name(), at, field, actual, expected);
  }

  /**
   * Refuses a descriptor that names a file twice, its own, or one outside its folder: also where
   * that file is not opened, as of an extent that nobody may read.
   */
  static void checkNames(Path descriptorFile, Descriptor descriptor) throws FormatException {
    Set<String> names = new HashSet<>(Set.of(String.valueOf(descriptorFile.getFileName())));
    for (ExtentLine line : descriptor.extents()) {
      if (line.fileName().isEmpty()) {
        continue;
      }
      if (!isPlain(line.fileName().get())) {
        throw bad(descriptorFile, line, "a file in the descriptor's folder");
      }
      if (!names.add(line.fileName().get())) {
        throw bad(descriptorFile, line, "a file that is not named twice");
      }
    }
  }

  /** An error in the name that an extent's line gives its file. */
  static FormatException bad(Path descriptor, ExtentLine line, String expected) {
    return new FormatException(
        descriptor.toString(),
        line.byteOffset(),
        "extent file",
        line.fileName().orElse(""),
        expected);
  }

  /** The first four bytes, in little endian; 0 if there are none. */
  static int magic(ExtentFile file) throws BlockException {
    if (file.sizeBytes() < Integer.BYTES) {
      return 0;
    }
    ByteBuffer head = ByteBuffer.allocateDirect(Integer.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    file.read(0, head, Blocking.ALLOWED);
    return head.getInt(0);
  }

  /** The first bytes, as far as there are any. */
  static ByteBuffer head(ExtentFile file, int length) throws BlockException {
    ByteBuffer bytes = ByteBuffer.allocateDirect((int) Math.min(length, file.sizeBytes()));
    file.read(0, bytes, Blocking.ALLOWED);
    return bytes.flip();
  }

  /** The sector at {@code position}, which must be in the file. */
  static ByteBuffer sector(ExtentFile file, long position) throws FormatException, BlockException {
    if (file.sizeBytes() < position + SECTOR_BYTES) {
      throw new FormatException(
          file.name(), file.sizeBytes(), "header", "the file ends here", SECTOR_BYTES + " bytes");
    }
    ByteBuffer bytes = ByteBuffer.allocateDirect(SECTOR_BYTES);
    file.read(position, bytes, Blocking.ALLOWED);
    return bytes.flip();
  }
}
