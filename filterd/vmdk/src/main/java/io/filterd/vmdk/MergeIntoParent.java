package io.filterd.vmdk;

import io.filterd.block.AlignmentFilter;
import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Durability;
import io.filterd.block.ExtentKind;
import io.filterd.block.Extents;
import io.filterd.block.ZeroMode;
import io.filterd.vmdk.LinkedDisk.Open;
import io.filterd.vmdk.LinkedDisk.Switch;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * Moves a child's content into its parent. The child covers all that changes in the parent until
 * the moment of the exchange, so the disk reads right at any time; and since the parent's content
 * id changes with its first change, no other link takes it for what it was. Its {@link MergeMark}
 * lets the child do so. The one step that counts is the mark's change to "merged": before it the
 * child is part of the chain, afterwards it is left out by whoever opens it.
 *
 * <p>What is written to the child while it is the top link is noted and moved again: a few rounds
 * while requests go on, the rest while they wait.
 */
final class MergeIntoParent extends Merge {
  private static final int STEP_BYTES = 1 << 20;
  private static final long ZEROED_AT_A_TIME_BYTES = 256L << 20;

  /** So much is moved while requests wait: 4 MiB. */
  private static final int LAST_UNITS = 64;

  private static final int ROUND_LIMIT = 16;

  private final Path into;
  private final @Nullable ChangedUnits changed;
  private final BlockDevice target;
  private final ByteBuffer step = ByteBuffer.allocateDirect(STEP_BYTES);

  private MergeIntoParent(LinkedDisk disk, int child, @Nullable ChangedUnits changed) {
    super(disk, child);
    this.changed = changed;
    List<Open> links = disk.open();
    this.into = links.get(child + 1).file();
    // A child may store smaller pieces than its parent's cipher takes.
    this.target =
        new AlignmentFilter(LinkedDisk.chainOf(links.subList(child + 1, links.size())), 1);
  }

  /** Why the parent must not become the one; empty if it may. */
  static String whyNot(LinkedDisk disk, int child) throws FormatException {
    Open from = disk.open().get(child);
    Open into = disk.open().get(child + 1);
    Optional<MergeMark> mark = MergeMark.from(from.descriptor());
    if (mark.isPresent() && !mark.get().complete()) {
      // What it holds is no state any more, and who has that must go on saying so.
      return "the deletion of the snapshot above it was stopped; repeat that first";
    }
    if (isEncrypted(from) && !isEncrypted(into)) {
      return "it is not encrypted, and the child is";
    }
    long size = from.device().info().sizeBytes();
    long parentSize = into.device().info().sizeBytes();
    if (size != parentSize) {
      return "it has " + parentSize + " bytes, and the child " + size;
    }
    if (!into.file().resolveSibling(from.file().getFileName()).equals(from.file())) {
      return "it is in another folder";
    }
    return "";
  }

  static MergeIntoParent begin(LinkedDisk disk, int child) throws IOException, BlockException {
    disk.gate().pause();
    boolean begun = false;
    try {
      if (child > 0) {
        // What is above must be able to name another parent in the end.
        rewrite(disk, child - 1, same -> same);
      }
      Open parent = disk.exchange(child + 1, Access.READ_WRITE);
      disk.checkShape(without(disk.open(), child));
      Open from = disk.open().get(child);
      long cid = from.descriptor().parentCid();
      MergeMark mark = new MergeMark(false, cid, from.fileName());
      parent.disk().rewriteDescriptor(mark::writeTo);
      ChangedUnits changed = child == 0 ? new ChangedUnits(from.device().info().sizeBytes()) : null;
      MergeIntoParent merge = new MergeIntoParent(disk, child, changed);
      disk.noteChanges(changed);
      begun = true;
      return merge;
    } finally {
      try {
        if (!begun && disk.open().get(child + 1).access() == Access.READ_WRITE) {
          disk.exchange(child + 1, Access.READ_ONLY);
        }
      } finally {
        disk.gate().resume();
      }
    }
  }

  /** Changes the descriptor of a link that may be open for reading only. The gate is paused. */
  private static void rewrite(LinkedDisk disk, int index, UnaryOperator<Descriptor> change)
      throws IOException, BlockException {
    if (disk.open().get(index).access() == Access.READ_WRITE) {
      disk.open().get(index).disk().rewrite(change);
      return;
    }
    Open writable = disk.exchange(index, Access.READ_WRITE);
    try {
      writable.disk().rewrite(change);
    } finally {
      disk.exchange(index, Access.READ_ONLY);
    }
  }

  private Open from() {
    return disk.open().get(child);
  }

  private Open parent() {
    return disk.open().get(child + 1);
  }

  @Override
  public Path into() {
    return into;
  }

  @Override
  boolean move(DiskCopy.Listener listener) throws BlockException {
    long size = from().device().info().sizeBytes();
    if (!move(0, size, listener)) {
      return false;
    }
    for (int i = 0; changed != null && changed.count() > LAST_UNITS && i < ROUND_LIMIT; i++) {
      if (!moveChanged(listener)) {
        return false;
      }
    }
    // The rest is made durable while requests wait; let that be little.
    target.flush(Blocking.ALLOWED);
    return true;
  }

  private boolean moveChanged(DiskCopy.Listener listener) throws BlockException {
    ChangedUnits units = changed;
    long size = disk.info().sizeBytes();
    for (int word = 0; units != null && word < units.wordCount(); word++) {
      for (long bits = units.take(word); bits != 0; bits &= bits - 1) {
        long unit = (long) word * Long.SIZE + Long.numberOfTrailingZeros(bits);
        long at = unit * ChangedUnits.UNIT_BYTES;
        long end = Math.min(size, at + ChangedUnits.UNIT_BYTES);
        if (!move(at, end, (done, total) -> listener.at(size, size))) {
          units.add(at, end - at);
          return false;
        }
      }
    }
    return true;
  }

  /** Moves what the child holds of a range. */
  private boolean move(long start, long end, DiskCopy.Listener listener) throws BlockException {
    BlockDevice source = from().device();
    for (long at = start; at < end; ) {
      Extents extents = source.extents(at, end - at, Blocking.ALLOWED);
      long bytes = extents.lengthBytes(0, end - at);
      if (extents.kind(0) == ExtentKind.DATA) {
        bytes = Math.min(bytes, STEP_BYTES - at % STEP_BYTES);
        source.read(at, step.clear().limit((int) bytes), Blocking.ALLOWED);
        target.write(at, step.flip(), Durability.BUFFERED, Blocking.ALLOWED);
      } else if (extents.kind(0) == ExtentKind.ZERO) {
        bytes = Math.min(bytes, ZEROED_AT_A_TIME_BYTES);
        target.zero(at, bytes, ZeroMode.MAY_DEALLOCATE, Durability.BUFFERED, Blocking.ALLOWED);
      }
      at += bytes;
      if (!listener.at(at, source.info().sizeBytes())) {
        return false;
      }
    }
    return true;
  }

  @Override
  void exchange(Switch moved) throws IOException, BlockException {
    moveChanged((done, total) -> true);
    target.flush(Blocking.ALLOWED);
    Open from = from();
    Open parent = parent();
    Optional<String> policy = child == 0 ? from.disk().policy() : Optional.empty();
    MergeMark mark = new MergeMark(true, from.descriptor().parentCid(), from.fileName());
    parent
        .disk()
        .rewriteDescriptor(
            descriptor -> {
              Descriptor marked = mark.writeTo(descriptor);
              return policy.isPresent()
                  ? marked.withDdb(CreateOptions.POLICY_KEY, policy.get())
                  : marked;
            });
    committed(); // From here on the child counts no more.
    disk.noteChanges(null);
    disk.install(without(disk.open(), child));
    MergeCompletion.Files gone = MergeCompletion.Files.of(from.file(), from.descriptor());
    from.device().close();
    if (child == 0) {
      moved.to(parent.file());
    } else {
      long cid = parent.descriptor().cid();
      String hint = ParentSearch.hint(disk.open().get(child - 1).file(), parent.file());
      rewrite(disk, child - 1, descriptor -> descriptor.withParent(cid, hint));
    }
    gone.delete(disk.files());
    parent.disk().rewriteDescriptor(MergeMark::removeFrom);
    if (child > 0) {
      disk.exchange(child, Access.READ_ONLY);
    }
  }

  @Override
  void abandon() throws IOException, BlockException {
    disk.noteChanges(null);
    for (int i = 1; i < disk.open().size(); i++) {
      Open link = disk.open().get(i);
      if (link.file().equals(into) && link.access() == Access.READ_WRITE) {
        disk.exchange(i, Access.READ_ONLY);
      }
    }
  }
}
