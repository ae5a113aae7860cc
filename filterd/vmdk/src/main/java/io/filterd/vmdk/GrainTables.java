package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.ENTRIES_PER_TABLE;
import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;
import static io.filterd.vmdk.SparseExtentHeader.TABLE_SECTORS;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.BitSet;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReferenceArray;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * The grain tables of a sparse extent: where each grain is in the file. Tables are read when they
 * are first needed and kept, up to a limit; then all that are not changed are forgotten.
 *
 * <p>Who looks a grain up keeps it from changing, by a lock on its range, for as long as the answer
 * is used. Who changes an entry holds that lock exclusively, and {@link #lock}.
 */
final class GrainTables implements GrainMap {
  /** Where a table is. */
  @FunctionalInterface
  interface Directory {
    /** The sector of table {@code index}, inside the file; 0 if there is none. */
    long tableSector(int index) throws BlockException;
  }

  private static final int ENTRY_SHIFT = Integer.numberOfTrailingZeros(ENTRIES_PER_TABLE);
  private static final int TABLE_BYTES = ENTRIES_PER_TABLE * Integer.BYTES;

  /** The entry that marks a grain as zeros, where the header allows it. */
  static final long ZERO_ENTRY = 1;

  // Two levels, so that an extent with millions of tables costs little until they are used.
  private static final int CHUNK_SHIFT = 10;
  private static final int CHUNK_TABLES = 1 << CHUNK_SHIFT;

  /** Stands for every table without a stored grain, and is never changed. */
  private static final int[] EMPTY = new int[ENTRIES_PER_TABLE];

  /**
   * Guards loading, forgetting and changing tables. Under it only that of the {@link GrainPlaces}
   * is taken.
   */
  final ReentrantLock lock = new ReentrantLock();

  private final ExtentFile file;
  private final Directory directory;
  private final int grainShift;

  /** Turns a number of grains into sectors. */
  private final int sectorShift;

  private final long grainMask;
  private final boolean zeroGrains;
  private final long firstGrainSector;
  private final long endSector;
  private final int cacheLimitTables;
  private final AtomicReferenceArray<@Nullable AtomicReferenceArray<int @Nullable []>> chunks;
  // The rest is guarded by lock.
  private final BitSet changed = new BitSet();
  private final BitSet beingWritten = new BitSet();
  private final ByteBuffer tableBytes =
      ByteBuffer.allocateDirect(TABLE_BYTES).order(ByteOrder.LITTLE_ENDIAN);
  private int loadedTables;

  /** How many tables are changed. Changed under the lock only. */
  private final AtomicInteger changedTables = new AtomicInteger();

  /**
   * The tables of an extent.
   *
   * @param endSector where the file ends, or may end one day: no grain starts there or behind
   * @param cacheLimitTables how many tables are kept, of 2 KiB each
   */
  GrainTables(
      ExtentFile file,
      SparseExtentHeader header,
      Directory directory,
      long endSector,
      int cacheLimitTables) {
    this.file = file;
    this.directory = directory;
    this.grainShift = Integer.numberOfTrailingZeros(header.grainBytes());
    this.sectorShift = Integer.numberOfTrailingZeros(header.grainSectors());
    this.grainMask = header.grainBytes() - 1L;
    this.zeroGrains = header.hasZeroGrains();
    this.firstGrainSector = header.overheadSectors();
    this.endSector = endSector;
    this.cacheLimitTables = cacheLimitTables;
    this.chunks = new AtomicReferenceArray<>((header.tableCount() >>> CHUNK_SHIFT) + 1);
  }

  @Override
  public long locate(long offset, Blocking blocking) throws BlockException {
    long grain = offset >>> grainShift;
    int index = (int) (grain >>> ENTRY_SHIFT);
    int[] table = table(index);
    if (table == null) {
      if (blocking == Blocking.FORBIDDEN) {
        return WOULD_BLOCK;
      }
      table = loaded(index);
    }
    long sector = Integer.toUnsignedLong(table[(int) grain & (ENTRIES_PER_TABLE - 1)]);
    if (sector == 0) {
      return ABSENT;
    }
    if (sector < firstGrainSector || sector >= endSector) {
      return special(grain, sector);
    }
    return sector * SECTOR_BYTES + (offset & grainMask);
  }

  @Override
  public long restOfGrain(long offset) {
    return grainMask + 1 - (offset & grainMask);
  }

  /**
   * Sets the entries of {@code count} grains from {@code grain} on to consecutive places in the
   * file, or all to 0 or {@link #ZERO_ENTRY}. The caller holds {@link #lock}.
   *
   * @param freed is told each sector that an entry had, if it had one
   */
  void set(long grain, int count, long firstSector, Freed freed) throws BlockException {
    // First all that can fail: afterwards either every entry is set or none.
    int lastTable = (int) ((grain + count - 1) >>> ENTRY_SHIFT);
    for (int index = (int) (grain >>> ENTRY_SHIFT); index <= lastTable; index++) {
      writable(index);
      if (!changed.get(index)) {
        changed.set(index);
        changedTables.incrementAndGet();
      }
    }
    for (int i = 0; i < count; i++) {
      long at = grain + i;
      int[] table = writable((int) (at >>> ENTRY_SHIFT));
      int slot = (int) at & (ENTRIES_PER_TABLE - 1);
      long old = Integer.toUnsignedLong(table[slot]);
      if (old != 0) {
        freed.sector(old);
      }
      long step = firstSector <= ZERO_ENTRY ? 0 : (long) i << sectorShift;
      table[slot] = (int) (firstSector + step);
    }
  }

  /** Whoever wants to know which sectors no entry names any more. */
  @FunctionalInterface
  interface Freed {
    void sector(long sector);
  }

  /** How many tables are changed since the last snapshot. */
  int changedTables() {
    return changedTables.get();
  }

  /**
   * Takes copies of all changed tables, to be written, in the order of their indexes. Until {@link
   * #written} or {@link #notWritten} they are not forgotten. The caller holds {@link #lock}.
   */
  Snapshot takeChanges() {
    int[] indexes = changed.stream().toArray();
    int[][] images = new int[indexes.length][];
    for (int i = 0; i < indexes.length; i++) {
      int[] table = table(indexes[i]);
      if (table == null) {
        throw new IllegalStateException("table " + indexes[i] + ": changed, but forgotten");
      }
      images[i] = table.clone();
    }
    beingWritten.or(changed);
    changed.clear();
    changedTables.set(0);
    return new Snapshot(indexes, images);
  }

  /** Tables as they were at one moment. */
  @SuppressWarnings("ArrayRecordComponent") // handed from one method to the next, never compared
  record Snapshot(int[] indexes, int[][] images) {}

  /** The tables of the last snapshot are in the file. The caller holds {@link #lock}. */
  void written() {
    beingWritten.clear();
  }

  /** The tables of the last snapshot may not be in the file. The caller holds {@link #lock}. */
  void notWritten() {
    changed.or(beingWritten);
    changedTables.set(changed.cardinality());
    beingWritten.clear();
  }

  private int @Nullable [] table(int index) {
    AtomicReferenceArray<int @Nullable []> chunk = chunks.get(index >>> CHUNK_SHIFT);
    return chunk == null ? null : chunk.get(index & (CHUNK_TABLES - 1));
  }

  private int[] loaded(int index) throws BlockException {
    lock.lock();
    try {
      int[] table = table(index);
      if (table == null) {
        table = readTable(index);
        keep(index, table);
      }
      return table;
    } finally {
      lock.unlock();
    }
  }

  /** A table that may be changed. The caller holds {@link #lock}. */
  @SuppressWarnings("ReferenceEquality") // EMPTY is one array, shared.
  private int[] writable(int index) throws BlockException {
    int[] table = loaded(index);
    if (table == EMPTY) {
      table = new int[ENTRIES_PER_TABLE];
      put(index, table);
    }
    return table;
  }

  private int[] readTable(int index) throws BlockException {
    long sector = directory.tableSector(index);
    if (sector == 0) {
      return EMPTY;
    }
    tableBytes.clear();
    file.read(sector * SECTOR_BYTES, tableBytes, Blocking.ALLOWED);
    tableBytes.flip();
    return decode(tableBytes);
  }

  /** A table of the next bytes of {@code source}, which is in little endian. */
  static int[] decode(ByteBuffer source) {
    int[] table = new int[ENTRIES_PER_TABLE];
    int any = 0;
    for (int i = 0; i < ENTRIES_PER_TABLE; i++) {
      table[i] = source.getInt();
      any |= table[i];
    }
    return any == 0 ? EMPTY : table;
  }

  private void keep(int index, int[] table) {
    if (loadedTables >= cacheLimitTables) {
      forgetUnchanged();
    }
    put(index, table);
    loadedTables++;
  }

  private void put(int index, int[] table) {
    AtomicReferenceArray<int @Nullable []> chunk = chunks.get(index >>> CHUNK_SHIFT);
    if (chunk == null) {
      chunk = new AtomicReferenceArray<>(CHUNK_TABLES);
      chunks.set(index >>> CHUNK_SHIFT, chunk);
    }
    chunk.set(index & (CHUNK_TABLES - 1), table);
  }

  /**
   * Forgets the tables that the file has as they are. Who looked one up may go on with it: while a
   * grain's range is locked its entry doesn't change, in whichever copy.
   */
  private void forgetUnchanged() {
    BitSet kept = (BitSet) changed.clone();
    kept.or(beingWritten);
    for (int c = 0; c < chunks.length(); c++) {
      AtomicReferenceArray<int @Nullable []> chunk = chunks.get(c);
      if (chunk == null) {
        continue;
      }
      int first = c << CHUNK_SHIFT;
      int next = kept.nextSetBit(first);
      if (next < 0 || next >= first + CHUNK_TABLES) {
        chunks.set(c, null);
        continue;
      }
      for (int i = 0; i < CHUNK_TABLES; i++) {
        if (!kept.get(first + i)) {
          chunk.set(i, null);
        }
      }
    }
    loadedTables = kept.cardinality();
  }

  private long special(long grain, long sector) throws BlockException {
    if (sector == ZERO_ENTRY && zeroGrains) {
      return ZERO;
    }
    throw new FormatException(
            file.name(),
            entryAt(grain),
            "entry of grain " + grain,
            "sector " + sector,
            "in %d..%d".formatted(firstGrainSector, endSector - 1))
        .asDamage();
  }

  /** Where the entry of a grain is in the file, in bytes. */
  private long entryAt(long grain) throws BlockException {
    lock.lock();
    try {
      return directory.tableSector((int) (grain >>> ENTRY_SHIFT)) * SECTOR_BYTES
          + (grain & (ENTRIES_PER_TABLE - 1)) * Integer.BYTES;
    } finally {
      lock.unlock();
    }
  }

  /** A directory that is read from the file, an entry at a time, and checked. */
  static Directory directoryInFile(ExtentFile file, SparseExtentHeader header, long fileBytes) {
    // Called under the lock of the tables, so one buffer serves.
    ByteBuffer entry = ByteBuffer.allocateDirect(Integer.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    long lastSector = fileBytes / SECTOR_BYTES - TABLE_SECTORS;
    return index -> {
      entry.clear();
      long position = header.directoryOffset() * SECTOR_BYTES + (long) index * Integer.BYTES;
      file.read(position, entry, Blocking.ALLOWED);
      long sector = Integer.toUnsignedLong(entry.getInt(0));
      if (sector > lastSector) {
        throw new FormatException(
                file.name(),
                position,
                "grain directory entry " + index,
                "sector " + sector,
                "at most " + lastSector)
            .asDamage();
      }
      return sector;
    };
  }
}
