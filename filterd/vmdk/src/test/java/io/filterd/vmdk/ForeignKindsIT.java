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
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The kinds that only others make, against qemu-img's own reading of them. */
class ForeignKindsIT {
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
