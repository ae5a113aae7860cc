package io.filterd.vmdk;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Durability;
import io.filterd.block.ExtentKind;
import io.filterd.block.Extents;
import io.filterd.block.file.AtomicFile;
import io.filterd.block.file.FileDevice;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** Copies the content of one device to another, or into a new file. */
public final class DiskCopy {
  private static final int STEP_BYTES = 1 << 20;

  private DiskCopy() {}

  /** Told how far a copy is. */
  @FunctionalInterface
  public interface Listener {
    /**
     * Some of the source was copied or skipped.
     *
     * @return false to stop the copy
     */
    boolean at(long doneBytes, long totalBytes);
  }

  /**
   * Copies all of {@code source} to {@code target}, which reads as zeros and is at least as large;
   * what is zeros in the source is left out. Durable when this returns true.
   *
   * @return false if the listener stopped it; the target is then incomplete
   */
  public static boolean copy(BlockDevice source, BlockDevice target, Listener listener)
      throws BlockException {
    long total = source.info().sizeBytes();
    ByteBuffer step = ByteBuffer.allocateDirect(STEP_BYTES);
    long at = 0;
    while (at < total) {
      Extents extents = source.extents(at, total - at, Blocking.ALLOWED);
      if (extents.kind(0) == ExtentKind.DATA) {
        // Steps end at multiples of their size, so that grains are copied whole.
        long end = Math.min((at / STEP_BYTES + 1) * STEP_BYTES, total);
        step.clear().limit((int) (end - at));
        source.read(at, step, Blocking.ALLOWED);
        writeData(at, step.flip(), target);
        at = end;
      } else {
        at += extents.lengthBytes(0, total - at);
      }
      if (!listener.at(at, total)) {
        return false;
      }
    }
    target.flush(Blocking.ALLOWED);
    return true;
  }

  /** Writes the allocation units of {@code step} that are not all zeros, neighbours together. */
  private static void writeData(long offset, ByteBuffer step, BlockDevice target)
      throws BlockException {
    int length = step.limit();
    int unit = Math.min(target.info().allocationUnitBytes(), STEP_BYTES);
    int from = 0;
    for (int at = 0; at < length; ) {
      int end = (int) Math.min(length, (offset + at) / unit * unit + unit - offset);
      if (Zeros.isAll(step.limit(end).position(at))) {
        writeRun(offset, step, from, at, target);
        from = end;
      }
      at = end;
    }
    writeRun(offset, step, from, length, target);
  }

  private static void writeRun(long offset, ByteBuffer step, int from, int to, BlockDevice target)
      throws BlockException {
    if (from == to) {
      return;
    }
    // The source's end may be no multiple of the target's blocks; the target is at least as long.
    long minimum = target.info().blockSizes().minimum();
    long end = Math.ceilDiv(offset + to, minimum) * minimum;
    int padded = (int) (Math.min(end, target.info().sizeBytes()) - offset);
    Zeros.fill(step.limit(padded).position(to));
    target.write(offset + from, step.position(from), Durability.BUFFERED, Blocking.ALLOWED);
  }

  /**
   * Copies all of {@code source} into a new raw file, with holes for zeros. The file is there whole
   * and durable when this returns true, else not at all.
   *
   * @return false if the listener stopped it
   * @throws java.nio.file.FileAlreadyExistsException if there is something of this name, which
   *     stays as it is
   */
  public static boolean toRaw(BlockDevice source, Path target, Listener listener)
      throws IOException, BlockException {
    return intoNew(
        source,
        List.of(target),
        listener,
        () -> FileDevice.create(target, source.info().sizeBytes()));
  }

  /**
   * Copies all of {@code source} into a new disk. Its files are there whole and durable when this
   * returns true, else not at all.
   *
   * @return false if the listener stopped it
   * @throws java.nio.file.FileAlreadyExistsException if there is something of this name, which
   *     stays as it is
   */
  public static boolean toVmdk(
      BlockDevice source, Path target, CreateOptions options, Listener listener)
      throws IOException, BlockException {
    if (options.sizeBytes() < source.info().sizeBytes()) {
      throw new IllegalArgumentException(
          "sizeBytes: "
              + options.sizeBytes()
              + " (expected: at least the source's "
              + source.info().sizeBytes()
              + ")");
    }
    return intoNew(
        source,
        options.files(target),
        listener,
        () -> {
          VmdkDisk.create(target, options);
          return VmdkDisk.open(target, Access.READ_WRITE).link();
        });
  }

  @FunctionalInterface
  private interface Maker {
    BlockDevice make() throws IOException, BlockException;
  }

  private static boolean intoNew(
      BlockDevice source, List<Path> files, Listener listener, Maker maker)
      throws IOException, BlockException {
    BlockDevice target = maker.make(); // Fails if there is a file, and then leaves it.
    boolean complete = false;
    try {
      boolean copied;
      try (target) {
        copied = copy(source, target, listener);
      }
      AtomicFile.syncFolderOf(files.getFirst());
      complete = copied;
    } finally {
      if (!complete) {
        for (Path file : files) {
          Files.deleteIfExists(file);
        }
      }
    }
    return complete;
  }
}
