package io.filterd.vmdk;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Completion;
import io.filterd.block.DeviceInfo;
import io.filterd.block.Durability;
import io.filterd.block.Extents;
import io.filterd.block.IoFilter;
import io.filterd.block.ZeroMode;
import java.nio.ByteBuffer;

/** Reads as if every byte below were enciphered, by the weakest of ciphers. */
final class XorDevice extends IoFilter {
  XorDevice(BlockDevice below) {
    super(below);
  }

  @Override
  public DeviceInfo info() {
    return below.info();
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
    int start = target.position();
    Extents extents = below.read(offset, target, blocking);
    for (int i = start; i < target.position(); i++) {
      target.put(i, (byte) (target.get(i) ^ 0x55));
    }
    return extents;
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
    return below.extents(offset, length, blocking);
  }

  @Override
  public Completion write(
      long offset, ByteBuffer source, Durability durability, Blocking blocking) {
    throw new UnsupportedOperationException();
  }

  @Override
  public Completion zero(
      long offset, long length, ZeroMode mode, Durability durability, Blocking blocking) {
    throw new UnsupportedOperationException();
  }

  @Override
  public Completion trim(long offset, long length, Durability durability, Blocking blocking) {
    throw new UnsupportedOperationException();
  }

  @Override
  public Completion flush(Blocking blocking) {
    throw new UnsupportedOperationException();
  }
}
