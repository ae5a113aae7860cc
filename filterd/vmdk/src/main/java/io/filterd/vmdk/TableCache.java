package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.concurrent.atomic.AtomicReferenceArray;
import org.jspecify.annotations.Nullable;

/**
 * Grain tables of a file that nobody changes: those that were looked at last, up to a limit. Many
 * threads may use it at once.
 */
final class TableCache {
  /** Where a table is. Asked by one thread at a time. */
  @FunctionalInterface
  interface Directory {
    /** The byte of the file where table {@code index} starts; 0 if there is none. */
    long tableAt(int index) throws BlockException;
  }

  private record Table(int index, ByteBuffer entries) {}

  private final ExtentFile file;
  private final Directory directory;

  /** A table has one slot only, so that a lookup is one step and there is nothing to clean up. */
  private final AtomicReferenceArray<@Nullable Table> slots;

  /** Stands for every table that is not there. */
  private final ByteBuffer empty;

  /** Guarded by this. */
  private final ByteBuffer fromFile;

  /**
   * Keeps tables.
   *
   * @param tableBytes the size of each
   * @param limitTables how many are kept: a power of two
   */
  TableCache(ExtentFile file, Directory directory, int tableBytes, int limitTables) {
    this.file = file;
    this.directory = directory;
    this.slots = new AtomicReferenceArray<>(limitTables);
    this.empty = ByteBuffer.allocate(tableBytes).order(ByteOrder.LITTLE_ENDIAN);
    this.fromFile = ByteBuffer.allocateDirect(tableBytes);
  }

  /** The entries of a table, in little endian, to be read by index; null if this would block. */
  @Nullable ByteBuffer table(int index, Blocking blocking) throws BlockException {
    int slot = index & (slots.length() - 1);
    Table table = slots.get(slot);
    if (table == null || table.index() != index) {
      if (blocking == Blocking.FORBIDDEN) {
        return null;
      }
      table = new Table(index, read(index));
      slots.set(slot, table);
    }
    return table.entries();
  }

  private synchronized ByteBuffer read(int index) throws BlockException {
    long position = directory.tableAt(index);
    if (position == 0) {
      return empty;
    }
    file.read(position, fromFile.clear(), Blocking.ALLOWED);
    return ByteBuffer.allocate(fromFile.capacity())
        .put(fromFile.flip())
        .order(ByteOrder.LITTLE_ENDIAN);
  }
}
