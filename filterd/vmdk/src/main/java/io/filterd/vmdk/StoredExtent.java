package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Completion;
import io.filterd.block.Durability;
import io.filterd.block.file.BlockFile;
import java.nio.ByteBuffer;
import java.util.concurrent.atomic.AtomicBoolean;

/** An extent's file on a file system. */
final class StoredExtent implements ExtentFile {
  private final BlockFile file;
  private final AtomicBoolean closed = new AtomicBoolean();

  /** Takes over the open file. */
  StoredExtent(BlockFile file) {
    this.file = file;
  }

  @Override
  public String name() {
    return file.path().toString();
  }

  @Override
  public long sizeBytes() throws BlockException {
    return file.sizeBytes();
  }

  @Override
  public boolean read(long position, ByteBuffer target, Blocking blocking) throws BlockException {
    return file.read(position, target, blocking) == Completion.DONE;
  }

  @Override
  public boolean write(long position, ByteBuffer source, Blocking blocking) throws BlockException {
    return file.write(position, source, Durability.BUFFERED, blocking) == Completion.DONE;
  }

  @Override
  public void sync() throws BlockException {
    file.dataSync();
  }

  @Override
  public void truncate(long sizeBytes) throws BlockException {
    file.truncate(sizeBytes);
  }

  @Override
  public void allocateZeros(long position, long length) throws BlockException {
    if (!file.zeroRange(position, length)) {
      Zeros.write(this, position, length);
    }
  }

  @Override
  public long nextData(long position, long end) throws BlockException {
    return file.nextData(position, end);
  }

  @Override
  public long nextHole(long position, long end) throws BlockException {
    return file.nextHole(position, end);
  }

  @Override
  public boolean punchHole(long position, long length) throws BlockException {
    return file.punchHole(position, length);
  }

  @Override
  public void close() throws BlockException {
    // A link is closed by who stands in front of it, and by its disk.
    if (!closed.getAndSet(true)) {
      file.close();
    }
  }
}
