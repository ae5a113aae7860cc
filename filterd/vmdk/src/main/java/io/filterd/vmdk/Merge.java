package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.vmdk.LinkedDisk.Open;
import io.filterd.vmdk.LinkedDisk.Switch;
import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * The deletion of a snapshot: two neighbouring links become one, while the disk may be in use.
 *
 * <p>Usually the child's content is moved into its parent, which is what was written since the
 * snapshot; the parent is the one that stays. If the parent can't be written, such as a disk in a
 * read-only format, or must not be, such as a plain parent of an encrypted child, then what the
 * child gets from the parent is copied into the child, and that one stays. Ciphertext never becomes
 * plaintext that is stored.
 *
 * <p>The order: {@link LinkedDisk#delete}, {@link #copy}, {@link #finish}; {@link #close} in any
 * case, which abandons what is not finished. An abandoned deletion, or one that a crash stopped,
 * leaves the disk as it reads, and the snapshot to be deleted again; but the state itself may be
 * gone already (then its link refuses to be opened on its own, or below another link). For one
 * thread.
 */
public abstract sealed class Merge implements AutoCloseable
    permits MergeIntoParent, MergeIntoChild {
  final LinkedDisk disk;

  /** Where the child is among the links; the parent, with the snapshot's state, is behind it. */
  final int child;

  private boolean copied;
  private boolean committed;
  private boolean finished;
  private boolean closed;

  Merge(LinkedDisk disk, int child) {
    this.disk = disk;
    this.child = child;
  }

  /** Begins to make the link at {@code child} and its parent one. */
  static Merge begin(LinkedDisk disk, int child) throws IOException, BlockException {
    List<Open> links = disk.open();
    if (links.getFirst().access() == Access.READ_ONLY) {
      throw new BlockException(Reason.READ_ONLY, disk.file() + ": open for reading only");
    }
    Open parent = links.get(child + 1);
    List<Path> others =
        OtherChildren.of(disk.links().get(child + 1), links.get(child).file(), disk.search());
    if (!others.isEmpty()) {
      throw refusal(parent, "has another child, " + others.getFirst());
    }
    String whyNotParent = MergeIntoParent.whyNot(disk, child);
    if (whyNotParent.isEmpty()) {
      try {
        return MergeIntoParent.begin(disk, child);
      } catch (FormatException | FileSystemException unwritable) {
        whyNotParent = String.valueOf(unwritable.getMessage());
      } catch (BlockException unwritable) {
        if (unwritable.reason() != Reason.NOT_SUPPORTED) {
          throw unwritable;
        }
        whyNotParent = String.valueOf(unwritable.getMessage());
      }
    }
    String whyNotChild = MergeIntoChild.whyNot(disk, child);
    if (whyNotChild.isEmpty()) {
      return MergeIntoChild.begin(disk, child);
    }
    throw refusal(
        parent,
        "can't become one with its child: the parent can't take over (%s), nor the child (%s)"
            .formatted(whyNotParent, whyNotChild));
  }

  private static FileSystemException refusal(Open link, String why) {
    return new FileSystemException(link.file().toString(), null, why);
  }

  /** The file of the link that stays. */
  public abstract Path into();

  /**
   * Moves the content; what is written to the disk meanwhile is cared for.
   *
   * @return false if the listener stopped it
   */
  public final boolean copy(DiskCopy.Listener listener) throws BlockException {
    copied = move(listener);
    return copied;
  }

  /**
   * Makes the one link count in place of the two, and deletes the other's files. Requests wait for
   * it. If it fails after the links were exchanged, what is left is done when the disk is opened.
   *
   * @param moved told if the top link's file is another now
   */
  public final void finish(Switch moved) throws IOException, BlockException {
    if (!copied || finished) {
      throw new IllegalStateException("merge: " + (copied ? "finished" : "not copied"));
    }
    disk.gate().pause();
    try {
      exchange(moved);
      finished = true;
    } finally {
      disk.gate().resume();
    }
  }

  /** Ends the deletion; one that is not finished is abandoned. */
  @Override
  public final void close() throws IOException, BlockException {
    if (closed) {
      return;
    }
    closed = true;
    try {
      if (!finished) {
        disk.gate().pause();
        try {
          abandon();
        } finally {
          disk.gate().resume();
        }
      }
    } finally {
      // What was begun and must be finished is finished when the disk is opened; till then no
      // further change of the links may come on top of it.
      if (finished || !committed) {
        disk.end();
      }
    }
  }

  /** To be called when the links on the medium are exchanged, though not all is cleaned up. */
  final void committed() {
    committed = true;
  }

  abstract boolean move(DiskCopy.Listener listener) throws BlockException;

  /** Exchanges the links. The gate is paused. */
  abstract void exchange(Switch moved) throws IOException, BlockException;

  /** Opens the links as they were before. The gate is paused. */
  abstract void abandon() throws IOException, BlockException;

  /** The links without the one at an index. */
  static List<Open> without(List<Open> links, int index) {
    List<Open> rest = new ArrayList<>(links);
    rest.remove(index);
    return rest;
  }

  static boolean isEncrypted(Open link) {
    return link.disk().encryption().isPresent();
  }
}
