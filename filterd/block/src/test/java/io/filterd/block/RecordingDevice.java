package io.filterd.block;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/** Passes everything on, and remembers what it was asked, in the order in which calls began. */
public final class RecordingDevice extends IoFilter {
  private final List<String> operations = new ArrayList<>();

  /** Records what is asked of {@code below}. */
  public RecordingDevice(BlockDevice below) {
    super(below);
  }

  /**
   * What was asked since the last call of this, as {@code read 0+512}, {@code write 0+512}, {@code
   * zero 0+512 ALLOCATE}, {@code trim 0+512}, {@code flush}, {@code extents 0+512}, {@code close};
   * with {@code durable} and {@code nonblocking} at the end where they were.
   */
  public synchronized List<String> takeOperations() {
    List<String> taken = List.copyOf(operations);
    operations.clear();
    return taken;
  }

  private synchronized void record(String operation, Durability durability, Blocking blocking) {
    operations.add(
        operation
            + (durability == Durability.DURABLE ? " durable" : "")
            + (blocking == Blocking.FORBIDDEN ? " nonblocking" : ""));
  }

  @Override
  public DeviceInfo info() {
    return below.info();
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
    record("read " + offset + "+" + target.remaining(), Durability.BUFFERED, blocking);
    return below.read(offset, target, blocking);
  }

  @Override
  public Completion write(long offset, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    record("write " + offset + "+" + source.remaining(), durability, blocking);
    return below.write(offset, source, durability, blocking);
  }

  @Override
  public Completion zero(
      long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
      throws BlockException {
    record("zero " + offset + "+" + length + " " + mode, durability, blocking);
    return below.zero(offset, length, mode, durability, blocking);
  }

  @Override
  public Completion trim(long offset, long length, Durability durability, Blocking blocking)
      throws BlockException {
    record("trim " + offset + "+" + length, durability, blocking);
    return below.trim(offset, length, durability, blocking);
  }

  @Override
  public Completion flush(Blocking blocking) throws BlockException {
    record("flush", Durability.BUFFERED, blocking);
    return below.flush(blocking);
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
    record("extents " + offset + "+" + length, Durability.BUFFERED, blocking);
    return below.extents(offset, length, blocking);
  }

  @Override
  public void close() throws BlockException {
    record("close", Durability.BUFFERED, Blocking.ALLOWED);
    below.close();
  }
}
