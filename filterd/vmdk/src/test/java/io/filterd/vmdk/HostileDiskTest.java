package io.filterd.vmdk;

import static io.filterd.vmdk.TestDisks.GRAIN;
import static io.filterd.vmdk.TestDisks.SECTOR;
import static io.filterd.vmdk.TestDisks.descriptor;
import static java.nio.charset.StandardCharsets.US_ASCII;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.sun.management.ThreadMXBean;
import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.Blocking;
import io.filterd.block.Durability;
import io.filterd.block.Extents;
import io.filterd.block.ZeroMode;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.channels.ServerSocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.SecureRandom;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.zip.Deflater;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Files that somebody has damaged, or made to do harm: a value or an error, and soon. */
@Timeout(60)
class HostileDiskTest {
  private static final long SEED = Long.getLong("test.seed", new SecureRandom().nextInt());
  private static final int GRAINS = 6;
  private static final SparseLayout LAYOUT = new SparseLayout((long) GRAINS * 128);
  private static final int TABLE_AT = (int) LAYOUT.table(0) * SECTOR;
  private static final int REDUNDANT_TABLE_AT = (int) LAYOUT.redundantTable(0) * SECTOR;
  private static final int DIRECTORY_AT = (int) LAYOUT.directory() * SECTOR;

  @TempDir Path folder;

  /** A disk of ours whose grains are all stored but one, as the bytes of its file. */
  private static byte[] disk() throws IOException, BlockException {
    CrashFile file = new CrashFile();
    NewDisk.write(file, Path.of("h.vmdk"), CreateOptions.ofSize(GRAINS * GRAIN));
    VmdkDisk disk = VmdkDisk.openSparse(file, Access.READ_WRITE);
    ByteBuffer bytes = ByteBuffer.allocateDirect((GRAINS - 1) * GRAIN);
    for (int at = 0; at < bytes.capacity(); at += 8) {
      bytes.putLong(at, 0x0123456789abcdefL);
    }
    disk.link().write(0, bytes, Durability.BUFFERED, Blocking.ALLOWED);
    disk.close();
    return file.killedAfter(file.logSize());
  }

  private static ByteBuffer fields(byte[] bytes) {
    return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  /** Opens it and does everything that can be done. True if nothing was found wrong. */
  private static boolean use(byte[] bytes, Access access) {
    try (VmdkDisk disk = VmdkDisk.openSparse(new CrashFile(bytes), access)) {
      BlockDevice link = disk.link();
      if (link.info().sizeBytes() > 1 << 26) {
        return false;
      }
      link.extents(0, link.info().sizeBytes(), Blocking.ALLOWED);
      TestDisks.contentOf(link);
      if (access == Access.READ_WRITE) {
        ByteBuffer one = ByteBuffer.allocateDirect(SECTOR);
        for (long at = 0; at < link.info().sizeBytes(); at += GRAIN) {
          link.write(at, one.clear(), Durability.BUFFERED, Blocking.ALLOWED);
        }
        link.zero(
            0, link.info().sizeBytes(), ZeroMode.ALLOCATE, Durability.DURABLE, Blocking.ALLOWED);
        link.trim(0, link.info().sizeBytes(), Durability.DURABLE, Blocking.ALLOWED);
        disk.rewriteDescriptor(d -> d.withDdb("comment", "written"));
      }
      return true;
    } catch (IOException | BlockException found) {
      assertThat(found.getMessage()).isNotEmpty();
      return false;
    }
  }

  @ParameterizedTest
  @EnumSource
  void survivesAFileThatIsCutShortAnywhere(Access access) throws Exception {
    byte[] whole = disk();
    assertThat(use(whole, access)).isTrue();
    for (int length = 0; length < whole.length; length += SECTOR) {
      boolean fine = use(Arrays.copyOf(whole, length), access);
      // For writing all is looked at first; a reader finds out when it gets there.
      if (access == Access.READ_WRITE || length <= LAYOUT.overheadSectors() * SECTOR) {
        assertThat(fine).as("%d bytes", length).isFalse();
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void survivesFlippedBitsInHeaderAndTables(Access access) throws Exception {
    byte[] whole = disk();
    SplittableRandom random = new SplittableRandom(SEED);
    int[] starts = {0, SECTOR, DIRECTORY_AT, TABLE_AT, REDUNDANT_TABLE_AT};
    int[] lengths = {80, 700, 4, 28, 28};
    for (int i = 0; i < 3000; i++) {
      byte[] bytes = whole.clone();
      for (int n = 1 + random.nextInt(3); n > 0; n--) {
        int part = random.nextInt(starts.length);
        int at = starts[part] + random.nextInt(lengths[part]);
        bytes[at] = (byte) (bytes[at] ^ 1 << random.nextInt(8));
      }
      use(bytes, access);
    }
  }

  @Test
  void survivesStreamsThatAreDamaged() {
    byte[] content = TestDisks.content(GRAINS * GRAIN, new SplittableRandom(1));
    SplittableRandom random = new SplittableRandom(SEED);
    for (TestDisks.Stream kind : TestDisks.Stream.values()) {
      byte[] whole = TestDisks.stream(content, kind);
      assertThat(use(whole, Access.READ_ONLY)).as("%s", kind).isTrue();
      for (int length = 0; length < whole.length; length += SECTOR) {
        use(Arrays.copyOf(whole, length), Access.READ_ONLY);
      }
      for (int i = 0; i < 600; i++) {
        byte[] bytes = whole.clone();
        int at =
            random.nextBoolean()
                ? random.nextInt(bytes.length)
                : random.nextInt(bytes.length / SECTOR) * SECTOR + random.nextInt(16);
        bytes[at] = (byte) random.nextInt();
        use(bytes, Access.READ_ONLY);
      }
    }
  }

  @ParameterizedTest
  @ValueSource(
      longs = {
        1, // the descriptor
        41, // the redundant directory
        127, // the end of the metadata
        129, // not a multiple of the grain
        256, // another entry's grain
        1_000_000, // beyond the end
        0xffff_ff80L
      })
  void refusesToWriteAFileWithABadTableEntry(long sector) throws Exception {
    byte[] bytes = disk();
    fields(bytes).putInt(TABLE_AT, (int) sector);

    assertThatThrownBy(() -> VmdkDisk.openSparse(new CrashFile(bytes), Access.READ_WRITE))
        .isInstanceOfSatisfying(
            FormatException.class,
            failure -> {
              assertThat(failure.field()).isEqualTo("grain table entry");
              assertThat(failure.byteOffset()).isBetween((long) TABLE_AT, TABLE_AT + 4L);
            });
    if (sector != 129 && sector != 256) {
      try (VmdkDisk disk = VmdkDisk.openSparse(new CrashFile(bytes), Access.READ_ONLY)) {
        ByteBuffer grain = ByteBuffer.allocateDirect(GRAIN);
        assertThatThrownBy(() -> disk.link().read(0, grain, Blocking.ALLOWED))
            .isInstanceOf(BlockException.class)
            .hasMessageContaining("grain 0");
        // The rest of the disk is fine.
        disk.link().read(GRAIN, grain, Blocking.ALLOWED);
      }
    }
  }

  @Test
  void refusesToWriteAFileWithAnEntryBehindTheEndOfTheDisk() throws Exception {
    byte[] bytes = disk();
    fields(bytes).putInt(TABLE_AT + GRAINS * 4, 256);

    assertThatThrownBy(() -> VmdkDisk.openSparse(new CrashFile(bytes), Access.READ_WRITE))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("behind the end of the disk");
  }

  @ParameterizedTest
  @ValueSource(longs = {0, 1, 20, 22, 38, 42, 45, 46, 125, 1000, 0xffff_fffcL})
  void refusesToWriteAFileWithATableInABadPlace(long sector) throws Exception {
    byte[] bytes = disk();
    fields(bytes).putInt(DIRECTORY_AT, (int) sector);

    assertThatThrownBy(() -> VmdkDisk.openSparse(new CrashFile(bytes), Access.READ_WRITE))
        .as("redundant table at %d, directory at %d", LAYOUT.redundantTable(0), LAYOUT.directory())
        .isInstanceOf(FormatException.class);
    use(bytes, Access.READ_ONLY);
  }

  @Test
  void refusesSlotsThatWouldOverwriteTables() throws Exception {
    // A file whose directories start at sector 21, as qemu makes it, but says it has two slots.
    byte[] bytes = disk();
    fields(bytes).putLong(48, 21);

    assertThatThrownBy(() -> VmdkDisk.openSparse(new CrashFile(bytes), Access.READ_WRITE))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("rgdOffset");
  }

  @Test
  void opensAHugeDiskWithLittleMemory() throws Exception {
    Path file = folder.resolve("huge.vmdk");
    TestDisks.sparse(file, new byte[GRAIN]);
    byte[] head = Files.readAllBytes(file);
    // The most tables there may be: 512 TiB.
    long sectors = (1L << 24) * 65_536;
    ByteBuffer fields = fields(head);
    fields.putLong(12, sectors).putLong(28, 1);
    byte[] text =
        descriptor("monolithicSparse", "RW " + sectors + " SPARSE \"huge.vmdk\"")
            .getBytes(US_ASCII);
    Arrays.fill(head, SECTOR, 21 * SECTOR, (byte) 0);
    System.arraycopy(text, 0, head, SECTOR, text.length);
    Files.write(file, head);
    try (var channel = Files.newByteChannel(file, StandardOpenOption.WRITE)) {
      channel.position((1L << 40) - 1);
      channel.write(ByteBuffer.wrap(new byte[1]));
    }
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    long before = threads.getCurrentThreadAllocatedBytes();

    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_ONLY)) {
      ByteBuffer sector = ByteBuffer.allocateDirect(SECTOR);
      SplittableRandom random = new SplittableRandom(SEED);
      for (int i = 0; i < 2000; i++) {
        long at = random.nextLong(sectors) * SECTOR;
        try {
          disk.link().read(at, sector.clear(), Blocking.ALLOWED);
        } catch (BlockException damage) {
          assertThat(damage.reason()).isEqualTo(Reason.IO_ERROR);
        }
      }
    }
    assertThatThrownBy(() -> VmdkDisk.open(file, Access.READ_WRITE))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("capacity");

    assertThat(threads.getCurrentThreadAllocatedBytes() - before).isLessThan(64 << 20);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "/etc/passwd",
        "/dev/sda",
        "/proc/self/mem",
        "../x.vmdk",
        "sub/x.vmdk",
        "..",
        ".",
        "",
        "link.vmdk",
        "sub",
        "pipe",
        "socket",
        "none.vmdk",
        "d.vmdk",
        "\\\\.\\PhysicalDrive0",
        "C:\\Windows\\win.ini",
        "x.vmdk\0.vmdk",
        "vsan://1234",
        "nbd://127.0.0.1/",
        "json:{\"driver\":\"file\"}"
      })
  void opensNoExtentOutsideOfTheFolder(String name) throws IOException, InterruptedException {
    Files.createDirectory(folder.resolve("sub"));
    TestDisks.write(folder.resolve("sub/x.vmdk"), new byte[SECTOR]);
    Files.createSymbolicLink(folder.resolve("link.vmdk"), Path.of("/etc/passwd"));
    assertThat(new ProcessBuilder("mkfifo", folder.resolve("pipe").toString()).start().waitFor())
        .isZero();
    try (ServerSocketChannel socket = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
      socket.bind(UnixDomainSocketAddress.of(folder.resolve("socket")));
    }
    for (String type : List.of("FLAT", "VMFS", "SPARSE", "VMFSSPARSE", "SESPARSE")) {
      String line = "RW 1 " + type + " \"" + name + "\"" + (type.equals("FLAT") ? " 0" : "");
      Path file =
          TestDisks.write(
              folder.resolve("d.vmdk"), descriptor("monolithicFlat", line).getBytes(US_ASCII));

      assertThatThrownBy(() -> VmdkDisk.open(file, Access.READ_ONLY))
          .as(type)
          .isInstanceOf(IOException.class)
          .hasMessageContaining(folder.toString());
    }
  }

  @Test
  void failsWhereAFlatFileIsCutWhileItIsOpen() throws Exception {
    Path flat = TestDisks.write(folder.resolve("f.vmdk"), new byte[8 * SECTOR]);
    Path file =
        TestDisks.write(
            folder.resolve("d.vmdk"),
            descriptor("vmfs", "RW 8 VMFS \"f.vmdk\"").getBytes(US_ASCII));
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_ONLY)) {
      try (FileChannel cutting = FileChannel.open(flat, StandardOpenOption.WRITE)) {
        cutting.truncate(5 * SECTOR);
      }
      ByteBuffer target = ByteBuffer.allocateDirect(4 * SECTOR);
      assertThat(disk.link().read(0, target, Blocking.ALLOWED)).isSameAs(Extents.ALL_DATA);
      target.clear();

      assertThatThrownBy(() -> disk.link().read(4 * SECTOR, target, Blocking.ALLOWED))
          .isInstanceOf(BlockException.class)
          .hasMessageContaining("ends at 2560");
      assertThat(target.position()).isZero();
    }
  }

  @Test
  void opensNoExtentTwiceAndNoneThatIsShort() throws Exception {
    TestDisks.write(folder.resolve("f.vmdk"), new byte[2 * SECTOR]);
    for (String lines :
        new String[] {
          "RW 1 FLAT \"f.vmdk\" 0\nRW 1 FLAT \"f.vmdk\" 1",
          "RW 3 FLAT \"f.vmdk\" 0",
          "RW 2 FLAT \"f.vmdk\" 1",
          "RW 1 FLAT \"f.vmdk\" 4503599627370495",
          "RW 1 SPARSE \"f.vmdk\"",
          "RW 1 VMFSRDM \"f.vmdk\"",
          "RW 1 SESPARSE \"f.vmdk\""
        }) {
      Path file =
          TestDisks.write(folder.resolve("d.vmdk"), descriptor("x", lines).getBytes(US_ASCII));
      assertThatThrownBy(() -> VmdkDisk.open(file, Access.READ_ONLY))
          .as(lines)
          .isInstanceOf(FormatException.class);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"COWD", "\u00be\u00ba\u00fe\u00ca", "KDMV", "QFI\u00fb", "\0\0\0\0", ""})
  void saysWhatIsNoDisk(String start) throws Exception {
    byte[] head = start.getBytes(java.nio.charset.StandardCharsets.ISO_8859_1);
    for (int length : new int[] {head.length, 4096, 2 << 20}) {
      Path file = TestDisks.write(folder.resolve("d.vmdk"), Arrays.copyOf(head, length));
      for (Access access : Access.values()) {
        assertThatThrownBy(() -> VmdkDisk.open(file, access)).isInstanceOf(FormatException.class);
      }
    }
  }

  // Compressed grains

  private static byte[] deflated(byte[] bytes, boolean raw, byte[] dictionary) {
    Deflater deflater = new Deflater(9, raw);
    if (dictionary.length > 0) {
      deflater.setDictionary(dictionary);
    }
    deflater.setInput(bytes);
    deflater.finish();
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    byte[] piece = new byte[GRAIN];
    while (!deflater.finished()) {
      out.write(piece, 0, deflater.deflate(piece));
    }
    deflater.end();
    return out.toByteArray();
  }

  /** A stream of one stored grain whose marker is at sector 128 and says this. */
  private static byte[] stream(long sector, int size, byte[] data) {
    byte[] one = new byte[GRAIN];
    one[0] = 1;
    byte[] file = TestDisks.stream(one, TestDisks.Stream.FOOTER);
    // The grain is short here, so what follows it is put elsewhere.
    byte[] bytes = Arrays.copyOf(file, 128 * SECTOR + 12 + data.length + SECTOR);
    byte[] tail = Arrays.copyOfRange(file, 129 * SECTOR, file.length);
    int shift = (bytes.length - 129 * SECTOR) / SECTOR + 1;
    bytes = Arrays.copyOf(bytes, (129 + shift) * SECTOR + tail.length);
    System.arraycopy(tail, 0, bytes, (129 + shift) * SECTOR, tail.length);
    ByteBuffer fields = fields(bytes);
    fields.putLong(128 * SECTOR, sector).putInt(128 * SECTOR + 8, size);
    fields.put(128 * SECTOR + 12, data);
    int footer = bytes.length - 2 * SECTOR;
    long directory = fields.getLong(footer + 56) + shift;
    fields.putLong(footer + 56, directory);
    int directoryAt = (int) directory * SECTOR;
    fields.putInt(directoryAt, fields.getInt(directoryAt) + shift);
    return bytes;
  }

  private static void assertGrainRefused(byte[] stream, String message) throws Exception {
    try (VmdkDisk disk = VmdkDisk.openSparse(new CrashFile(stream), Access.READ_ONLY)) {
      ByteBuffer target = ByteBuffer.allocateDirect(SECTOR);
      assertThatThrownBy(() -> disk.link().read(0, target, Blocking.ALLOWED))
          .isInstanceOf(BlockException.class)
          .hasMessageContaining(message);
      assertThat(target.position()).isZero();
    }
  }

  @Test
  void refusesGrainsThatInflateToAnythingElse() throws Exception {
    byte[] right = deflated(new byte[GRAIN], false, new byte[0]);
    try (VmdkDisk disk =
        VmdkDisk.openSparse(new CrashFile(stream(0, right.length, right)), Access.READ_ONLY)) {
      assertThat(TestDisks.contentOf(disk.link())).containsOnly(0);
    }

    byte[] bomb = deflated(new byte[64 << 20], false, new byte[0]);
    assertThat(bomb.length).isLessThan(66_000);
    assertGrainRefused(stream(0, bomb.length, bomb), "and no end");
    byte[] longer = deflated(new byte[GRAIN + 1], false, new byte[0]);
    assertGrainRefused(stream(0, longer.length, longer), "65537 bytes");
    byte[] shorter = deflated(new byte[GRAIN - 1], false, new byte[0]);
    assertGrainRefused(stream(0, shorter.length, shorter), "65535 bytes");
    assertGrainRefused(stream(0, right.length - 5, right), "and no end");
    byte[] checksum = right.clone();
    checksum[right.length - 1] ^= 1;
    assertGrainRefused(stream(0, right.length, checksum), "not deflated data");
    byte[] raw = deflated(new byte[GRAIN], true, new byte[0]);
    assertGrainRefused(stream(0, raw.length, raw), "not deflated data");
    byte[] dictionary = deflated(new byte[GRAIN], false, new byte[] {1, 2, 3});
    assertGrainRefused(stream(0, dictionary.length, dictionary), "0 bytes");
    assertGrainRefused(stream(128, right.length, right), "marker address: 128");
    assertGrainRefused(stream(-1, right.length, right), "marker address");
    assertGrainRefused(stream(0, 0, right), "marker size: 0");
    assertGrainRefused(stream(0, -1, right), "marker size: 4294967295");
    assertGrainRefused(stream(0, 66_700, right), "marker size: 66700");
  }

  @Test
  void refusesAFooterThatDoesNotFitItsHeader() throws Exception {
    byte[] content = TestDisks.content(2 * GRAIN, new SplittableRandom(1));
    byte[] whole = TestDisks.stream(content, TestDisks.Stream.FOOTER);
    int footer = whole.length - 2 * SECTOR;
    for (int[] change :
        new int[][] {{footer + 56, -1}, {footer + 12, 1}, {footer + 20, 64}, {footer + 8, 1}}) {
      byte[] bytes = whole.clone();
      fields(bytes).putLong(change[0], change[1]);
      assertThatThrownBy(() -> VmdkDisk.openSparse(new CrashFile(bytes), Access.READ_ONLY))
          .isInstanceOf(FormatException.class);
    }
  }
}
