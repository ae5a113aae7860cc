package io.filterd.vmdk;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.CheckedDevice;
import io.filterd.block.Durability;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A parent of two disks, in several folders, is no snapshot that one of them may delete. */
class SharedParentTest {
  private static final int GRAIN = TestDisks.GRAIN;
  private static final int DISK_BYTES = 4 * GRAIN;
  private static final LinkedDisk.Front PLAIN = link -> new CheckedDevice(link.link());
  private static final LinkedDisk.Switch NOBODY = top -> {};

  @TempDir Path temp;
  private Path root;
  private Path vm;

  @BeforeEach
  void makeFolders() throws IOException {
    root = temp.toRealPath();
    vm = Files.createDirectories(root.resolve("vm"));
  }

  /** A disk full of one value. */
  private static Path base(Path file) throws IOException, BlockException {
    VmdkDisk.create(file, CreateOptions.ofSize(DISK_BYTES));
    try (BlockDevice disk = LinkedDisk.open(file, Access.READ_WRITE, PLAIN, NOBODY)) {
      byte[] bytes = new byte[DISK_BYTES];
      Arrays.fill(bytes, (byte) 7);
      disk.write(0, TestDisks.direct(bytes), Durability.BUFFERED, Blocking.ALLOWED);
    }
    return file;
  }

  /** An empty link over a parent, which it names by {@code hint}. */
  private static Path child(Path file, Path parent, String hint)
      throws IOException, BlockException {
    long parentCid;
    try (VmdkDisk disk = VmdkDisk.open(parent, Access.READ_ONLY)) {
      parentCid = disk.descriptor().cid();
    }
    String text =
        """
        # Disk DescriptorFile
        version=1
        CID=12345678
        parentCID=%08x
        createType="monolithicSparse"
        parentFileNameHint="%s"
        RW %d SPARSE "x"
        ddb.filterd.slots = "1,21"
        """
            .formatted(parentCid, hint, DISK_BYTES / TestDisks.SECTOR);
    SparseLayout layout = new SparseLayout(DISK_BYTES / TestDisks.SECTOR);
    Descriptor descriptor =
        Descriptor.parse("x", TestDisks.SECTOR, text.getBytes(StandardCharsets.UTF_8));
    LinkFiles.STORED.create(
        file, target -> NewDisk.write(target, layout, layout.childHeader(), descriptor));
    return file;
  }

  private static void assertNotDeleted(Path top, Path parent, String why) throws Exception {
    try (LinkedDisk disk = LinkedDisk.open(top, Access.READ_WRITE, PLAIN, NOBODY)) {
      assertThatThrownBy(
              () -> {
                try (Merge merge = disk.delete(parent.getFileName().toString())) {
                  merge.copy((done, total) -> true);
                  merge.finish(NOBODY);
                }
              })
          .isInstanceOf(FileSystemException.class)
          .hasMessageContaining(why);
      assertThat(TestDisks.contentOf(disk)).containsOnly(7);
    }
    assertIsWhole(top);
  }

  private static void assertIsWhole(Path top) throws Exception {
    try (LinkedDisk disk = LinkedDisk.open(top, Access.READ_WRITE, PLAIN, NOBODY)) {
      assertThat(TestDisks.contentOf(disk)).containsOnly(7);
    }
  }

  @Test
  void keepsAParentInAnotherFolderThatAChildBesideTheFirstHas() throws Exception {
    Path base = base(Files.createDirectories(vm.resolve("below")).resolve("base.vmdk"));
    Path one = child(vm.resolve("one.vmdk"), base, "below/base.vmdk");
    Path two = child(vm.resolve("two.vmdk"), base, "below/base.vmdk");

    assertNotDeleted(one, base, "has another child, " + two);
    assertIsWhole(two);
  }

  @Test
  void keepsAParentThatADiskElsewhereHasOpen() throws Exception {
    Path base = base(vm.resolve("base.vmdk"));
    Path one = child(vm.resolve("one.vmdk"), base, "base.vmdk");
    Path two = child(root.resolve("two.vmdk"), base, "vm/base.vmdk");

    try (LinkedDisk other = LinkedDisk.open(two, Access.READ_WRITE, PLAIN, NOBODY)) {
      assertNotDeleted(one, base, "in use");
      assertThat(TestDisks.contentOf(other)).containsOnly(7);
    }
    assertIsWhole(two);
  }

  /** A link in two files over {@code parent}, with one more line of an extent. */
  private Path inTwoFiles(Path parent, String extentLine) throws IOException, BlockException {
    Files.write(vm.resolve("top-flat.vmdk"), new byte[DISK_BYTES]);
    long parentCid;
    try (VmdkDisk disk = VmdkDisk.open(parent, Access.READ_ONLY)) {
      parentCid = disk.descriptor().cid();
    }
    return Files.writeString(
        vm.resolve("top.vmdk"),
        """
        # Disk DescriptorFile
        version=1
        CID=12345678
        parentCID=%08x
        createType="twoGbMaxExtentFlat"
        parentFileNameHint="base.vmdk"
        RW %d FLAT "top-flat.vmdk" 0
        %s
        """
            .formatted(parentCid, DISK_BYTES / TestDisks.SECTOR, extentLine));
  }

  /** Says that the content of a child is in {@code base}, so that the child's files may go. */
  private static void markMerged(Path base, String child) throws IOException, BlockException {
    try (VmdkDisk disk = VmdkDisk.open(base, Access.READ_WRITE)) {
      MergeMark mark = new MergeMark(true, disk.descriptor().cid(), child);
      disk.rewriteDescriptor(descriptor -> mark.writeTo(descriptor.withCid(77)));
    }
  }

  @Test
  void deletesNothingOutsideTheFolderThatALinkNames() throws Exception {
    Path victim = Files.writeString(root.resolve("victim"), "mine");
    Path base = base(vm.resolve("base.vmdk"));
    Path top = inTwoFiles(base, "NOACCESS 8 FLAT \"../victim\" 0");
    markMerged(base, "top.vmdk");

    assertThatThrownBy(() -> LinkedDisk.open(top, Access.READ_WRITE, PLAIN, NOBODY).close())
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("../victim");
    assertThat(victim).hasContent("mine");
    assertThat(top).exists();
  }

  @Test
  void deletesNoFileThatItWouldNotOpen() throws Exception {
    Path victim = Files.writeString(vm.resolve("other.vmdk"), "mine");
    Path base = base(vm.resolve("base.vmdk"));
    Path top = inTwoFiles(base, "NOACCESS 8 FLAT \"other.vmdk\" 0");
    markMerged(base, "top.vmdk");

    LinkedDisk.open(top, Access.READ_WRITE, PLAIN, NOBODY).close();

    assertThat(victim).hasContent("mine");
    assertThat(top).doesNotExist();
  }
}
