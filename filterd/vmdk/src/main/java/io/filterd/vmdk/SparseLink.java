package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;

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
import io.filterd.block.RangeLock;
import io.filterd.block.ZeroMode;
import java.nio.ByteBuffer;
import java.util.BitSet;
import java.util.EnumSet;
import java.util.Set;

/**
 * A monolithic sparse disk, open for writing: the mapping of a link's content to its file.
 *
 * <p>A new grain gets space in the file, its content, and an entry in the table in memory; the
 * tables are written by a {@linkplain SparseCommits commit}. A flush is a commit. So after a crash
 * a table never names a grain whose content is not there: a unit is old, new, or zeros. The space
 * of a grain that was given up is punched and used again only after the commit that made its new
 * table entry durable: 0, or, where the header allows it, the mark of a grain of zeros.
 *
 * <p>The minimum block is a sector: that is what the format counts in, and what a disk writes whole
 * or not at all.
 *
 * <p>Locks, outermost first: a range of grains ({@link #ranges}: shared to use entries, exclusive
 * to change them); {@link SparseCommits#lock}; {@link GrainTables#lock}; that of {@link
 * GrainPlaces}.
 */
final class SparseLink implements BlockDevice {
  private static final int MINIMUM_BLOCK_BYTES = SECTOR_BYTES;
  private static final int PREFERRED_BLOCK_BYTES = 4096;
  private static final int LARGEST_REQUEST_BYTES = 32 << 20;

  /** Zeroing locks no more than this at a time, so that commits can come in between. */
  private static final long ZEROED_AT_A_TIME_BYTES = 256L << 20;

  /** 64 MiB: with the usual grains, all tables of 1 TiB. */
  private static final int CACHE_LIMIT_TABLES = 32_768;

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
  private SparseReader reader;
  private volatile long sizeBytes;
  private volatile DeviceInfo info;

  private final GrainPlaces places;
  private final SparseCommits commits;

  /** Whether the file says that it is open for writing. */
  private volatile boolean marked;

  /** Whether anything may have been changed. */
  private volatile boolean changing;

  private boolean closed;

  private SparseLink(ExtentFile file, SparseExtentHeader header, ChangeMark mark, TableScan scan) {
    this.file = file;
    this.mark = mark;
    this.header = header;
    this.sizeBytes = header.capacityBytes();
    this.grainBytes = header.grainBytes();
    this.grainSectors = header.grainSectors();
    this.tables = newTables(header, scan.tables());
    this.places = new GrainPlaces(file, header, scan.used());
    this.commits =
        new SparseCommits(
            file, places, tables, new TableWriter(file, scan.tables(), scan.redundantTables()));
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
    commits.lock.lock();
    try {
      if (!changing) {
        mark.beginChanges();
        marked = true;
        changing = true;
      }
    } finally {
      commits.lock.unlock();
    }
  }

  /** Counts a change, and makes it durable if that is asked for, or much is not. */
  private void finishChange(Durability durability) throws BlockException {
    long number = commits.changed();
    if (durability == Durability.DURABLE) {
      commits.makeDurable(number);
    } else {
      commits.boundPending();
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
    GrainSpace.Run run = places.take((int) Math.ceilDiv(head + newBytes(at, end), grainBytes));
    long bytes = Math.min((long) run.count() * grainBytes - head, end - at);
    boolean entered = false;
    try {
      places.fill(run, head, source, (int) bytes);
      enter(at / grainBytes, run);
      entered = true;
    } finally {
      if (!entered) {
        places.takeBack(run);
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

  /** Makes consecutive grains of the disk those of the file. */
  private void enter(long grain, GrainSpace.Run run) throws BlockException {
    set(grain, run.count(), (long) run.first() * grainSectors);
  }

  private void set(long grain, int count, long firstSector) throws BlockException {
    tables.lock.lock();
    try {
      tables.set(grain, count, firstSector, places::giveUp);
    } finally {
      tables.lock.unlock();
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
      commits.boundPending();
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
    GrainSpace.Run run = places.take(1);
    boolean entered = false;
    try {
      places.fillWithZeros(run);
      enter(at / grainBytes, run);
      entered = true;
    } finally {
      if (!entered) {
        places.takeBack(run);
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
    long number = commits.lastChange();
    if (commits.isDurable(number)) {
      return Completion.DONE;
    }
    if (blocking == Blocking.FORBIDDEN) {
      return Completion.WOULD_BLOCK;
    }
    commits.makeDurable(number);
    return Completion.DONE;
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
    commits.lock.lock();
    try {
      beginChanges();
      growLocked(descriptor, newSizeBytes / SECTOR_BYTES);
    } finally {
      commits.lock.unlock();
      ranges.unlockExclusive(0, everything);
    }
  }

  private void growLocked(EmbeddedDescriptor descriptor, long capacitySectors)
      throws BlockException {
    commits.commit(); // So that the tables in the file are those in memory.
    GrainMove move = new GrainMove(file, header, tables, places);
    if (SparseExtentHeader.tableCount(capacitySectors, grainSectors) == header.tableCount()) {
      move.clearBehindEnd();
      SparseExtentHeader grown = SparseGrowth.withCapacity(header, capacitySectors);
      descriptor.grow(grown);
      useGrown(grown, commits.writer().tables(), commits.writer().redundantTables());
      return;
    }
    SparseGrowth growth = SparseGrowth.of(header, capacitySectors);
    BitSet room = new BitSet();
    boolean grown = false;
    try {
      move.outOf(growth.firstGrain(), growth.endGrain(), room);
      commits.commit(); // Now no table names a grain there.
      move.clearBehindEnd();
      growth.write(file, commits.writer().tables());
      descriptor.grow(growth.header());
      grown = true;
    } finally {
      if (!grown) {
        places.giveUp(room); // The next commit makes them free.
      }
    }
    useGrown(growth.header(), growth.tables(), growth.redundantTables());
    growth.punchOldSet(file);
  }

  private void useGrown(SparseExtentHeader grown, int[] sectors, int[] redundantSectors) {
    header = grown;
    tables = newTables(grown, sectors);
    commits.use(tables, new TableWriter(file, sectors, redundantSectors));
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
        commits.lock.lock();
        try {
          commits.commit();
        } finally {
          commits.lock.unlock();
        }
        long endBytes = places.endBytes();
        if (file.sizeBytes() > endBytes) {
          file.truncate(endBytes);
        }
      }
      if (marked && !places.leaks()) { // Else the next opening gives it back.
        mark.endChanges();
      }
    }
  }
}
