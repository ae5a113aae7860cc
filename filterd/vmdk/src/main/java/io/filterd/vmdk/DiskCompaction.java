package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.Blocking;
import io.filterd.block.Durability;
import io.filterd.block.ExtentKind;
import io.filterd.block.Extents;
import io.filterd.block.file.AtomicFile;
import io.filterd.block.file.BlockFile;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Optional;

/**
 * Rewrites a monolithicSparse disk to what it needs: its grains in the order of the disk, without
 * those that hold only zeros, without holes and lost space. The descriptor stays as it is, with its
 * ids and keys. Grains are copied as they are stored, so a disk that is encrypted stays so, under
 * the same key; whether a grain holds zeros is seen through its cipher.
 *
 * <p>The new file is written beside the old one, made durable, and renamed over it: a crash leaves
 * the old file, or the new one.
 */
public final class DiskCompaction {
  private static final String NEW_FILE_SUFFIX = ".compacting";

  /** Shows the content of a link in the clear. */
  @FunctionalInterface
  public interface Plaintext {
    /** A device that reads what {@code stored} holds; never closed, and only read. */
    BlockDevice of(BlockDevice stored) throws BlockException;
  }

  /** What a compaction came to, in bytes on the medium. */
  public record Result(long beforeBytes, long afterBytes) {}

  private DiskCompaction() {}

  /**
   * Compacts a disk by its file, which nobody may use meanwhile.
   *
   * @param plaintext for an encrypted disk the cipher; for others the device itself
   * @param listener may stop it
   * @return empty if it was stopped, and nothing is changed
   * @throws IOException if the file can't be opened, is in use, or is no monolithicSparse disk
   * @throws BlockException with {@code NOT_SUPPORTED} if it is a link with a parent, whose content
   *     would show where zeros are dropped
   */
  public static Optional<Result> compact(Path file, Plaintext plaintext, DiskCopy.Listener listener)
      throws IOException, BlockException {
    Path next = file.resolveSibling(file.getFileName() + NEW_FILE_SUFFIX);
    long before = BlockFile.storedBytes(file);
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_WRITE)) {
      if (!(disk.link() instanceof SparseLink) || disk.hasParent()) {
        String what = disk.format() + (disk.hasParent() ? ", over a parent" : "");
        throw new BlockException(
            Reason.NOT_SUPPORTED,
            file + ": " + what + " (expected: monolithicSparse, of a disk without snapshots)");
      }
      Files.deleteIfExists(next); // What a crash has left of an earlier one.
      boolean renamed = false;
      try {
        if (!write(disk, next, plaintext.of(disk.link()), listener)) {
          return Optional.empty();
        }
        if (next.getFileSystem().supportedFileAttributeViews().contains("posix")) {
          Files.setPosixFilePermissions(next, Files.getPosixFilePermissions(file));
        }
        // While the old one is open nobody else can have it.
        Files.move(next, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        renamed = true;
      } finally {
        if (!renamed) {
          Files.deleteIfExists(next);
        }
      }
      AtomicFile.syncFolderOf(file);
    }
    return Optional.of(new Result(before, BlockFile.storedBytes(file)));
  }

  private static boolean write(
      VmdkDisk disk, Path next, BlockDevice plaintext, DiskCopy.Listener listener)
      throws IOException, BlockException {
    Descriptor descriptor = disk.descriptor();
    try (ExtentFile file = new StoredExtent(BlockFile.create(next))) {
      NewDisk.write(file, new SparseLayout(descriptor.sizeBytes() / SECTOR_BYTES), descriptor);
    }
    try (VmdkDisk target = VmdkDisk.open(next, Access.READ_WRITE)) {
      if (!copy(disk.link(), plaintext, target.link(), listener)) {
        return false;
      }
      target.link().flush(Blocking.ALLOWED);
      // The content is the same, so its id is.
      target.rewriteDescriptor(changed -> withSlots(descriptor));
    }
    return true;
  }

  /** A disk that others made has the slots of ours now. */
  private static Descriptor withSlots(Descriptor descriptor) {
    return descriptor.withDdb(SparseLayout.SLOTS_KEY, SparseLayout.SLOTS);
  }

  private static boolean copy(
      BlockDevice stored, BlockDevice plaintext, BlockDevice target, DiskCopy.Listener listener)
      throws BlockException {
    long size = stored.info().sizeBytes();
    int grainBytes = target.info().allocationUnitBytes();
    ByteBuffer bytes = ByteBuffer.allocateDirect(grainBytes);
    for (long at = 0; at < size; ) {
      Extents extents = stored.extents(at, size - at, Blocking.ALLOWED);
      long end = at + extents.lengthBytes(0, size - at);
      if (extents.kind(0) == ExtentKind.DATA) {
        end = Math.min(size, at - at % grainBytes + grainBytes);
        plaintext.read(at, bytes.clear().limit((int) (end - at)), Blocking.ALLOWED);
        if (!Zeros.isAll(bytes.flip())) {
          stored.read(at, bytes.clear().limit((int) (end - at)), Blocking.ALLOWED);
          target.write(at, bytes.flip(), Durability.BUFFERED, Blocking.ALLOWED);
        }
      }
      at = end;
      if (!listener.at(at, size)) {
        return false;
      }
    }
    return true;
  }
}
