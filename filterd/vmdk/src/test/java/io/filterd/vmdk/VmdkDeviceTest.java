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

  @Nested
  class ChainOfOne extends Kept {
    @Override
    BlockDevice stacked(BlockDevice link) {
      return new Chain(List.of(link));
    }
  }
}
