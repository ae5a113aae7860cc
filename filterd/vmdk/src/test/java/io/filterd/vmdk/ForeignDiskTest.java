package io.filterd.vmdk;

import static io.filterd.vmdk.TestDisks.GRAIN;
import static io.filterd.vmdk.TestDisks.descriptor;
import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.US_ASCII;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.block.BlockDevice;
import io.filterd.block.Blocking;
import io.filterd.block.Durability;
import io.filterd.block.ExtentKind;
import io.filterd.block.Extents;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Reads what VMware and others made. */
class ForeignDiskTest {
  @TempDir Path folder;

  @Test
  void readsAStreamWhoseNameIsNotTheOneInItsDescriptor() throws Exception {
    Path file = TestDisks.write(folder.resolve("x.vmdk"), TestDisks.sample("streamOptimized.vmdk"));

    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_ONLY)) {
      assertThat(TestDisks.contentOf(disk.link())).isEqualTo(TestDisks.sample("guest-content.raw"));
      assertThat(disk.encryption()).isEmpty();
    }
  }

  @ParameterizedTest
  @EnumSource
  void readsALinkWithoutAskingItsParent(Access access) throws Exception {
    Path file = folder.resolve("child.vmdk");
    VmdkDisk.create(file, CreateOptions.ofSize(3 * GRAIN));
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_WRITE)) {
      ByteBuffer grain = ByteBuffer.allocateDirect(GRAIN);
      disk.link().write(GRAIN, grain, Durability.BUFFERED, Blocking.ALLOWED);
    }
    byte[] bytes = Files.readAllBytes(file);
    String text = new String(bytes, ISO_8859_1);
    Files.write(
        file, text.replace("parentCID=ffffffff", "parentCID=0172e8a4").getBytes(ISO_8859_1));

    try (VmdkDisk disk = VmdkDisk.open(file, access)) {
      assertThat(disk.hasParent()).isTrue();
      Extents extents = disk.link().read(0, ByteBuffer.allocateDirect(3 * GRAIN), Blocking.ALLOWED);
      assertThat(extents).hasToString("[65536, 65536, 65536][ABSENT, DATA, ABSENT]");
    }
  }

  @Test
  void writesWhatVmwareMadeKeepingItsOneDescriptorSlot() throws Exception {
    byte[] before = TestDisks.sample("monolithicSparse.vmdk");
    Path file = TestDisks.write(folder.resolve("monolithicSparse.vmdk"), before);
    byte[] content;
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_WRITE)) {
      content = TestDisks.contentOf(disk.link());
      byte[] change = TestDisks.content(3 * GRAIN, new SplittableRandom(2));
      int at = 100 * GRAIN + 512;
      System.arraycopy(change, 0, content, at, change.length);
      disk.link().write(at, TestDisks.direct(change), Durability.BUFFERED, Blocking.ALLOWED);

      assertThatThrownBy(() -> disk.rewriteDescriptor(d -> d.withDdb("comment", "x")))
          .hasMessageContaining("one slot");
    }

    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_ONLY)) {
      assertThat(TestDisks.contentOf(disk.link())).isEqualTo(content);
      assertThat(disk.descriptor().cid()).isNotZero();
      String digits = "CID=%08x".formatted(disk.descriptor().cid());
      assertThat(new String(disk.descriptor().format(), US_ASCII).replace(digits, "CID=00000000"))
          .isEqualTo(new String(before, 512, 20 * 512, US_ASCII).replaceAll("\0.*", ""));
    }
  }

  @ParameterizedTest
  @EnumSource
  void readsStreams(TestDisks.Stream kind) throws Exception {
    // Two tables, with a hole of a whole table between, and a last grain that is cut short.
    byte[] content = new byte[2 * 512 * GRAIN + 5 * 512];
    byte[] some = TestDisks.content(10 * GRAIN, new SplittableRandom(3));
    System.arraycopy(some, 0, content, 0, some.length);
    content[content.length - 1] = 7;
    Path file = TestDisks.write(folder.resolve("a.vmdk"), TestDisks.stream(content, kind));

    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_ONLY)) {
      assertThat(TestDisks.contentOf(disk.link())).isEqualTo(content);
      assertThat(disk.link().extents(512L * GRAIN, GRAIN, Blocking.ALLOWED))
          .isEqualTo(Extents.ALL_ABSENT);
    }
  }

  @Test
  void laysExtentsEndToEnd() throws Exception {
    byte[] flat = TestDisks.content(3 * GRAIN, new SplittableRandom(4));
    TestDisks.write(folder.resolve("a b\"c-f001.vmdk"), flat);
    byte[] sparse = TestDisks.content(2 * GRAIN + 512, new SplittableRandom(5));
    Path extent = folder.resolve("s.vmdk");
    TestDisks.sparse(extent, sparse);
    Path file =
        TestDisks.write(
            folder.resolve("a.vmdk"),
            descriptor(
                    "twoGbMaxExtentFlat",
                    "RW 129 FLAT \"a b\"c-f001.vmdk\" 3",
                    "RW 7 ZERO",
                    "RW " + sparse.length / 512 + " SPARSE \"s.vmdk\"")
                .getBytes(US_ASCII));
    byte[] expected = new byte[136 * 512 + sparse.length];
    System.arraycopy(flat, 3 * 512, expected, 0, 129 * 512);
    System.arraycopy(sparse, 0, expected, 136 * 512, sparse.length);

    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_ONLY)) {
      BlockDevice link = disk.link();
      assertThat(TestDisks.contentOf(link)).isEqualTo(expected);
      ByteBuffer across = ByteBuffer.allocateDirect(9 * 512);
      Extents extents = link.read(128 * 512, across, Blocking.ALLOWED);
      assertThat(extents.kind(0)).isEqualTo(ExtentKind.DATA);
      assertThat(extents.kind(1)).isEqualTo(ExtentKind.ZERO);
      assertThat(extents.lengthBytes(1, 9 * 512)).isEqualTo(7 * 512);
    }
  }

  @Test
  void readsGrainsThatAreMarkedAsZeros() throws Exception {
    Path file = folder.resolve("a.vmdk");
    TestDisks.sparse(file, TestDisks.content(GRAIN, new SplittableRandom(6)));
    byte[] bytes = Files.readAllBytes(file);
    SparseLayout layout = new SparseLayout(128);
    ByteBuffer fields = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    fields.putInt(4, 2).putInt(8, 7);
    fields.putInt((int) layout.table(0) * 512, 1).putInt((int) layout.redundantTable(0) * 512, 1);
    Files.write(file, bytes);

    for (Access access : Access.values()) {
      try (VmdkDisk disk = VmdkDisk.open(file, access)) {
        assertThat(TestDisks.contentOf(disk.link())).containsOnly(0);
        assertThat(disk.link().extents(0, GRAIN, Blocking.ALLOWED)).isEqualTo(Extents.ALL_ZERO);
      }
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "encryptionKeys=\"vmware:key/list/(pair/(fqid/<VMWARE-NULL>/KMS/a,HMAC-SHA-256,AAAA))\"",
        "ddb.iofilters = \"vmwarevmcrypt\""
      })
  void refusesWhatVmwareEncrypted(String line) throws Exception {
    TestDisks.write(folder.resolve("a-flat.vmdk"), new byte[512]);
    Path file =
        TestDisks.write(
            folder.resolve("a.vmdk"),
            (descriptor("vmfs", "RW 1 VMFS \"a-flat.vmdk\"") + line + "\n").getBytes(US_ASCII));

    assertThatThrownBy(() -> VmdkDisk.open(file, Access.READ_ONLY))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("encrypted by VMware");
  }

  @Test
  void saysWhatItCanNotWrite() throws Exception {
    Path file = TestDisks.write(folder.resolve("a.vmdk"), TestDisks.sample("streamOptimized.vmdk"));

    assertThatThrownBy(() -> VmdkDisk.open(file, Access.READ_WRITE))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("to write the disk; it can be read");
  }
}
