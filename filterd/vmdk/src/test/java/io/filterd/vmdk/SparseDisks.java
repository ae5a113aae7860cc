package io.filterd.vmdk;

import static io.filterd.vmdk.TestDisks.SECTOR;
import static java.nio.charset.StandardCharsets.US_ASCII;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;

/** Sparse disks in one file, of small grains, of every version, with tables left out. */
final class SparseDisks {
  static final int GRAIN_SECTORS = 8;
  static final int GRAIN = GRAIN_SECTORS * SECTOR;
  static final int TABLE_COVERS = 512 * GRAIN;
  static final int DIRECTORY = 3;
  static final int FIRST_TABLE = 4;

  private SparseDisks() {}

  /**
   * A disk. Grains of zeros are not stored, and marked as zeros if the flags allow it; tables of
   * nothing else are left out. The last grain is stored as far as the disk goes.
   */
  static byte[] of(int version, int flags, byte[] content) {
    int sectors = content.length / SECTOR;
    int tables = Math.ceilDiv(content.length, TABLE_COVERS);
    int overhead = Math.ceilDiv(FIRST_TABLE + 4 * tables, GRAIN_SECTORS) * GRAIN_SECTORS;
    ByteBuffer file =
        ByteBuffer.allocate(overhead * SECTOR + content.length).order(ByteOrder.LITTLE_ENDIAN);
    new SparseExtentHeader(
            version, flags, sectors, GRAIN_SECTORS, 1, 2, 0, DIRECTORY, overhead, false, 0)
        .writeTo(file);
    String line = "RW " + sectors + " SPARSE \"any.vmdk\"";
    file.put(TestDisks.descriptor("monolithicSparse", line).getBytes(US_ASCII));
    int free = overhead;
    for (int table = 0; table < tables; table++) {
      int from = table * TABLE_COVERS;
      int to = Math.min(content.length, from + TABLE_COVERS);
      if (Zeros.isAll(ByteBuffer.wrap(content, from, to - from))) {
        continue;
      }
      int tableSector = FIRST_TABLE + 4 * table;
      file.putInt(DIRECTORY * SECTOR + table * 4, tableSector);
      for (int at = from; at < to; at += GRAIN) {
        int entryAt = tableSector * SECTOR + (at - from) / GRAIN * 4;
        int bytes = Math.min(GRAIN, to - at);
        if (!Zeros.isAll(ByteBuffer.wrap(content, at, bytes))) {
          file.putInt(entryAt, free).put(free * SECTOR, content, at, bytes);
          free += GRAIN_SECTORS;
        } else if ((flags & SparseExtentHeader.FLAG_ZERO_GRAINS) != 0) {
          file.putInt(entryAt, 1);
        }
      }
    }
    // The end of the last grain, if that is cut short by the disk's end, is not there.
    return Arrays.copyOf(file.array(), Math.min(file.capacity(), free * SECTOR));
  }
}
