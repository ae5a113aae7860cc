package io.filterd.vmdk;

import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockDeviceContract;
import io.filterd.block.Capability;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class VmdkDeviceTest {
  @TempDir Path folder;

  abstract class Kept extends BlockDeviceContract {
    private Path file = Path.of("");

    void make(Path file, long sizeBytes) throws Exception {
      VmdkDisk.create(file, CreateOptions.ofSize(sizeBytes));
    }

    abstract BlockDevice stacked(BlockDevice link);

    @Override
    protected BlockDevice create(long sizeBytes, UnaryOperator<BlockDevice> below)
        throws Exception {
      file = Files.createTempDirectory(folder, "disk").resolve("disk.vmdk");
      make(file, sizeBytes);
      return stacked(below.apply(VmdkDisk.open(file, Access.READ_WRITE).link()));
    }

    @Override
    protected BlockDevice reopen() throws Exception {
      return stacked(VmdkDisk.open(file, Access.READ_WRITE).link());
    }

    @Override
    protected int sizeBytes() {
      return (3 << 16) + 512;
    }

    @Override
    protected boolean tearsReads() {
      return true;
    }

    @Override
    protected int modelSteps() {
      return 1000;
    }
  }

  @Nested
  class Link extends Kept {
    @Override
    BlockDevice stacked(BlockDevice link) {
      return link;
    }
  }

  /** With a header of version 2: entries of 1 mark grains of zeros. */
  @Nested
  class MarkingLink extends Kept {
    @Override
    void make(Path file, long sizeBytes) throws Exception {
      super.make(file, sizeBytes);
      TestDisks.markZeros(file);
    }

    @Override
    BlockDevice stacked(BlockDevice link) {
      return link;
    }

    @Test
    void saysSo() throws Exception {
      try (BlockDevice link = create(sizeBytes(), below -> below)) {
        assertThat(link.info().can(Capability.MARKS_ZEROS)).isTrue();
      }
    }
  }

  /** Of two extents, the second one of which starts with a grain. */
  @Nested
  class Split extends Kept {
    private static final int FIRST_BYTES = 2 * TestDisks.GRAIN;

    @Override
    void make(Path file, long sizeBytes) throws Exception {
      TestDisks.sparseExtent(file.resolveSibling("s1.vmdk"), FIRST_BYTES);
      TestDisks.sparseExtent(file.resolveSibling("s2.vmdk"), sizeBytes - FIRST_BYTES);
      String[] lines = {
        "RW " + FIRST_BYTES / 512 + " SPARSE \"s1.vmdk\"",
        "RW " + (sizeBytes - FIRST_BYTES) / 512 + " SPARSE \"s2.vmdk\""
      };
      Files.writeString(file, TestDisks.descriptor("twoGbMaxExtentSparse", lines));
    }

    @Override
    BlockDevice stacked(BlockDevice link) {
      return link;
    }

    @Override
    protected List<Integer> internalBoundaries() {
      return List.of(FIRST_BYTES);
    }

    @Test
    void tellsWhatWasNeverWritten() throws Exception {
      try (BlockDevice link = create(sizeBytes(), below -> below)) {
        assertThat(link.info().can(Capability.TRACKS_ZEROS)).isTrue();
        assertThat(link.info().allocationUnitBytes()).isEqualTo(TestDisks.GRAIN);
      }
    }
  }

  @Nested
  class Flat extends Kept {
    @Override
    void make(Path file, long sizeBytes) throws Exception {
      TestDisks.flatExtent(file.resolveSibling("disk-flat.vmdk"), sizeBytes);
      String line = "RW " + sizeBytes / 512 + " VMFS \"disk-flat.vmdk\"";
      Files.writeString(file, TestDisks.descriptor("vmfs", line));
    }

    @Override
    BlockDevice stacked(BlockDevice link) {
      return link;
    }

    @Override
    protected int modelSteps() {
      return 400;
    }
  }

  /** Of extents that start and end anywhere. */
  @Nested
  class Mixed extends Kept {
    private static final int FLAT_BYTES = 129 * 512;

    @Override
    void make(Path file, long sizeBytes) throws Exception {
      TestDisks.flatExtent(file.resolveSibling("f1.vmdk"), FLAT_BYTES + 3 * 512);
      TestDisks.sparseExtent(file.resolveSibling("s2.vmdk"), sizeBytes - FLAT_BYTES);
      String[] lines = {
        "RW " + FLAT_BYTES / 512 + " FLAT \"f1.vmdk\" 3",
        "RW " + (sizeBytes - FLAT_BYTES) / 512 + " SPARSE \"s2.vmdk\""
      };
      Files.writeString(file, TestDisks.descriptor("twoGbMaxExtentFlat", lines));
    }

    @Override
    BlockDevice stacked(BlockDevice link) {
      return link;
    }

    @Override
    protected List<Integer> internalBoundaries() {
      return List.of(FLAT_BYTES);
    }

    @Override
    protected int modelSteps() {
      return 400;
    }
  }

  @Nested
  class ChainOfOne extends Kept {
    @Override
    BlockDevice stacked(BlockDevice link) {
      return new Chain(List.of(link));
    }
  }
}
