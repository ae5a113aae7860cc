package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.Blocking;
import java.nio.ByteBuffer;

/** A range of a file that is a file itself: a member of an archive. For reading only. */
final class FilePart implements ExtentFile {
  private final ExtentFile whole;
  private final String name;
  private final long start;
  private final long sizeBytes;

  /** Takes over {@code whole}, in which the range must be. */
  FilePart(ExtentFile whole, String name, long start, long sizeBytes) {
    this.whole = whole;
    this.name = name;
    this.start = start;
    this.sizeBytes = sizeBytes;
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public long sizeBytes() {
    return sizeBytes;
  }

  @Override
  public boolean read(long position, ByteBuffer target, Blocking blocking) throws BlockException {
    if (position < 0 || position > sizeBytes - target.remaining()) {
      throw new BlockException(
          Reason.IO_ERROR,
          name
              + ": bytes "
              + position
              + "+"
              + target.remaining()
              + " (expected: inside its "
              + sizeBytes
              + " bytes)");
    }
    return whole.read(start + position, target, blocking);
  }

  @Override
  public boolean write(long position, ByteBuffer source, Blocking blocking) throws BlockException {
    throw readOnly();
  }

  @Override
  public void sync() {}

  @Override
  public void truncate(long size) throws BlockException {
    throw readOnly();
  }

  @Override
  public void allocateZeros(long position, long length) throws BlockException {
    throw readOnly();
  }

  @Override
  public long nextData(long position, long end) throws BlockException {
    return whole.nextData(start + position, start + end) - start;
  }

  @Override
  public long nextHole(long position, long end) throws BlockException {
    return whole.nextHole(start + position, start + end) - start;
  }

  @Override
  public boolean punchHole(long position, long length) throws BlockException {
    throw readOnly();
  }

  private BlockException readOnly() {
    return new BlockException(Reason.READ_ONLY, name + ": open read-only");
  }

  @Override
  public void close() throws BlockException {
    whole.close();
  }
}
