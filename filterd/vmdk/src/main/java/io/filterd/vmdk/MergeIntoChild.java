package io.filterd.vmdk;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.ExtentKind;
import io.filterd.block.Extents;
import io.filterd.vmdk.LinkedDisk.Open;
import io.filterd.vmdk.LinkedDisk.Switch;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * Copies what a child gets from its parent into the child, until it needs the parent no more.
 * Nothing that can be read changes, neither of the child nor of the parent, so the child keeps its
 * content id, and a crash at any moment leaves a chain that is right. The one step that counts is
 * the change of the child's descriptor to the parent's parent.
 */
final class MergeIntoChild extends Merge {
  private static final long COPIED_AT_A_TIME_BYTES = 16L << 20;

  private final Path into;
  private final Chain chain;

  private MergeIntoChild(LinkedDisk disk, int child, Chain chain) {
    super(disk, child);
    this.into = disk.open().get(child).file();
    this.chain = chain;
  }

  /** Why the child must not become the one; empty if it may. */
  static String whyNot(LinkedDisk disk, int child) throws FormatException {
    List<Open> links = disk.open();
    Open into = links.get(child);
    Open parent = links.get(child + 1);
    if (isEncrypted(parent) && !isEncrypted(into)) {
      return "it is not encrypted, and the parent is";
    }
    if (child + 2 < links.size()) {
      Optional<MergeMark> mark = MergeMark.from(links.get(child + 2).descriptor());
      if (mark.isPresent() && !mark.get().complete()) {
        return "the deletion of snapshot file "
            + links.get(child + 2).fileName()
            + " was stopped; repeat that first";
      }
    }
    return "";
  }

  static MergeIntoChild begin(LinkedDisk disk, int child) throws IOException, BlockException {
    disk.gate().pause();
    boolean begun = false;
    try {
      disk.checkShape(without(disk.open(), child + 1));
      // In the end the parent goes: not from under another disk, wherever that is.
      disk.alone(child + 1, () -> {});
      Chain chain;
      if (child == 0) {
        disk.open().getFirst().disk().rewrite(same -> same); // As it must be in the end.
        chain = disk.chain();
      } else {
        Open into = disk.exchange(child, Access.READ_WRITE);
        into.disk().keepContentId();
        into.disk().rewrite(same -> same);
        chain = LinkedDisk.chainOf(disk.open().subList(child, disk.open().size()));
      }
      MergeIntoChild merge = new MergeIntoChild(disk, child, chain);
      begun = true;
      return merge;
    } finally {
      try {
        if (!begun && child > 0 && disk.open().get(child).access() == Access.READ_WRITE) {
          disk.exchange(child, Access.READ_ONLY);
        }
      } finally {
        disk.gate().resume();
      }
    }
  }

  @Override
  public Path into() {
    return into;
  }

  @Override
  boolean move(DiskCopy.Listener listener) throws BlockException {
    BlockDevice child = disk.open().get(this.child).device();
    long size = child.info().sizeBytes();
    long unit = child.info().allocationUnitBytes();
    long most = Math.max(unit, COPIED_AT_A_TIME_BYTES / unit * unit);
    for (long at = 0; at < size; ) {
      Extents held = child.extents(at, size - at, Blocking.ALLOWED);
      long bytes = held.lengthBytes(0, size - at);
      if (held.kind(0) == ExtentKind.ABSENT) {
        bytes = Math.min(bytes, most);
        chain.copyUp(at, bytes);
      }
      at += bytes;
      if (!listener.at(at, size)) {
        return false;
      }
    }
    chain.flush(Blocking.ALLOWED);
    return true;
  }

  @Override
  void exchange(Switch moved) throws IOException, BlockException {
    chain.flush(Blocking.ALLOWED);
    Open into = disk.open().get(child);
    Open parent = disk.open().get(child + 1);
    Optional<SnapshotRecord> snapshot = SnapshotRecord.from(parent.descriptor());
    Optional<Path> next =
        child + 2 < disk.open().size()
            ? Optional.of(disk.open().get(child + 2).file())
            : Optional.empty();
    MergeCompletion.Files gone = MergeCompletion.Files.of(parent.file(), parent.descriptor());
    disk.alone(
        child + 1,
        () -> {
          into.disk()
              .rewrite(
                  descriptor -> {
                    Descriptor over =
                        next.isEmpty()
                            ? descriptor.withoutParent()
                            : descriptor.withParent(
                                parent.descriptor().parentCid(),
                                ParentSearch.hint(into.file(), next.get()));
                    return snapshot.isEmpty()
                        ? SnapshotRecord.removeFrom(over)
                        : snapshot.get().writeTo(over);
                  });
          committed();
          disk.install(without(disk.open(), child + 1));
          gone.delete(disk.files());
        });
    if (child > 0) {
      disk.exchange(child, Access.READ_ONLY);
    }
  }

  @Override
  void abandon() throws IOException, BlockException {
    if (child > 0 && disk.open().get(child).access() == Access.READ_WRITE) {
      disk.exchange(child, Access.READ_ONLY);
    }
  }
}
