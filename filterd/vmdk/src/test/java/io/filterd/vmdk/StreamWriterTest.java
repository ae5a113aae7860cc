package io.filterd.vmdk;

import static io.filterd.vmdk.TestDisks.GRAIN;
import static io.filterd.vmdk.TestDisks.SECTOR;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.Blocking;
import io.filterd.block.Durability;
import io.filterd.block.ExtentKind;
import io.filterd.block.FaultyDevice;
import io.filterd.block.MemoryDevice;
import io.filterd.block.file.BlockFile;
import io.filterd.block.file.FileDevice;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class StreamWriterTest {
  private static final DiskCopy.Listener NOBODY = (done, total) -> true;

  @TempDir Path folder;

  private static BlockDevice device(byte[] content) throws BlockException {
    MemoryDevice device = new MemoryDevice(content.length);
    device.write(0, TestDisks.direct(content), Durability.BUFFERED, Blocking.ALLOWED);
    return device;
  }

  @ParameterizedTest
  @ValueSource(ints = {SECTOR, GRAIN, GRAIN + SECTOR, 41 * GRAIN - SECTOR, 100 * GRAIN})
  void isReadBack(int bytes) throws Exception {
    byte[] content = TestDisks.content(bytes, new SplittableRandom(bytes));
    content[bytes - 1] = 1;
    Path file = folder.resolve("stream.vmdk");
    List<Long> steps = new ArrayList<>();

    try (BlockDevice source = device(content)) {
      assertThat(StreamWriter.toFile(source, file, (done, total) -> steps.add(done))).isTrue();
    }

    assertThat(steps).isSorted().endsWith((long) bytes);
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_ONLY)) {
      assertThat(disk.format()).isEqualTo("streamOptimized");
      assertThat(TestDisks.contentOf(disk.link())).isEqualTo(content);
    }
  }

  @Test
  void fillsTheLastSectorOfASourceThatEndsInside() throws Exception {
    byte[] content = TestDisks.content(GRAIN + 700, new SplittableRandom(3));
    content[content.length - 1] = 1;
    Path raw = Files.write(folder.resolve("a.raw"), content);
    Path file = folder.resolve("a.vmdk");
    try (BlockDevice source = FileDevice.open(raw, BlockFile.Access.READ_ONLY)) {
      assertThat(StreamWriter.toFile(source, file, NOBODY)).isTrue();
    }
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_ONLY)) {
      assertThat(TestDisks.contentOf(disk.link()))
          .isEqualTo(Arrays.copyOf(content, GRAIN + 2 * SECTOR));
    }
  }

  /** Facts 1.5 a. */
  @Test
  void hasTheLayoutOfVmware() throws Exception {
    byte[] content = new byte[3 * GRAIN];
    content[GRAIN] = 1;
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();

    assertThat(StreamWriter.write(device(content), "a.vmdk", bytes, NOBODY)).isTrue();

    ByteBuffer file = ByteBuffer.wrap(bytes.toByteArray()).order(ByteOrder.LITTLE_ENDIAN);
    SparseExtentHeader header = header(file, 0);
    assertThat(header.version()).isEqualTo(3);
    assertThat(header.flags()).isEqualTo(0x30001);
    assertThat(header.directoryOffset()).isEqualTo(SparseExtentHeader.DIRECTORY_AT_END);
    assertThat(header.overheadSectors()).isEqualTo(128);
    // The one grain, the marker of its table, which has four sectors.
    assertThat(file.getLong(128 * SECTOR)).isEqualTo(128);
    assertThat(file.getInt(128 * SECTOR + 8)).isBetween(1, SECTOR - 12);
    assertMarker(file, 129, 4, 1);
    assertThat(file.getInt(130 * SECTOR)).isZero();
    assertThat(file.getInt(130 * SECTOR + 4)).isEqualTo(128);
    assertMarker(file, 134, 1, 2);
    assertThat(file.getInt(135 * SECTOR)).isEqualTo(130);
    assertMarker(file, 136, 1, 3);
    assertThat(header(file, 137).directoryOffset()).isEqualTo(135);
    assertMarker(file, 138, 0, 0);
    assertThat(file.capacity()).isEqualTo(139 * SECTOR);
  }

  private static SparseExtentHeader header(ByteBuffer file, int sector) throws FormatException {
    return SparseExtentHeader.parse(
        "file", (long) sector * SECTOR, file.slice(sector * SECTOR, SECTOR));
  }

  private static void assertMarker(ByteBuffer file, int sector, long sectors, int type) {
    assertThat(file.getLong(sector * SECTOR)).isEqualTo(sectors);
    assertThat(file.getInt(sector * SECTOR + 8)).isZero();
    assertThat(file.getInt(sector * SECTOR + 12)).isEqualTo(type);
  }

  @Test
  void leavesOutWhatIsZerosOfAHugeDisk() throws Exception {
    Path file = folder.resolve("huge.vmdk");
    long size = 9L << 40;
    long[] places = {0, (33L << 20) - 4096, 5L << 40, size - 4096};
    byte[] mark = new byte[4096];
    Arrays.fill(mark, (byte) 7);
    try (MemoryDevice source = new MemoryDevice(size)) {
      for (long place : places) {
        source.write(place, TestDisks.direct(mark), Durability.BUFFERED, Blocking.ALLOWED);
      }
      assertThat(StreamWriter.toFile(source, file, NOBODY)).isTrue();
    }

    // The directory has an entry for each 32 MiB.
    assertThat(Files.size(file)).isBetween(size >> 23, (size >> 23) + (1 << 17));
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_ONLY)) {
      BlockDevice link = disk.link();
      assertThat(link.info().sizeBytes()).isEqualTo(size);
      ByteBuffer bytes = ByteBuffer.allocateDirect(mark.length);
      for (long place : places) {
        link.read(place, bytes.clear(), Blocking.ALLOWED);
        assertThat(bytes.flip()).isEqualTo(TestDisks.direct(mark));
      }
      assertThat(link.extents(1L << 40, 1 << 20, Blocking.ALLOWED).kind(0))
          .isNotEqualTo(ExtentKind.DATA);
    }
  }

  @Test
  void leavesNothingWhenItIsStoppedOrFails() throws Exception {
    byte[] content = TestDisks.content(100 * GRAIN, new SplittableRandom(4));
    Path file = folder.resolve("a.vmdk");
    try (FaultyDevice source = new FaultyDevice(device(content))) {
      assertThat(StreamWriter.toFile(source, file, (done, total) -> done < total / 2)).isFalse();
      source.failAt(20, FaultyDevice.Fault.BEFORE, Reason.IO_ERROR);
      assertThatThrownBy(() -> StreamWriter.toFile(source, file, NOBODY))
          .isInstanceOf(BlockException.class);
    }
    assertThat(folder).isEmptyDirectory();
  }

  @Test
  void endsWhenItsTargetFails() throws Exception {
    byte[] content = TestDisks.content(100 * GRAIN, new SplittableRandom(4));
    try (OutputStream full = Files.newOutputStream(Path.of("/dev/full"))) {
      assertThatThrownBy(() -> StreamWriter.write(device(content), "a.vmdk", full, NOBODY))
          .isInstanceOf(IOException.class)
          .hasMessageContaining("No space");
    }
  }

  @Test
  void leavesAFileAloneThatIsThere() throws Exception {
    Path there = Files.writeString(folder.resolve("there"), "precious");
    assertThatThrownBy(() -> StreamWriter.toFile(device(new byte[SECTOR]), there, NOBODY))
        .isInstanceOf(FileAlreadyExistsException.class);
    assertThat(there).hasContent("precious");
  }
}
