package io.filterd.vmdk;

import static io.filterd.vmdk.EsxDisks.SE_DIRECTORY;
import static io.filterd.vmdk.EsxDisks.SE_GRAIN;
import static io.filterd.vmdk.EsxDisks.SE_TABLES;
import static io.filterd.vmdk.EsxDisks.SE_UNMAPPED;
import static io.filterd.vmdk.EsxDisks.SE_ZERO;
import static io.filterd.vmdk.EsxDisks.noise;
import static io.filterd.vmdk.TestDisks.SECTOR;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.ExtentKind;
import io.filterd.block.Extents;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Extents of ESX's snapshots: COWD and SESPARSE. */
class EsxExtentTest {
  private static final int COWD_SECTORS = 3 * 4096 + 5;
  private static final int SE_SECTORS = 2 * 4096 * 8 + 24;

  @TempDir Path folder;

  private static Map<Integer, byte[]> cowdGrains() {
    Map<Integer, byte[]> grains = new TreeMap<>();
    for (int grain : new int[] {0, 1, 7, 4095, 8192, COWD_SECTORS - 1}) {
      grains.put(grain, noise(SECTOR, grain));
    }
    grains.put(9, new byte[0]);
    return grains;
  }

  private static byte[] cowd() {
    return EsxDisks.cowd(COWD_SECTORS, 1, cowdGrains());
  }

  private static Map<Integer, byte[]> seGrains() {
    Map<Integer, byte[]> grains = new TreeMap<>();
    for (int grain : new int[] {0, 5, 6, 8192, 8194}) {
      grains.put(grain, noise(SE_GRAIN, grain));
    }
    return grains;
  }

  private static byte[] seSparse() {
    return EsxDisks.seSparse(SE_SECTORS, seGrains(), Map.of(3, SE_ZERO, 8193, SE_UNMAPPED), 0);
  }

  private static byte[] over(byte[] base, Map<Integer, byte[]> grains, int grainBytes) {
    byte[] content = base.clone();
    grains.forEach(
        (grain, bytes) ->
            System.arraycopy(
                bytes.length == 0 ? new byte[grainBytes] : bytes,
                0,
                content,
                grain * grainBytes,
                grainBytes));
    return content;
  }

  private static BlockDevice openCowd(byte[] file, List<String> warnings) throws Exception {
    return CowdTables.open(new CrashFile(file), COWD_SECTORS, warnings);
  }

  private static BlockDevice openSe(byte[] file) throws Exception {
    return SeSparseTables.open(new CrashFile(file), SE_SECTORS);
  }

  @Test
  void readsASnapshotOfEsxOverItsParent() throws Exception {
    byte[] base = noise(COWD_SECTORS * SECTOR, 99);
    Path file = EsxDisks.snapshot(folder, base, "VMFSSPARSE", cowd());

    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_ONLY);
        VmdkDisk parent = VmdkDisk.open(folder.resolve("base.vmdk"), Access.READ_ONLY);
        BlockDevice chain = new Chain(List.of(disk.link(), parent.link()))) {
      assertThat(TestDisks.contentOf(chain)).isEqualTo(over(base, cowdGrains(), SECTOR));
      assertThat(disk.warnings()).isEmpty();
      assertThat(disk.link().read(7 * SECTOR, ByteBuffer.allocateDirect(1536), Blocking.ALLOWED))
          .hasToString("[512, 512, 512][DATA, ABSENT, ZERO]");
    }
  }

  @Test
  void readsASnapshotInSmallGrainsOverItsParent() throws Exception {
    byte[] base = noise(SE_SECTORS * SECTOR, 98);
    byte[] expected = over(base, seGrains(), SE_GRAIN);
    Arrays.fill(expected, 3 * SE_GRAIN, 4 * SE_GRAIN, (byte) 0);
    Arrays.fill(expected, 8193 * SE_GRAIN, 8194 * SE_GRAIN, (byte) 0);
    Path file = EsxDisks.snapshot(folder, base, "SESPARSE", seSparse());

    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_ONLY);
        VmdkDisk parent = VmdkDisk.open(folder.resolve("base.vmdk"), Access.READ_ONLY);
        BlockDevice chain = new Chain(List.of(disk.link(), parent.link()))) {
      assertThat(TestDisks.contentOf(chain)).isEqualTo(expected);
      Extents extents = disk.link().extents(3 * SE_GRAIN, 4 * SE_GRAIN, Blocking.ALLOWED);
      assertThat(extents).hasToString("[4096, 4096, 8192][ZERO, ABSENT, DATA]");
    }
  }

  @Test
  void findsSmallGrainsWithLargeNumbers() throws Exception {
    byte[] content = noise(2 * SE_GRAIN, 5);
    Map<Integer, byte[]> grains =
        Map.of(0, Arrays.copyOf(content, SE_GRAIN), 1, Arrays.copyOfRange(content, SE_GRAIN, 8192));
    byte[] file = EsxDisks.seSparse(16, new TreeMap<>(grains), Map.of(), 4095);

    try (BlockDevice link = SeSparseTables.open(new CrashFile(file), 16)) {
      assertThat(TestDisks.contentOf(link)).isEqualTo(content);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 128, 2048})
  void readsLargerGrains(int grainSectors) throws Exception {
    int sectors = 2 * grainSectors + 1;
    Map<Integer, byte[]> grains =
        Map.of(0, noise(grainSectors * SECTOR, 1), 2, noise(grainSectors * SECTOR, 2));
    byte[] file = EsxDisks.cowd(sectors, grainSectors, grains);
    byte[] expected =
        Arrays.copyOf(
            over(new byte[3 * grainSectors * SECTOR], grains, grainSectors * SECTOR),
            sectors * SECTOR);

    try (BlockDevice link = CowdTables.open(new CrashFile(file), sectors, new ArrayList<>())) {
      assertThat(link.info().allocationUnitBytes()).isEqualTo(grainSectors * SECTOR);
      assertThat(TestDisks.contentOf(link)).isEqualTo(expected);
    }
  }

  @Test
  void keepsNoMoreTablesThanItMay() throws Exception {
    // More tables than there are slots, most of them not there.
    int sectors = 3000 * 4096;
    Map<Integer, byte[]> grains = new TreeMap<>();
    for (int table : new int[] {0, 1024, 2048, 2999}) {
      grains.put(table * 4096, noise(SECTOR, table));
    }
    byte[] file = EsxDisks.cowd(sectors, 1, grains);
    ByteBuffer sector = ByteBuffer.allocateDirect(SECTOR);

    try (BlockDevice link = CowdTables.open(new CrashFile(file), sectors, new ArrayList<>())) {
      assertThat(link.read(0, sector.clear(), Blocking.FORBIDDEN)).isSameAs(Extents.WOULD_BLOCK);
      for (int round = 0; round < 2; round++) {
        for (int table = 0; table < 3000; table++) {
          long at = table * 4096L * SECTOR;
          boolean held = grains.containsKey(table * 4096);
          assertThat(link.read(at, sector.clear(), Blocking.ALLOWED))
              .isSameAs(Extents.all(held ? ExtentKind.DATA : ExtentKind.ABSENT));
        }
      }
      assertThat(link.read(2999L * 4096 * SECTOR, sector.clear(), Blocking.FORBIDDEN))
          .isSameAs(Extents.ALL_DATA);
    }
  }

  @Test
  void warnsOfASnapshotThatWasNotClosed() throws Exception {
    byte[] file = cowd();
    file[1648] = 1;
    List<String> warnings = new ArrayList<>();

    openCowd(file, warnings).close();

    assertThat(warnings).singleElement().asString().startsWith("crash.vmdk: was not closed");
  }

  @ParameterizedTest
  @CsvSource({"VMFSSPARSE, base-000001-delta.vmdk", "SESPARSE, base-000001-sesparse.vmdk"})
  void namesTheDescriptorWhenAnExtentIsOpened(String type, String extent) throws Exception {
    byte[] bytes = type.equals("SESPARSE") ? seSparse() : cowd();
    Path file = EsxDisks.snapshot(folder, new byte[512], type, bytes);

    assertThatThrownBy(() -> VmdkDisk.open(folder.resolve(extent), Access.READ_ONLY))
        .isInstanceOf(FormatException.class)
        .hasMessageEndingWith(
            "an extent of an ESX snapshot (expected: the disk's descriptor; open " + file + ")");
  }

  // What is wrong

  private static void put(byte[] file, int at, int length, long value) {
    ByteBuffer bytes = ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN);
    if (length == 4) {
      bytes.putInt(at, (int) value);
    } else {
      bytes.putLong(at, value);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "0, 1, magic",
    "4, 0, version",
    "4, 2, version",
    "8, 0, flags",
    "8, 7, flags",
    "12, 0, numSectors",
    "12, 5, numSectors",
    "12, 0xffffffff, numGDEntries",
    "16, 0, grainSize",
    "16, 3, grainSize",
    "16, 4096, grainSize",
    "16, 0xffffffff, grainSize",
    "20, 0, gdOffset",
    "20, 3, gdOffset",
    "20, 0xffffffff, gdOffset",
    "24, 0, numGDEntries",
    "24, 3, numGDEntries",
    "24, 100000, gdOffset",
    "24, 0xffffffff, numGDEntries"
  })
  void refusesAHeaderOfEsxThatIsWrong(int at, String value, String field) {
    byte[] file = cowd();
    put(file, at, 4, Long.decode(value));

    FormatException failure =
        catchThrowableOfType(FormatException.class, () -> openCowd(file, new ArrayList<>()));

    assertThat(failure).isNotNull();
    assertThat(failure.field()).isEqualTo(field);
    assertThat(failure.byteOffset()).isBetween(0L, 28L);
  }

  @ParameterizedTest
  @CsvSource({
    "0, 0x1cafebabe, magic",
    "8, 0x200000002, version",
    "8, 1, version",
    "16, 0, capacity",
    "16, 0x7fffffffffffffff, capacity",
    "16, 0x0000001fffffffff, grain_dir_size",
    "16, 8, capacity",
    "24, 0, grain_size",
    "24, 16, grain_size",
    "32, 63, grain_table_size",
    "40, 1, flags",
    "48, 1, reserved",
    "72, 0x100000000, reserved",
    "80, 0, volatile_header_offset",
    "80, 0x7fffffffffffffff, volatile_header_offset",
    "80, 2, volatile magic",
    "128, 0, grain_dir_offset",
    "128, 1000000, grain_dir_offset",
    "136, 0, grain_dir_size",
    "136, 0x7fffffffffffffff, grain_dir_size",
    "144, 0, grain_tables_offset",
    "144, -1, grain_tables_offset",
    "152, -1, grain_tables_size",
    "152, 1000000, grain_tables_size",
    "192, 20, grains_offset",
    "192, 1000000, grains_offset",
    "208, 1, pad",
    "504, 1, pad",
    "512, 0xcafebabe, volatile magic",
    "536, 1, replay_journal",
    "544, 1, volatile pad",
    "1016, 0x100, volatile pad"
  })
  void refusesAHeaderOfSmallGrainsThatIsWrong(int at, String value, String field) {
    byte[] file = seSparse();
    put(file, at, 8, Long.decode(value));

    FormatException failure = catchThrowableOfType(FormatException.class, () -> openSe(file));

    assertThat(failure).isNotNull();
    assertThat(failure.field()).isEqualTo(field);
    assertThat(failure.byteOffset()).isBetween(0L, 1024L);
  }

  private static void assertDamage(BlockDevice link, long offset, String field, long byteOffset) {
    ByteBuffer target = ByteBuffer.allocateDirect(4096);
    assertThatThrownBy(() -> link.read(offset, target, Blocking.ALLOWED))
        .isInstanceOf(BlockException.class)
        .hasCauseInstanceOf(FormatException.class)
        .hasMessageStartingWith("crash.vmdk: at byte " + byteOffset + ": " + field);
    assertThat(target.position()).isZero();
  }

  @ParameterizedTest
  @ValueSource(longs = {2, 4, 133, 1_000_000, 0xffff_ffffL})
  void refusesEntriesOfEsxThatLeadAstray(long sector) throws Exception {
    byte[] entries = cowd();
    int table = 5 * SECTOR;
    put(entries, table + 2 * 4, 4, sector == 133 ? entries.length / SECTOR : sector);
    try (BlockDevice link = openCowd(entries, new ArrayList<>())) {
      assertDamage(link, 2 * SECTOR, "entry of grain 2", table + 8);
    }

    byte[] directory = cowd();
    put(directory, 4 * SECTOR + 4, 4, sector == 133 ? directory.length / SECTOR - 31 : sector);
    try (BlockDevice link = openCowd(directory, new ArrayList<>())) {
      assertDamage(link, 4096 * SECTOR, "grain directory entry 1", 4 * SECTOR + 4);
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "0x0000000000000001",
        "0x0fffffffffffffff",
        "0x4000000000000000",
        "0x7000000000000001",
        "0x3005000000000000",
        "0x3fffffffffffffff",
        "0x3000000000000001"
      })
  void refusesEntriesOfSmallGrainsThatLeadAstray(String entry) throws Exception {
    byte[] file = seSparse();
    int table = (SE_TABLES + 2 * 64) * SECTOR;
    put(file, table + 8, 8, Long.decode(entry));

    try (BlockDevice link = openSe(file)) {
      assertDamage(link, SE_GRAIN, "entry of grain 1", table + 8);
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "0x0000000000000001",
        "0x1000000000000003",
        "0x10000000ffffffff",
        "0x2000000000000000",
        "0x1000000100000000"
      })
  void refusesDirectoriesOfSmallGrainsThatLeadAstray(String entry) throws Exception {
    byte[] file = seSparse();
    put(file, SE_DIRECTORY * SECTOR, 8, Long.decode(entry));

    try (BlockDevice link = openSe(file)) {
      assertDamage(link, 0, "grain directory entry 0", SE_DIRECTORY * SECTOR);
    }
  }
}
