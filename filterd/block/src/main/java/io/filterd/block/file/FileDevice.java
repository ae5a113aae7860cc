package io.filterd.block.file;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.BlockSizes;
import io.filterd.block.Blocking;
import io.filterd.block.Capability;
import io.filterd.block.Completion;
import io.filterd.block.DeviceInfo;
import io.filterd.block.Durability;
import io.filterd.block.ExtentKind;
import io.filterd.block.Extents;
import io.filterd.block.ZeroMode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.Set;

/**
 * The bytes of a file as a device, through the page cache. Holes of the file are extents of zeros,
 * but a read can't tell them from data, so a cipher must not rely on them.
 */
public final class FileDevice implements BlockDevice {
  private static final int ZEROS_BYTES = 1 << 20;

  /** One answer about extents has no more parts than this. */
  private static final int EXTENT_PARTS_LIMIT = 512;

  private static final ByteBuffer ZEROS = ByteBuffer.allocateDirect(ZEROS_BYTES).asReadOnlyBuffer();

  private final BlockFile file;
  private final DeviceInfo info;

  /** Takes over the file; its size must not change. */
  public FileDevice(BlockFile file) throws BlockException {
    this.file = file;
    boolean writable = file.access() == BlockFile.Access.READ_WRITE;
    Set<Capability> capabilities = EnumSet.of(Capability.MULTIPLE_CONNECTIONS);
    if (writable) {
      capabilities.addAll(
          EnumSet.of(
              Capability.WRITE,
              Capability.FLUSH,
              Capability.DURABLE_WRITE,
              Capability.TRIM,
              Capability.ZERO,
              Capability.PARTIAL_ALLOCATION));
    }
    this.info =
        new DeviceInfo(file.sizeBytes(), new BlockSizes(1, 4096, 32 << 20), 4096, capabilities);
  }

  /** Opens and locks a regular file. */
  public static FileDevice open(Path path, BlockFile.Access access)
      throws IOException, BlockException {
    BlockFile file = BlockFile.open(path, access);
    boolean opened = false;
    try {
      file.lock();
      FileDevice device = new FileDevice(file);
      opened = true;
      return device;
    } finally {
      if (!opened) {
        file.close();
      }
    }
  }

  /** Makes a new file of this size, one hole, and opens it for writing. */
  public static FileDevice create(Path path, long sizeBytes) throws IOException, BlockException {
    BlockFile file = BlockFile.create(path);
    boolean made = false;
    try {
      file.lock();
      file.truncate(sizeBytes);
      AtomicFile.syncFolderOf(path);
      FileDevice device = new FileDevice(file);
      made = true;
      return device;
    } finally {
      if (!made) {
        file.close();
        Files.deleteIfExists(path);
      }
    }
  }

  @Override
  public DeviceInfo info() {
    return info;
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
    return file.read(offset, target, blocking) == Completion.DONE
        ? Extents.ALL_DATA
        : Extents.WOULD_BLOCK;
  }

  @Override
  public Completion write(long offset, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    return file.write(offset, source, durability, blocking);
  }

  @Override
  public Completion zero(
      long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
      throws BlockException {
    if (blocking == Blocking.FORBIDDEN) {
      return Completion.WOULD_BLOCK;
    }
    boolean done =
        mode.allocates() ? file.zeroRange(offset, length) : file.punchHole(offset, length);
    if (!done) {
      if (mode.fast()) {
        throw new BlockException(
            Reason.NOT_SUPPORTED, file.path() + ": the file system has no fast zeroing");
      }
      for (long at = 0; at < length; at += ZEROS_BYTES) {
        ByteBuffer zeros = ZEROS.slice(0, (int) Math.min(ZEROS_BYTES, length - at));
        file.write(offset + at, zeros, Durability.BUFFERED, Blocking.ALLOWED);
      }
    }
    if (durability == Durability.DURABLE) {
      file.dataSync();
    }
    return Completion.DONE;
  }

  @Override
  public Completion trim(long offset, long length, Durability durability, Blocking blocking)
      throws BlockException {
    return zero(offset, length, ZeroMode.MAY_DEALLOCATE, durability, blocking);
  }

  @Override
  public Completion flush(Blocking blocking) throws BlockException {
    if (!info.can(Capability.FLUSH)) {
      return Completion.DONE;
    }
    if (blocking == Blocking.FORBIDDEN) {
      return Completion.WOULD_BLOCK;
    }
    file.dataSync();
    return Completion.DONE;
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
    if (blocking == Blocking.FORBIDDEN) {
      return Extents.WOULD_BLOCK;
    }
    long end = offset + length;
    Extents.Builder parts = new Extents.Builder();
    for (long at = offset; at < end && parts.count() < EXTENT_PARTS_LIMIT; ) {
      long data = Math.max(at, file.nextData(at, end));
      parts.add(data - at, ExtentKind.ZERO);
      long hole = data < end ? Math.max(data + 1, file.nextHole(data, end)) : end;
      parts.add(hole - data, ExtentKind.DATA);
      at = hole;
    }
    return parts.build();
  }

  @Override
  public void close() throws BlockException {
    try {
      flush(Blocking.ALLOWED);
    } finally {
      file.close();
    }
  }
}
