package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Durability;
import io.filterd.block.file.AtomicFile;
import io.filterd.block.file.BlockFile;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Makes the files of a new disk: all of them, or none. */
final class NewFiles {
  private final Path path;
  private final CreateOptions options;
  private final List<Path> made = new ArrayList<>();

  private NewFiles(Path path, CreateOptions options) {
    this.path = path;
    this.options = options;
  }

  /** Makes an empty disk; all of it is durable when this returns. */
  static void create(Path path, CreateOptions options) throws IOException, BlockException {
    NewFiles files = new NewFiles(path, options);
    boolean complete = false;
    try {
      if (options.layout().isEmbedded()) {
        files.createMonolith();
      } else {
        files.createWithDescriptor();
      }
      AtomicFile.syncFolderOf(path);
      complete = true;
    } finally {
      if (!complete) {
        for (Path file : files.made) {
          Files.deleteIfExists(file);
        }
      }
    }
  }

  private BlockFile createFile(Path file) throws IOException {
    BlockFile created = BlockFile.create(file);
    made.add(file);
    return created;
  }

  private void createMonolith() throws IOException, BlockException {
    try (ExtentFile file = new StoredExtent(createFile(path))) {
      NewDisk.write(file, path, options);
    }
  }

  private void createWithDescriptor() throws IOException, BlockException {
    checkName();
    byte[] text = NewDescriptor.of(path, options).format();
    // First the name, so that nothing is done in vain; its text last, because that makes the disk.
    try (BlockFile descriptor = createFile(path)) {
      for (int i = 0; i < options.extentCount(); i++) {
        createExtent(path.resolveSibling(options.extentName(path, i)), options.extentBytes(i));
      }
      ByteBuffer bytes = ByteBuffer.allocateDirect(text.length).put(text).flip();
      descriptor.write(0, bytes, Durability.BUFFERED, Blocking.ALLOWED);
      descriptor.dataSync();
    }
  }

  /** The extents are named after the descriptor, which must be able to say how. */
  private void checkName() throws FileSystemException {
    String name = String.valueOf(path.getFileName());
    if (name.chars().anyMatch(c -> c == '"' || c == '\\' || Character.isISOControl(c))) {
      throw new FileSystemException(
          path.toString(),
          null,
          "can't name a disk of several files (expected: no quotes, backslashes or control"
              + " characters)");
    }
  }

  private void createExtent(Path extent, long sizeBytes) throws IOException, BlockException {
    try (ExtentFile file = new StoredExtent(createFile(extent))) {
      if (options.layout().isFlat()) {
        file.truncate(sizeBytes);
        // First the space, so that a full file system is found out at once.
        file.allocateZeros(0, sizeBytes);
        Zeros.write(file, 0, sizeBytes);
        file.sync();
      } else {
        NewDisk.writeExtent(file, sizeBytes);
      }
    }
  }
}
