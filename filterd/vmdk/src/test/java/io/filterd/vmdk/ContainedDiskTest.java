package io.filterd.vmdk;

import static io.filterd.vmdk.TestDisks.GRAIN;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.block.BlockException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.SplittableRandom;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ContainedDiskTest {
  private static final int BEFORE_BYTES = 777;

  private final byte[] content = TestDisks.content(20 * GRAIN, new SplittableRandom(1));

  @TempDir Path folder;
  private Path container = Path.of("");
  private int diskBytes;

  @BeforeEach
  void putADiskIntoAFile() throws IOException {
    byte[] disk = TestDisks.stream(content, TestDisks.Stream.FOOTER);
    diskBytes = disk.length;
    byte[] bytes = new byte[BEFORE_BYTES + diskBytes + 5000];
    Arrays.fill(bytes, (byte) 0x77);
    System.arraycopy(disk, 0, bytes, BEFORE_BYTES, diskBytes);
    container = Files.write(folder.resolve("container"), bytes);
  }

  @Test
  void isReadWhereItIs() throws Exception {
    try (VmdkDisk disk = ContainedDisk.open(container, "a.vmdk", BEFORE_BYTES, diskBytes)) {
      assertThat(TestDisks.contentOf(disk.link())).isEqualTo(content);
    }
  }

  @Test
  void doesNotLookBeyondItsEnd() {
    // What lies behind the part is no part of the disk.
    for (int bytes : new int[] {diskBytes / 2, 100, 0}) {
      assertThatThrownBy(() -> ContainedDisk.open(container, "a.vmdk", BEFORE_BYTES, bytes).close())
          .isInstanceOf(FormatException.class)
          .hasMessageStartingWith("a.vmdk: at byte ");
    }
    assertThatThrownBy(() -> ContainedDisk.open(container, "a.vmdk", 1 << 30, 512).close())
        .isInstanceOf(IOException.class)
        .hasMessageContaining("expected: inside the");
  }

  @Test
  void mustBeADiskInOneFile() throws IOException, BlockException {
    Path text =
        Files.writeString(
            folder.resolve("a.vmdk"),
            TestDisks.descriptor("monolithicFlat", "RW 4 FLAT \"container\" 0"));

    assertThatThrownBy(() -> ContainedDisk.open(text, "a.vmdk", 0, Files.size(text)).close())
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("magic");
  }
}
