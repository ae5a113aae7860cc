package io.filterd.vmdk;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Completion;
import io.filterd.block.DeviceInfo;
import io.filterd.block.Durability;
import io.filterd.block.Extents;
import io.filterd.block.ZeroMode;
import java.nio.ByteBuffer;

/** Notes each range before it is changed. */
record TrackedDevice(BlockDevice below, ChangeTracking tracking) implements BlockDevice {
  @Override
  public DeviceInfo info() {
    return below.info();
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
    return below.read(offset, target, blocking);
  }

  @Override
  public Completion write(long offset, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    int length = source.remaining();
    int noted = tracking.changing(offset, length, blocking);
    if (noted < 0) {
      return Completion.WOULD_BLOCK;
    }
    boolean blocked = false;
    try {
      Completion completion = below.write(offset, source, durability, blocking);
      blocked = completion == Completion.WOULD_BLOCK;
      return completion;
    } finally {
      if (!blocked) { // What failed may have changed a part.
        tracking.changed(noted, offset, length, blocking);
      }
    }
  }

  @Override
  public Completion zero(
      long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
      throws BlockException {
    int noted = tracking.changing(offset, length, blocking);
    if (noted < 0) {
      return Completion.WOULD_BLOCK;
    }
    boolean blocked = false;
    try {
      Completion completion = below.zero(offset, length, mode, durability, blocking);
      blocked = completion == Completion.WOULD_BLOCK;
      return completion;
    } finally {
      if (!blocked) {
        tracking.changed(noted, offset, length, blocking);
      }
    }
  }

  @Override
  public Completion trim(long offset, long length, Durability durability, Blocking blocking)
      throws BlockException {
    int noted = tracking.changing(offset, length, blocking);
    if (noted < 0) {
      return Completion.WOULD_BLOCK;
    }
    boolean blocked = false;
    try {
      Completion completion = below.trim(offset, length, durability, blocking);
      blocked = completion == Completion.WOULD_BLOCK;
      return completion;
    } finally {
      if (!blocked) {
        tracking.changed(noted, offset, length, blocking);
      }
    }
  }

  @Override
  public Completion flush(Blocking blocking) throws BlockException {
    Completion completion = below.flush(blocking);
    if (completion == Completion.DONE && blocking == Blocking.ALLOWED) {
      tracking.flushed();
    }
    return completion;
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
    return below.extents(offset, length, blocking);
  }

  /** Closes the disk first: what it changes at its end is its content id. */
  @Override
  public void close() throws BlockException {
    try {
      below.close();
    } finally {
      tracking.close();
    }
  }
}
