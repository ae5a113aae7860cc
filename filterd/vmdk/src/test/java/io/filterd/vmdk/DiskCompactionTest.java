package io.filterd.vmdk;

import static io.filterd.vmdk.TestDisks.GRAIN;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.block.BlockDevice;
import io.filterd.block.Blocking;
import io.filterd.block.Durability;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Arrays;
import java.util.Optional;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Disks that are rewritten to what they need. */
@Timeout(60)
class DiskCompactionTest {
  private static final int GRAINS = 100;

  @TempDir Path folder;

  /** A disk that was written backwards, with every third grain of zeros and some given back. */
  private byte[] write(Path file) throws Exception {
    byte[] content = new byte[GRAINS * GRAIN];
    SplittableRandom random = new SplittableRandom(5);
    VmdkDisk.create(file, CreateOptions.ofSize(content.length));
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_WRITE)) {
      for (int grain = GRAINS - 1; grain >= 0; grain--) {
        ByteBuffer bytes = ByteBuffer.allocateDirect(GRAIN);
        for (int i = 0; grain % 3 != 0 && i < GRAIN; i++) {
          bytes.put(i, (byte) random.nextInt());
        }
        disk.link().write((long) grain * GRAIN, bytes, Durability.BUFFERED, Blocking.ALLOWED);
        bytes.flip().get(content, grain * GRAIN, GRAIN);
      }
      disk.link().trim(40L * GRAIN, 9L * GRAIN, Durability.DURABLE, Blocking.ALLOWED);
      Arrays.fill(content, 40 * GRAIN, 49 * GRAIN, (byte) 0);
    }
    return content;
  }

  @Test
  void keepsContentAndDescriptorAndDropsTheRest() throws Exception {
    Path file = folder.resolve("disk.vmdk");
    byte[] content = write(file);
    Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rw-r-----"));
    String before = descriptor(file);

    DiskCompaction.Result result =
        DiskCompaction.compact(file, stored -> stored, (done, total) -> true).orElseThrow();

    assertThat(descriptor(file)).isEqualTo(before);
    assertThat(result.afterBytes()).isLessThan(result.beforeBytes());
    CheckReport report = DiskCheck.check(file);
    assertThat(report.findings()).isEmpty();
    assertThat(report.totals().grains()).isEqualTo(GRAINS - 34 - 6);
    assertThat(Files.size(file))
        .isEqualTo(
            new SparseLayout(GRAINS * 128L).overheadSectors() * 512
                + report.totals().grains() * GRAIN);
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_ONLY)) {
      assertThat(TestDisks.contentOf(disk.link())).isEqualTo(content);
    }
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(file)))
        .isEqualTo("rw-r-----");
    try (var left = Files.list(folder)) {
      assertThat(left).containsExactly(file);
    }
  }

  private static String descriptor(Path file) throws Exception {
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_ONLY)) {
      return new String(disk.descriptor().format(), StandardCharsets.UTF_8);
    }
  }

  @Test
  void leavesTheFileAloneIfItIsStoppedOrCanNot() throws Exception {
    Path file = folder.resolve("disk.vmdk");
    write(file);
    byte[] before = Files.readAllBytes(file);

    assertThat(DiskCompaction.compact(file, stored -> stored, (done, total) -> false))
        .isEqualTo(Optional.empty());

    assertThat(file).hasBinaryContent(before);
    try (VmdkDisk open = VmdkDisk.open(file, Access.READ_WRITE)) {
      assertThat(open.format()).isEqualTo("monolithicSparse");
      assertThatThrownBy(
              () -> DiskCompaction.compact(file, stored -> stored, (done, total) -> true))
          .isInstanceOf(IOException.class)
          .hasMessageContaining("in use");
    }
    assertThat(file).hasBinaryContent(before);
  }

  @Test
  void looksForZerosThroughTheCipher() throws Exception {
    Path file = folder.resolve("disk.vmdk");
    VmdkDisk.create(file, CreateOptions.ofSize(4 * GRAIN));
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_WRITE)) {
      ByteBuffer ones = ByteBuffer.allocateDirect(2 * GRAIN);
      while (ones.hasRemaining()) {
        ones.put((byte) (ones.position() < GRAIN ? 0x55 : 0x54));
      }
      disk.link().write(0, ones.flip(), Durability.BUFFERED, Blocking.ALLOWED);
    }

    assertThat(DiskCompaction.compact(file, XorDevice::new, (done, total) -> true)).isPresent();

    assertThat(DiskCheck.check(file).totals().grains()).isEqualTo(1);
    try (BlockDevice link = VmdkDisk.open(file, Access.READ_ONLY).link()) {
      assertThat(TestDisks.contentOf(link)[GRAIN]).isEqualTo((byte) 0x54);
    }
  }
}
