package io.filterd.vmdk;

import static io.filterd.vmdk.TestDisks.GRAIN;
import static io.filterd.vmdk.TestDisks.SECTOR;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.block.Blocking;
import io.filterd.block.Extents;
import io.filterd.block.file.BlockFile;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Makes disks whose descriptor is in a file of its own. */
class LayoutTest {
  @TempDir Path folder;

  @Test
  void makesSplitDisksOfSeveralFiles() throws Exception {
    Path file = folder.resolve("disk");
    CreateOptions options = CreateOptions.ofSize(5L << 30, Layout.TWO_GB_MAX_EXTENT_SPARSE);
    VmdkDisk.create(file, options);

    assertThat(folder.toFile().list())
        .containsExactlyInAnyOrder("disk", "disk-s001.vmdk", "disk-s002.vmdk", "disk-s003.vmdk");
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_ONLY)) {
      assertThat(disk.link().info().sizeBytes()).isEqualTo(5L << 30);
      assertThat(disk.link().extents(1L << 30, 1 << 20, Blocking.ALLOWED))
          .isEqualTo(Extents.ALL_ABSENT);
      assertThat(disk.descriptor().extents())
          .extracting(ExtentLine::sectors)
          .containsExactly(4_192_256L, 4_192_256L, 2_101_248L);
    }
  }

  @Test
  void makesFlatDisksWithAllTheirSpace() throws Exception {
    for (Layout layout : List.of(Layout.MONOLITHIC_FLAT, Layout.TWO_GB_MAX_EXTENT_FLAT)) {
      Path made = folder.resolve(layout + ".vmdk");
      CreateOptions options =
          CreateOptions.ofSize(3 * GRAIN + SECTOR, layout)
              .withEncryption(EncryptionMetadataTest.METADATA)
              .withPolicy("gold");
      VmdkDisk.create(made, options);

      Path extent = options.files(made).get(1);
      assertThat(extent.getFileName().toString()).matches(layout + "-(flat|f001).vmdk");
      assertThat(Files.size(extent)).isEqualTo(3 * GRAIN + SECTOR);
      assertThat(BlockFile.storedBytes(extent)).isGreaterThanOrEqualTo(3 * GRAIN + SECTOR);
      try (VmdkDisk disk = VmdkDisk.open(made, Access.READ_ONLY)) {
        assertThat(disk.format()).isEqualTo(layout.createType());
        assertThat(disk.encryption()).hasValue(EncryptionMetadataTest.METADATA);
        assertThat(disk.policy()).hasValue("gold");
        assertThat(disk.files()).isEqualTo(options.files(made));
        assertThat(TestDisks.contentOf(disk.link())).containsOnly(0);
      }
    }
  }

  @Test
  void makesSplitDisksBeyondTwoTebibytes() throws Exception {
    long size = (2L << 40) + 512;
    assertThatThrownBy(() -> CreateOptions.ofSize(size))
        .hasMessageContaining("another layout: the places in a sparse file end at 2 TiB");
    CreateOptions options = CreateOptions.ofSize(size, Layout.TWO_GB_MAX_EXTENT_SPARSE);
    assertThat(options.files(folder.resolve("disk.vmdk"))).hasSize(1026);
    assertThat(options.files(folder.resolve("disk.vmdk")).getLast()).hasFileName("disk-s1025.vmdk");
    assertThat(options.extentBytes(1024)).isEqualTo(size - 1024 * 4_192_256L * SECTOR);
  }

  @Test
  void leavesNothingOfADiskThatCouldNotBeMade() throws Exception {
    Path there = Files.writeString(folder.resolve("disk-s003.vmdk"), "precious");
    CreateOptions options = CreateOptions.ofSize(5L << 30, Layout.TWO_GB_MAX_EXTENT_SPARSE);

    assertThatThrownBy(() -> VmdkDisk.create(folder.resolve("disk.vmdk"), options))
        .isInstanceOf(FileAlreadyExistsException.class);

    assertThat(there).hasContent("precious");
    assertThat(folder.toFile().list()).containsExactly("disk-s003.vmdk");
  }

  @Test
  void makesNoExtentsThatTheDescriptorCanNotName() {
    Path odd = folder.resolve("a\"b.vmdk");

    assertThatThrownBy(
            () -> VmdkDisk.create(odd, CreateOptions.ofSize(GRAIN, Layout.MONOLITHIC_FLAT)))
        .hasMessageContaining("can't name a disk of several files");
    assertThat(folder).isEmptyDirectory();
  }
}
