package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.vmdk.LinkedDisk.Front;
import io.filterd.vmdk.LinkedDisk.Switch;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Snapshots of disks that nobody uses: by the file of the top link. For a disk that is in use see
 * {@link LinkedDisk}, which this is made of. What names the disk by its top link's file has to name
 * it by the returned one afterwards.
 */
public final class Snapshots {
  private Snapshots() {}

  /** The snapshots of a disk, the newest first. */
  public static List<Snapshot> list(Path top) throws IOException, BlockException {
    try (DiskChain chain = DiskChain.open(top, Access.READ_ONLY)) {
      return Snapshot.of(chain.links());
    }
  }

  /**
   * Takes a snapshot: {@link LinkedDisk#snapshot}.
   *
   * @return the new top link's file
   */
  public static Path create(
      Path top,
      SnapshotRecord record,
      Optional<EncryptionMetadata> encryption,
      Front front,
      Switch moved)
      throws IOException, BlockException {
    return create(LinkFiles.STORED, top, record, encryption, front, moved);
  }

  static Path create(
      LinkFiles files,
      Path top,
      SnapshotRecord record,
      Optional<EncryptionMetadata> encryption,
      Front front,
      Switch moved)
      throws IOException, BlockException {
    try (LinkedDisk disk = LinkedDisk.open(files, top, Access.READ_WRITE, front, moved, false)) {
      return disk.snapshot(record, encryption, moved);
    }
  }

  /**
   * Deletes a snapshot: {@link Merge}.
   *
   * @return false if the listener stopped it; it can be deleted again then
   */
  public static boolean delete(
      Path top, String snapshot, Front front, Switch moved, DiskCopy.Listener listener)
      throws IOException, BlockException {
    return delete(LinkFiles.STORED, top, snapshot, front, moved, listener);
  }

  static boolean delete(
      LinkFiles files,
      Path top,
      String snapshot,
      Front front,
      Switch moved,
      DiskCopy.Listener listener)
      throws IOException, BlockException {
    try (LinkedDisk disk = LinkedDisk.open(files, top, Access.READ_WRITE, front, moved, false);
        Merge merge = disk.delete(snapshot)) {
      boolean copied = merge.copy(listener);
      if (copied) {
        merge.finish(moved);
      }
      return copied;
    }
  }

  /**
   * Goes back to a snapshot: a new, empty link on top of that state. The links that the disk had
   * above it stay as they are, a branch that can be opened by the former top link's file, until
   * they are {@link #discard discarded}.
   *
   * @return the new top link's file
   * @throws IllegalArgumentException if there is no such snapshot
   * @throws FormatException if its state was lost by a deletion that was stopped
   */
  public static Path revert(
      Path top, String snapshot, Optional<EncryptionMetadata> encryption, Switch moved)
      throws IOException, BlockException {
    return revert(LinkFiles.STORED, top, snapshot, encryption, moved);
  }

  static Path revert(
      LinkFiles files,
      Path top,
      String snapshot,
      Optional<EncryptionMetadata> encryption,
      Switch moved)
      throws IOException, BlockException {
    ParentSearch search = ParentSearch.beside(top);
    Snapshot target;
    Optional<String> policy;
    // For writing, so that nobody uses the disk.
    try (DiskChain chain = DiskChain.open(files, top, Access.READ_WRITE, search)) {
      target = Snapshot.find(Snapshot.of(chain.links()), snapshot);
      policy = chain.links().getFirst().disk().policy();
    }
    SnapshotRecord record =
        target
            .record()
            .orElseThrow(
                () ->
                    new IllegalArgumentException(
                        "snapshot: "
                            + snapshot
                            + " has no name (expected: one that filterd took)"));
    // On its own it must be right.
    try (DiskChain state = DiskChain.open(files, target.file(), Access.READ_ONLY, search)) {
      Path file = LinkName.next(target.file());
      Descriptor parent = state.links().getFirst().descriptor();
      files.create(file, new NewChild(file, target.file(), parent, record, encryption, policy));
      boolean done = false;
      try {
        moved.to(file);
        done = true;
      } finally {
        if (!done) {
          files.delete(file);
        }
      }
      return file;
    }
  }

  /**
   * Deletes the links of a branch that no other link needs: {@code top} and those below it, down to
   * one that has another child.
   *
   * @param top the top link of a branch that is no disk's any more
   * @return the files that were deleted
   */
  public static List<Path> discard(Path top) throws IOException, BlockException {
    ParentSearch search = ParentSearch.beside(top);
    List<Path> deleted = new ArrayList<>();
    List<MergeCompletion.Files> files = new ArrayList<>();
    // For writing, so that nobody uses it.
    try (DiskChain chain = DiskChain.open(LinkFiles.STORED, top, Access.READ_WRITE, search)) {
      Path above = chain.links().getFirst().file();
      for (DiskChain.Link link : chain.links()) {
        if (!OtherChildren.of(link, above, search).isEmpty()) {
          break;
        }
        above = link.file();
        files.add(MergeCompletion.Files.of(link.file(), link.descriptor()));
        deleted.add(link.file());
      }
    }
    for (MergeCompletion.Files each : files) {
      each.delete(LinkFiles.STORED);
    }
    return deleted;
  }
}
