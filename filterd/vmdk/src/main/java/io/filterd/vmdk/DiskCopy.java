package io.filterd.vmdk;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Durability;
import io.filterd.block.ExtentKind;
import io.filterd.block.Extents;
import java.nio.ByteBuffer;

/** Copies the content of one device to another. */
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
      long skipped = extents.kind(0) == ExtentKind.DATA ? 0 : extents.lengthBytes(0, total - at);
      if (skipped > 0) {
        at += skipped;
      } else {
        // Steps end at multiples of their size, so that grains are copied whole.
        long stepEnd = Math.min((at / STEP_BYTES + 1) * STEP_BYTES, total);
        step.clear().limit((int) (stepEnd - at));
        Extents read = source.read(at, step, Blocking.ALLOWED);
        step.flip();
        if (!read.isAll(ExtentKind.ZERO) && !Zeros.isAll(step)) {
          target.write(at, step, Durability.BUFFERED, Blocking.ALLOWED);
        }
        at = stepEnd;
      }
      if (!listener.at(at, total)) {
        return false;
      }
    }
    target.flush(Blocking.ALLOWED);
    return true;
  }
}
