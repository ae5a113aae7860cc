package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;
import static io.filterd.vmdk.SparseExtentHeader.TABLE_SECTORS;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.BlockSizes;
import io.filterd.block.Blocking;
import io.filterd.block.Capability;
import io.filterd.block.Completion;
import io.filterd.block.DeviceInfo;
import io.filterd.block.Durability;
import io.filterd.block.Extents;
import io.filterd.block.Pool;
import io.filterd.block.RangeLock;
import io.filterd.block.ZeroMode;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.BitSet;
import java.util.EnumSet;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReentrantLock;

/**
 * A monolithic sparse disk, open for writing: the mapping of a link's content to its file.
 *
 * <p>A new grain gets space in the file, its content, and an entry in the table in memory; the
 * tables are written by a <em>commit</em>: sync, so that the grains are durable; write the changed
 * tables, the redundant ones first; sync. A flush is a commit. So after a crash a table never names
 * a grain whose content is not there: a unit is old, new, or zeros. The space of a grain that was
 * given up is punched and used again only after the commit that made its new table entry durable:
 * 0, or, where the header allows it, the mark of a grain of zeros.
 *
 * <p>The minimum block is a sector: that is what the format counts in, and what a disk writes whole
 * or not at all.
 *
 * <p>Locks, outermost first: a range of grains ({@link #ranges}: shared to use entries, exclusive
 * to change them); {@link #commitLock}; {@link GrainTables#lock}.
 */
final class SparseLink implements BlockDevice {
  private static final int MINIMUM_BLOCK_BYTES = SECTOR_BYTES;
  private static final int PREFERRED_BLOCK_BYTES = 4096;
  private static final int LARGEST_REQUEST_BYTES = 32 << 20;

  /** So many changed entries are committed even if nobody flushes: they take memory. */
  private static final int PENDING_LIMIT_GRAINS = 4096;

  /** Zeroing locks no more than this at a time, so that commits can come in between. */
  private static final long ZEROED_AT_A_TIME_BYTES = 256L << 20;

  /** 64 MiB: with the usual grains, all tables of 1 TiB. */
  private static final int CACHE_LIMIT_TABLES = 32_768;

  private static final int TABLE_BYTES = TABLE_SECTORS * SECTOR_BYTES;
  private static final int TABLES_AT_A_TIME = 64;

  /** For tables on their way to a file; a disk may have thousands of extents. */
  private static final Pool<ByteBuffer> TABLE_BUFFERS =
      new Pool<>(
          () ->
              ByteBuffer.allocateDirect(TABLES_AT_A_TIME * TABLE_BYTES)
                  .order(ByteOrder.LITTLE_ENDIAN));

  private final ExtentFile file;
  private final ChangeMark mark;
  private final RangeLock ranges;
  private final int grainBytes;
  private final int grainSectors;

  /** The entry of a grain that was zeroed or trimmed: 0, or the mark of zeros. */
  private final long zeroEntry;

  // What growth changes, while it holds all ranges and the lock of commits.
  private SparseExtentHeader header;
  private GrainTables tables;
  private int[] tableSectors;
  private int[] redundantTableSectors;
  private SparseReader reader;
  private volatile long sizeBytes;
  private volatile DeviceInfo info;

  /** Counts completed changes. */
  private final AtomicLong changes = new AtomicLong();

  /** So many of the changes are durable. */
  private volatile long durableChanges;

  /** Guards commits: one at a time. */
  private final ReentrantLock commitLock = new ReentrantLock();

  // The space of the file, guarded by the lock of the tables: what is used, and which of that no
  // entry in memory names any more, though one on the disk may.
  private final GrainSpace space;
  private BitSet givenUp = new BitSet();

  /** Changed entries since the last commit began. */
  private final AtomicInteger pendingGrains = new AtomicInteger();

  /** Whether the file says that it is open for writing. */
  private volatile boolean marked;

  /** Whether anything may have been changed. */
  private volatile boolean changing;

  /** Whether free space could not be given back: the mark stays, and the next opening does it. */
  private volatile boolean leaks;

  private boolean closed;

  private SparseLink(ExtentFile file, SparseExtentHeader header, ChangeMark mark, TableScan scan) {
    this.file = file;
    this.mark = mark;
    this.header = header;
    this.sizeBytes = header.capacityBytes();
    this.grainBytes = header.grainBytes();
    this.grainSectors = header.grainSectors();
    this.tableSectors = scan.tables();
    this.redundantTableSectors = scan.redundantTables();
    this.tables = newTables(header, tableSectors);
    this.space =
        new GrainSpace(
            file.name(), scan.used(), (int) (SparseLayout.FILE_LIMIT_SECTORS / grainSectors));
    this.reader = new SparseReader(file, tables);
    this.ranges = new RangeLock(grainBytes);
    this.marked = header.uncleanShutdown();
    this.zeroEntry = marksZeros(header) ? GrainTables.ZERO_ENTRY : 0;
    this.info = newInfo(sizeBytes);
  }

  private static boolean marksZeros(SparseExtentHeader of) {
    return of.hasZeroGrains() && of.version() >= 2;
  }

  private GrainTables newTables(SparseExtentHeader of, int[] sectors) {
    return new GrainTables(
        file,
        of,
        index -> Integer.toUnsignedLong(sectors[index]),
        SparseLayout.FILE_LIMIT_SECTORS,
        CACHE_LIMIT_TABLES);
  }

  private DeviceInfo newInfo(long bytes) {
    Set<Capability> capabilities =
        EnumSet.of(
            Capability.WRITE,
            Capability.FLUSH,
            Capability.TRIM,
            Capability.ZERO,
            Capability.TRACKS_ZEROS,
            Capability.PARTIAL_ALLOCATION,
            Capability.MULTIPLE_CONNECTIONS);
    if (marksZeros(header)) {
      capabilities.add(Capability.MARKS_ZEROS);
    }
    return new DeviceInfo(
        bytes,
        new BlockSizes(MINIMUM_BLOCK_BYTES, PREFERRED_BLOCK_BYTES, LARGEST_REQUEST_BYTES),
        grainBytes,
        capabilities);
  }

  /**
   * Opens the mapping, after a look at all its tables. A file that was not closed cleanly is
   * repaired first.
   *
   * @param file the locked file; taken over when this returns
   * @param twoSlots whether the file has two slots for its descriptor
   */
  static SparseLink open(
      ExtentFile file, SparseExtentHeader header, ChangeMark mark, boolean twoSlots)
      throws BlockException, FormatException {
    if (header.isCompressed() || header.version() > 2) {
      throw new FormatException(
          file.name(),
          4,
          "version",
          header.version() + (header.isCompressed() ? ", compressed" : ""),
          "1 or 2, to write the disk; it can be read, and imported into a new one");
    }
    TableScan scan = TableScan.read(file, header, twoSlots ? SparseLayout.SLOTS_END_SECTOR : 1);
    if (header.uncleanShutdown()) {
      scan.repair(file, header);
    }
    return new SparseLink(file, header, mark, scan);
  }

  @Override
  public DeviceInfo info() {
    return info;
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
    int length = target.remaining();
    if (!ranges.lockShared(offset, length, blocking)) {
      return Extents.WOULD_BLOCK;
    }
    try {
      return reader.read(offset, target, blocking);
    } finally {
      ranges.unlockShared(offset, length);
    }
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
    if (!ranges.lockShared(offset, length, blocking)) {
      return Extents.WOULD_BLOCK;
    }
    try {
      return reader.extents(offset, length, blocking);
    } finally {
      ranges.unlockShared(offset, length);
    }
  }

  @Override
  public Completion write(long offset, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    if (blocking == Blocking.FORBIDDEN && (durability == Durability.DURABLE || !changing)) {
      return Completion.WOULD_BLOCK;
    }
    beginChanges();
    int start = source.position();
    int limit = source.limit();
    boolean stored = false;
    try {
      if (!writeInPlace(offset, source, blocking)) {
        if (blocking == Blocking.FORBIDDEN) {
          return Completion.WOULD_BLOCK;
        }
        writeAllocating(offset, source);
      }
      finishChange(durability);
      stored = true;
      return Completion.DONE;
    } finally {
      source.limit(limit).position(stored ? limit : start);
    }
  }

  /** Marks the file before its first change. */
  private void beginChanges() throws BlockException {
    if (changing) {
      return;
    }
    commitLock.lock();
    try {
      if (!changing) {
        mark.beginChanges();
        marked = true;
        changing = true;
      }
    } finally {
      commitLock.unlock();
    }
  }

  /** Counts a change, and makes it durable if that is asked for, or much is not. */
  private void finishChange(Durability durability) throws BlockException {
    long number = changes.incrementAndGet();
    if (durability == Durability.DURABLE) {
      makeDurable(number);
    } else {
      boundPending();
    }
  }

  private void boundPending() throws BlockException {
    if (pendingGrains.get() < PENDING_LIMIT_GRAINS) {
      return;
    }
    commitLock.lock();
    try {
      if (pendingGrains.get() >= PENDING_LIMIT_GRAINS) {
        commit();
      }
    } finally {
      commitLock.unlock();
    }
  }

  /**
   * Writes to grains that are there; false, with nothing done, if one is not, or if it would block.
   */
  private boolean writeInPlace(long offset, ByteBuffer source, Blocking blocking)
      throws BlockException {
    int length = source.remaining();
    if (!ranges.lockShared(offset, length, blocking)) {
      return false;
    }
    try {
      long end = offset + length;
      long place = tables.locate(offset, blocking);
      if (place <= 0) {
        return false;
      }
      long run = reader.runBytes(offset, end, place, blocking);
      if (run == length) {
        return file.write(place, source, blocking);
      }
      if (blocking == Blocking.FORBIDDEN) {
        return false; // A second piece could not take back the first.
      }
      for (long at = offset + run; at < end; at += tables.restOfGrain(at)) {
        if (tables.locate(at, blocking) <= 0) {
          return false;
        }
      }
      for (long at = offset; at < end; ) {
        at += writeRun(at, end, source);
      }
      return true;
    } finally {
      ranges.unlockShared(offset, length);
    }
  }

  /** Writes to the grains from {@code at} on that are there, side by side in the file. */
  private long writeRun(long at, long end, ByteBuffer source) throws BlockException {
    long place = tables.locate(at, Blocking.ALLOWED);
    long run = reader.runBytes(at, end, place, Blocking.ALLOWED);
    int limit = source.limit();
    source.limit((int) (source.position() + run));
    file.write(place, source, Blocking.ALLOWED);
    source.limit(limit);
    return run;
  }

  private void writeAllocating(long offset, ByteBuffer source) throws BlockException {
    int length = source.remaining();
    ranges.lockExclusive(offset, length, Blocking.ALLOWED);
    try {
      long end = offset + length;
      for (long at = offset; at < end; ) {
        at +=
            tables.locate(at, Blocking.ALLOWED) > 0
                ? writeRun(at, end, source)
                : writeNewGrains(at, end, source);
      }
    } finally {
      ranges.unlockExclusive(offset, length);
    }
  }

  /** Writes to the grains from {@code at} on that are not there: some of them, side by side. */
  private long writeNewGrains(long at, long end, ByteBuffer source) throws BlockException {
    long head = at % grainBytes;
    GrainSpace.Run run = take((int) Math.ceilDiv(head + newBytes(at, end), grainBytes));
    long place = (long) run.first() * grainBytes;
    long runBytes = (long) run.count() * grainBytes;
    long bytes = Math.min(runBytes - head, end - at);
    int limit = source.limit();
    boolean entered = false;
    try {
      // A new grain is always written whole: its space may hold what was there before.
      Zeros.write(file, place, head);
      source.limit((int) (source.position() + bytes));
      file.write(place + head, source, Blocking.ALLOWED);
      source.limit(limit);
      Zeros.write(file, place + head + bytes, runBytes - head - bytes);
      enter(at / grainBytes, run);
      entered = true;
    } finally {
      if (!entered) {
        takeBack(run);
      }
    }
    return bytes;
  }

  /** The bytes from {@code at} on that lie in grains that are not there. */
  private long newBytes(long at, long end) throws BlockException {
    long length = Math.min(tables.restOfGrain(at), end - at);
    while (at + length < end && tables.locate(at + length, Blocking.ALLOWED) <= 0) {
      length += Math.min(tables.restOfGrain(at + length), end - at - length);
    }
    return length;
  }

  private GrainSpace.Run take(int wanted) throws BlockException {
    tables.lock.lock();
    try {
      return space.take(wanted);
    } finally {
      tables.lock.unlock();
    }
  }

  /** Gives back space that was taken and then not used, after a failure. */
  private void takeBack(GrainSpace.Run run) throws BlockException {
    boolean punched = false;
    try {
      file.punchHole((long) run.first() * grainBytes, (long) run.count() * grainBytes);
      punched = true;
    } finally {
      if (!punched) {
        leaks = true;
      }
      tables.lock.lock();
      try {
        space.giveBack(run.first(), run.count());
      } finally {
        tables.lock.unlock();
      }
    }
  }

  /** Makes consecutive grains of the disk those of the file. */
  private void enter(long grain, GrainSpace.Run run) throws BlockException {
    set(grain, run.count(), (long) run.first() * grainSectors);
  }

  private void set(long grain, int count, long firstSector) throws BlockException {
    tables.lock.lock();
    try {
      tables.set(grain, count, firstSector, this::giveUp);
      pendingGrains.addAndGet(count);
    } finally {
      tables.lock.unlock();
    }
  }

  /** Notes that no entry in memory names a sector any more. */
  private void giveUp(long sector) {
    if (sector >= grainSectors) { // Else it is the mark of a grain of zeros.
      givenUp.set((int) (sector / grainSectors));
    }
  }

  @Override
  public Completion zero(
      long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
      throws BlockException {
    if (mode.fast() && (mode.allocates() || !isWholeGrains(offset, length))) {
      throw new BlockException(
          Reason.NOT_SUPPORTED, file.name() + ": only whole grains are zeroed fast");
    }
    if (blocking == Blocking.FORBIDDEN) {
      return Completion.WOULD_BLOCK;
    }
    beginChanges();
    long end = offset + length;
    for (long at = offset; at < end; ) {
      long bytes = Math.min(end - at, ZEROED_AT_A_TIME_BYTES - at % ZEROED_AT_A_TIME_BYTES);
      ranges.lockExclusive(at, bytes, Blocking.ALLOWED);
      try {
        zeroPieces(at, at + bytes, mode.allocates());
      } finally {
        ranges.unlockExclusive(at, bytes);
      }
      boundPending();
      at += bytes;
    }
    finishChange(durability);
    return Completion.DONE;
  }

  private boolean isWholeGrains(long offset, long length) {
    long end = offset + length;
    return offset % grainBytes == 0 && (end % grainBytes == 0 || end == sizeBytes);
  }

  private void zeroPieces(long offset, long end, boolean allocates) throws BlockException {
    for (long at = offset; at < end; ) {
      long bytes = Math.min(tables.restOfGrain(at), end - at);
      long place = tables.locate(at, Blocking.ALLOWED);
      if (!allocates && isCleared(place) && isWholeGrains(at, bytes)) {
        bytes = runOfCleared(at, end);
        set(at / grainBytes, (int) Math.ceilDiv(bytes, grainBytes), zeroEntry);
      } else if (place > 0) {
        Zeros.write(file, place, bytes);
      } else if (allocates) {
        allocateZeros(at);
      }
      at += bytes;
    }
  }

  /** Whether zeroing a whole grain changes its entry. */
  private boolean isCleared(long place) {
    return place > 0 || (place == GrainTables.ABSENT && zeroEntry != 0);
  }

  /** The bytes from {@code at} on in grains whose entries change, and wholly before the end. */
  private long runOfCleared(long at, long end) throws BlockException {
    long length = Math.min(tables.restOfGrain(at), end - at);
    while (at + length < end
        && isWholeGrains(at + length, Math.min(grainBytes, end - at - length))
        && isCleared(tables.locate(at + length, Blocking.ALLOWED))) {
      length += Math.min(grainBytes, end - at - length);
    }
    return length;
  }

  /** Zeros that are stored: a hole could run out of space later. */
  private void allocateZeros(long at) throws BlockException {
    GrainSpace.Run run = take(1);
    boolean entered = false;
    try {
      Zeros.write(file, (long) run.first() * grainBytes, grainBytes);
      enter(at / grainBytes, run);
      entered = true;
    } finally {
      if (!entered) {
        takeBack(run);
      }
    }
  }

  @Override
  public Completion trim(long offset, long length, Durability durability, Blocking blocking)
      throws BlockException {
    return zero(offset, length, ZeroMode.MAY_DEALLOCATE, durability, blocking);
  }

  @Override
  public Completion flush(Blocking blocking) throws BlockException {
    long number = changes.get();
    if (durableChanges >= number) {
      return Completion.DONE;
    }
    if (blocking == Blocking.FORBIDDEN) {
      return Completion.WOULD_BLOCK;
    }
    makeDurable(number);
    return Completion.DONE;
  }

  /**
   * Makes so many of the changes durable. Of those who wait while one commit runs, the first makes
   * the next, for all.
   */
  private void makeDurable(long number) throws BlockException {
    commitLock.lock();
    try {
      if (durableChanges < number) {
        commit();
      }
    } finally {
      commitLock.unlock();
    }
  }

  /** Makes all that is completed durable. The caller holds {@link #commitLock}. */
  private void commit() throws BlockException {
    long covered = changes.get();
    GrainTables.Snapshot snapshot;
    BitSet free;
    tables.lock.lock();
    try {
      snapshot = tables.takeChanges();
      free = givenUp;
      givenUp = new BitSet();
      pendingGrains.set(0);
    } finally {
      tables.lock.unlock();
    }
    boolean written = false;
    try {
      file.sync();
      if (snapshot.indexes().length > 0) {
        ByteBuffer buffer = TABLE_BUFFERS.take();
        try {
          if (redundantTableSectors.length > 0) {
            write(snapshot, redundantTableSectors, buffer);
          }
          write(snapshot, tableSectors, buffer);
        } finally {
          TABLE_BUFFERS.giveBack(buffer);
        }
        file.sync();
      }
      written = true;
    } finally {
      if (!written) {
        resume(free);
      }
    }
    tables.lock.lock();
    try {
      tables.written();
    } finally {
      tables.lock.unlock();
    }
    durableChanges = covered;
    reuse(free);
  }

  /** Makes what a failed commit had taken on the business of the next one. */
  private void resume(BitSet free) {
    tables.lock.lock();
    try {
      tables.notWritten();
      givenUp.or(free);
      pendingGrains.addAndGet(free.cardinality() + 1);
    } finally {
      tables.lock.unlock();
    }
  }

  /** Writes the tables of a snapshot to their places, neighbours together. */
  private void write(GrainTables.Snapshot snapshot, int[] sectors, ByteBuffer buffer)
      throws BlockException {
    int[] indexes = snapshot.indexes();
    for (int first = 0; first < indexes.length; ) {
      int sector = sectors[indexes[first]];
      buffer.clear();
      int next = first;
      do {
        buffer.asIntBuffer().put(snapshot.images()[next]);
        buffer.position(buffer.position() + TABLE_BYTES);
        next++;
      } while (next < indexes.length
          && next - first < TABLES_AT_A_TIME
          && sectors[indexes[next]] == sector + (next - first) * TABLE_SECTORS);
      file.write(Integer.toUnsignedLong(sector) * SECTOR_BYTES, buffer.flip(), Blocking.ALLOWED);
      first = next;
    }
  }

  /** No entry names these any more, on the disk either: nobody reads them, and no crash can. */
  private void reuse(BitSet free) throws BlockException {
    for (int first = free.nextSetBit(0); first >= 0; ) {
      int end = free.nextClearBit(first);
      takeBack(new GrainSpace.Run(first, end - first));
      first = free.nextSetBit(end);
    }
  }

  /**
   * Makes the disk larger, also while it is in use: requests wait. What is new reads as zeros. A
   * crash leaves the old size or the new one.
   *
   * @throws BlockException with {@code NOT_SUPPORTED} if the file was made by others
   */
  void grow(long newSizeBytes) throws BlockException {
    if (!(mark instanceof EmbeddedDescriptor descriptor) || !descriptor.hasTwoSlots()) {
      throw new BlockException(
          Reason.NOT_SUPPORTED,
          file.name()
              + ": others have made it, or it is one of several extents: import it into a new disk to"
              + " make it larger");
    }
    long everything = (long) grainBytes * Long.SIZE; // A unit of each of the locks.
    ranges.lockExclusive(0, everything, Blocking.ALLOWED);
    commitLock.lock();
    try {
      beginChanges();
      growLocked(descriptor, newSizeBytes / SECTOR_BYTES);
    } finally {
      commitLock.unlock();
      ranges.unlockExclusive(0, everything);
    }
  }

  private void growLocked(EmbeddedDescriptor descriptor, long capacitySectors)
      throws BlockException {
    commit(); // So that the tables in the file are those in memory.
    if (SparseExtentHeader.tableCount(capacitySectors, grainSectors) == header.tableCount()) {
      clearBehindEnd();
      SparseExtentHeader grown = SparseGrowth.withCapacity(header, capacitySectors);
      descriptor.grow(grown);
      useGrown(grown, tableSectors, redundantTableSectors);
      return;
    }
    SparseGrowth growth = SparseGrowth.of(header, capacitySectors);
    BitSet room = new BitSet();
    boolean grown = false;
    try {
      makeRoom(growth.firstGrain(), growth.endGrain(), room);
      commit(); // Now no table names a grain there.
      clearBehindEnd();
      growth.write(file, tableSectors);
      descriptor.grow(growth.header());
      grown = true;
    } finally {
      if (!grown) {
        giveUp(room);
      }
    }
    useGrown(growth.header(), growth.tables(), growth.redundantTables());
    growth.punchOldSet(file);
  }

  /**
   * Moves the grains in a range of the file to other places, and lets nobody have theirs.
   *
   * @param room is told which grains of the file are in nobody's use any more
   */
  private void makeRoom(int first, int end, BitSet room) throws BlockException {
    boolean any = false;
    tables.lock.lock();
    try {
      for (int grain = first; grain < end; grain++) {
        boolean used = space.isUsed(grain);
        room.set(grain, !used);
        any |= used;
      }
      space.reserve(first, end);
    } finally {
      tables.lock.unlock();
    }
    ByteBuffer content = ByteBuffer.allocateDirect(grainBytes);
    for (long at = 0; any && at < sizeBytes; at += grainBytes) {
      long place = tables.locate(at, Blocking.ALLOWED);
      if (place > 0 && place / grainBytes < end) {
        content.clear().limit((int) Math.min(grainBytes, file.sizeBytes() - place));
        file.read(place, content, Blocking.ALLOWED);
        GrainSpace.Run run = take(1);
        file.write((long) run.first() * grainBytes, content.flip(), Blocking.ALLOWED);
        tables.lock.lock();
        try {
          tables.set(
              at / grainBytes,
              1,
              (long) run.first() * grainSectors,
              sector -> room.set((int) (sector / grainSectors)));
        } finally {
          tables.lock.unlock();
        }
      }
    }
  }

  /** Gives up grains of the file: the next commit makes them free. */
  private void giveUp(BitSet grains) {
    tables.lock.lock();
    try {
      givenUp.or(grains);
    } finally {
      tables.lock.unlock();
    }
  }

  /** Makes zeros of what the last grain has behind the disk's end: it is about to be seen. */
  private void clearBehindEnd() throws BlockException {
    long rest = sizeBytes % grainBytes;
    long place = rest == 0 ? 0 : tables.locate(sizeBytes - rest, Blocking.ALLOWED);
    if (place > 0) {
      Zeros.write(file, place + rest, grainBytes - rest);
      file.sync();
    }
  }

  private void useGrown(SparseExtentHeader grown, int[] sectors, int[] redundantSectors) {
    header = grown;
    tableSectors = sectors;
    redundantTableSectors = redundantSectors;
    tables = newTables(grown, sectors);
    reader = new SparseReader(file, tables);
    sizeBytes = grown.capacityBytes();
    info = newInfo(sizeBytes);
  }

  /** Commits, marks the file as cleanly closed, and releases it; it is released in any case. */
  @Override
  public synchronized void close() throws BlockException {
    if (closed) {
      return;
    }
    closed = true;
    try (file) {
      if (changing) {
        commitLock.lock();
        try {
          commit();
        } finally {
          commitLock.unlock();
        }
        long endBytes = (long) space.end() * grainBytes;
        if (file.sizeBytes() > endBytes) {
          file.truncate(endBytes);
        }
      }
      if (marked && !leaks) {
        mark.endChanges();
      }
    }
  }
}
