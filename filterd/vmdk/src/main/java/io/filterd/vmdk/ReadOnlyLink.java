package io.filterd.vmdk;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.BlockSizes;
import io.filterd.block.Blocking;
import io.filterd.block.Capability;
import io.filterd.block.Completion;
import io.filterd.block.DeviceInfo;
import io.filterd.block.Durability;
import io.filterd.block.ZeroMode;
import java.nio.ByteBuffer;
import java.util.Set;

/** A mapping that is open for reading only: every change is refused. */
abstract class ReadOnlyLink implements BlockDevice {
  private final DeviceInfo info;

  /** A mapping that can't tell what was never written. */
  ReadOnlyLink(long sizeBytes) {
    this(sizeBytes, 4096, Set.of(Capability.MULTIPLE_CONNECTIONS));
  }

  /** A mapping that knows of each unit, a power of two, whether it was written. */
  ReadOnlyLink(long sizeBytes, int allocationUnitBytes) {
    this(
        sizeBytes,
        allocationUnitBytes,
        Set.of(Capability.MULTIPLE_CONNECTIONS, Capability.TRACKS_ZEROS));
  }

  private ReadOnlyLink(long sizeBytes, int allocationUnitBytes, Set<Capability> capabilities) {
    this.info =
        new DeviceInfo(
            sizeBytes, new BlockSizes(512, 4096, 32 << 20), allocationUnitBytes, capabilities);
  }

  @Override
  public final DeviceInfo info() {
    return info;
  }

  @Override
  public final Completion write(
      long offset, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    throw readOnly();
  }

  @Override
  public final Completion zero(
      long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
      throws BlockException {
    throw readOnly();
  }

  @Override
  public final Completion trim(long offset, long length, Durability durability, Blocking blocking)
      throws BlockException {
    throw readOnly();
  }

  @Override
  public final Completion flush(Blocking blocking) {
    return Completion.DONE;
  }

  private static BlockException readOnly() {
    return new BlockException(Reason.READ_ONLY, "the disk is open for reading only");
  }
}
