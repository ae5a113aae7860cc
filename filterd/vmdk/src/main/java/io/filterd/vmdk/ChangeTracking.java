package io.filterd.vmdk;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.Blocking;
import io.filterd.block.file.AtomicFile;
import io.filterd.block.file.BlockFile;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.LongSupplier;

/**
 * Remembers which grains of a disk were changed since named points, in a file beside the disk, as
 * VMware's changed block tracking and qemu's persistent dirty bitmaps do. {@link #track} gives the
 * device that changes must go through. For many threads.
 *
 * <p>No change is ever missed. Before a grain is changed its entry in the map gets the present
 * epoch, which each new point raises by one; and before that its region (64 MiB or more) is noted
 * as an intent, durably. After a crash all of the regions with an intent count as changed: an
 * answer may then name too much. If the disk's content id shows that others have written it, all of
 * it counts as changed.
 *
 * <p>The file: two copies of a head ({@link ChangeRecord}), one bit for each region, two bytes for
 * each grain: 16 MiB at most, also in memory, outside the Java heap. It tells who reads it where
 * changes were made, as the allocation of the disk's file does, and nothing of their content.
 */
public final class ChangeTracking implements AutoCloseable {
  private static final int SMALLEST_GRAIN_BYTES = 64 << 10;
  private static final int MAP_LIMIT_GRAINS = 8 << 20;

  /** A disk that grows keeps its grains: so many are in the map then, 64 MiB, and no more. */
  private static final int GROWN_MAP_LIMIT_GRAINS = 4 * MAP_LIMIT_GRAINS;

  private static final long SMALLEST_REGION_BYTES = 64L << 20;

  /** So many regions at first: the bits have room for 16 times as many, for disks that grow. */
  private static final int REGIONS = 2048;

  private static final int INTENTS_AT = 2 * ChangeRecord.SIZE_BYTES;
  private static final int INTENTS_BYTES = 4096;
  private static final int MAP_AT = INTENTS_AT + INTENTS_BYTES;
  private static final int PAGE_GRAINS = 2048;
  private static final int PAGE_BYTES = PAGE_GRAINS * Short.BYTES;
  private static final long CHECKPOINT_NANOS = TimeUnit.SECONDS.toNanos(5);

  /** One call without blocking looks at no more than this. */
  private static final int GRAINS_WITHOUT_BLOCKING = 1 << 14;

  private static final ValueLayout.OfShort ENTRY =
      ValueLayout.JAVA_SHORT.withOrder(ByteOrder.LITTLE_ENDIAN);

  private final ExtentFile file;
  private final LongSupplier contentId;
  private final MemorySegment map;
  private final int grainShift;
  private final int regionShift;
  private final int grains;

  /** Guards all below, and the entries of the map, which are read without it. */
  private final ReentrantLock lock = new ReentrantLock();

  private ChangeRecord record;
  private final BitSet changedPages = new BitSet();

  /** The regions with an intent in the file, and those of them that were noted lately. */
  private BitSet intents = new BitSet();

  private BitSet earlierIntents = new BitSet();
  private BitSet lateIntents = new BitSet();
  private boolean intentsStored;
  private long lastCheckpoint = System.nanoTime();
  private boolean closed;

  /** What a change enters now. Written under the lock, after the map when both change. */
  private volatile int epoch;

  /** Whether the file says that changes may have been made. */
  private volatile boolean open;

  /** Whether the file has the content id that came with the first change. */
  private volatile boolean laterIdStored;

  /** One thread at a time writes the map. */
  private final ReentrantLock checkpointLock = new ReentrantLock();

  /**
   * A named point.
   *
   * @param since when it was set
   * @param grainBytes what changes are told apart by
   */
  public record Point(String name, Instant since, int grainBytes) {}

  /** Takes the parts of a range, one after the other. */
  @FunctionalInterface
  public interface Parts {
    /** Takes the next part; whether more is wanted. */
    boolean add(long partBytes, boolean changed);
  }

  private ChangeTracking(ExtentFile file, ChangeRecord record, LongSupplier contentId) {
    this.file = file;
    this.record = record;
    this.contentId = contentId;
    this.epoch = record.epoch();
    this.grainShift = Integer.numberOfTrailingZeros(record.grainBytes());
    this.regionShift = Long.numberOfTrailingZeros(record.regionBytes());
    this.grains = grains(record);
    // Lives as long as it is looked at: an answer may be on its way when this is closed.
    this.map = Arena.ofAuto().allocate(Math.max(1, pages(grains)) * (long) PAGE_BYTES, Long.BYTES);
  }

  /** Where the changes of a disk are kept: beside it, whichever its top link is. */
  public static Path fileOf(Path disk) {
    String name = disk.getFileName().toString().replaceFirst("(?:-[0-9]{6})?(?:\\.vmdk)?$", "");
    return disk.resolveSibling(name + ".changes");
  }

  /**
   * Makes the file, with its whole size, for a disk whose changes were not tracked so far.
   *
   * @throws java.nio.file.FileAlreadyExistsException if there is one
   */
  public static void create(Path path, long sizeBytes, long contentId)
      throws IOException, BlockException {
    boolean made = false;
    BlockFile created = BlockFile.create(path);
    try (ExtentFile file = new StoredExtent(created)) {
      write(file, sizeBytes, contentId);
      AtomicFile.syncFolderOf(path);
      made = true;
    } finally {
      if (!made) {
        Files.deleteIfExists(path);
      }
    }
  }

  static void write(ExtentFile file, long sizeBytes, long contentId) throws BlockException {
    int grainBytes = SMALLEST_GRAIN_BYTES;
    while (sizeBytes / grainBytes >= MAP_LIMIT_GRAINS) {
      grainBytes <<= 1;
    }
    long regionBytes = Math.max(grainBytes, SMALLEST_REGION_BYTES);
    while (sizeBytes / regionBytes >= REGIONS) {
      regionBytes <<= 1;
    }
    ChangeRecord empty =
        new ChangeRecord(
            sizeBytes, grainBytes, regionBytes, 0, 1, false, contentId, contentId, List.of());
    long end = MAP_AT + pages(grains(empty)) * (long) PAGE_BYTES;
    file.truncate(end);
    // Later writes to it must not run out of space: a change that can't be noted must fail.
    file.allocateZeros(0, end);
    empty.writeTo(file);
    empty.with(1, List.of()).writeTo(file);
    file.sync();
  }

  /**
   * Opens the file of a disk.
   *
   * @param sizeBytes the disk's size; what it grew counts as changed
   * @param contentId gives the disk's content id, which the first change after each opening changes
   * @throws FormatException if it is damaged, or of another disk: then its points are lost
   */
  public static ChangeTracking open(Path path, long sizeBytes, LongSupplier contentId)
      throws IOException, BlockException {
    ExtentFile file = ExtentFiles.open(path, Access.READ_WRITE);
    boolean opened = false;
    try {
      ChangeTracking tracking = open(file, sizeBytes, contentId);
      opened = true;
      return tracking;
    } finally {
      if (!opened) {
        file.close();
      }
    }
  }

  /** Takes over the open file when it returns. */
  static ChangeTracking open(ExtentFile file, long sizeBytes, LongSupplier contentId)
      throws FormatException, BlockException {
    ChangeRecord found = ChangeRecord.read(file);
    ChangeRecord sized = found.withSize(sizeBytes);
    if (sizeBytes < found.sizeBytes()
        || Math.ceilDiv(sizeBytes, found.regionBytes()) > INTENTS_BYTES * 8L
        || Math.ceilDiv(sizeBytes, found.grainBytes()) > GROWN_MAP_LIMIT_GRAINS) {
      throw new FormatException(
          file.name(),
          16,
          "size",
          found.sizeBytes() + " bytes",
          "at most the disk's " + sizeBytes + ", and no small part of it");
    }
    long mapBytes = pages(grains(found)) * (long) PAGE_BYTES;
    if (file.sizeBytes() < MAP_AT + mapBytes) {
      throw new FormatException(
          file.name(), file.sizeBytes(), "map", "the file ends here", MAP_AT + mapBytes + " bytes");
    }
    ChangeTracking tracking = new ChangeTracking(file, sized, contentId);
    tracking.load(found, mapBytes);
    return tracking;
  }

  private static int grains(ChangeRecord record) {
    return Math.toIntExact(Math.ceilDiv(record.sizeBytes(), record.grainBytes()));
  }

  private static int pages(int grains) {
    return Math.ceilDiv(grains, PAGE_GRAINS);
  }

  private void load(ChangeRecord found, long mapBytes) throws BlockException {
    ByteBuffer bits = ByteBuffer.allocateDirect(INTENTS_BYTES);
    file.read(INTENTS_AT, bits, Blocking.ALLOWED);
    BitSet stored = BitSet.valueOf(bits.flip());
    for (long at = 0; at < mapBytes; at += 1 << 20) {
      long bytes = Math.min(1 << 20, mapBytes - at);
      file.read(MAP_AT + at, map.asSlice(at, bytes).asByteBuffer(), Blocking.ALLOWED);
    }
    long id = contentId.getAsLong();
    boolean ours = id == found.contentId() || (found.open() && id == found.laterContentId());
    int regions = (int) Math.ceilDiv(record.sizeBytes(), record.regionBytes());
    if (!ours) {
      intents.set(0, regions);
    } else if (found.open()) {
      stored.stream().filter(region -> region < regions).forEach(intents::set);
    }
    intents.stream().forEach(this::enterRegion);
    int known = grains(found);
    if (known < grains) {
      enter(known, grains);
      intents.set((int) (((long) known << grainShift) >>> regionShift), regions);
    }
    lateIntents = (BitSet) intents.clone();
  }

  private void enterRegion(int region) {
    int first = (int) (((long) region << regionShift) >>> grainShift);
    int end = (int) Math.min(grains, ((region + 1L) << regionShift) >>> grainShift);
    enter(first, end);
  }

  /** Enters the present epoch. The caller holds the lock, or is the only one. */
  private void enter(int first, int end) {
    short now = (short) epoch;
    for (int grain = first; grain < end; grain++) {
      map.setAtIndex(ENTRY, grain, now);
    }
    changedPages.set(first / PAGE_GRAINS, (end - 1) / PAGE_GRAINS + 1);
  }

  /** The points since which changes are known, the oldest first. */
  public List<Point> points() {
    lock.lock();
    try {
      return record.points().stream()
          .map(point -> new Point(point.name(), point.since(), record.grainBytes()))
          .toList();
    } finally {
      lock.unlock();
    }
  }

  /**
   * Sets a point: from now on changes since it are known. Durable when this returns. A change that
   * is under way counts as made after it.
   *
   * @param name 1 to 96 characters of ASCII, no blank, colon or quote
   * @throws BlockException {@code NOT_SUPPORTED} if there is one of this name, or there are 16
   */
  public void mark(String name) throws BlockException {
    ChangeRecord.checkName(name);
    lock.lock();
    try {
      if (find(name).isPresent()) {
        throw new BlockException(
            Reason.NOT_SUPPORTED, "point " + name + " is there already: forget it first");
      }
      if (record.points().size() == ChangeRecord.POINT_LIMIT || epoch == ChangeRecord.LAST_EPOCH) {
        throw new BlockException(
            Reason.NOT_SUPPORTED,
            "no room for point %s: %d points, epoch %d (expected: fewer than %d, and below %d)"
                .formatted(
                    name,
                    record.points().size(),
                    epoch,
                    ChangeRecord.POINT_LIMIT,
                    ChangeRecord.LAST_EPOCH));
      }
      beginLocked();
      List<ChangeRecord.Point> points = new ArrayList<>(record.points());
      Instant now = Instant.now().truncatedTo(ChronoUnit.MILLIS);
      points.add(new ChangeRecord.Point(name, epoch, now));
      store(record.with(epoch + 1, points));
      epoch = record.epoch();
    } finally {
      lock.unlock();
    }
  }

  /**
   * Forgets a point. Durable when this returns.
   *
   * @return whether there was one of this name
   */
  public boolean forget(String name) throws BlockException {
    lock.lock();
    try {
      Optional<ChangeRecord.Point> point = find(name);
      if (point.isEmpty()) {
        return false;
      }
      beginLocked();
      List<ChangeRecord.Point> points = new ArrayList<>(record.points());
      points.remove(point.get());
      store(record.with(epoch, points));
      return true;
    } finally {
      lock.unlock();
    }
  }

  private Optional<ChangeRecord.Point> find(String name) {
    return record.points().stream().filter(point -> point.name().equals(name)).findFirst();
  }

  private void store(ChangeRecord next) throws BlockException {
    next.writeTo(file);
    file.sync();
    record = next;
  }

  /**
   * Says which parts of a range were changed since a point. May end early, but not before the first
   * part.
   *
   * @param lengthBytes at least 1, inside the disk
   * @return false, without a part, if there is no point of this name
   */
  public boolean changes(String point, long offset, long lengthBytes, Parts parts) {
    int since;
    lock.lock();
    try {
      Optional<ChangeRecord.Point> found = find(point);
      if (found.isEmpty() || closed) {
        return false;
      }
      since = found.get().epoch();
    } finally {
      lock.unlock();
    }
    long end = offset + lengthBytes;
    long start = offset;
    boolean changed = isChanged(offset, since);
    long at = endOfGrain(offset);
    for (; at < end; at = endOfGrain(at)) {
      if (isChanged(at, since) != changed) {
        if (!parts.add(at - start, changed)) {
          return true;
        }
        start = at;
        changed = !changed;
      }
    }
    parts.add(end - start, changed);
    return true;
  }

  private long endOfGrain(long offset) {
    return ((offset >>> grainShift) + 1) << grainShift;
  }

  private boolean isChanged(long offset, int since) {
    return Short.toUnsignedInt(map.getAtIndex(ENTRY, offset >>> grainShift)) > since;
  }

  /** The device that notes what is changed in {@code below}, which it takes over. */
  public BlockDevice track(BlockDevice below) {
    return new TrackedDevice(below, this);
  }

  /**
   * Notes that a range is about to be changed.
   *
   * @return the epoch that it was noted with, for {@link #changed}; -1 if this would block
   */
  int changing(long offset, long length, Blocking blocking) throws BlockException {
    int now = epoch;
    int first = (int) (offset >>> grainShift);
    int last = (int) ((offset + length - 1) >>> grainShift);
    if (blocking == Blocking.FORBIDDEN && (!open || last - first > GRAINS_WITHOUT_BLOCKING)) {
      return -1;
    }
    if (open) {
      int grain = first;
      while (grain <= last && map.getAtIndex(ENTRY, grain) == (short) now) {
        grain++;
      }
      if (grain > last) {
        return now;
      }
    }
    return note(first, last, blocking);
  }

  private int note(int first, int last, Blocking blocking) throws BlockException {
    if (blocking == Blocking.ALLOWED) {
      lock.lock();
    } else if (!lock.tryLock()) {
      return -1;
    }
    try {
      int firstRegion = (int) (((long) first << grainShift) >>> regionShift);
      int lastRegion = (int) (((long) last << grainShift) >>> regionShift);
      if (intents.nextClearBit(firstRegion) <= lastRegion || !open || !intentsStored) {
        if (blocking == Blocking.FORBIDDEN) {
          return -1;
        }
        beginLocked();
        intend(firstRegion, lastRegion);
      }
      lateIntents.set(firstRegion, lastRegion + 1);
      enter(first, last + 1);
      return epoch;
    } finally {
      lock.unlock();
    }
  }

  private void intend(int firstRegion, int lastRegion) throws BlockException {
    if (intents.nextClearBit(firstRegion) <= lastRegion || !intentsStored) {
      BitSet more = (BitSet) intents.clone();
      more.set(firstRegion, lastRegion + 1);
      writeIntents(more);
      file.sync();
      intents = more;
      intentsStored = true;
    }
  }

  private void writeIntents(BitSet bits) throws BlockException {
    ByteBuffer bytes = ByteBuffer.allocateDirect(INTENTS_BYTES);
    bytes.put(bits.toByteArray());
    file.write(INTENTS_AT, bytes.clear(), Blocking.ALLOWED);
  }

  /** Says in the file that changes may be made. The caller holds the lock. */
  private void beginLocked() throws BlockException {
    if (open) {
      return;
    }
    growFile();
    // What counts as changed since the opening is only in memory: the intents say it in the file.
    writeIntents(intents);
    file.sync();
    intentsStored = true;
    long id = contentId.getAsLong();
    store(record.next(true, id, id));
    open = true;
  }

  private void growFile() throws BlockException {
    long end = MAP_AT + pages(grains) * (long) PAGE_BYTES;
    long size = file.sizeBytes();
    if (size < end) {
      file.truncate(end);
      file.allocateZeros(size, end - size);
    }
  }

  /**
   * Says that a change is done. One that was under way when a point was set is noted again.
   *
   * @param noted what {@link #changing} answered
   */
  void changed(int noted, long offset, long length, Blocking blocking) throws BlockException {
    if (epoch != noted) {
      // Seldom, and too late to say that it would block.
      changing(offset, length, Blocking.ALLOWED);
    }
    if (!laterIdStored && blocking == Blocking.ALLOWED) {
      storeLaterId();
    }
  }

  private void storeLaterId() throws BlockException {
    lock.lock();
    try {
      if (!laterIdStored) {
        ChangeRecord next = record.next(true, record.contentId(), contentId.getAsLong());
        store(next);
        laterIdStored = true;
      }
    } finally {
      lock.unlock();
    }
  }

  /** Writes the map now and then, so that few regions count as changed after a crash. */
  void flushed() throws BlockException {
    if (!open || System.nanoTime() - lastCheckpoint < CHECKPOINT_NANOS) {
      return;
    }
    if (checkpointLock.tryLock()) {
      try {
        checkpoint();
      } finally {
        checkpointLock.unlock();
      }
    }
  }

  /** Writes the map; intents of regions that were not changed lately are taken back. */
  void checkpoint() throws BlockException {
    BitSet pages;
    lock.lock();
    try {
      pages = (BitSet) changedPages.clone();
      changedPages.clear();
      earlierIntents = lateIntents;
      lateIntents = new BitSet();
      lastCheckpoint = System.nanoTime();
    } finally {
      lock.unlock();
    }
    boolean written = false;
    try {
      writePages(pages);
      file.sync();
      written = true;
    } finally {
      if (!written) {
        lock.lock();
        try {
          changedPages.or(pages);
          lateIntents.or(intents);
        } finally {
          lock.unlock();
        }
      }
    }
    lock.lock();
    try {
      BitSet kept = (BitSet) earlierIntents.clone();
      kept.or(lateIntents);
      if (!kept.equals(intents)) {
        writeIntents(kept);
        intents = kept;
      }
    } finally {
      lock.unlock();
    }
  }

  private void writePages(BitSet pages) throws BlockException {
    for (int first = pages.nextSetBit(0); first >= 0; ) {
      int end = Math.min(pages.nextClearBit(first), first + 256);
      long at = (long) first * PAGE_BYTES;
      ByteBuffer bytes = map.asSlice(at, (long) (end - first) * PAGE_BYTES).asByteBuffer();
      file.write(MAP_AT + at, bytes, Blocking.ALLOWED);
      first = pages.nextSetBit(end);
    }
  }

  /** Writes the map and says in the file that it is whole. After the last change. */
  @Override
  public void close() throws BlockException {
    lock.lock();
    try {
      if (closed) {
        return;
      }
      closed = true;
      try (file) {
        if (open) {
          writePages(changedPages);
          file.sync();
          long id = contentId.getAsLong();
          store(record.next(false, id, id));
        }
      }
    } finally {
      lock.unlock();
    }
  }
}
