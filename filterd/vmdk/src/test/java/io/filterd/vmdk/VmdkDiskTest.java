package io.filterd.vmdk;

import static io.filterd.vmdk.TestDisks.GRAIN;
import static io.filterd.vmdk.TestDisks.SECTOR;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import com.sun.management.ThreadMXBean;
import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.Blocking;
import io.filterd.block.Completion;
import io.filterd.block.Durability;
import io.filterd.block.ExtentKind;
import io.filterd.block.Extents;
import io.filterd.block.ZeroMode;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class VmdkDiskTest {
  private static final int SIZE_BYTES = 40 * GRAIN;

  @TempDir Path folder;

  private Path create() throws IOException, BlockException {
    Path file = folder.resolve("disk.vmdk");
    VmdkDisk.create(file, CreateOptions.ofSize(SIZE_BYTES));
    return file;
  }

  private static void write(BlockDevice link, long offset, int length, int value)
      throws BlockException {
    ByteBuffer bytes = ByteBuffer.allocateDirect(length);
    while (bytes.hasRemaining()) {
      bytes.put((byte) value);
    }
    link.write(offset, bytes.flip(), Durability.BUFFERED, Blocking.ALLOWED);
  }

  // Making

  @Test
  void saysWhatItWasMadeTo() throws Exception {
    Path file = folder.resolve("a \"b\"\n.vmdk");
    VmdkDisk.create(
        file,
        CreateOptions.ofSize(SIZE_BYTES)
            .withEncryption(EncryptionMetadataTest.METADATA)
            .withPolicy("gold"));

    for (Access access : Access.values()) {
      try (VmdkDisk disk = VmdkDisk.open(file, access)) {
        assertThat(disk.format()).isEqualTo("monolithicSparse");
        assertThat(disk.encryption()).hasValue(EncryptionMetadataTest.METADATA);
        assertThat(disk.policy()).hasValue("gold");
        assertThat(disk.link().info().sizeBytes()).isEqualTo(SIZE_BYTES);
        assertThat(disk.link().extents(0, SIZE_BYTES, Blocking.ALLOWED))
            .isEqualTo(Extents.ALL_ABSENT);
      }
    }
  }

  @Test
  void makesNoDiskInPlaceOfAFile() throws Exception {
    Path file = folder.resolve("disk.vmdk");
    Files.writeString(file, "precious");

    assertThatThrownBy(() -> VmdkDisk.create(file, CreateOptions.ofSize(SIZE_BYTES)))
        .isInstanceOf(FileAlreadyExistsException.class);
    assertThat(file).hasContent("precious");
  }

  @Test
  void leavesNothingOfADiskThatCouldNotBeMade() {
    Path file = folder.resolve("disk.vmdk");
    CreateOptions tooLong = CreateOptions.ofSize(SIZE_BYTES).withPolicy("x".repeat(20_000));

    assertThatThrownBy(() -> VmdkDisk.create(file, tooLong))
        .isInstanceOf(BlockException.class)
        .hasMessageContaining("descriptor");
    assertThat(file).doesNotExist();
  }

  @ParameterizedTest
  @ValueSource(longs = {0, -512, 513, SparseLayout.LARGEST_DISK_BYTES + 512, 1L << 61})
  void refusesSizesThatNoDiskMayHave(long bytes) {
    assertThatThrownBy(() -> CreateOptions.ofSize(bytes))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("sizeBytes: " + bytes);
  }

  @Test
  void opensADiskOfATebibyteInLittleTime() throws Exception {
    Path file = folder.resolve("large.vmdk");
    VmdkDisk.create(file, CreateOptions.ofSize(1L << 40));
    long begin = System.nanoTime();
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_WRITE)) {
      long opened = System.nanoTime() - begin;
      write(disk.link(), (1L << 40) - SECTOR, SECTOR, 1);
      disk.link().flush(Blocking.ALLOWED);

      assertThat(opened).isLessThan(5_000_000_000L);
    }
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_ONLY)) {
      ByteBuffer last = ByteBuffer.allocateDirect(SECTOR);
      disk.link().read((1L << 40) - SECTOR, last, Blocking.ALLOWED);
      assertThat(last.get(0)).isEqualTo((byte) 1);
    }
  }

  // The descriptor

  @Test
  void changesItsDescriptorAndLeavesItInTheFirstSlot() throws Exception {
    Path file = create();
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_WRITE)) {
      for (int i = 0; i < 5; i++) {
        String value = "v" + i;
        disk.rewriteDescriptor(d -> d.withDdb("comment", value));
        assertThat(disk.descriptor().ddb("comment")).hasValue(value);
        byte[] bytes = Files.readAllBytes(file);
        assertThat(bytes[28]).as("qemu looks only there").isEqualTo((byte) 1);
        assertThat(bytes[72]).as("nothing was written yet").isZero();
      }
    }
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_ONLY)) {
      assertThat(disk.descriptor().ddb("comment")).hasValue("v4");
      assertThatThrownBy(() -> disk.rewriteDescriptor(d -> d.withDdb("comment", "x")))
          .isInstanceOfSatisfying(
              BlockException.class,
              failure -> assertThat(failure.reason()).isEqualTo(Reason.READ_ONLY));
    }
  }

  @Test
  void showsTheEncryptionThatItsDescriptorSays() throws Exception {
    try (VmdkDisk disk = VmdkDisk.open(create(), Access.READ_WRITE)) {
      disk.rewriteDescriptor(EncryptionMetadataTest.METADATA::writeTo);
      assertThat(disk.encryption()).hasValue(EncryptionMetadataTest.METADATA);

      disk.rewriteDescriptor(EncryptionMetadata::removeFrom);
      assertThat(disk.encryption()).isEmpty();
    }
  }

  @Test
  void refusesChangesThatWouldBreakTheDisk() throws Exception {
    try (VmdkDisk disk = VmdkDisk.open(create(), Access.READ_WRITE)) {
      byte[] before = disk.descriptor().format();

      assertThatThrownBy(() -> disk.rewriteDescriptor(d -> d.withDdb("filterd.version", "1")))
          .isInstanceOf(IllegalArgumentException.class);
      assertThatThrownBy(() -> disk.rewriteDescriptor(d -> d.withDdb("x", "y".repeat(11_000))))
          .isInstanceOf(BlockException.class)
          .hasMessageContaining("descriptor");
      Descriptor other =
          Descriptor.parse(
              "other",
              512,
              TestDisks.descriptor("monolithicSparse", "RW 1 SPARSE \"disk.vmdk\"")
                  .getBytes(java.nio.charset.StandardCharsets.UTF_8));
      assertThatThrownBy(() -> disk.rewriteDescriptor(d -> other))
          .isInstanceOf(IllegalArgumentException.class);
      assertThat(disk.descriptor().format()).isEqualTo(before);
    }
  }

  @Test
  void changesItsContentIdAtTheFirstWriteOnly() throws Exception {
    Path file = create();
    long made;
    long written;
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_WRITE)) {
      made = disk.descriptor().cid();
      disk.link().flush(Blocking.ALLOWED);
      assertThat(disk.descriptor().cid()).isEqualTo(made);
      write(disk.link(), 0, SECTOR, 1);
      written = disk.descriptor().cid();
      write(disk.link(), 0, SECTOR, 1);
      assertThat(disk.descriptor().cid()).isEqualTo(written).isNotEqualTo(made);
      assertThat(disk.descriptor().ddb("longContentID").orElseThrow())
          .endsWith("%08x".formatted(written));
      assertThat(Files.readAllBytes(file)[72]).as("unclean").isEqualTo((byte) 1);
    }
    assertThat(Files.readAllBytes(file)[72]).as("unclean").isZero();
    byte[] before = Files.readAllBytes(file);
    VmdkDisk.open(file, Access.READ_WRITE).close();
    assertThat(Files.readAllBytes(file)).isEqualTo(before);
  }

  // Opening

  @Test
  void isForOneWriterOrManyReaders() throws Exception {
    Path file = create();
    try (VmdkDisk writer = VmdkDisk.open(file, Access.READ_WRITE)) {
      for (Access access : Access.values()) {
        assertThatThrownBy(() -> VmdkDisk.open(file, access))
            .isInstanceOf(IOException.class)
            .hasMessageContaining("disk.vmdk");
      }
      assertThat(writer.link()).isNotNull();
    }
    try (VmdkDisk one = VmdkDisk.open(file, Access.READ_ONLY);
        VmdkDisk two = VmdkDisk.open(file, Access.READ_ONLY)) {
      assertThat(one.descriptor().cid()).isEqualTo(two.descriptor().cid());
      assertThatThrownBy(() -> VmdkDisk.open(file, Access.READ_WRITE))
          .isInstanceOf(IOException.class);
    }
    VmdkDisk.open(file, Access.READ_WRITE).close();
  }

  @Test
  void takesBeingClosedByTheStackAndByTheDisk() throws Exception {
    Path file = create();
    for (Access access : Access.values()) {
      VmdkDisk disk = VmdkDisk.open(file, access);
      disk.link().close();
      disk.close();
      disk.close();
    }
  }

  @Test
  void saysThatThereIsNoFile() {
    assertThatThrownBy(() -> VmdkDisk.open(folder.resolve("none.vmdk"), Access.READ_ONLY))
        .isInstanceOf(NoSuchFileException.class);
  }

  @Test
  void readsAnUncleanFileWithoutChangingIt() throws Exception {
    Path file = create();
    VmdkDisk.open(file, Access.READ_WRITE).close();
    byte[] bytes = Files.readAllBytes(file);
    bytes[72] = 1;
    Files.write(file, bytes);

    VmdkDisk.open(file, Access.READ_ONLY).close();
    assertThat(Files.readAllBytes(file)).isEqualTo(bytes);

    VmdkDisk.open(file, Access.READ_WRITE).close();
    bytes[72] = 0;
    assertThat(Files.readAllBytes(file)).isEqualTo(bytes);
  }

  // Space

  @Test
  void usesSpaceAgainThatWasGivenUp() throws Exception {
    Path file = create();
    long full;
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_WRITE)) {
      write(disk.link(), 0, 20 * GRAIN, 1);
      disk.link().flush(Blocking.ALLOWED);
      full = Files.size(file);
      for (int i = 0; i < 10; i++) {
        disk.link().trim(0, 10 * GRAIN, Durability.DURABLE, Blocking.ALLOWED);
        write(disk.link(), 0, 10 * GRAIN, 2 + i);
      }
      assertThat(Files.size(file)).isEqualTo(full);
      disk.link().trim(10 * GRAIN, 5 * GRAIN, Durability.BUFFERED, Blocking.ALLOWED);
    }
    // And after it was opened again.
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_WRITE)) {
      write(disk.link(), 30 * GRAIN, 5 * GRAIN, 7);
      disk.link().flush(Blocking.ALLOWED);
      assertThat(Files.size(file)).isEqualTo(full);
      disk.link().trim(0, SIZE_BYTES, Durability.BUFFERED, Blocking.ALLOWED);
    }
    assertThat(Files.size(file)).isEqualTo(GRAIN);
  }

  @Test
  void allocatesZerosOnlyWhenTold() throws Exception {
    Path file = create();
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_WRITE)) {
      BlockDevice link = disk.link();
      link.zero(0, 3 * GRAIN, ZeroMode.MAY_DEALLOCATE, Durability.BUFFERED, Blocking.ALLOWED);
      assertThat(Files.size(file)).isEqualTo(GRAIN);
      link.zero(512, 2 * GRAIN, ZeroMode.ALLOCATE, Durability.BUFFERED, Blocking.ALLOWED);
      assertThat(Files.size(file)).isEqualTo(4 * GRAIN);
      Extents extents = link.extents(0, 4 * GRAIN, Blocking.ALLOWED);
      assertThat(extents.kind(0)).isEqualTo(ExtentKind.DATA);
      assertThat(extents.lengthBytes(0, 4 * GRAIN)).isEqualTo(3 * GRAIN);
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"FAST_MAY_DEALLOCATE", "FAST_ALLOCATE"})
  void refusesToZeroSlowlyInAHurry(ZeroMode mode) throws Exception {
    try (VmdkDisk disk = VmdkDisk.open(create(), Access.READ_WRITE)) {
      BlockDevice link = disk.link();
      write(link, 0, 2 * GRAIN, 1);

      BlockException failure =
          catchThrowableOfType(
              BlockException.class,
              () -> link.zero(512, GRAIN, mode, Durability.BUFFERED, Blocking.ALLOWED));

      assertThat(failure.reason()).isEqualTo(Reason.NOT_SUPPORTED);
      assertThat(TestDisks.contentOf(link)).startsWith(new byte[] {1, 1});
    }
  }

  @Test
  void endsWithTheFormatsPlaces() {
    java.util.BitSet used = new java.util.BitSet();
    used.set(0, 10);
    GrainSpace space = new GrainSpace("a.vmdk", used, 12);

    assertThat(takeQuietly(space, 5)).isEqualTo(new GrainSpace.Run(10, 2));
    BlockException full = catchThrowableOfType(BlockException.class, () -> space.take(1));
    assertThat(full.reason()).isEqualTo(Reason.NO_SPACE);
    space.giveBack(4, 1);
    assertThat(takeQuietly(space, 5)).isEqualTo(new GrainSpace.Run(4, 1));
  }

  private static GrainSpace.Run takeQuietly(GrainSpace space, int wanted) {
    try {
      return space.take(wanted);
    } catch (BlockException e) {
      throw new AssertionError(e);
    }
  }

  // The common path

  @Test
  void readsAndWritesInPlaceWithoutAllocatingMemory() throws Exception {
    try (VmdkDisk disk = VmdkDisk.open(create(), Access.READ_WRITE)) {
      BlockDevice link = disk.link();
      write(link, 0, SIZE_BYTES, 1);
      link.flush(Blocking.ALLOWED);
      ByteBuffer bytes = ByteBuffer.allocateDirect(4096);
      ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
      SplittableRandom random = new SplittableRandom(1);
      long used = Long.MAX_VALUE;
      // The first rounds are the compiler's.
      for (int round = 0; round < 20; round++) {
        long before = threads.getCurrentThreadAllocatedBytes();
        for (int i = 0; i < 2000; i++) {
          long offset = random.nextInt(SIZE_BYTES / 4096) * 4096L;
          Extents extents = link.read(offset, bytes.clear(), Blocking.ALLOWED);
          if (extents != Extents.ALL_DATA) {
            throw new AssertionError(extents.toString());
          }
          link.write(offset, bytes.flip(), Durability.BUFFERED, Blocking.ALLOWED);
          link.extents(offset, 4096, Blocking.ALLOWED);
        }
        used = Math.min(used, threads.getCurrentThreadAllocatedBytes() - before);
      }
      // Less than a byte an operation: whatever else runs in this thread now and then.
      assertThat(used).isLessThan(6000);
    }
  }

  @Test
  void triesWithoutBlocking() throws Exception {
    try (VmdkDisk disk = VmdkDisk.open(create(), Access.READ_WRITE)) {
      BlockDevice link = disk.link();
      ByteBuffer bytes = ByteBuffer.allocateDirect(4096);
      assertThat(link.flush(Blocking.FORBIDDEN)).isEqualTo(Completion.DONE);
      assertThat(link.write(0, bytes, Durability.BUFFERED, Blocking.FORBIDDEN))
          .as("the first change marks the file")
          .isEqualTo(Completion.WOULD_BLOCK);
      link.write(0, bytes, Durability.BUFFERED, Blocking.ALLOWED);
      assertThat(link.write(GRAIN, bytes.clear(), Durability.BUFFERED, Blocking.FORBIDDEN))
          .as("a new grain")
          .isEqualTo(Completion.WOULD_BLOCK);
      assertThat(link.flush(Blocking.FORBIDDEN)).isEqualTo(Completion.WOULD_BLOCK);
      link.flush(Blocking.ALLOWED);
      assertThat(link.flush(Blocking.FORBIDDEN)).isEqualTo(Completion.DONE);
      // What was just written is in memory.
      assertThat(link.read(0, bytes.clear(), Blocking.FORBIDDEN)).isEqualTo(Extents.ALL_DATA);
      assertThat(link.read(GRAIN, bytes.clear(), Blocking.FORBIDDEN)).isEqualTo(Extents.ALL_ABSENT);
    }
  }

  @Test
  void forgetsTablesThatItCanReadAgain() throws Exception {
    Path file = folder.resolve("large.vmdk");
    long gibibyte = 1L << 30;
    VmdkDisk.create(file, CreateOptions.ofSize(gibibyte));
    CrashFile bytes = new CrashFile(Files.readAllBytes(file));
    SparseLayout layout = new SparseLayout(gibibyte / SECTOR);
    GrainTables tables =
        new GrainTables(
            bytes,
            layout.header(),
            index -> layout.table(index),
            SparseLayout.FILE_LIMIT_SECTORS,
            3);

    tables.lock.lock();
    try {
      tables.set(5, 1, 1 << 20, sector -> {});
    } finally {
      tables.lock.unlock();
    }
    for (int round = 0; round < 2; round++) {
      for (long table = 0; table < 32; table++) {
        assertThat(tables.locate((table * 512 + 6) * GRAIN, Blocking.ALLOWED)).isZero();
      }
      // What is not in the file yet is never forgotten.
      assertThat(tables.locate(5 * GRAIN + 7, Blocking.FORBIDDEN)).isEqualTo((512L << 20) + 7);
    }
    assertThat(tables.locate(512L * GRAIN, Blocking.FORBIDDEN)).isEqualTo(GrainTables.WOULD_BLOCK);
    assertThat(tables.takeChanges().indexes()).containsExactly(0);
  }
}
