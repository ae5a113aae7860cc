package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.file.BlockFile;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/** Finds the links that have a link for their parent: branches of a disk. */
final class OtherChildren {
  private static final int FILE_LIMIT = 10_000;

  private OtherChildren() {}

  /**
   * The files, but one, that need {@code parent} as it is: of those in its folder, in that of the
   * one, and in that which parents are looked for in.
   */
  static List<Path> of(DiskChain.Link parent, Path except, ParentSearch search)
      throws IOException, BlockException {
    Set<Path> folders =
        new LinkedHashSet<>(List.of(parent.file().getParent(), except.getParent(), search.root()));
    List<Path> children = new ArrayList<>();
    for (Path folder : folders) {
      addChildren(folder, parent, except, search, children);
    }
    return children;
  }

  private static void addChildren(
      Path folder, DiskChain.Link parent, Path except, ParentSearch search, List<Path> children)
      throws IOException, BlockException {
    int count = 0;
    try (DirectoryStream<Path> entries = Files.newDirectoryStream(folder, "*.vmdk")) {
      for (Path entry : entries) {
        count++;
        if (count > FILE_LIMIT) {
          throw new FormatException(
              folder.toString(), 0, "folder", "more files", "at most " + FILE_LIMIT);
        }
        if (!entry.equals(except)
            && Files.isRegularFile(entry, LinkOption.NOFOLLOW_LINKS)
            && isChild(entry, parent, search)) {
          children.add(entry);
        }
      }
    }
  }

  private static boolean isChild(Path file, DiskChain.Link parent, ParentSearch search)
      throws IOException, BlockException {
    try {
      Descriptor descriptor = descriptorOf(file);
      return descriptor.parentCid() != Descriptor.NO_PARENT
          && descriptor.parentCid() == parent.descriptor().cid()
          && search.find(file, descriptor).equals(parent.file());
    } catch (FormatException noLink) {
      return false; // An extent, or what can't be opened below anything.
    }
  }

  /** The descriptor of a file that somebody may have open and locked. */
  private static Descriptor descriptorOf(Path path) throws IOException, BlockException {
    try (ExtentFile file = new StoredExtent(BlockFile.open(path, BlockFile.Access.READ_ONLY))) {
      if (ExtentFiles.magic(file) == SparseExtentHeader.MAGIC) {
        SparseExtentHeader header =
            SparseExtentHeader.parse(file.name(), 0, ExtentFiles.sector(file, 0));
        header.checkFits(file.name(), 0, file.sizeBytes());
        if (header.descriptorOffset() > 0) {
          return VmdkDisk.embedded(file, header);
        }
      }
      int bytes = (int) Math.min(file.sizeBytes(), Descriptor.LARGEST_TEXT_BYTES);
      ByteBuffer text = ByteBuffer.allocateDirect(bytes);
      file.read(0, text, Blocking.ALLOWED);
      byte[] copy = new byte[text.flip().remaining()];
      text.get(copy);
      return Descriptor.parse(file.name(), 0, copy);
    }
  }
}
