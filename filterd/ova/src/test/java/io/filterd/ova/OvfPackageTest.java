package io.filterd.ova;

import static io.filterd.ova.Packages.utf8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.block.Blocking;
import io.filterd.vmdk.FormatException;
import io.filterd.vmdk.VmdkDisk;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileTime;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.SplittableRandom;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveOutputStream;
import org.apache.commons.compress.archivers.tar.TarConstants;
import org.assertj.core.api.AbstractThrowableAssert;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class OvfPackageTest {
  @TempDir Path folder;

  private Path ova(String envelope) throws Exception {
    Map<String, byte[]> files = new LinkedHashMap<>();
    files.put("web.ovf", utf8(envelope));
    files.put("disk.vmdk", Packages.disk(7));
    return Packages.tar(folder.resolve("web.ova"), files);
  }

  private static void assertContent(OvfPackage pack, OvfDisk disk, int value) throws Exception {
    try (VmdkDisk opened = pack.open(disk)) {
      ByteBuffer sector = ByteBuffer.allocateDirect(512);
      opened.link().read(1024, sector, Blocking.ALLOWED);
      assertThat(sector.get(0)).isEqualTo((byte) value);
    }
  }

  private static String digestLine(String algorithm, String name, byte[] content) throws Exception {
    String digest =
        HexFormat.of()
            .formatHex(MessageDigest.getInstance(algorithm.replace("SHA", "SHA-")).digest(content));
    return algorithm + "(" + name + ")= " + digest + "\n";
  }

  @Test
  void readsAnArchive() throws Exception {
    OvfPackage pack = OvfPackage.open(ova(Packages.envelope()));

    assertThat(pack.name()).isEqualTo("web");
    assertThat(pack.disks())
        .containsExactly(new OvfDisk("vmdisk1", 1 << 20, Optional.of("disk.vmdk")));
    assertThat(pack.hasManifest()).isFalse();
    assertThat(pack.verify((done, total) -> true)).isTrue();
    assertContent(pack, pack.disks().getFirst(), 7);
    pack.checkUnchanged();
  }

  @ParameterizedTest
  @ValueSource(strings = {"SHA1", "SHA256", "SHA512"})
  void readsAFolder(String algorithm) throws Exception {
    byte[] disk = Packages.disk(9);
    Path file = Files.writeString(folder.resolve("web.ovf"), Packages.envelope());
    Files.write(folder.resolve("disk.vmdk"), disk);
    Files.writeString(
        folder.resolve("web.mf"),
        digestLine(algorithm, "web.ovf", utf8(Packages.envelope()))
            + digestLine(algorithm, "disk.vmdk", disk)
                .toUpperCase(Locale.ROOT)
                .replace("DISK.VMDK", "disk.vmdk"));

    OvfPackage pack = OvfPackage.open(file);

    assertThat(pack.hasManifest()).isTrue();
    assertThat(pack.verifiedBytes()).isEqualTo(disk.length + Packages.envelope().length());
    assertThat(pack.verify((done, total) -> true)).isTrue();
    assertThat(pack.verify((done, total) -> false)).isFalse();
    assertContent(pack, pack.disks().getFirst(), 9);
  }

  @Test
  void takesTheDisksOfTheVmInTheOrderOfItsHardware() throws Exception {
    String more =
        Packages.envelope()
            .replace(
                "</ovf:References>",
                "<ovf:File ovf:id=\"iso\" ovf:href=\"cd.iso\"/></ovf:References>")
            .replace(
                "</ovf:DiskSection>",
                "<ovf:Disk ovf:diskId=\"empty\" ovf:capacity=\"512\"/>"
                    + "<ovf:Disk ovf:diskId=\"unused\" ovf:capacity=\"512\" ovf:format=\"vhd\"/>"
                    + "</ovf:DiskSection>")
            .replace(
                "<ovf:Item>",
                "<ovf:Item><rasd:HostResource>/disk/empty</rasd:HostResource>"
                    + "<rasd:ResourceType>17</rasd:ResourceType></ovf:Item>"
                    + "<ovf:Item><rasd:HostResource>ovf:/file/iso</rasd:HostResource>"
                    + "<rasd:ResourceType>15</rasd:ResourceType></ovf:Item><ovf:Item>");

    assertThat(OvfPackage.open(ova(more)).disks())
        .containsExactly(
            new OvfDisk("empty", 512, Optional.empty()),
            new OvfDisk("vmdisk1", 1 << 20, Optional.of("disk.vmdk")));
  }

  @Test
  void takesAllDisksOfAVmWithoutHardware() throws Exception {
    String envelope = Packages.envelope();
    int start = envelope.indexOf("<ovf:VirtualHardwareSection>");
    int end = envelope.indexOf("</ovf:VirtualSystem>");

    OvfPackage pack = OvfPackage.open(ova(envelope.substring(0, start) + envelope.substring(end)));

    assertThat(pack.disks()).hasSize(1);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "<?xml version=\"1.0\"?> | <!DOCTYPE x SYSTEM \"file:///etc/passwd\"> | XML: a DTD",
        "<?xml version=\"1.0\"?> | <!DOCTYPE x [<!ENTITY a \"b\">]> | XML: a DTD",
        "<ovf:Info/> | <ovf:Info>&xxe;</ovf:Info> | XML: ",
        "</ovf:Envelope> | '' | XML: ",
        "ovf/envelope/1 | ovf/envelope/3 | expected: an Envelope of OVF 1 or 2",
        "file1\" ovf:href | file2\" ovf:href | line 8: fileRef: file1",
        "href=\"disk.vmdk | href=\"../disk.vmdk | line 4: href: ../disk.vmdk",
        "href=\"disk.vmdk | href=\"/etc/passwd | href: /etc/passwd",
        "href=\"disk.vmdk | href=\"http://x/disk.vmdk | href: http://x/disk.vmdk",
        "href=\"disk.vmdk | href=\"other.vmdk | package: no file other.vmdk",
        "ovf:href | ovf:compression=\"gzip\" ovf:href | compression: gzip",
        "ovf:href | ovf:chunkSize=\"100\" ovf:href | chunkSize: 100",
        "ovf:href | ovf:size=\"100\" ovf:href | line 4: size: 100",
        "ovf:capacity=\"1\" | ovf:capacity=\"${size}\" | line 8: capacity: ${size}",
        "ovf:capacity=\"1\" | ovf:capacity=\"0\" | capacity: 0",
        "ovf:capacity=\"1\" | ovf:x=\"1\" | Disk: no capacity",
        "ovf:fileRef | ovf:parentRef=\"p\" ovf:fileRef | parentRef: p",
        "#streamOptimized | #streamOptimized | ''",
        "interfaces/specifications/vmdk.html | qcow2.html | format: ",
        "ovf:/disk/vmdisk1 | ovf:/disk/vmdisk2 | HostResource: disk vmdisk2",
        "ovf:/disk/vmdisk1 | ovf:/file/file1 | HostResource: ovf:/file/file1",
        "</ovf:VirtualSystem> | </ovf:VirtualSystem><ovf:VirtualSystem/> | 2 of them",
        "VirtualSystem | NoSystem | 0 of them",
      })
  void refusesOtherEnvelopes(String piece, String instead, String message) throws Exception {
    Path file = ova(Packages.envelope().replace(piece, instead));

    if (message.isEmpty()) {
      assertThat(OvfPackage.open(file).disks()).hasSize(1);
    } else {
      assertRefused(file).hasMessageContaining(message);
    }
  }

  private static AbstractThrowableAssert<?, ? extends Throwable> assertRefused(Path file) {
    return assertThatThrownBy(() -> OvfPackage.open(file))
        .isInstanceOf(PackageException.class)
        .hasMessageStartingWith(file.toString())
        .hasMessageContaining("(expected: ")
        .hasMessageNotContainingAny("\n", "Exception");
  }

  @Test
  void refusesDeepEnvelopesAndManyEntries() throws Exception {
    String deep = "<a>".repeat(100) + "</a>".repeat(100);
    assertRefused(ova(Packages.envelope().replace("<ovf:Info/>", deep)))
        .hasMessageContaining("elements 65 deep");

    StringBuilder files = new StringBuilder();
    for (int i = 0; i < 1100; i++) {
      files.append("<ovf:File ovf:id=\"x").append(i).append("\" ovf:href=\"a\"/>");
    }
    assertRefused(
            ova(Packages.envelope().replace("</ovf:References>", files + "</ovf:References>")))
        .hasMessageContaining("at most 1024");

    assertRefused(ova(Packages.envelope() + " ".repeat(5 << 20)))
        .hasMessageContaining("at most 4194304 bytes");
  }

  @Test
  void refusesADiskThatIsLargerThanItShouldBe() throws Exception {
    String small = Packages.envelope().replace("byte * 2^20", "byte * 2^10");
    OvfPackage pack = OvfPackage.open(ova(small));

    assertThatThrownBy(() -> pack.open(pack.disks().getFirst()))
        .isInstanceOf(PackageException.class)
        .hasMessageContaining("capacity: 1048576 bytes (expected: at most the 1024");
  }

  @Test
  void refusesLinksOfChainsAndCiphertext() throws Exception {
    String[][] lines = {
      {"parentCID=ffffffff", "parentCID=12345678", "parentCID: 12345678"},
      {
        "ddb.longContentID",
        "encryptionKeys=\"vmware:key/list/()\"\nddb.longContentID",
        "encrypted by VMware"
      },
    };
    for (String[] each : lines) {
      byte[] disk = Packages.disk(7);
      String text = new String(disk, 512, 20 * 512, StandardCharsets.ISO_8859_1);
      byte[] changed = text.replace(each[0], each[1]).getBytes(StandardCharsets.ISO_8859_1);
      System.arraycopy(changed, 0, disk, 512, 20 * 512);
      Map<String, byte[]> files = new LinkedHashMap<>();
      files.put("web.ovf", utf8(Packages.envelope()));
      files.put("disk.vmdk", disk);
      OvfPackage pack = OvfPackage.open(Packages.tar(folder.resolve("web.ova"), files));

      assertThatThrownBy(() -> pack.open(pack.disks().getFirst()))
          .isInstanceOf(IOException.class)
          .hasMessageContaining(each[2]);
    }
  }

  @Test
  void noticesThatThePackageChanged() throws Exception {
    Path file = ova(Packages.envelope());
    OvfPackage pack = OvfPackage.open(file);
    Files.setLastModifiedTime(file, FileTime.fromMillis(1));

    assertThatThrownBy(() -> pack.open(pack.disks().getFirst()))
        .isInstanceOf(PackageException.class)
        .hasMessageContaining("changed while it was read");
  }

  @Test
  void refusesWhatIsNotAsTheManifestSays() throws Exception {
    byte[] disk = Packages.disk(7);
    byte[] envelope = utf8(Packages.envelope());
    String good = digestLine("SHA256", "web.ovf", envelope) + digestLine("SHA1", "disk.vmdk", disk);
    Map<String, byte[]> files = new LinkedHashMap<>();
    files.put("web.ovf", envelope);
    files.put("disk.vmdk", disk);
    files.put("web.mf", utf8(good));
    Path file = folder.resolve("web.ova");
    OvfPackage.open(Packages.tar(file, files)).verify((done, total) -> true);

    byte[] changed = disk.clone();
    changed[changed.length / 2] ^= 1;
    files.put("disk.vmdk", changed);
    OvfPackage pack = OvfPackage.open(Packages.tar(file, files));
    assertThatThrownBy(() -> pack.verify((done, total) -> true))
        .isInstanceOf(PackageException.class)
        .hasMessageStartingWith(file + ": disk.vmdk: SHA1: ")
        .hasMessageContaining("as the manifest says");

    for (String[] each :
        new String[][] {
          {digestLine("SHA256", "web.ovf", envelope), "nothing about disk.vmdk"},
          {digestLine("SHA1", "disk.vmdk", disk), "nothing about web.ovf"},
          {good + digestLine("SHA1", "none", disk), "no file none"},
          {good + digestLine("SHA1", "../none", disk), "no file ../none"},
          {good + digestLine("SHA1", "web.ovf", disk), "web.ovf twice"},
          {good.replace("SHA256", "SHA512"), "digest: 64 digits"},
          {good.replace("SHA256", "MD5"), "line 1: manifest: MD5"},
          {good + "garbage", "line 3: manifest: garbage"},
        }) {
      files.put("web.mf", utf8(each[0]));
      assertRefused(Packages.tar(file, files)).hasMessageContaining(each[1]);
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"../disk.vmdk", "/disk.vmdk", "a/disk.vmdk", "..", "a\\b", "C:x", "x\u001b[2J"})
  void refusesNamesThatLeadOutside(String name) throws Exception {
    Map<String, byte[]> files = new LinkedHashMap<>();
    files.put("web.ovf", utf8(Packages.envelope()));
    files.put(name, Packages.disk(7));
    assertRefused(Packages.tar(folder.resolve("web.ova"), files))
        .hasMessageContaining("(expected: plain names without folders)");
  }

  static List<Byte> otherKinds() {
    return List.of(
        TarConstants.LF_LINK,
        TarConstants.LF_SYMLINK,
        TarConstants.LF_CHR,
        TarConstants.LF_BLK,
        TarConstants.LF_DIR,
        TarConstants.LF_FIFO,
        TarConstants.LF_CONTIG,
        TarConstants.LF_GNUTYPE_SPARSE,
        (byte) 'V');
  }

  @ParameterizedTest
  @MethodSource("otherKinds")
  void refusesWhatIsNoPlainFile(byte kind) throws Exception {
    Path file = folder.resolve("web.ova");
    try (TarArchiveOutputStream out = new TarArchiveOutputStream(Files.newOutputStream(file))) {
      TarArchiveEntry entry = new TarArchiveEntry("disk.vmdk", kind);
      entry.setLinkName("/etc/passwd");
      out.putArchiveEntry(entry);
      out.closeArchiveEntry();
    }
    assertRefused(file);
  }

  @Test
  void refusesSizesThatAreNotThere() throws Exception {
    Path file = ova(Packages.envelope());
    byte[] bytes = Files.readAllBytes(file);
    for (long size : new long[] {1L << 40, Long.MAX_VALUE, bytes.length}) {
      byte[] header = new byte[512];
      TarArchiveEntry entry = new TarArchiveEntry("web.ovf");
      entry.setSize(size);
      entry.writeEntryHeader(header);
      byte[] changed = bytes.clone();
      System.arraycopy(header, 0, changed, 0, header.length);
      assertRefused(Files.write(file, changed));
    }
    assertRefused(Files.write(file, Arrays.copyOf(bytes, bytes.length / 2)));
    assertRefused(Files.write(file, new byte[0]));
    assertRefused(Files.writeString(file, "not a tar at all"));
  }

  /** The library reads such a header whole before it says anything of it. */
  @Test
  void refusesHugeHeaders() throws Exception {
    Path file = folder.resolve("web.ova");
    for (byte kind :
        new byte[] {
          TarConstants.LF_GNUTYPE_LONGNAME,
          TarConstants.LF_PAX_EXTENDED_HEADER_LC,
          TarConstants.LF_PAX_GLOBAL_EXTENDED_HEADER
        }) {
      long size = 2L << 30;
      byte[] header = new byte[512];
      TarArchiveEntry entry = new TarArchiveEntry("x", kind);
      entry.setSize(size);
      entry.writeEntryHeader(header);
      byte[] start = Arrays.copyOf(header, 1024);
      System.arraycopy(utf8("2147483000 path="), 0, start, 512, 16);
      Files.write(file, start);
      try (var channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
        channel.write(ByteBuffer.allocate(1024), size + 1024);
      }
      assertRefused(file).hasMessageContaining("tar: ");
    }
  }

  @Test
  void refusesManyMembers() throws Exception {
    Map<String, byte[]> files = new LinkedHashMap<>();
    for (int i = 0; i < 1100; i++) {
      files.put("file" + i, new byte[0]);
    }
    assertRefused(Packages.tar(folder.resolve("web.ova"), files)).hasMessageContaining("1024");
  }

  @Test
  void refusesMembersOrEnvelopesTwice() throws Exception {
    Map<String, byte[]> files = new LinkedHashMap<>();
    files.put("a.ovf", utf8(Packages.envelope()));
    files.put("b.ovf", utf8(Packages.envelope()));
    Path file = folder.resolve("web.ova");
    assertRefused(Packages.tar(file, files)).hasMessageContaining("2 .ovf files");

    files.remove("b.ovf");
    files.put("./a.ovf", utf8(Packages.envelope()));
    assertRefused(Packages.tar(file, files)).hasMessageContaining("a.ovf twice");
  }

  @Test
  void refusesLinksInFolders() throws Exception {
    Path elsewhere = Files.write(folder.resolve("elsewhere"), Packages.disk(1));
    Path file = Files.writeString(folder.resolve("web.ovf"), Packages.envelope());
    Files.createSymbolicLink(folder.resolve("disk.vmdk"), elsewhere);

    assertThatThrownBy(() -> OvfPackage.open(file))
        .isInstanceOf(PackageException.class)
        .hasMessageContaining("(expected: a regular file)");
  }

  @Test
  void saysOneSentenceAboutAnyDamage() throws Exception {
    long seed = Long.getLong("test.seed", System.nanoTime());
    SplittableRandom random = new SplittableRandom(seed);
    Path file = ova(Packages.envelope());
    byte[] whole = Files.readAllBytes(file);
    int headers = 4096;
    for (int i = 0; i < 3000; i++) {
      byte[] changed = whole.clone();
      for (int k = random.nextInt(1, 4); k > 0; k--) {
        changed[random.nextInt(headers)] = (byte) random.nextInt();
      }
      Files.write(file, changed);
      try {
        OvfPackage pack = OvfPackage.open(file);
        for (OvfDisk disk : pack.disks()) {
          if (disk.fileName().isPresent()) {
            pack.open(disk).close();
          }
        }
      } catch (IOException refused) {
        assertThat(refused)
            .as("seed %d, change %d", seed, i)
            .isInstanceOfAny(PackageException.class, FormatException.class);
        assertThat(String.valueOf(refused.getMessage()))
            .as("seed %d, change %d", seed, i)
            .contains(file.toString(), "(expected: ")
            .doesNotContain("\n", "Exception");
      }
    }
  }

  @Test
  void readsAnyEncodingOfXml() throws Exception {
    String envelope = Packages.envelope().replace("ovf:id=\"web\"", "ovf:id=\"wéb\"");
    Path file = folder.resolve("web.ova");
    Map<String, byte[]> files = new LinkedHashMap<>();
    files.put("web.ovf", envelope.getBytes(StandardCharsets.UTF_16));
    files.put("disk.vmdk", Packages.disk(7));

    assertThat(OvfPackage.open(Packages.tar(file, files)).name()).isEqualTo("wéb");
  }
}
