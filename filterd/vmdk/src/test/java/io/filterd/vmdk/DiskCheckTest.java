package io.filterd.vmdk;

import static io.filterd.vmdk.TestDisks.GRAIN;
import static io.filterd.vmdk.TestDisks.SECTOR;
import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Durability;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What a check says of whole files, and of files that are damaged in every way. */
@Timeout(60)
class DiskCheckTest {
  private static final long SEED = Long.getLong("test.seed", new SecureRandom().nextInt());
  private static final int GRAINS = 520; // Two tables.
  private static final SparseLayout LAYOUT = new SparseLayout(GRAINS * 128L);
  private static final int TABLE_AT = (int) LAYOUT.table(0) * SECTOR;
  private static final int SECOND_TABLE_AT = (int) LAYOUT.table(1) * SECTOR;
  private static final int REDUNDANT_AT = (int) LAYOUT.redundantTable(0) * SECTOR;
  private static final int DIRECTORY_AT = (int) LAYOUT.directory() * SECTOR;
  private static final int SPARE_AT = SparseLayout.SECOND_SLOT * SECTOR;

  @TempDir Path folder;

  /** A disk of ours with grains 0..4 and 515 stored. */
  static byte[] disk() throws IOException, BlockException {
    CrashFile file = new CrashFile();
    NewDisk.write(file, Path.of("h.vmdk"), CreateOptions.ofSize((long) GRAINS * GRAIN));
    VmdkDisk disk = VmdkDisk.openSparse(file, Access.READ_WRITE);
    ByteBuffer bytes = ByteBuffer.allocateDirect(5 * GRAIN);
    for (int at = 0; at < bytes.capacity(); at += 8) {
      bytes.putLong(at, 0x0123456789abcdefL);
    }
    disk.link().write(0, bytes, Durability.BUFFERED, Blocking.ALLOWED);
    disk.link()
        .write(515L * GRAIN, bytes.clear().limit(GRAIN), Durability.BUFFERED, Blocking.ALLOWED);
    disk.close();
    return file.killedAfter(file.logSize());
  }

  static CheckReport check(byte[] bytes) throws IOException, BlockException {
    try (Inspection inspection =
        Inspection.of(Path.of("h.vmdk"), Access.READ_ONLY, new CrashFile(bytes))) {
      return inspection.report();
    }
  }

  /** A way to damage a disk, and what is to be said of it. */
  record Damage(
      String name,
      Consumer<ByteBuffer> way,
      Finding.Severity severity,
      long byteOffset,
      String field,
      boolean repairable) {
    byte[] to(byte[] disk) {
      byte[] damaged = disk.clone();
      way.accept(ByteBuffer.wrap(damaged).order(ByteOrder.LITTLE_ENDIAN));
      return damaged;
    }

    @Override
    public String toString() {
      return name;
    }
  }

  private static Damage error(
      String name, Consumer<ByteBuffer> way, long at, String field, boolean repairable) {
    return new Damage(name, way, Finding.Severity.ERROR, at, field, repairable);
  }

  static Stream<Damage> damages() {
    return Stream.of(
        error("version", b -> b.putInt(4, 9), 4, "version", false),
        error("flags", b -> b.putInt(8, 0x40003), 8, "flags", false),
        error("capacity", b -> b.putLong(12, -1), 12, "capacity", false),
        error("grain size", b -> b.putLong(20, 7), 20, "grainSize", false),
        error("descriptor", b -> b.putLong(28, 1 << 30), 28, "descriptorOffset", false),
        error("entries", b -> b.putInt(44, 1), 44, "numGTEsPerGT", false),
        error("rgdOffset", b -> b.putLong(48, 1 << 30), 48, "rgdOffset", false),
        error("gdOffset", b -> b.putLong(56, 0), 56, "gdOffset", false),
        error("gdOffset in a slot", b -> b.putLong(56, 30), 56, "gdOffset", false),
        error("overHead", b -> b.putLong(64, 1 << 30), 64, "overHead", false),
        error("newlines", b -> b.putInt(73, 0), 73, "newlines", false),
        error("compression", b -> b.putShort(77, (short) 1), 77, "compressAlgorithm", false),
        error("text", b -> b.put(SECTOR + 30, (byte) '='), SECTOR + 22, "version", false),
        error(
            "table lost",
            b -> b.putInt(DIRECTORY_AT, 0),
            DIRECTORY_AT,
            "grain directory entry 0",
            true),
        error(
            "table beyond the end",
            b -> b.putInt(DIRECTORY_AT + 4, 1 << 30),
            DIRECTORY_AT + 4,
            "grain directory entry 1",
            true),
        error(
            "tables on each other",
            b -> b.putInt(DIRECTORY_AT + 4, b.getInt(DIRECTORY_AT) + 1),
            DIRECTORY_AT,
            "grain directory entry 0",
            true),
        error(
            "redundant table wiped",
            b -> b.put(REDUNDANT_AT, new byte[2048]),
            REDUNDANT_AT,
            "redundant grain table 0",
            true),
        error(
            "entry into the metadata",
            b -> b.putInt(TABLE_AT + 8, 40),
            TABLE_AT + 8,
            "grain table 0",
            true),
        error(
            "entry beyond the end",
            b -> b.putInt(TABLE_AT, 128_000),
            TABLE_AT,
            "grain table 0",
            true),
        error(
            "entry not of a grain",
            b -> b.putInt(TABLE_AT, b.getInt(TABLE_AT) + 1),
            TABLE_AT,
            "grain table 0",
            true),
        error(
            "entry in both behind the end",
            b -> {
              b.putInt(SECOND_TABLE_AT + 400, 128);
              b.putInt((int) LAYOUT.redundantTable(1) * SECTOR + 400, 128);
            },
            SECOND_TABLE_AT + 400,
            "grain table entry",
            false),
        error(
            "two entries for a grain",
            b -> {
              b.putInt(TABLE_AT + 4, b.getInt(TABLE_AT));
              b.putInt(REDUNDANT_AT + 4, b.getInt(TABLE_AT));
            },
            TABLE_AT + 4,
            "grain table entry",
            false),
        new Damage(
            "unclean",
            b -> b.put(72, (byte) 1),
            Finding.Severity.WARNING,
            72,
            "uncleanShutdown",
            true),
        new Damage(
            "spare slot",
            b -> b.put(SPARE_AT + 22, new byte[600]),
            Finding.Severity.WARNING,
            SPARE_AT,
            "spare descriptor slot",
            true),
        new Damage(
            "half an encryption in the spare slot",
            b -> {
              byte[] line = "ddb.filterd.version = \"1\"\n#".getBytes(StandardCharsets.US_ASCII);
              byte[] slot = new byte[20 * SECTOR];
              b.get(SPARE_AT, slot);
              String text = new String(slot, StandardCharsets.US_ASCII);
              b.put(SPARE_AT + text.indexOf("ddb.virtualHWVersion"), line);
            },
            Finding.Severity.WARNING,
            SPARE_AT,
            "spare descriptor slot",
            true),
        new Damage(
            "grain without a name",
            b -> {
              b.putInt(TABLE_AT + 4, 0);
              b.putInt(REDUNDANT_AT + 4, 0);
            },
            Finding.Severity.LEAK,
            LAYOUT.overheadSectors() * SECTOR + GRAIN,
            "grains",
            true),
        new Damage(
            "last grain without a name",
            b -> {
              b.putInt(SECOND_TABLE_AT + 12, 0);
              b.putInt((int) LAYOUT.redundantTable(1) * SECTOR + 12, 0);
            },
            Finding.Severity.LEAK,
            LAYOUT.overheadSectors() * SECTOR + 5 * GRAIN,
            "file size",
            true));
  }

  @Test
  void findsNothingInAWholeDisk() throws Exception {
    CheckReport report = check(disk());

    assertThat(report.findings()).isEmpty();
    assertThat(report.isClean()).isTrue();
    assertThat(report.kind()).isEqualTo("monolithicSparse");
    assertThat(report.totals().grains()).isEqualTo(6);
    assertThat(report.totals().tables()).isEqualTo(2);
    assertThat(report.totals().sizeBytes()).isEqualTo((long) GRAINS * GRAIN);
  }

  @ParameterizedTest
  @MethodSource("damages")
  void saysWhatIsWrongAndWhere(Damage damage) throws Exception {
    CheckReport report = check(damage.to(disk()));

    assertThat(report.findings())
        .anySatisfy(
            finding -> {
              assertThat(finding.severity()).isEqualTo(damage.severity());
              assertThat(finding.byteOffset()).isEqualTo(damage.byteOffset());
              assertThat(finding.field()).isEqualTo(damage.field());
              assertThat(finding.repairable()).isEqualTo(damage.repairable());
            });
  }

  @Test
  void takesNothingForFreeWhereATableIsLost() throws Exception {
    byte[] bytes = disk();
    ByteBuffer fields = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    fields.putInt(TABLE_AT + 4, 7).putInt(REDUNDANT_AT + 4, 7);

    CheckReport report = check(bytes);

    assertThat(report.totals().leaks()).isEqualTo(1);
    assertThat(report.findings()).noneMatch(Finding::repairable);
  }

  @Test
  void countsMoreThanItLists() throws Exception {
    byte[] bytes = disk();
    ByteBuffer fields = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    for (int at : new int[] {TABLE_AT, REDUNDANT_AT, SECOND_TABLE_AT}) {
      for (int i = 0; i < 2048; i += 4) {
        fields.putInt(at + i, 3);
      }
    }
    fields.put((int) LAYOUT.redundantTable(1) * SECTOR, bytes, SECOND_TABLE_AT, 2048);

    CheckReport report = check(bytes);

    assertThat(report.findings()).hasSize(CheckReport.LISTED_LIMIT);
    assertThat(report.totals().errors()).isEqualTo(1024);
  }

  @Test
  void endsWhereverTheFileIsCutOff() throws Exception {
    byte[] bytes = disk();
    int overhead = (int) LAYOUT.overheadSectors() * SECTOR;
    for (int length = 0;
        length < bytes.length;
        length += length < overhead ? SECTOR : GRAIN - SECTOR) {
      CheckReport report = check(Arrays.copyOf(bytes, length));
      assertThat(report.totals().errors()).as("cut off at %d", length).isPositive();
    }
  }

  @Test
  void answersWhateverStandsThere() throws Exception {
    byte[] whole = disk();
    int overhead = (int) LAYOUT.overheadSectors() * SECTOR;
    SplittableRandom random = new SplittableRandom(SEED);
    long[] values = {0, 1, -1, 2, 40, 128, 1 << 20, 1L << 32, 1L << 61, Long.MIN_VALUE};
    int[] fields = {4, 8, 12, 20, 28, 36, 44, 48, 56, 64, 72, 77};
    for (int i = 0; i < 600; i++) {
      byte[] bytes = whole.clone();
      ByteBuffer hostile = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
      for (int j = random.nextInt(3); j >= 0; j--) {
        switch (random.nextInt(4)) {
          case 0 ->
              hostile.putLong(
                  fields[random.nextInt(fields.length)], values[random.nextInt(values.length)]);
          case 1 -> hostile.putInt(random.nextInt(overhead / 4) * 4, random.nextInt());
          case 2 -> hostile.put(random.nextInt(42 * SECTOR), (byte) random.nextInt());
          default -> {
            int at = random.nextInt(overhead);
            hostile.put(at, (byte) (hostile.get(at) ^ 1 << random.nextInt(8)));
          }
        }
      }
      assertThat(check(bytes).findings()).as("seed %d, image %d", SEED, i).isNotNull();
      CrashFile file = new CrashFile(bytes);
      try (Inspection inspection = Inspection.of(Path.of("h.vmdk"), Access.READ_WRITE, file)) {
        DiskRepair.apply(file, DiskRepair.wanted(inspection.parts().getFirst()));
      }
      // A repair never makes errors of its own, and leaves none that it can mend.
      assertThat(check(file.killedAfter(file.logSize())).findings())
          .as("seed %d, image %d", SEED, i)
          .noneMatch(
              finding -> finding.repairable() && finding.severity() == Finding.Severity.ERROR);
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "monolithicSparse.vmdk",
        "streamOptimized.vmdk",
        "streamOptimizedWithMarkers.vmdk",
        "twoGbMaxExtentSparse.vmdk"
      })
  void findsNothingInWhatVmwareMade(String name) throws Exception {
    for (String each : new String[] {name, "twoGbMaxExtentSparse-s001.vmdk"}) {
      Files.write(folder.resolve(each), TestDisks.sample(each));
    }

    CheckReport report = DiskCheck.check(folder.resolve(name));

    assertThat(report.findings()).isEmpty();
    assertThat(report.totals().grains()).isPositive();
  }

  @ParameterizedTest
  @EnumSource(TestDisks.Stream.class)
  void looksIntoStreams(TestDisks.Stream kind) throws Exception {
    byte[] content = TestDisks.content(40 * GRAIN, new SplittableRandom(1));
    byte[] stream = TestDisks.stream(content, kind);
    assertThat(check(stream).findings()).isEmpty();

    // The first grain's marker stands behind the overhead of 128 sectors, or of the tables.
    int at = 128 * SECTOR;
    while (ByteBuffer.wrap(stream).order(ByteOrder.LITTLE_ENDIAN).getInt(at + 8) == 0) {
      at += SECTOR;
    }
    stream[at]++;
    assertThat(check(stream).findings())
        .anyMatch(finding -> finding.field().equals("grain marker address"));
  }

  static Stream<Arguments> descriptors() {
    return Stream.of(
        Arguments.of("RW 2 FLAT \"missing.vmdk\" 0", "extent file"),
        Arguments.of("RW 2 FLAT \"../up.vmdk\" 0", "extent file"),
        Arguments.of("RW 2 FLAT \"/etc/passwd\" 0", "extent file"),
        Arguments.of("RW 9 FLAT \"short.vmdk\" 0", "extent"),
        Arguments.of("RW 2 FLAT \"short.vmdk\" 0\nRW 2 FLAT \"short.vmdk\" 0", "extent file"),
        Arguments.of("RW 2 SPARSE \"short.vmdk\"", "capacity"),
        Arguments.of("RW 2 SESPARSE \"short.vmdk\"", "extent type"));
  }

  @ParameterizedTest
  @MethodSource("descriptors")
  void looksAtEveryExtent(String lines, String field) throws Exception {
    Files.write(folder.resolve("short.vmdk"), new byte[1024]);
    Path disk = folder.resolve("disk.vmdk");
    Files.writeString(disk, TestDisks.descriptor("twoGbMaxExtentFlat", lines));

    CheckReport report = DiskCheck.check(disk);

    assertThat(report.findings()).anyMatch(finding -> finding.field().equals(field));
  }

  @Test
  void comparesTheIdOfTheParent() throws Exception {
    Path parent = folder.resolve("parent.vmdk");
    Path child = folder.resolve("child.vmdk");
    Files.write(folder.resolve("data"), new byte[1024]);
    String text = TestDisks.descriptor("twoGbMaxExtentFlat", "RW 2 FLAT \"data\" 0");
    String hint = "parentFileNameHint=\"/vmfs/volumes/1/parent.vmdk\"\n";
    Files.writeString(child, text.replace("parentCID=ffffffff\n", "parentCID=1234abcd\n" + hint));

    assertThat(DiskCheck.check(child).totals().warnings()).as("no parent").isEqualTo(1);

    Files.writeString(parent, text, StandardCharsets.US_ASCII);
    assertThat(DiskCheck.check(child).findings()).isEmpty();

    Files.writeString(parent, text.replace("1234abcd", "1234abce"));
    assertThat(DiskCheck.check(child).findings())
        .singleElement()
        .satisfies(finding -> assertThat(finding.field()).isEqualTo("parentCID"));
  }

  @Test
  void checksWhatIsEncrypted() throws Exception {
    byte[] bytes = disk();
    int at =
        SECTOR
            + new String(bytes, SECTOR, 20 * SECTOR, StandardCharsets.US_ASCII)
                .indexOf("ddb.virtualHWVersion");
    byte[] line = "ddb.filterd.version = \"1\"\n#".getBytes(StandardCharsets.US_ASCII);
    System.arraycopy(line, 0, bytes, at, line.length);

    assertThat(check(bytes).findings())
        .anyMatch(finding -> finding.field().equals("ddb.filterd.cipher"));
  }
}
