package io.filterd.vmdk;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockDeviceContract;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.io.TempDir;

class VmdkDeviceTest {
  @TempDir Path folder;

  abstract class Kept extends BlockDeviceContract {
    private Path file = Path.of("");

    abstract BlockDevice stacked(BlockDevice link);

    @Override
    protected BlockDevice create(long sizeBytes, UnaryOperator<BlockDevice> below)
        throws Exception {
      file = Files.createTempDirectory(folder, "disk").resolve("disk.vmdk");
      VmdkDisk.create(file, CreateOptions.ofSize(sizeBytes));
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

  @Nested
  class ChainOfOne extends Kept {
    @Override
    BlockDevice stacked(BlockDevice link) {
      return new Chain(List.of(link));
    }
  }
}
