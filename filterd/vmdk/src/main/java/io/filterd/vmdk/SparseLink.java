package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.ENTRIES_PER_TABLE;
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
import io.filterd.block.RangeLock;
import io.filterd.block.ZeroMode;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.EnumSet;
import java.util.List;
import java.util.concurrent.locks.ReentrantLock;

/**
 * A monolithic sparse disk, open for writing: the mapping of a link's content to its file.
 *
 * <p>A new grain gets space at the end of the file and an entry in the table in memory; the tables
 * are written by a <em>commit</em>: sync, so that the grains are durable; write the changed tables,
 * the redundant ones first; sync. A flush is a commit. So after a crash a table never names a grain
 * whose content is not there: a unit is old, new, or zeros. The space of a grain that was given up
 * is punched and used again only after the commit that made its table entry 0 durable.
 *
 * <p>Locks, outermost first: a range of grains ({@link #ranges}: shared to use entries, exclusive
 * to change them); {@link #commitLock}; {@link #space}; {@link GrainTables#lock}.
 */
final class SparseLink implements BlockDevice {
  private static final int MINIMUM_BLOCK_BYTES = SECTOR_BYTES;
  private static final int PREFERRED_BLOCK_BYTES = 4096;
  private static final int LARGEST_REQUEST_BYTES = 32 << 20;

  /** The file grows by holes of this size, so that it grows seldom. */
  private static final long GROWTH_BYTES = 4L << 20;

  /** So many changed grains are committed even if nobody flushes, to bound what a crash loses. */
  private static final int PENDING_LIMIT_GRAINS = 16_384;

  private static final int CACHE_LIMIT_TABLES = 32_768;

  private final ExtentFile file;
  private final SparseExtentHeader header;
  private final EmbeddedDescriptor descriptor;
  private final GrainTables tables;
  private final GrainTables.Directory directory;
  private final GrainTables.Directory redundantDirectory;
  private final SparseReader reader;
  private final RangeLock ranges;
  private final DeviceInfo info;
  private final long sizeBytes;
  private final int grainBytes;

  /** Guards the commit: one at a time. */
  private final ReentrantLock commitLock = new ReentrantLock();

  private volatile long commitsBegun;
  private long commitsDone; // Guarded by commitLock.
  private final ByteBuffer tableBytes =
      ByteBuffer.allocateDirect(TABLE_SECTORS * SECTOR_BYTES).order(ByteOrder.LITTLE_ENDIAN);

  /** Guards the allocation of space in the file: the fields below. */
  private final ReentrantLock space = new ReentrantLock();

  private final ArrayDeque<Long> freeSectors = new ArrayDeque<>();
  private List<Long> givenUp = new ArrayList<>();
  private long nextSector;
  private long fileBytes;
  private int pendingGrains;

  private volatile boolean changing;

  private SparseLink(
      ExtentFile file, SparseExtentHeader header, EmbeddedDescriptor descriptor, long fileBytes) {
    this.file = file;
    this.header = header;
    this.descriptor = descriptor;
    this.sizeBytes = header.capacityBytes();
    this.grainBytes = header.grainBytes();
    this.directory = GrainTables.directoryInFile(file, header, fileBytes);
    this.redundantDirectory =
        header.hasRedundantTables()
            ? GrainTables.directoryInFile(file, redundant(header), fileBytes)
            : index -> 0;
    this.tables =
        new GrainTables(
            file, header, directory, SparseLayout.FILE_LIMIT_SECTORS, CACHE_LIMIT_TABLES);
    this.reader = new SparseReader(file, tables);
    this.ranges = new RangeLock(grainBytes);
    this.fileBytes = fileBytes;
    this.nextSector =
        Math.ceilDiv(Math.ceilDiv(fileBytes, SECTOR_BYTES), header.grainSectors())
            * header.grainSectors();
    this.info =
        new DeviceInfo(
            sizeBytes,
            new BlockSizes(MINIMUM_BLOCK_BYTES, PREFERRED_BLOCK_BYTES, LARGEST_REQUEST_BYTES),
            grainBytes,
            EnumSet.of(
                Capability.WRITE,
                Capability.FLUSH,
                Capability.TRIM,
                Capability.ZERO,
                Capability.TRACKS_ZEROS,
                Capability.PARTIAL_ALLOCATION,
                Capability.MULTIPLE_CONNECTIONS));
  }

  private static SparseExtentHeader redundant(SparseExtentHeader header) {
    return new SparseExtentHeader(
        header.version(),
        header.flags(),
        header.capacitySectors(),
        header.grainSectors(),
        header.descriptorOffset(),
        header.descriptorSectors(),
        header.redundantDirectoryOffset(),
        header.redundantDirectoryOffset(),
        header.overheadSectors(),
        header.uncleanShutdown(),
        header.compressAlgorithm());
  }

  /**
   * Opens the mapping. A file that was not closed cleanly is repaired first: what the redundant
   * tables say is made what the tables say, and the tail that no entry names is cut off. Doing it
   * again, or half, does no harm.
   *
   * @param file the locked file; taken over when this returns
   */
  static SparseLink open(ExtentFile file, SparseExtentHeader header, EmbeddedDescriptor descriptor)
      throws BlockException, FormatException {
    SparseLink link = new SparseLink(file, header, descriptor, file.sizeBytes());
    link.checkTablesExist();
    if (header.uncleanShutdown()) {
      link.repair();
    }
    return link;
  }

  /** qemu and we write only into tables that have their space. */
  private void checkTablesExist() throws BlockException, FormatException {
    // The first and the last tell a file whose tables were made on demand; each is checked in use.
    for (int index : new int[] {0, header.tableCount() - 1}) {
      if (directory.tableSector(index) == 0) {
        throw new FormatException(
            file.name(),
            header.directoryOffset() * SECTOR_BYTES + (long) index * Integer.BYTES,
            "grain directory entry " + index,
            "0",
            "a table, to write the disk; it can be read, and imported into a new one");
      }
    }
  }

  private void repair() throws BlockException, FormatException {
    BitSet used = new BitSet();
    long endSector = header.overheadSectors();
    int grainSectors = header.grainSectors();
    ByteBuffer copy =
        ByteBuffer.allocateDirect(tableBytes.capacity()).order(ByteOrder.LITTLE_ENDIAN);
    for (int index = 0; index < header.tableCount(); index++) {
      long sector = tableSector(directory, index, "grain directory");
      read(sector, tableBytes);
      for (int i = 0; i < ENTRIES_PER_TABLE; i++) {
        long grain = Integer.toUnsignedLong(tableBytes.getInt(i * Integer.BYTES));
        if (grain == 0 || (grain == 1 && header.hasZeroGrains())) {
          continue;
        }
        long at = sector * SECTOR_BYTES + (long) i * Integer.BYTES;
        if (grain < header.overheadSectors()
            || grain % grainSectors != 0
            || (grain + grainSectors) * SECTOR_BYTES > fileBytes + grainBytes) {
          throw new FormatException(
              file.name(), at, "grain table entry", Long.toString(grain), "a grain of the file");
        }
        int number = (int) (grain / grainSectors);
        if (used.get(number)) {
          throw new FormatException(
              file.name(), at, "grain table entry", Long.toString(grain), "a grain used once");
        }
        used.set(number);
        endSector = Math.max(endSector, grain + grainSectors);
      }
      long redundantSector = redundantDirectory.tableSector(index);
      if (redundantSector != 0) {
        read(redundantSector, copy);
        if (copy.mismatch(tableBytes) >= 0) {
          file.write(redundantSector * SECTOR_BYTES, tableBytes, Blocking.ALLOWED);
          tableBytes.rewind();
        }
      }
    }
    long endBytes = endSector * SECTOR_BYTES;
    if (fileBytes != endBytes) {
      file.truncate(endBytes);
      fileBytes = endBytes;
    }
    nextSector = endSector;
    file.sync();
  }

  private void read(long sector, ByteBuffer target) throws BlockException {
    target.clear();
    file.read(sector * SECTOR_BYTES, target, Blocking.ALLOWED);
    target.flip();
  }

  private long tableSector(GrainTables.Directory of, int index, String what) throws BlockException {
    long sector = of.tableSector(index);
    if (sector == 0) {
      throw new BlockException(
          Reason.IO_ERROR,
          file.name() + ": " + what + " entry " + index + ": 0 (expected: a table)");
    }
    return sector;
  }

  /** The descriptor of the disk. */
  DescriptorStore descriptor() {
    return descriptor;
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

  /** Marks the file before its first change. */
  private boolean beginChanges(Blocking blocking) throws BlockException {
    if (changing) {
      return true;
    }
    if (blocking == Blocking.FORBIDDEN) {
      return false;
    }
    commitLock.lock();
    try {
      if (!changing) {
        descriptor.beginChanges();
        changing = true;
      }
    } finally {
      commitLock.unlock();
    }
    return true;
  }

  @Override
  public Completion write(long offset, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    if ((durability == Durability.DURABLE && blocking == Blocking.FORBIDDEN)
        || !beginChanges(blocking)) {
      return Completion.WOULD_BLOCK;
    }
    int start = source.position();
    int limit = source.limit();
    boolean stored = false;
    try {
      if (!writeInPlace(offset, source, blocking)) {
        if (blocking == Blocking.FORBIDDEN) {
          return Completion.WOULD_BLOCK;
        }
        source.limit(limit).position(start);
        writeAllocating(offset, source);
      }
      if (durability == Durability.DURABLE) {
        commit();
      } else if (pendingGrains > PENDING_LIMIT_GRAINS) {
        commit();
      }
      stored = true;
      return Completion.DONE;
    } finally {
      source.limit(limit).position(stored ? limit : start);
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
        return false; // A second piece could not be taken back with the first.
      }
      for (long at = offset + run; at < end; at += tables.restOfGrain(at)) {
        if (tables.locate(at, blocking) <= 0) {
          return false;
        }
      }
      writePieces(offset, source);
      return true;
    } finally {
      ranges.unlockShared(offset, length);
    }
  }

  /** Writes to grains that are all there. */
  private void writePieces(long offset, ByteBuffer source) throws BlockException {
    int limit = source.limit();
    long end = offset + source.remaining();
    for (long at = offset; at < end; ) {
      long place = tables.locate(at, Blocking.ALLOWED);
      long run = reader.runBytes(at, end, place, Blocking.ALLOWED);
      source.limit((int) (source.position() + run));
      file.write(place, source, Blocking.ALLOWED);
      source.limit(limit);
      at += run;
    }
  }

  private void writeAllocating(long offset, ByteBuffer source) throws BlockException {
    int length = source.remaining();
    ranges.lockExclusive(offset, length, Blocking.ALLOWED);
    try {
      int limit = source.limit();
      long end = offset + length;
      for (long at = offset; at < end; ) {
        long place = tables.locate(at, Blocking.ALLOWED);
        if (place > 0) {
          long run = reader.runBytes(at, end, place, Blocking.ALLOWED);
          source.limit((int) (source.position() + run));
          file.write(place, source, Blocking.ALLOWED);
          at += run;
        } else {
          long run = newRunBytes(at, end);
          source.limit((int) (source.position() + run));
          writeNewGrains(at, source);
          at += run;
        }
        source.limit(limit);
      }
    } finally {
      ranges.unlockExclusive(offset, length);
    }
  }

  /** The bytes from {@code at} on that lie in grains that are not there. */
  private long newRunBytes(long at, long end) throws BlockException {
    long length = Math.min(tables.restOfGrain(at), end - at);
    while (at + length < end && tables.locate(at + length, Blocking.ALLOWED) <= 0) {
      length += Math.min(tables.restOfGrain(at + length), end - at - length);
    }
    return length;
  }

  /** Stores bytes that lie in new grains only. The range is locked exclusively. */
  private void writeNewGrains(long offset, ByteBuffer source) throws BlockException {
    long firstGrain = offset / grainBytes;
    long lastGrain = (offset + source.remaining() - 1) / grainBytes;
    int count = (int) (lastGrain - firstGrain + 1);
    long sector = allocate(count);
    boolean entered = false;
    try {
      file.write(sector * SECTOR_BYTES + offset % grainBytes, source, Blocking.ALLOWED);
      enter(firstGrain, count, sector);
      entered = true;
    } finally {
      if (!entered) {
        takeBack(sector, count);
      }
    }
  }

  private void enter(long grain, int count, long sector) throws BlockException {
    space.lock();
    try {
      tables.lock.lock();
      try {
        tables.set(grain, count, sector, this::giveUp);
      } finally {
        tables.lock.unlock();
      }
      pendingGrains += count;
    } finally {
      space.unlock();
    }
  }

  private void giveUp(long sector) {
    if (sector >= header.overheadSectors()) {
      givenUp.add(sector);
    }
  }

  /** Space for grains side by side, which reads as zeros. */
  private long allocate(int count) throws BlockException {
    space.lock();
    try {
      if (count == 1) {
        Long free = freeSectors.poll();
        if (free != null) {
          return free;
        }
      }
      long sector = nextSector;
      long end = sector + (long) count * header.grainSectors();
      if (end > SparseLayout.FILE_LIMIT_SECTORS) {
        throw new BlockException(
            Reason.NO_SPACE, file.name() + ": the file has reached 2 TiB, the format's limit");
      }
      long endBytes = end * SECTOR_BYTES;
      if (endBytes > fileBytes) {
        long grown =
            Math.min(endBytes + GROWTH_BYTES, SparseLayout.FILE_LIMIT_SECTORS * SECTOR_BYTES);
        file.truncate(grown);
        fileBytes = grown;
      }
      nextSector = end;
      return sector;
    } finally {
      space.unlock();
    }
  }

  /** Space that was allocated and then not used, after a failure. */
  private void takeBack(long sector, int count) throws BlockException {
    long bytes = (long) count * grainBytes;
    file.punchHole(sector * SECTOR_BYTES, bytes);
    space.lock();
    try {
      for (int i = 0; i < count; i++) {
        freeSectors.add(sector + (long) i * header.grainSectors());
      }
    } finally {
      space.unlock();
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
    if (!beginChanges(blocking) || blocking == Blocking.FORBIDDEN) {
      return Completion.WOULD_BLOCK;
    }
    ranges.lockExclusive(offset, length, Blocking.ALLOWED);
    try {
      long end = offset + length;
      for (long at = offset; at < end; ) {
        long piece = pieceBytes(at, end);
        if (mode.allocates()) {
          zeroAllocated(at, piece);
        } else {
          zeroPiece(at, piece);
        }
        at += piece;
      }
    } finally {
      ranges.unlockExclusive(offset, length);
    }
    if (durability == Durability.DURABLE) {
      commit();
    }
    return Completion.DONE;
  }

  private boolean isWholeGrains(long offset, long length) {
    long end = offset + length;
    return offset % grainBytes == 0 && (end % grainBytes == 0 || end == sizeBytes);
  }

  /** A part of one grain, or whole grains up to the end of a table. */
  private long pieceBytes(long at, long end) {
    if (at % grainBytes != 0 || end - at < grainBytes) {
      return Math.min(tables.restOfGrain(at), end - at);
    }
    long tableBytesOfDisk = (long) ENTRIES_PER_TABLE * grainBytes;
    long wholeGrains = end == sizeBytes ? end - at : (end - at) / grainBytes * grainBytes;
    return Math.min(wholeGrains, tableBytesOfDisk - at % tableBytesOfDisk);
  }

  private void zeroPiece(long at, long piece) throws BlockException {
    if (isWholeGrains(at, piece)) {
      int count = (int) Math.ceilDiv(piece, grainBytes);
      if (anyStored(at, piece)) {
        enterNothing(at / grainBytes, count);
      }
      return;
    }
    long place = tables.locate(at, Blocking.ALLOWED);
    if (place > 0) {
      Zeros.write(file, place, piece);
    }
  }

  private boolean anyStored(long at, long piece) throws BlockException {
    for (long grain = at; grain < at + piece; grain += grainBytes) {
      if (tables.locate(grain, Blocking.ALLOWED) > 0) {
        return true;
      }
    }
    return false;
  }

  private void enterNothing(long grain, int count) throws BlockException {
    enter(grain, count, 0);
  }

  private void zeroAllocated(long at, long piece) throws BlockException {
    long end = at + piece;
    for (long grain = at; grain < end; grain += tables.restOfGrain(grain)) {
      long bytes = Math.min(tables.restOfGrain(grain), end - grain);
      long place = tables.locate(grain, Blocking.ALLOWED);
      if (place <= 0) {
        long sector = allocate(1);
        boolean entered = false;
        try {
          // Zeros that are stored: a hole could run out of space later.
          Zeros.write(file, sector * SECTOR_BYTES, grainBytes);
          enter(grain / grainBytes, 1, sector);
          entered = true;
        } finally {
          if (!entered) {
            takeBack(sector, 1);
          }
        }
      } else {
        Zeros.write(file, place, bytes);
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
    if (!changing) {
      return Completion.DONE;
    }
    if (blocking == Blocking.FORBIDDEN) {
      return Completion.WOULD_BLOCK;
    }
    commit();
    return Completion.DONE;
  }

  /**
   * Makes everything durable that was completed before this was called. Those who wait while one
   * commit runs share the next.
   */
  private void commit() throws BlockException {
    long begunBefore = commitsBegun;
    commitLock.lock();
    try {
      if (commitsDone > begunBefore) {
        return; // A commit that began after our call has done our work.
      }
      long number = commitsBegun + 1;
      commitsBegun = number;
      writeTables();
      commitsDone = number;
    } finally {
      commitLock.unlock();
    }
  }

  /** The commit itself. The caller holds {@link #commitLock}. */
  private void writeTables() throws BlockException {
    GrainTables.Snapshot snapshot;
    List<Long> free;
    space.lock();
    try {
      tables.lock.lock();
      try {
        snapshot = tables.takeChanges();
      } finally {
        tables.lock.unlock();
      }
      free = givenUp;
      givenUp = new ArrayList<>();
      pendingGrains = 0;
    } finally {
      space.unlock();
    }
    boolean written = false;
    try {
      file.sync();
      for (int i = 0; i < snapshot.indexes().length; i++) {
        writeTable(snapshot.indexes()[i], snapshot.images()[i]);
      }
      if (snapshot.indexes().length > 0) {
        file.sync();
      }
      written = true;
    } finally {
      ended(written, free);
    }
    reuse(free);
  }

  private void ended(boolean written, List<Long> free) {
    space.lock();
    try {
      tables.lock.lock();
      try {
        if (written) {
          tables.written();
        } else {
          tables.notWritten();
        }
      } finally {
        tables.lock.unlock();
      }
      if (!written) {
        givenUp.addAll(free);
      }
    } finally {
      space.unlock();
    }
  }

  private void writeTable(int index, int[] image) throws BlockException {
    tableBytes.clear();
    for (int entry : image) {
      tableBytes.putInt(entry);
    }
    tableBytes.flip();
    long redundantSector = redundantDirectory.tableSector(index);
    if (redundantSector != 0) {
      file.write(redundantSector * SECTOR_BYTES, tableBytes, Blocking.ALLOWED);
      tableBytes.rewind();
    }
    long sector = tableSector(directory, index, "grain directory");
    file.write(sector * SECTOR_BYTES, tableBytes, Blocking.ALLOWED);
  }

  /** No entry names these any more, on the disk either: nobody reads them, and no crash can. */
  private void reuse(List<Long> free) throws BlockException {
    for (long sector : free) {
      file.punchHole(sector * SECTOR_BYTES, grainBytes);
    }
    space.lock();
    try {
      freeSectors.addAll(free);
    } finally {
      space.unlock();
    }
  }

  /** Commits, marks the file as cleanly closed, and releases it; it is released in any case. */
  @Override
  public void close() throws BlockException {
    try {
      if (changing) {
        commit();
        long endBytes = nextSector * SECTOR_BYTES;
        if (endBytes < fileBytes) {
          file.truncate(endBytes);
        }
        descriptor.endChanges();
      }
    } finally {
      file.close();
    }
  }
}
