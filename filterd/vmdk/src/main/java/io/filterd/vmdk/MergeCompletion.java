package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.vmdk.LinkedDisk.Switch;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** What is left to do once a link's content is in its parent. Doing it again does no harm. */
final class MergeCompletion {
  private MergeCompletion() {}

  /** All files of a link that were open, the descriptor's first. */
  record Files(List<Path> paths) {
    static Files of(Path file, Descriptor descriptor) {
      List<Path> paths = new ArrayList<>();
      paths.add(file);
      if (descriptor.byteOffset() == 0) { // Else the one file holds descriptor and content.
        for (ExtentLine line : descriptor.extents()) {
          // What nobody may read was not opened, and may be anybody's. The others are plain names
          // in the link's folder.
          if (line.access() != ExtentLine.Access.NOACCESS) {
            line.fileName().ifPresent(name -> paths.add(file.resolveSibling(name)));
          }
        }
      }
      return new Files(List.copyOf(paths));
    }

    /**
     * Claims the files for this disk alone, until the answer is closed.
     *
     * @throws IOException if somebody else has one open, or one can't be opened for writing
     */
    Claim claim() throws IOException, BlockException {
      List<ExtentFile> claimed = new ArrayList<>();
      boolean all = false;
      try {
        for (Path path : paths) {
          claimed.add(ExtentFiles.open(path, Access.READ_WRITE));
        }
        all = true;
        return new Claim(claimed);
      } finally {
        if (!all) {
          new Claim(claimed).close();
        }
      }
    }

    void delete(LinkFiles files) throws IOException {
      for (Path path : paths) {
        files.delete(path);
      }
    }
  }

  /** Files that are locked, so that nobody else has them. */
  record Claim(List<ExtentFile> files) implements AutoCloseable {
    @Override
    public void close() throws BlockException {
      for (ExtentFile file : files) {
        file.close();
      }
    }
  }

  /**
   * Finishes what a crash has left of the merge in a chain.
   *
   * @param chain was opened for writing, and is closed
   */
  static void finish(LinkFiles files, DiskChain chain, Switch moved)
      throws IOException, BlockException {
    for (DiskChain.Merged merged : chain.merged()) {
      try (VmdkDisk parent = files.open(merged.parent(), Access.READ_WRITE)) {
        if (merged.child().isPresent()) {
          Path above = merged.child().get();
          long cid = parent.descriptor().cid();
          String hint = ParentSearch.hint(above, merged.parent());
          try (VmdkDisk child = files.open(above, Access.READ_WRITE)) {
            child.rewrite(descriptor -> descriptor.withParent(cid, hint));
          }
        } else {
          moved.to(merged.parent());
        }
        Files.of(merged.file(), merged.descriptor()).delete(files);
        parent.rewriteDescriptor(MergeMark::removeFrom);
      }
    }
  }
}
