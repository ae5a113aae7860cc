package io.filterd.vmdk;

import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Durability;
import io.filterd.block.ExtentKind;
import io.filterd.block.ZeroMode;
import io.filterd.block.file.BlockFile;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** When changes are made durable though nobody asks for it. */
class SparseCommitsTest {
  private static final int GRAIN_BYTES = 1 << 16;
  private static final long TABLE_COVERS_BYTES = 512L * GRAIN_BYTES;
  private static final int TABLES = 4200;

  /** A disk whose grains of zeros are marked in the tables, so that changes take no space. */
  private static CrashFile emptyDisk() throws IOException, BlockException {
    long sizeBytes = TABLES * TABLE_COVERS_BYTES;
    CrashFile made = new CrashFile();
    SparseLayout layout = new SparseLayout(sizeBytes / 512);
    Descriptor descriptor =
        NewDescriptor.of(Path.of("crash.vmdk"), CreateOptions.ofSize(sizeBytes))
            .withDdb(SparseLayout.SLOTS_KEY, SparseLayout.SLOTS)
            .at((long) SparseLayout.FIRST_SLOT * 512);
    NewDisk.write(made, layout, layout.childHeader(), descriptor);
    return new CrashFile(made.killedAfter(made.logSize()));
  }

  private static void zero(BlockDevice link, long offset, long length) throws BlockException {
    link.zero(offset, length, ZeroMode.MAY_DEALLOCATE, Durability.BUFFERED, Blocking.ALLOWED);
  }

  @Test
  void doesNotSyncInTheMidstOfALongCopy() throws Exception {
    CrashFile file = emptyDisk();
    try (VmdkDisk disk = VmdkDisk.openSparse(file, Access.READ_WRITE)) {
      zero(disk.link(), 0, GRAIN_BYTES); // The mark of an open file is there now.
      int before = file.syncs();

      zero(disk.link(), 0, 16L << 30);

      assertThat(file.syncs()).isEqualTo(before);
    }
  }

  @Test
  void commitsWhenManyTablesAreChanged() throws Exception {
    CrashFile file = emptyDisk();
    try (VmdkDisk disk = VmdkDisk.openSparse(file, Access.READ_WRITE)) {
      BlockDevice link = disk.link();
      zero(link, 0, GRAIN_BYTES);
      int before = file.syncs();
      for (int table = 1; table < 4095; table++) {
        zero(link, table * TABLE_COVERS_BYTES, GRAIN_BYTES);
      }
      assertThat(file.syncs()).isEqualTo(before);

      zero(link, 4095 * TABLE_COVERS_BYTES, GRAIN_BYTES);

      assertThat(file.syncs()).isEqualTo(before + 2);
      VmdkDisk left =
          VmdkDisk.openSparse(new CrashFile(file.killedAfter(file.logSize())), Access.READ_WRITE);
      for (int table = 0; table < 4096; table++) {
        long offset = table * TABLE_COVERS_BYTES;
        assertThat(
                left.link().extents(offset, GRAIN_BYTES, Blocking.ALLOWED).isAll(ExtentKind.ZERO))
            .isTrue();
      }
      left.close();
    }
  }

  @Test
  void makesSpaceFreeWhenMuchIsGivenUp(@TempDir Path folder) throws Exception {
    Path file = folder.resolve("disk.vmdk");
    long bytes = 4096L * GRAIN_BYTES;
    VmdkDisk.create(file, CreateOptions.ofSize(2 * bytes));
    long emptyBytes = BlockFile.storedBytes(file);
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_WRITE)) {
      BlockDevice link = disk.link();
      ByteBuffer content = ByteBuffer.allocateDirect(1 << 20);
      for (long at = 0; at < bytes; at += content.capacity()) {
        link.write(at, content.clear(), Durability.BUFFERED, Blocking.ALLOWED);
      }

      link.trim(0, bytes, Durability.BUFFERED, Blocking.ALLOWED);

      assertThat(BlockFile.storedBytes(file)).isLessThan(emptyBytes + (1 << 20));
    }
  }
}
