package io.filterd.vmdk;

import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Durability;
import io.filterd.block.ExtentKind;
import io.filterd.block.Extents;
import java.io.IOException;
import java.lang.management.BufferPoolMXBean;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** What a disk of 1 TiB, every grain of it stored, takes of memory while it is served. */
@Timeout(120)
class MemoryTest {
  private static final long SIZE_BYTES = 1L << 40;
  private static final long GRAINS = SIZE_BYTES >> 16;
  private static final long LIMIT_BYTES = 96L << 20;

  @TempDir Path folder;

  @Test
  void takesLittleForADiskThatIsMappedWhole() throws Exception {
    Path file = folder.resolve("large.vmdk");
    VmdkDisk.create(file, CreateOptions.ofSize(SIZE_BYTES));
    mapEveryGrain(file);
    long before = usedBytes();
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_WRITE)) {
      BlockDevice link = disk.link();
      use(link);

      long taken = usedBytes() - before;

      assertThat(taken).isLessThan(LIMIT_BYTES);
      assertThat((double) taken / GRAINS).as("bytes for a mapped grain").isLessThan(16);
    }
  }

  /** Looks up every grain, and writes into some. */
  private static void use(BlockDevice link) throws BlockException {
    ByteBuffer block = ByteBuffer.allocateDirect(4096);
    for (long at = 0; at < SIZE_BYTES; ) {
      Extents extents = link.extents(at, SIZE_BYTES - at, Blocking.ALLOWED);
      assertThat(extents.isAll(ExtentKind.DATA) || extents.kind(0) == ExtentKind.DATA).isTrue();
      at += extents.totalBytes(SIZE_BYTES - at);
    }
    for (long at = 0; at < SIZE_BYTES; at += SIZE_BYTES / 64) {
      link.write(at, block.clear(), Durability.BUFFERED, Blocking.ALLOWED);
    }
    link.flush(Blocking.ALLOWED);
  }

  /** Gives every grain a place of its own; the places are holes, so the file takes little. */
  private static void mapEveryGrain(Path file) throws IOException {
    SparseLayout layout = new SparseLayout(SIZE_BYTES / 512);
    ByteBuffer tables = ByteBuffer.allocateDirect(1 << 20).order(ByteOrder.LITTLE_ENDIAN);
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
      for (long first : new long[] {layout.redundantTable(0), layout.table(0)}) {
        long grain = 0;
        while (grain < GRAINS) {
          for (tables.clear(); tables.hasRemaining(); grain++) {
            tables.putInt((int) (layout.overheadSectors() + grain * 128));
          }
          long at = first * 512 + grain * Integer.BYTES - tables.capacity();
          channel.write(tables.flip(), at);
        }
      }
      long end = layout.overheadSectors() * 512 + SIZE_BYTES;
      channel.write(ByteBuffer.allocate(1), end - 1);
    }
  }

  /** The heap after a collection, and the direct buffers. */
  private static long usedBytes() {
    ManagementFactory.getMemoryMXBean().gc();
    return ManagementFactory.getMemoryMXBean().getHeapMemoryUsage().getUsed()
        + ManagementFactory.getPlatformMXBeans(BufferPoolMXBean.class).stream()
            .filter(pool -> pool.getName().equals("direct"))
            .mapToLong(BufferPoolMXBean::getMemoryUsed)
            .sum();
  }
}
