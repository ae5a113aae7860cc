package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;
import static io.filterd.vmdk.SparseExtentHeader.TABLE_SECTORS;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Pool;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Writes changed grain tables to their places in a file: the redundant ones first.
 *
 * @param tables the sector of each table
 * @param redundantTables the sector of each redundant one; empty if there are none
 */
@SuppressWarnings("ArrayRecordComponent") // never compared
record TableWriter(ExtentFile file, int[] tables, int[] redundantTables) {
  private static final int TABLE_BYTES = TABLE_SECTORS * SECTOR_BYTES;
  private static final int TABLES_AT_A_TIME = 64;

  /** For tables on their way to a file; a disk may have thousands of extents. */
  private static final Pool<ByteBuffer> BUFFERS =
      new Pool<>(
          () ->
              ByteBuffer.allocateDirect(TABLES_AT_A_TIME * TABLE_BYTES)
                  .order(ByteOrder.LITTLE_ENDIAN));

  /** Writes the tables of a snapshot; they are not durable yet when this returns. */
  void write(GrainTables.Snapshot snapshot) throws BlockException {
    ByteBuffer buffer = BUFFERS.take();
    try {
      if (redundantTables.length > 0) {
        write(snapshot, redundantTables, buffer);
      }
      write(snapshot, tables, buffer);
    } finally {
      BUFFERS.giveBack(buffer);
    }
  }

  /** Neighbours are written together. */
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
}
