package io.filterd.crypto;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Capability;
import io.filterd.block.Completion;
import io.filterd.block.DeviceInfo;
import io.filterd.block.Durability;
import io.filterd.block.Extents;
import io.filterd.block.IoFilter;
import io.filterd.block.ZeroMode;
import java.nio.ByteBuffer;

/** Can't tell what holds no data: all is data. */
final class ForgetfulDevice extends IoFilter {
  ForgetfulDevice(BlockDevice below) {
    super(below);
  }

  @Override
  public DeviceInfo info() {
    return below.info().without(Capability.TRACKS_ZEROS, Capability.MARKS_ZEROS);
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
    Extents extents = below.read(offset, target, blocking);
    return extents == Extents.WOULD_BLOCK ? extents : Extents.ALL_DATA;
  }

  @Override
  public Completion write(long offset, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    return below.write(offset, source, durability, blocking);
  }

  @Override
  public Completion zero(
      long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
      throws BlockException {
    return below.zero(offset, length, mode, durability, blocking);
  }

  @Override
  public Completion trim(long offset, long length, Durability durability, Blocking blocking)
      throws BlockException {
    return below.trim(offset, length, durability, blocking);
  }

  @Override
  public Completion flush(Blocking blocking) throws BlockException {
    return below.flush(blocking);
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) {
    return Extents.ALL_DATA;
  }
}
