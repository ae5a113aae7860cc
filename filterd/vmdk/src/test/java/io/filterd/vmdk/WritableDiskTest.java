package io.filterd.vmdk;

import static io.filterd.vmdk.TestDisks.GRAIN;
import static io.filterd.vmdk.TestDisks.SECTOR;
import static io.filterd.vmdk.TestDisks.descriptor;
import static io.filterd.vmdk.TestDisks.direct;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.Blocking;
import io.filterd.block.Capability;
import io.filterd.block.Durability;
import io.filterd.block.ExtentKind;
import io.filterd.block.Extents;
import io.filterd.block.ZeroMode;
import io.filterd.block.file.BlockFile;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Writes disks whose descriptor is in a file of its own. */
class WritableDiskTest {
  @TempDir Path folder;

  private Path file = Path.of("");

  @BeforeEach
  void nameIt() {
    file = folder.resolve("disk.vmdk");
  }

  /** A flat extent, one of zeros, one to be read only, a sparse one. */
  private void makeOfAllKinds() throws IOException, BlockException {
    TestDisks.flatExtent(folder.resolve("f1.vmdk"), 4L * GRAIN);
    TestDisks.flatExtent(folder.resolve("f3.vmdk"), GRAIN);
    TestDisks.sparseExtent(folder.resolve("s4.vmdk"), 4L * GRAIN);
    Files.writeString(
        file,
        descriptor(
            "twoGbMaxExtentFlat",
            "RW 512 FLAT \"f1.vmdk\" 0",
            "RW 128 ZERO",
            "RDONLY 128 FLAT \"f3.vmdk\" 0",
            "RW 512 SPARSE \"s4.vmdk\""));
  }

  private static void write(BlockDevice link, long offset, int length) throws BlockException {
    byte[] bytes = new byte[length];
    Arrays.fill(bytes, (byte) 7);
    link.write(offset, direct(bytes), Durability.BUFFERED, Blocking.ALLOWED);
  }

  @Test
  void writesWhatTakesWritesAndRefusesTheRest() throws Exception {
    makeOfAllKinds();
    byte[] all = TestDisks.content(10 * GRAIN, new SplittableRandom(1));
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_WRITE)) {
      BlockDevice link = disk.link();
      link.write(0, direct(Arrays.copyOf(all, 4 * GRAIN)), Durability.DURABLE, Blocking.ALLOWED);
      byte[] rest = Arrays.copyOfRange(all, 6 * GRAIN, 10 * GRAIN);
      link.write(6 * GRAIN, direct(rest), Durability.BUFFERED, Blocking.ALLOWED);

      for (long refused : new long[] {4 * GRAIN - SECTOR, 4 * GRAIN, 6 * GRAIN - SECTOR}) {
        int length = 2 * SECTOR;
        for (Change change :
            List.<Change>of(
                () -> write(link, refused, length),
                () -> link.trim(refused, length, Durability.BUFFERED, Blocking.ALLOWED),
                () ->
                    link.zero(
                        refused,
                        length,
                        ZeroMode.ALLOCATE,
                        Durability.BUFFERED,
                        Blocking.FORBIDDEN))) {
          BlockException failure = catchThrowableOfType(BlockException.class, change::make);
          assertThat(failure.reason()).isEqualTo(Reason.READ_ONLY);
          assertThat(failure).hasMessageContaining("an extent that takes no writes");
        }
      }
    }
    Arrays.fill(all, 4 * GRAIN, 6 * GRAIN, (byte) 0);
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_ONLY)) {
      assertThat(TestDisks.contentOf(disk.link())).isEqualTo(all);
    }
  }

  @FunctionalInterface
  private interface Change {
    void make() throws BlockException;
  }

  @Test
  void marksEachExtentUncleanWhileItIsChanged() throws Exception {
    TestDisks.sparseExtent(folder.resolve("s1.vmdk"), GRAIN);
    TestDisks.sparseExtent(folder.resolve("s2.vmdk"), GRAIN);
    Files.writeString(
        file,
        descriptor(
            "twoGbMaxExtentSparse", "RW 128 SPARSE \"s1.vmdk\"", "RW 128 SPARSE \"s2.vmdk\""));
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_WRITE)) {
      write(disk.link(), GRAIN, SECTOR);

      assertThat(Files.readAllBytes(folder.resolve("s1.vmdk"))[72]).isZero();
      assertThat(Files.readAllBytes(folder.resolve("s2.vmdk"))[72]).isOne();
    }
    assertThat(Files.readAllBytes(folder.resolve("s2.vmdk"))[72]).isZero();
  }

  @Test
  void changesTheContentIdOnceAndWithTheFirstChangeOnly() throws Exception {
    makeOfAllKinds();
    String before = Files.readString(file);
    Object inode = Files.getAttribute(file, "unix:ino");
    VmdkDisk.open(file, Access.READ_WRITE).close();
    assertThat(file).hasContent(before);

    String changed;
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_WRITE)) {
      write(disk.link(), 0, SECTOR);
      changed = Files.readString(file);
      write(disk.link(), 6 * GRAIN, SECTOR);
      assertThat(disk.descriptor().cid()).isNotEqualTo(0x1234abcdL);
      assertThat(file)
          .hasContent(changed)
          .hasContent(before.replace("1234abcd", "%08x".formatted(disk.descriptor().cid())));
    }
    assertThat(file).hasContent(changed);
    // In place: that needs no space, nor a folder that may be written.
    assertThat(Files.getAttribute(file, "unix:ino")).isEqualTo(inode);
  }

  @Test
  void changesAContentIdThatIsWrittenShort() throws Exception {
    makeOfAllKinds();
    Files.writeString(file, Files.readString(file).replace("CID=1234abcd", "CID = 1"));
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_WRITE)) {
      write(disk.link(), 0, SECTOR);
      assertThat(file).content().contains("CID=%08x".formatted(disk.descriptor().cid()));
    }
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_ONLY)) {
      assertThat(disk.descriptor().cid()).isNotEqualTo(1);
    }
  }

  @Test
  void dropsChangeTrackingOfOthersWithTheFirstChange() throws Exception {
    makeOfAllKinds();
    String plain = Files.readString(file);
    String tracked =
        plain
            .replace("version=1", "version=3")
            .replace("\nddb.", "\n# Change Tracking File\nchangeTrackPath=\"a-ctk.vmdk\"\nddb.");
    assertThat(tracked).contains("version=3", "changeTrackPath");
    Files.writeString(file, tracked);
    Path theirs = Files.writeString(folder.resolve("a-ctk.vmdk"), "theirs");
    VmdkDisk.open(file, Access.READ_WRITE).close();
    assertThat(file).hasContent(tracked);

    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_WRITE)) {
      write(disk.link(), 0, SECTOR);
      assertThat(file)
          .hasContent(plain.replace("1234abcd", "%08x".formatted(disk.descriptor().cid())));
    }
    assertThat(theirs).exists();
  }

  @Test
  void rewritesTheDescriptorOfAnybody() throws Exception {
    makeOfAllKinds();
    Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rw-r-----"));
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_WRITE)) {
      disk.rewriteDescriptor(EncryptionMetadataTest.METADATA::writeTo);
      assertThat(disk.encryption()).hasValue(EncryptionMetadataTest.METADATA);
      write(disk.link(), 0, SECTOR);
    }
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(file)))
        .isEqualTo("rw-r-----");
    assertThat(folder).isDirectoryNotContaining("glob:**.new");
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_ONLY)) {
      assertThat(disk.encryption()).hasValue(EncryptionMetadataTest.METADATA);
      assertThat(disk.files())
          .containsExactly(
              file,
              folder.resolve("f1.vmdk"),
              folder.resolve("f3.vmdk"),
              folder.resolve("s4.vmdk"));
    }
  }

  @Test
  void keepsOthersOutWhenItsDescriptorIsAnotherFileNow() throws Exception {
    makeOfAllKinds();
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_WRITE)) {
      disk.rewriteDescriptor(d -> d.withDdb("comment", "x"));
      write(disk.link(), 0, SECTOR);
      for (Access access : Access.values()) {
        assertThatThrownBy(() -> VmdkDisk.open(file, access)).hasMessageContaining("in use");
      }
      // By the extents as well, if somebody gave them another descriptor.
      Path other = folder.resolve("other.vmdk");
      Files.copy(file, other);
      assertThatThrownBy(() -> VmdkDisk.open(other, Access.READ_ONLY))
          .hasMessageContaining("in use");
    }
    VmdkDisk.open(file, Access.READ_WRITE).close();
  }

  @Test
  void opensTheFileThatHasTheNameWhenItGotTheLock()
      throws BlockException, IOException, InterruptedException {
    makeOfAllKinds();
    Path next = folder.resolve("next");
    Files.writeString(next, Files.readString(file).replace("1234abcd", "00000005"));
    BlockFile holder = BlockFile.open(file, BlockFile.Access.READ_WRITE);
    holder.lock();
    Thread replacer =
        Thread.startVirtualThread(
            () -> {
              try {
                Files.move(next, file, StandardCopyOption.REPLACE_EXISTING);
                holder.close();
              } catch (IOException | BlockException e) {
                throw new IllegalStateException(e);
              }
            });
    // Whichever of the two it opens first, and may wait for, it ends with the one in place.
    VmdkDisk disk = null;
    while (disk == null) {
      try {
        disk = VmdkDisk.open(file, Access.READ_WRITE);
      } catch (FileSystemException inUse) {
        assertThat(inUse).hasMessageContaining("in use");
      }
    }
    assertThat(disk.descriptor().cid()).isEqualTo(5);
    disk.close();
    replacer.join();
  }

  @Test
  void showsHolesOfFlatExtents() throws Exception {
    makeOfAllKinds();
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_WRITE)) {
      BlockDevice link = disk.link();
      write(link, GRAIN, GRAIN);
      Extents before = link.extents(0, 4 * GRAIN, Blocking.ALLOWED);
      assertThat(before.kind(0)).isEqualTo(ExtentKind.ZERO);
      assertThat(before.lengthBytes(0, 4 * GRAIN)).isEqualTo(GRAIN);
      assertThat(before.kind(1)).isEqualTo(ExtentKind.DATA);

      link.trim(GRAIN, GRAIN, Durability.DURABLE, Blocking.ALLOWED);

      assertThat(link.extents(0, 4 * GRAIN, Blocking.ALLOWED)).isEqualTo(Extents.ALL_ZERO);
      assertThat(BlockFile.storedBytes(folder.resolve("f1.vmdk"))).isZero();
      link.zero(0, GRAIN, ZeroMode.ALLOCATE, Durability.DURABLE, Blocking.ALLOWED);
      assertThat(BlockFile.storedBytes(folder.resolve("f1.vmdk"))).isGreaterThanOrEqualTo(GRAIN);
    }
  }

  @Test
  void refusesToWriteAFlatExtentWhoseFileIsTooShort() throws Exception {
    makeOfAllKinds();
    Files.write(folder.resolve("f1.vmdk"), new byte[4 * GRAIN - 1]);

    assertThatThrownBy(() -> VmdkDisk.open(file, Access.READ_WRITE))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("262143 bytes (expected: 262144 bytes, to write the disk");
    // Nothing is left open, or locked.
    Files.write(folder.resolve("f1.vmdk"), new byte[4 * GRAIN]);
    VmdkDisk.open(file, Access.READ_WRITE).close();
  }

  @Test
  void promisesWhatAllExtentsKeep() throws Exception {
    makeOfAllKinds();
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_WRITE)) {
      assertThat(disk.link().info().capabilities())
          .containsExactlyInAnyOrder(
              Capability.WRITE,
              Capability.FLUSH,
              Capability.TRIM,
              Capability.ZERO,
              Capability.PARTIAL_ALLOCATION,
              Capability.MULTIPLE_CONNECTIONS);
    }
    Files.writeString(file, descriptor("twoGbMaxExtentFlat", "RW 128 ZERO"));
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_WRITE)) {
      assertThat(disk.link().info().capabilities())
          .containsExactlyInAnyOrder(Capability.TRACKS_ZEROS, Capability.MULTIPLE_CONNECTIONS);
    }
  }

  @Test
  void writesAcrossTheEndsOfPieces() throws Exception {
    long size = 5L << 30;
    VmdkDisk.create(file, CreateOptions.ofSize(size, Layout.TWO_GB_MAX_EXTENT_SPARSE));
    long boundary = 4_192_256L * SECTOR;
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_WRITE)) {
      write(disk.link(), boundary - 5 * SECTOR, 10 * SECTOR);
      write(disk.link(), size - SECTOR, SECTOR);
    }
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_ONLY)) {
      ByteBuffer bytes = ByteBuffer.allocateDirect(12 * SECTOR);
      disk.link().read(boundary - 6 * SECTOR, bytes, Blocking.ALLOWED);
      for (int i = 0; i < 12; i++) {
        assertThat(bytes.get(i * SECTOR)).isEqualTo((byte) (i == 0 || i == 11 ? 0 : 7));
      }
      assertThat(disk.link().extents(0, boundary - GRAIN, Blocking.ALLOWED).kind(0))
          .isEqualTo(ExtentKind.ABSENT);
    }
  }
}
