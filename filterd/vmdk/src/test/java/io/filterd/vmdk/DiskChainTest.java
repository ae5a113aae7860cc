package io.filterd.vmdk;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.CheckedDevice;
import io.filterd.block.Durability;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.SplittableRandom;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DiskChainTest {
  private static final int SECTORS = 2048;

  @TempDir Path temp;
  private Path folder;

  @BeforeEach
  void makeFolder() throws IOException {
    folder = Files.createDirectories(temp.toRealPath().resolve("vm"));
  }

  /** A link in two files, with a content id, that names a parent. */
  private Path link(Path file, long cid, long parentCid, String hint, int fill) throws IOException {
    String name = file.getFileName().toString().replace(".vmdk", "-flat.vmdk");
    byte[] content = new byte[SECTORS * TestDisks.SECTOR];
    Arrays.fill(content, (byte) fill);
    Files.write(file.resolveSibling(name), content);
    String extent = "RW " + SECTORS + " FLAT \"" + name + "\" 0";
    return Files.writeString(file, descriptor("twoGbMaxExtentFlat", cid, parentCid, hint, extent));
  }

  /** A link that holds nothing: whose parent is asked for everything. */
  private Path hole(Path file, long cid, long parentCid, String hint)
      throws IOException, BlockException {
    LinkFiles.STORED.create(
        file,
        target -> {
          SparseLayout layout = new SparseLayout(SECTORS);
          String text =
              descriptor(
                  "monolithicSparse", cid, parentCid, hint, "RW " + SECTORS + " SPARSE \"x\"");
          NewDisk.write(
              target,
              layout,
              layout.childHeader(),
              Descriptor.parse(
                  "x", TestDisks.SECTOR, text.getBytes(java.nio.charset.StandardCharsets.UTF_8)));
        });
    return file;
  }

  private static String descriptor(
      String createType, long cid, long parentCid, String hint, String extent) {
    return """
    # Disk DescriptorFile
    version=1
    CID=%08x
    parentCID=%08x
    createType="%s"
    parentFileNameHint="%s"
    %s
    """
        .formatted(cid, parentCid, createType, hint, extent);
  }

  private static byte firstByte(DiskChain chain) throws BlockException {
    ByteBuffer sector = ByteBuffer.allocateDirect(TestDisks.SECTOR);
    new Chain(chain.links().stream().map(link -> link.disk().link()).toList())
        .read(0, sector, Blocking.ALLOWED);
    return sector.get(0);
  }

  private byte opened(Path top) throws IOException, BlockException {
    try (DiskChain chain = DiskChain.open(top, Access.READ_ONLY)) {
      return firstByte(chain);
    }
  }

  private static void assertRefused(Path top, String... words) {
    assertThatThrownBy(() -> DiskChain.open(top, Access.READ_ONLY).close())
        .isInstanceOf(FormatException.class)
        .satisfies(refused -> assertThat(refused.getMessage()).contains(words));
  }

  @Test
  void looksBesideTheChildFirst() throws Exception {
    Path below = Files.createDirectories(folder.resolve("below"));
    link(folder.resolve("base.vmdk"), 7, 0xffffffffL, "", 1);
    link(below.resolve("base.vmdk"), 7, 0xffffffffL, "", 2);
    Path top = hole(folder.resolve("top.vmdk"), 8, 7, "below/base.vmdk");

    assertThat(opened(top)).isEqualTo((byte) 1);
  }

  @Test
  void thenByTheRelativePath() throws Exception {
    Path below = Files.createDirectories(folder.resolve("below"));
    link(below.resolve("base.vmdk"), 7, 0xffffffffL, "", 2);
    Path top = hole(folder.resolve("top.vmdk"), 8, 7, "below\\base.vmdk");

    assertThat(opened(top)).isEqualTo((byte) 2);
  }

  @Test
  void findsAParentInASiblingFolderOnlyInsideOfTheRoot() throws Exception {
    Path other = Files.createDirectories(folder.resolveSibling("template"));
    link(other.resolve("base.vmdk"), 7, 0xffffffffL, "", 3);
    Path top = hole(folder.resolve("top.vmdk"), 8, 7, "/vmfs/volumes/5f0c/template/base.vmdk");

    assertRefused(top, "parentFileNameHint", "a file in " + folder);
    try (DiskChain chain = DiskChain.open(top, Access.READ_ONLY, temp.toRealPath())) {
      assertThat(firstByte(chain)).isEqualTo((byte) 3);
    }
  }

  @Test
  void takesOfAWindowsPathTheName() throws Exception {
    link(folder.resolve("base.vmdk"), 7, 0xffffffffL, "", 1);
    Path top = hole(folder.resolve("top.vmdk"), 8, 7, "C:\\VMs\\old\\base.vmdk");

    assertThat(opened(top)).isEqualTo((byte) 1);
  }

  @Test
  void refusesToLeaveTheFolder() throws Exception {
    Path outside = link(temp.resolve("base.vmdk"), 7, 0xffffffffL, "", 1);

    assertRefused(hole(folder.resolve("a.vmdk"), 8, 7, "../base.vmdk"), "parentFileNameHint");
    assertRefused(hole(folder.resolve("b.vmdk"), 8, 7, outside.toString()), "parentFileNameHint");
    assertRefused(hole(folder.resolve("c.vmdk"), 8, 7, "/dev/zero"), "parentFileNameHint");
    assertRefused(hole(folder.resolve("d.vmdk"), 8, 7, ".."), "parentFileNameHint");
    assertRefused(hole(folder.resolve("e.vmdk"), 8, 7, ""), "parentFileNameHint");
  }

  @Test
  void refusesSymbolicLinksAndFolders() throws Exception {
    Path base = link(temp.resolve("base.vmdk"), 7, 0xffffffffL, "", 1);
    Files.createSymbolicLink(folder.resolve("linked.vmdk"), base);
    Files.createSymbolicLink(folder.resolve("elsewhere"), temp);
    Files.createDirectory(folder.resolve("folder.vmdk"));

    assertRefused(hole(folder.resolve("a.vmdk"), 8, 7, "linked.vmdk"), "regular file");
    assertRefused(hole(folder.resolve("b.vmdk"), 8, 7, "elsewhere/base.vmdk"), "regular file");
    assertRefused(hole(folder.resolve("c.vmdk"), 8, 7, "folder.vmdk"), "regular file");
  }

  @Test
  void refusesAParentThatWasWrittenLater() throws Exception {
    Path base = folder.resolve("base.vmdk");
    VmdkDisk.create(base, CreateOptions.ofSize(SECTORS * TestDisks.SECTOR));
    long cid;
    try (VmdkDisk disk = VmdkDisk.open(base, Access.READ_ONLY)) {
      cid = disk.descriptor().cid();
    }
    Path top = hole(folder.resolve("top.vmdk"), 8, cid, "base.vmdk");
    assertThat(opened(top)).isZero();
    try (VmdkDisk disk = VmdkDisk.open(base, Access.READ_WRITE)) {
      disk.link().write(0, ByteBuffer.allocateDirect(512), Durability.BUFFERED, Blocking.ALLOWED);
    }

    assertRefused(top, "parentCID %08x".formatted(cid), "was written after this link was made");
  }

  @Test
  void refusesChainsWithoutAnEnd() throws Exception {
    Path self = hole(folder.resolve("self.vmdk"), 8, 8, "self.vmdk");
    Path one = hole(folder.resolve("one.vmdk"), 1, 2, "two.vmdk");
    hole(folder.resolve("two.vmdk"), 2, 1, "one.vmdk");
    Path a = hole(folder.resolve("a.vmdk"), 5, 5, "b.vmdk");
    Files.createLink(folder.resolve("b.vmdk"), a);

    assertRefused(self, "a chain that ends");
    assertRefused(one, "a chain that ends");
    assertRefused(a, "a chain that ends");
  }

  @Test
  void opensDeepChainsAndRefusesTooDeepOnes() throws Exception {
    link(folder.resolve("0.vmdk"), 1, 0xffffffffL, "", 9);
    for (int i = 1; i <= DiskChain.LINK_LIMIT; i++) {
      hole(folder.resolve(i + ".vmdk"), i + 1, i, (i - 1) + ".vmdk");
    }

    try (DiskChain chain = DiskChain.open(folder.resolve("63.vmdk"), Access.READ_WRITE)) {
      assertThat(chain.links()).hasSize(DiskChain.LINK_LIMIT);
      assertThat(firstByte(chain)).isEqualTo((byte) 9);
    }
    assertRefused(folder.resolve("64.vmdk"), "at most 64");
  }

  @Test
  void sharesParentsAndKeepsTheTopForItself() throws Exception {
    Path base = folder.resolve("base.vmdk");
    link(base, 7, 0xffffffffL, "", 1);
    Path one = hole(folder.resolve("one.vmdk"), 8, 7, "base.vmdk");
    Path two = hole(folder.resolve("two.vmdk"), 9, 7, "base.vmdk");

    try (DiskChain first = DiskChain.open(one, Access.READ_WRITE);
        DiskChain second = DiskChain.open(two, Access.READ_WRITE)) {
      assertThat(firstByte(first)).isEqualTo(firstByte(second));
      assertThatThrownBy(() -> DiskChain.open(one, Access.READ_ONLY))
          .isInstanceOf(IOException.class);
    }
  }

  @Test
  void readsZerosBeyondAShorterParentOfAnyLength() throws Exception {
    SplittableRandom random = new SplittableRandom(3);
    byte[] content = TestDisks.content(3 * TestDisks.GRAIN, random);
    Arrays.fill(content, 2 * TestDisks.GRAIN, content.length, (byte) 5);
    int shorter = content.length - 3 * TestDisks.SECTOR;
    Path base = folder.resolve("base.vmdk");
    TestDisks.sparse(base, Arrays.copyOf(content, shorter));
    long cid;
    try (VmdkDisk disk = VmdkDisk.open(base, Access.READ_ONLY)) {
      cid = disk.descriptor().cid();
    }
    Path top = hole(folder.resolve("top.vmdk"), 8, cid, "base.vmdk");
    byte[] expected = Arrays.copyOf(Arrays.copyOf(content, shorter), SECTORS * TestDisks.SECTOR);

    try (LinkedDisk disk =
        LinkedDisk.open(
            top, Access.READ_WRITE, link -> new CheckedDevice(link.link()), moved -> {})) {
      assertThat(TestDisks.contentOf(disk)).isEqualTo(expected);
      ByteBuffer sector = ByteBuffer.allocateDirect(TestDisks.SECTOR);
      sector.put(0, (byte) 77);
      disk.write(shorter, sector, Durability.BUFFERED, Blocking.ALLOWED);
      expected[shorter] = 77;
      assertThat(TestDisks.contentOf(disk)).isEqualTo(expected);
    }
  }
}
