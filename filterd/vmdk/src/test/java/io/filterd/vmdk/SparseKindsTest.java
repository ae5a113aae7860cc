package io.filterd.vmdk;

import static io.filterd.vmdk.SparseDisks.GRAIN;
import static io.filterd.vmdk.SparseDisks.TABLE_COVERS;
import static io.filterd.vmdk.TestDisks.SECTOR;
import static io.filterd.vmdk.TestDisks.descriptor;
import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Extents;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Sparse disks of every version, and extents that may not be read or written. */
class SparseKindsTest {
  @TempDir Path folder;

  private static byte[] content() {
    byte[] content = new byte[2 * TABLE_COVERS + 5 * GRAIN + 3 * SECTOR];
    byte[] noise = EsxDisks.noise(3 * GRAIN, 1);
    System.arraycopy(noise, 0, content, 2 * GRAIN, noise.length);
    System.arraycopy(noise, 100, content, content.length - GRAIN, GRAIN);
    return content;
  }

  @ParameterizedTest
  @CsvSource({"1, 1", "2, 1", "2, 5", "3, 1", "3, 5"})
  void readsEveryVersionWithoutTablesOfNothing(int version, int flags) throws Exception {
    byte[] content = content();
    byte[] file = SparseDisks.of(version, flags, content);

    try (VmdkDisk disk = VmdkDisk.openSparse(new CrashFile(file), Access.READ_ONLY)) {
      assertThat(TestDisks.contentOf(disk.link())).isEqualTo(content);
      // A table that is not there is "ask the parent", whatever the flags say of its entries.
      assertThat(disk.link().extents(TABLE_COVERS, TABLE_COVERS, Blocking.ALLOWED))
          .isEqualTo(Extents.ALL_ABSENT);
      assertThat(disk.link().extents(0, GRAIN, Blocking.ALLOWED))
          .isEqualTo((flags & 4) != 0 ? Extents.ALL_ZERO : Extents.ALL_ABSENT);
    }
  }

  @Test
  void doesNotWriteVersionThree() {
    byte[] file = SparseDisks.of(3, 1, content());

    assertThatThrownBy(() -> VmdkDisk.openSparse(new CrashFile(file), Access.READ_WRITE))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("version: 3 (expected: 1 or 2, to write the disk; it can be read");
  }

  @ParameterizedTest
  @CsvSource({
    "RDONLY, READ_WRITE, 'RW, to write the disk'",
    "NOACCESS, READ_ONLY, 'RW or RDONLY, to read it'",
    "NOACCESS, READ_WRITE, 'RW, to write the disk'"
  })
  void keepsToWhatTheOnlyExtentAllows(String word, Access access, String expected) {
    byte[] file = SparseDisks.of(1, 1, content());
    String text = new String(file, ISO_8859_1);
    byte[] changed =
        text.replaceFirst("RW (\\d+)( SPARSE \"any.vmdk\"\n\n# The Disk)", word + " $1$2")
            .getBytes(ISO_8859_1);
    // The longer word has moved everything behind it, so what was cut off must come back.
    int shift = word.length() - 2;
    byte[] whole = file.clone();
    System.arraycopy(changed, SECTOR, whole, SECTOR, 2 * SECTOR);
    assertThat(whole[3 * SECTOR - 1 - shift]).isZero();

    assertThatThrownBy(() -> VmdkDisk.openSparse(new CrashFile(whole), access))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("extent access: " + word + " (expected: " + expected);
  }

  @Test
  void readsReadOnlyExtentsAndNoneThatMayNotBeRead() throws Exception {
    byte[] noise = EsxDisks.noise(4 * SECTOR, 2);
    Files.write(folder.resolve("a.vmdk"), noise);
    Path file =
        Files.writeString(
            folder.resolve("d.vmdk"),
            descriptor(
                "twoGbMaxExtentFlat",
                "RDONLY 2 FLAT \"a.vmdk\" 0",
                "RDONLY 2 ZERO",
                "NOACCESS 2 FLAT \"not-even-there.vmdk\" 0",
                "NOACCESS 1 ZERO"));

    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_ONLY)) {
      BlockDevice link = disk.link();
      ByteBuffer target = ByteBuffer.allocateDirect(4 * SECTOR);
      assertThat(link.info().sizeBytes()).isEqualTo(7 * SECTOR);
      assertThat(link.read(0, target, Blocking.ALLOWED)).hasToString("[1024, 1024][DATA, ZERO]");
      assertThat(target.slice(0, 2 * SECTOR)).isEqualTo(ByteBuffer.wrap(noise, 0, 2 * SECTOR));
      for (int sector = 4; sector < 7; sector++) {
        long at = (long) sector * SECTOR;
        target.clear().limit(SECTOR);
        assertThatThrownBy(() -> link.read(at, target, Blocking.ALLOWED))
            .isInstanceOf(BlockException.class)
            .hasMessageContaining("NOACCESS (expected: RW or RDONLY");
        assertThat(target.position()).isZero();
      }
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "custom            | createType: custom (expected: a type that says",
        "fullDevice        | this one is on a device: copy it on its host",
        "partitionedDevice | this one is on a device",
        "vmfsRDM           | this one is on a device",
        "VMFSRAWDEVICEMAP  | this one is on a device",
        "vmfsRaw           | this one is on a device",
        "vsanSparse        | this one is a vSAN object: export it there"
      })
  void saysWhyAKindCanNotBeRead(String type, String reason) throws Exception {
    Path file =
        Files.writeString(folder.resolve("d.vmdk"), descriptor(type, "RW 1 FLAT \"x.vmdk\" 0"));

    assertThatThrownBy(() -> VmdkDisk.open(file, Access.READ_ONLY))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("at byte 64: createType")
        .hasMessageContaining(reason);
  }

  @ParameterizedTest
  @CsvSource({"VMFSRDM, on a device", "VMFSRAW, on a device", "VSANSPARSE, a vSAN object"})
  void saysWhyAnExtentCanNotBeRead(String type, String reason) throws Exception {
    String text = descriptor("vmfs", "NOACCESS 1 " + type + " \"x-rdm.vmdk\"");
    Path file = Files.writeString(folder.resolve("d.vmdk"), text);

    assertThatThrownBy(() -> VmdkDisk.open(file, Access.READ_ONLY))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("at byte " + text.indexOf("NOACCESS") + ": extent type: " + type)
        .hasMessageContaining(reason);
  }

  @ParameterizedTest
  @ValueSource(strings = {"4096", "0", "", "x"})
  void refusesSectorsOfAnotherSize(String size) throws Exception {
    Files.write(folder.resolve("x.vmdk"), new byte[4096]);
    String text = descriptor("vmfs", "RW 8 VMFS \"x.vmdk\"");
    Path file = Files.writeString(folder.resolve("d.vmdk"), text);
    Files.writeString(file, text + "ddb.logicalSectorSize = \"512\"\n");
    VmdkDisk.open(file, Access.READ_ONLY).close();
    Files.writeString(file, text + "ddb.logicalSectorSize = \"" + size + "\"\n");

    assertThatThrownBy(() -> VmdkDisk.open(file, Access.READ_ONLY))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining(
            "at byte %d: ddb.logicalSectorSize: %s (expected: 512".formatted(text.length(), size));
  }
}
