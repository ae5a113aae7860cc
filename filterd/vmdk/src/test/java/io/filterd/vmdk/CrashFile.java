package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.Blocking;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;

/**
 * A file in memory that remembers the order of what is done to it, so that it can be seen as a
 * crash at any moment would have left it. Can run out of space, and can fail. For one thread.
 */
final class CrashFile implements ExtentFile {
  /** What was done to the file. */
  private sealed interface Change {
    @SuppressWarnings("ArrayRecordComponent") // never compared
    record Write(long position, byte[] bytes) implements Change {}

    record Truncate(long sizeBytes) implements Change {}

    record Punch(long position, long length) implements Change {}

    record Sync() implements Change {}
  }

  private static final int SECTOR_BYTES = 512;

  private final CrashOrder order;
  private final List<Change> log = new ArrayList<>();

  /** Which number in the order of all files each entry of the log has. */
  private final List<Integer> numbers = new ArrayList<>();

  private final byte[] before;
  private byte[] now;
  private int size;
  private boolean syncFailed;
  private long limitBytes = Long.MAX_VALUE;
  private boolean closed;

  /** An empty file. */
  CrashFile() {
    this(new byte[0]);
  }

  /** A file that durably holds {@code bytes}. */
  CrashFile(byte[] bytes) {
    this(bytes, new CrashOrder());
  }

  /** A file that durably holds {@code bytes}, one of several. */
  CrashFile(byte[] bytes, CrashOrder order) {
    this.order = order;
    this.before = bytes;
    this.now = bytes.clone();
    this.size = bytes.length;
  }

  /** The order that the changes and syncs of this file are part of. */
  CrashOrder order() {
    return order;
  }

  /** The number of changes and syncs so far. */
  int logSize() {
    return log.size();
  }

  /** The number of syncs so far. */
  int syncs() {
    return (int) log.stream().filter(Change.Sync.class::isInstance).count();
  }

  /** The number of changes and syncs of this file among the first {@code cut} of all files. */
  int logSizeAt(int cut) {
    return (int) numbers.stream().filter(number -> number < cut).count();
  }

  /** From now on, sectors that are not zeros may take no more than so many bytes. */
  void limit(long bytes) {
    limitBytes = bytes;
  }

  /** Lets the change or sync with this number in the log fail, and no other. */
  void failAt(int index) {
    order.failAt(index);
  }

  boolean isClosed() {
    return closed;
  }

  /** The file as the process has left it after the first {@code count} log entries. */
  byte[] killedAfter(int count) {
    Image image = new Image(before);
    log.subList(0, count).forEach(image::apply);
    return image.bytes();
  }

  /**
   * The file as a power failure after the first {@code count} log entries may have left it: of what
   * was done since the last sync, any sectors of any writes made it to the disk.
   */
  byte[] lostPowerAfter(int count, SplittableRandom random) {
    int synced = 0;
    for (int i = 0; i < count; i++) {
      if (log.get(i) instanceof Change.Sync) {
        synced = i + 1;
      }
    }
    Image image = new Image(before);
    log.subList(0, synced).forEach(image::apply);
    // Nothing, little, half, most, or all of it.
    double chance = random.nextInt(5) / 4.0;
    for (Change change : log.subList(synced, count)) {
      if (change instanceof Change.Write(long position, byte[] bytes)) {
        for (int at = 0; at < bytes.length; at += SECTOR_BYTES) {
          if (random.nextDouble() < chance) {
            int end = Math.min(bytes.length, at + SECTOR_BYTES);
            image.apply(new Change.Write(position + at, Arrays.copyOfRange(bytes, at, end)));
          }
        }
      } else if (random.nextDouble() < chance) {
        image.apply(change);
      }
    }
    return image.bytes();
  }

  /** The bytes of a file that changes are made to. */
  private static final class Image {
    private byte[] bytes;
    private int size;

    Image(byte[] start) {
      bytes = start.clone();
      size = start.length;
    }

    void apply(Change change) {
      switch (change) {
        case Change.Write(long position, byte[] written) -> {
          int end = Math.toIntExact(position + written.length);
          if (end > bytes.length) {
            bytes = Arrays.copyOf(bytes, Math.max(end, bytes.length * 2));
          }
          size = Math.max(size, end);
          System.arraycopy(written, 0, bytes, (int) position, written.length);
        }
        case Change.Truncate(long sizeBytes) -> {
          int end = Math.toIntExact(sizeBytes);
          if (end > bytes.length) {
            bytes = Arrays.copyOf(bytes, end);
          }
          Arrays.fill(bytes, Math.min(size, end), Math.max(size, end), (byte) 0);
          size = end;
        }
        case Change.Punch(long position, long length) -> {
          int from = (int) Math.min(size, position);
          Arrays.fill(bytes, from, (int) Math.min(size, position + length), (byte) 0);
        }
        case Change.Sync() -> {}
      }
    }

    byte[] bytes() {
      return Arrays.copyOf(bytes, size);
    }
  }

  private void done(Change change) {
    log.add(change);
    numbers.add(order.next());
    Image image = new Image(new byte[0]);
    image.bytes = now;
    image.size = size;
    image.apply(change);
    now = image.bytes;
    size = image.size;
  }

  @Override
  public String name() {
    return "crash.vmdk";
  }

  @Override
  public long sizeBytes() {
    return size;
  }

  @Override
  public boolean read(long position, ByteBuffer target, Blocking blocking) throws BlockException {
    if (position + target.remaining() > size) {
      throw new BlockException(Reason.IO_ERROR, name() + ": ends at " + size);
    }
    target.put(now, (int) position, target.remaining());
    return true;
  }

  @Override
  public boolean write(long position, ByteBuffer source, Blocking blocking) throws BlockException {
    checkSynced();
    order.failIfTold();
    int length = source.remaining();
    byte[] bytes = new byte[length];
    source.get(bytes);
    if (position + length > limitBytes) {
      // Some of it fits.
      int fits = (int) Math.max(0, limitBytes - position);
      done(new Change.Write(position, Arrays.copyOf(bytes, fits)));
      source.position(source.position() - length);
      throw new BlockException(Reason.NO_SPACE, "told to be full");
    }
    done(new Change.Write(position, bytes));
    return true;
  }

  @Override
  public void sync() throws BlockException {
    checkSynced();
    boolean synced = false;
    try {
      order.failIfTold();
      synced = true;
    } finally {
      syncFailed = !synced;
    }
    done(new Change.Sync());
  }

  @Override
  public void truncate(long sizeBytes) throws BlockException {
    checkSynced();
    order.failIfTold();
    done(new Change.Truncate(sizeBytes));
  }

  @Override
  public void allocateZeros(long position, long length) throws BlockException {
    write(position, ByteBuffer.allocate((int) length), Blocking.ALLOWED);
  }

  @Override
  public long nextData(long position, long end) {
    long at = position;
    while (at < Math.min(end, size) && now[(int) at] == 0) {
      at++;
    }
    return at < size ? at : end;
  }

  @Override
  public long nextHole(long position, long end) {
    long at = position;
    while (at < Math.min(end, size) && now[(int) at] != 0) {
      at++;
    }
    return Math.min(at, end);
  }

  @Override
  public boolean punchHole(long position, long length) throws BlockException {
    checkSynced();
    order.failIfTold();
    done(new Change.Punch(position, length));
    return true;
  }

  private void checkSynced() throws BlockException {
    if (syncFailed) {
      throw new BlockException(Reason.IO_ERROR, "a sync has failed");
    }
  }

  @Override
  public void close() {
    closed = true;
  }
}
