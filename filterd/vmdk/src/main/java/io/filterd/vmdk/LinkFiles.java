package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.block.file.AtomicFile;
import io.filterd.block.file.BlockFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * Opens, makes and deletes the files of links. Exists so that tests can stand between a chain and
 * its files.
 */
interface LinkFiles {
  /** Files as they are. */
  LinkFiles STORED =
      new LinkFiles() {
        @Override
        public VmdkDisk open(Path link, Access access) throws IOException, BlockException {
          return VmdkDisk.open(link, access);
        }

        @Override
        public void create(Path link, Contents contents) throws IOException, BlockException {
          boolean made = false;
          BlockFile blockFile = BlockFile.create(link);
          try (ExtentFile file = new StoredExtent(blockFile)) {
            contents.write(file);
            AtomicFile.syncFolderOf(link);
            made = true;
          } finally {
            if (!made) {
              Files.deleteIfExists(link);
            }
          }
        }

        @Override
        public void delete(Path file) throws IOException {
          Files.deleteIfExists(file);
          AtomicFile.syncFolderOf(file);
        }
      };

  /** What a new file is to hold. */
  @FunctionalInterface
  interface Contents {
    void write(ExtentFile file) throws FormatException, BlockException;
  }

  /** As {@link VmdkDisk#open}. */
  VmdkDisk open(Path link, Access access) throws IOException, BlockException;

  /** Makes a file: there whole and durable when this returns, or not at all. */
  void create(Path link, Contents contents) throws IOException, BlockException;

  /** Deletes a file, if it is there; durable when this returns. */
  void delete(Path file) throws IOException;
}
