package io.filterd.vmdk;

import static io.filterd.vmdk.TestDisks.GRAIN;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.FaultyDevice;
import io.filterd.block.MemoryDevice;
import io.filterd.block.file.BlockFile;
import io.filterd.block.file.FileDevice;
import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DiskCopyTest {
  private static final DiskCopy.Listener NOBODY = (done, total) -> true;

  @TempDir Path folder;

  private final byte[] content = TestDisks.content(40 * GRAIN, new SplittableRandom(1));

  private BlockDevice source() throws IOException, BlockException {
    Path file = folder.resolve("source.vmdk");
    TestDisks.sparse(file, content);
    return VmdkDisk.open(file, Access.READ_ONLY).link();
  }

  @Test
  void copiesThereAndBack() throws Exception {
    Path raw = folder.resolve("a.raw");
    Path vmdk = folder.resolve("a.vmdk");
    List<Long> steps = new ArrayList<>();
    try (BlockDevice source = source()) {
      DiskCopy.Listener listener =
          (done, total) -> {
            assertThat(total).isEqualTo(content.length);
            return steps.add(done);
          };
      assertThat(DiskCopy.toRaw(source, raw, listener)).isTrue();
    }
    assertThat(Files.readAllBytes(raw)).isEqualTo(content);
    assertThat(steps).isSorted().endsWith((long) content.length);

    try (BlockDevice source = FileDevice.open(raw, BlockFile.Access.READ_ONLY)) {
      CreateOptions options = CreateOptions.ofSize(content.length + 512).withPolicy("p");
      assertThat(DiskCopy.toVmdk(source, vmdk, options, NOBODY)).isTrue();
    }
    try (VmdkDisk disk = VmdkDisk.open(vmdk, Access.READ_ONLY)) {
      assertThat(disk.policy()).hasValue("p");
      assertThat(TestDisks.contentOf(disk.link()))
          .isEqualTo(Arrays.copyOf(content, content.length + 512));
    }
    // Only grains that hold something have space.
    assertThat(Files.size(vmdk)).isLessThan(content.length);
  }

  @Test
  void copiesSourcesThatEndAnywhere() throws Exception {
    byte[] odd = TestDisks.content(3 * GRAIN + 777, new SplittableRandom(2));
    odd[odd.length - 1] = 1;
    Path raw = Files.write(folder.resolve("odd.raw"), odd);
    Path vmdk = folder.resolve("odd.vmdk");
    long size = Math.ceilDiv(odd.length, 512) * 512L;
    try (BlockDevice source = FileDevice.open(raw, BlockFile.Access.READ_ONLY)) {
      assertThat(DiskCopy.toVmdk(source, vmdk, CreateOptions.ofSize(size), NOBODY)).isTrue();
    }
    try (VmdkDisk disk = VmdkDisk.open(vmdk, Access.READ_ONLY)) {
      assertThat(TestDisks.contentOf(disk.link())).isEqualTo(Arrays.copyOf(odd, (int) size));
    }
  }

  @Test
  void leavesNothingWhenItIsStopped() throws Exception {
    Path raw = folder.resolve("a.raw");
    Path vmdk = folder.resolve("a.vmdk");
    try (BlockDevice source = source()) {
      CreateOptions options = CreateOptions.ofSize(content.length);
      assertThat(DiskCopy.toRaw(source, raw, (done, total) -> done < total / 2)).isFalse();
      assertThat(DiskCopy.toVmdk(source, vmdk, options, (done, total) -> done < total / 2))
          .isFalse();
    }
    assertThat(raw).doesNotExist();
    assertThat(vmdk).doesNotExist();
  }

  @Test
  void leavesNothingWhenItFails() throws Exception {
    Path raw = folder.resolve("a.raw");
    try (FaultyDevice source = new FaultyDevice(new MemoryDevice(content.length))) {
      source.failAt(1, FaultyDevice.Fault.BEFORE, BlockException.Reason.IO_ERROR);
      assertThatThrownBy(() -> DiskCopy.toRaw(source, raw, NOBODY))
          .isInstanceOf(BlockException.class);
    }
    assertThat(raw).doesNotExist();
  }

  @Test
  void leavesAFileAloneThatIsThere() throws Exception {
    Path there = Files.writeString(folder.resolve("there"), "precious");
    try (BlockDevice source = source()) {
      CreateOptions options = CreateOptions.ofSize(content.length);
      assertThatThrownBy(() -> DiskCopy.toRaw(source, there, NOBODY))
          .isInstanceOf(FileAlreadyExistsException.class);
      assertThatThrownBy(() -> DiskCopy.toVmdk(source, there, options, NOBODY))
          .isInstanceOf(FileAlreadyExistsException.class);
    }
    assertThat(there).hasContent("precious");
  }
}
