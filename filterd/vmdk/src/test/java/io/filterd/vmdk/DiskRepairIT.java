package io.filterd.vmdk;

import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.block.BlockException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Disks that are damaged by dd and repaired: qemu reads of them what it read before. */
class DiskRepairIT {
  private static final int SIZE_BYTES = 40 << 20;
  // A disk of 40 MiB has two tables: see SparseLayout.
  private static final SparseLayout LAYOUT = new SparseLayout(SIZE_BYTES / 512);

  @TempDir Path folder;

  /**
   * Damages a file.
   *
   * @param place where: {@code header}, {@code gd}, {@code rgd}, {@code gt}, {@code rgt}, {@code
   *     end}
   * @param offset in bytes behind it
   * @param bytes what is written there, for printf
   */
  @ParameterizedTest
  @CsvSource({
    "header, 72, \\001, 0",
    "gd, 0, \\0\\0\\0\\0, 1",
    "gd, 4, \\377\\377\\377\\177, 1",
    "rgd, 0, \\0\\0\\0\\0\\0\\0\\0\\0, 2",
    "gt, 0, \\001\\002\\003\\004\\005\\006\\007\\010, 1",
    "gt, 2048, \\050, 1",
    "rgt, 0, \\0\\0\\0\\0\\0\\0\\0\\0\\0\\0, 1",
    "rgt, 16, \\377\\377\\377\\377, 1",
    "end, 300000, lost, 0"
  })
  void mendsWhatDdDid(String place, long offset, String bytes, long errors)
      throws BlockException, IOException, InterruptedException {
    Path disk = folder.resolve("disk.vmdk");
    Path raw = folder.resolve("disk.raw");
    byte[] content = TestDisks.content(SIZE_BYTES, new SplittableRandom(7));
    content[0] = 1;
    TestDisks.sparse(disk, content);
    Files.write(raw, content);
    long position =
        switch (place) {
          case "gd" -> LAYOUT.directory() * 512;
          case "rgd" -> LAYOUT.header().redundantDirectoryOffset() * 512;
          case "gt" -> LAYOUT.table(0) * 512;
          case "rgt" -> LAYOUT.redundantTable(0) * 512;
          case "end" -> Files.size(disk);
          default -> 0;
        };
    run(
        "sh",
        "-c",
        "printf '%s' | dd of=%s bs=1 seek=%d conv=notrunc"
            .formatted(bytes, disk, position + offset));

    CheckReport damaged = DiskCheck.check(disk);
    DiskRepair.Result result = DiskRepair.repair(disk, folder.resolve("backup"));

    assertThat(damaged.isClean()).isFalse();
    assertThat(damaged.totals().errors()).isEqualTo(errors);
    assertThat(result.after().findings()).isEmpty();
    assertThat(run("qemu-img", "check", "-f", "vmdk", disk.toString()))
        .contains("No errors were found");
    run("qemu-img", "compare", "-f", "vmdk", "-F", "raw", disk.toString(), raw.toString());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "subformat=monolithicSparse",
        "subformat=monolithicSparse,zeroed_grain=on",
        "subformat=monolithicFlat",
        "subformat=twoGbMaxExtentSparse",
        "subformat=twoGbMaxExtentFlat",
        "subformat=streamOptimized"
      })
  void findsNothingInWhatQemuMakes(String options)
      throws BlockException, IOException, InterruptedException {
    Path raw = folder.resolve("source.raw");
    Path disk = folder.resolve("made.vmdk");
    Files.write(raw, TestDisks.content(SIZE_BYTES, new SplittableRandom(8)));

    run(
        "qemu-img",
        "convert",
        "-f",
        "raw",
        "-O",
        "vmdk",
        "-o",
        options,
        raw.toString(),
        disk.toString());

    assertThat(DiskCheck.check(disk).findings()).isEmpty();
  }

  @Test
  void findsNothingAfterQemuWroteIntoOurs()
      throws BlockException, IOException, InterruptedException {
    Path disk = folder.resolve("disk.vmdk");
    TestDisks.sparse(disk, TestDisks.content(SIZE_BYTES, new SplittableRandom(9)));

    run("qemu-io", "-f", "vmdk", "-c", "write -P 7 1M 3M", disk.toString());

    // qemu changes the content id where it takes the descriptor to be, and not the longer one.
    CheckReport.Totals totals = DiskCheck.check(disk).totals();
    assertThat(totals.errors()).isZero();
    assertThat(totals.leaks()).isZero();
  }

  private static String run(String... command) throws IOException, InterruptedException {
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    process.getOutputStream().close();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
    assertThat(process.exitValue()).as("%s: %s", String.join(" ", command), output).isZero();
    return output;
  }
}
