package io.filterd.vmdk;

import static io.filterd.vmdk.EsxDisks.noise;
import static io.filterd.vmdk.TestDisks.SECTOR;
import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The kinds that only others make, against qemu-img's own reading of them. */
class ForeignKindsIT {
  private static final int SIZE_BYTES = (35 << 20) + 5 * SECTOR;

  @TempDir Path folder;

  @Test
  void agreesWithQemuAboutSnapshotsOfEsx()
      throws BlockException, IOException, InterruptedException {
    int sectors = 16_384;
    Map<Integer, byte[]> grains = new TreeMap<>();
    for (int grain : new int[] {0, 1, 7, 4095, 4096, 12_288, 16_383}) {
      grains.put(grain, noise(SECTOR, grain));
    }
    Path file =
        EsxDisks.snapshot(
            folder, noise(sectors * SECTOR, 1), "VMFSSPARSE", EsxDisks.cowd(sectors, 1, grains));

    assertAgrees(file);
  }

  @Test
  void agreesWithQemuAboutSnapshotsInSmallGrains()
      throws BlockException, IOException, InterruptedException {
    int sectors = 2 * 32_768 + 64;
    Map<Integer, byte[]> grains = new TreeMap<>();
    for (int grain : new int[] {0, 5, 4095, 8192, 8199}) {
      grains.put(grain, noise(EsxDisks.SE_GRAIN, grain));
    }
    Map<Integer, Long> marked = Map.of(3, EsxDisks.SE_ZERO, 8193, EsxDisks.SE_UNMAPPED);
    Path file =
        EsxDisks.snapshot(
            folder,
            noise(sectors * SECTOR, 2),
            "SESPARSE",
            EsxDisks.seSparse(sectors, grains, marked, 4093));

    assertAgrees(file);
  }

  static Stream<Arguments> whatQemuCanMake() {
    return Stream.of(
            "monolithicSparse",
            "monolithicSparse,zeroed_grain=on",
            "monolithicSparse,compat6=on",
            "monolithicFlat",
            "twoGbMaxExtentSparse",
            "twoGbMaxExtentSparse,zeroed_grain=on",
            "twoGbMaxExtentFlat",
            "streamOptimized")
        .flatMap(
            kind ->
                Stream.of("ide", "buslogic", "lsilogic", "legacyESX")
                    .map(adapter -> Arguments.of(kind, adapter)));
  }

  /** What one reads from a file that qemu made is what the other reads: all that was put in. */
  @ParameterizedTest
  @MethodSource("whatQemuCanMake")
  void agreesWithQemuAboutWhatItMakes(String kind, String adapter)
      throws BlockException, IOException, InterruptedException {
    // More than a table covers, and no whole number of grains.
    byte[] content = Arrays.copyOf(TestDisks.content(3 << 20, new SplittableRandom(3)), SIZE_BYTES);
    byte[] end = noise(5000, 4);
    System.arraycopy(end, 0, content, content.length - end.length, end.length);
    Path source = Files.write(folder.resolve("source.raw"), content);
    Path file = folder.resolve("made.vmdk");
    String options = "subformat=" + kind + ",adapter_type=" + adapter;
    run("qemu-img", "convert", "-O", "vmdk", "-o", options, source.toString(), file.toString());
    Path raw = folder.resolve("qemu.raw");
    run("qemu-img", "convert", "-f", "vmdk", "-O", "raw", file.toString(), raw.toString());

    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_ONLY);
        BlockDevice chain = new Chain(List.of(disk.link()))) {
      assertThat(disk.warnings()).isEmpty();
      assertThat(disk.descriptor().ddb("adapterType")).hasValue(adapter);
      byte[] ours = TestDisks.contentOf(chain);
      assertThat(Arrays.mismatch(ours, content)).isEqualTo(-1);
      assertThat(Arrays.mismatch(ours, Files.readAllBytes(raw))).isEqualTo(-1);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"monolithicSparse", "twoGbMaxExtentSparse"})
  void agreesWithQemuAboutItsSnapshots(String kind)
      throws BlockException, IOException, InterruptedException {
    Path base = folder.resolve("base.vmdk");
    Path file = folder.resolve("child.vmdk");
    run("qemu-img", "create", "-f", "vmdk", base.toString(), Integer.toString(SIZE_BYTES));
    run("qemu-io", "-f", "vmdk", "-c", "write -P 0x11 0 1M", base.toString());
    String options = "zeroed_grain=on,subformat=" + kind;
    run(
        "qemu-img",
        "create",
        "-f",
        "vmdk",
        "-o",
        options,
        "-b",
        base.toString(),
        "-F",
        "vmdk",
        file.toString());
    run(
        "qemu-io",
        "-f",
        "vmdk",
        "-c",
        "write -P 0x22 64k 70k",
        "-c",
        "write -z 512k 64k",
        "-c",
        "write -P 0x33 33M 4k",
        file.toString());

    assertAgrees(file);
  }

  /** The snapshot over {@code base.vmdk} reads as qemu reads it. */
  private void assertAgrees(Path file) throws BlockException, IOException, InterruptedException {
    Path raw = folder.resolve("qemu.raw");
    run("qemu-img", "convert", "-f", "vmdk", "-O", "raw", file.toString(), raw.toString());
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_ONLY);
        VmdkDisk parent = VmdkDisk.open(folder.resolve("base.vmdk"), Access.READ_ONLY);
        BlockDevice chain = new Chain(List.of(disk.link(), parent.link()))) {
      assertThat(TestDisks.contentOf(chain)).isEqualTo(Files.readAllBytes(raw));
    }
  }

  private static void run(String... command) throws IOException, InterruptedException {
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    process.getOutputStream().close();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
    assertThat(process.exitValue()).as("%s: %s", List.of(command), output).isZero();
  }
}
