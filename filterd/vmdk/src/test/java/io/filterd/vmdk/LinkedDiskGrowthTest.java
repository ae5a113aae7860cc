package io.filterd.vmdk;

import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.block.BlockDevice;
import io.filterd.block.Blocking;
import io.filterd.block.CheckedDevice;
import io.filterd.block.Durability;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Instant;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A disk of several links that gets larger while it is in use. */
class LinkedDiskGrowthTest {
  private static final int MIB = 1 << 20;
  private static final LinkedDisk.Front PLAIN = link -> new CheckedDevice(link.link());

  @TempDir Path folder;

  private static void write(BlockDevice disk, long offset, int fill) throws Exception {
    ByteBuffer bytes = ByteBuffer.allocateDirect(1 << 16);
    while (bytes.hasRemaining()) {
      bytes.put((byte) fill);
    }
    disk.write(offset, bytes.flip(), Durability.BUFFERED, Blocking.ALLOWED);
  }

  private static byte read(BlockDevice disk, long offset) throws Exception {
    ByteBuffer bytes = ByteBuffer.allocateDirect(512);
    disk.read(offset, bytes, Blocking.ALLOWED);
    return bytes.get(0);
  }

  @Test
  void takesWritesBehindTheEndOfItsParents() throws Exception {
    Path file = folder.resolve("disk.vmdk");
    VmdkDisk.create(file, CreateOptions.ofSize(64L * MIB));
    Path[] top = {file};
    try (LinkedDisk disk =
        LinkedDisk.open(file, Access.READ_WRITE, PLAIN, moved -> top[0] = moved)) {
      write(disk, 10 * MIB, 1);
      disk.snapshot(
          new SnapshotRecord("before", Instant.now()), Optional.empty(), moved -> top[0] = moved);
      write(disk, 20 * MIB, 2);
      disk.grow(128L * MIB);
      assertThat(disk.info().sizeBytes()).isEqualTo(128L * MIB);
      write(disk, 30 * MIB, 3);
      write(disk, 100 * MIB, 4);
      write(disk, 128L * MIB - (1 << 16), 5);
    }
    try (LinkedDisk disk = LinkedDisk.open(top[0], Access.READ_ONLY, PLAIN, moved -> {})) {
      assertThat(read(disk, 10 * MIB)).isEqualTo((byte) 1);
      assertThat(read(disk, 20 * MIB)).isEqualTo((byte) 2);
      assertThat(read(disk, 30 * MIB)).isEqualTo((byte) 3);
      assertThat(read(disk, 90 * MIB)).isZero();
      assertThat(read(disk, 100 * MIB)).isEqualTo((byte) 4);
      assertThat(read(disk, 128L * MIB - 512)).isEqualTo((byte) 5);
    }
  }
}
