package io.filterd.vmdk;

import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Durability;
import io.filterd.block.file.BlockFile;
import io.filterd.block.file.FileDevice;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Disks of several files, against qemu, libvmdk and 7-Zip. */
class LayoutIT {
  private static final long SIZE_BYTES = 40L << 20;
  private static final long SEED = Long.getLong("test.seed", System.nanoTime());

  @TempDir Path folder;

  @ParameterizedTest
  @EnumSource
  void makesAndWritesDisksThatOthersTakeForTheirOwn(Layout layout)
      throws BlockException, IOException, InterruptedException {
    Path disk = folder.resolve("disk.vmdk");
    Path raw = folder.resolve("disk.raw");
    VmdkDisk.create(disk, CreateOptions.ofSize(SIZE_BYTES, layout));
    FileDevice.create(raw, SIZE_BYTES).close();
    writeBoth(disk, raw, SIZE_BYTES / 2);
    assertOthersAgree(disk, raw);

    String info = run("qemu-img", "info", "-f", "vmdk", disk.toString());
    assertThat(info).contains("create type: " + layout.createType());
    if (layout != Layout.MONOLITHIC_FLAT) { // libvmdk reads no disk of that type.
      run("vmdkinfo", disk.toString());
      assertThat(Files.mismatch(mounted(disk), raw)).as("seed %d", SEED).isEqualTo(-1);
      run("fusermount", "-u", folder.resolve("mount").toString());
    }
    Path out = folder.resolve("7z");
    run("7z", "x", "-y", "-tVMDK", "-o" + out, disk.toString());
    try (Stream<Path> files = Files.list(out)) {
      assertThat(Files.mismatch(files.findFirst().orElseThrow(), raw))
          .as("seed %d", SEED)
          .isEqualTo(-1);
    }

    // qemu writes into our files, and we read it.
    for (String change : List.of("write -P 0x5a 20M 1M", "write -z 1M 3M", "write -P 1 39M 1M")) {
      run("qemu-io", "-f", "vmdk", "-c", change, disk.toString());
      run("qemu-io", "-f", "raw", "-c", change, raw.toString());
    }
    assertWeRead(disk, raw);
    // Once more in the files that qemu has changed.
    writeBoth(disk, raw, SIZE_BYTES / 2);
    assertOthersAgree(disk, raw);
  }

  private Path mounted(Path disk) throws IOException, InterruptedException {
    Path mount = Files.createDirectories(folder.resolve("mount"));
    run("vmdkmount", disk.toString(), mount.toString());
    return mount.resolve("vmdk1");
  }

  @Test
  void writesSparsePiecesAcrossTheirEnds()
      throws BlockException, IOException, InterruptedException {
    long boundary = 4_192_256L * 512;
    long size = boundary + SIZE_BYTES;
    Path disk = folder.resolve("disk.vmdk");
    Path raw = folder.resolve("disk.raw");
    VmdkDisk.create(disk, CreateOptions.ofSize(size, Layout.TWO_GB_MAX_EXTENT_SPARSE));
    FileDevice.create(raw, size).close();

    writeBoth(disk, raw, boundary);

    assertOthersAgree(disk, raw);
    String change = "write -P 0x5a " + (boundary - (1 << 20)) + " 2M";
    run("qemu-io", "-f", "vmdk", "-c", change, disk.toString());
    run("qemu-io", "-f", "raw", "-c", change, raw.toString());
    assertWeRead(disk, raw);
  }

  @ParameterizedTest
  @ValueSource(strings = {"monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"})
  void writesWhatQemuMakes(String subformat)
      throws BlockException, IOException, InterruptedException {
    Path disk = folder.resolve("disk.vmdk");
    Path raw = folder.resolve("disk.raw");
    String size = Long.toString((2L << 30) + SIZE_BYTES);
    run("qemu-img", "create", "-f", "vmdk", "-o", "subformat=" + subformat, disk.toString(), size);
    run("qemu-img", "create", "-f", "raw", raw.toString(), size);

    writeBoth(disk, raw, 2L << 30);

    assertOthersAgree(disk, raw);
    assertWeRead(disk, raw);
  }

  @ParameterizedTest
  @CsvSource({
    "monolithicFlat, monolithicFlat-flat.vmdk",
    "twoGbMaxExtentFlat, twoGbMaxExtentFlat-f001.vmdk",
    "twoGbMaxExtentSparse, twoGbMaxExtentSparse-s001.vmdk"
  })
  void writesWhatVmwareMade(String name, String extent)
      throws BlockException, IOException, InterruptedException {
    Path disk = folder.resolve(name + ".vmdk");
    Path raw = folder.resolve("guest.raw");
    Files.write(disk, TestDisks.sample(name + ".vmdk"));
    byte[] content = TestDisks.sample("guest-content.raw");
    Files.write(folder.resolve(extent), name.endsWith("Flat") ? content : TestDisks.sample(extent));
    Files.write(raw, content);

    writeBoth(disk, raw, content.length / 2);

    assertOthersAgree(disk, raw);
    assertWeRead(disk, raw);
  }

  @Test
  void keepsQemuFromWritingWhileItIsOpen()
      throws BlockException, IOException, InterruptedException {
    Path file = folder.resolve("disk.vmdk");
    VmdkDisk.create(file, CreateOptions.ofSize(SIZE_BYTES, Layout.MONOLITHIC_FLAT));
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_WRITE)) {
      for (int i = 0; i < 2; i++) {
        ProcessBuilder writer =
            new ProcessBuilder("qemu-io", "-f", "vmdk", "-c", "write 0 64k", file.toString());
        Process qemu = writer.redirectErrorStream(true).start();
        assertThat(new String(qemu.getInputStream().readAllBytes(), StandardCharsets.UTF_8))
            .contains("lock");
        assertThat(qemu.waitFor()).isNotZero();
        // From now on the descriptor is another file.
        disk.rewriteDescriptor(descriptor -> descriptor.withDdb("comment", "x"));
      }
    }
  }

  /** Makes the same changes to both, most of them round {@code middle}. */
  private static void writeBoth(Path disk, Path raw, long middle)
      throws IOException, BlockException {
    long seed = SEED;
    try (BlockDevice vmdk = VmdkDisk.open(disk, Access.READ_WRITE).link();
        BlockDevice shadow = FileDevice.open(raw, BlockFile.Access.READ_WRITE)) {
      scribble(vmdk, middle, new Random(seed));
      scribble(shadow, middle, new Random(seed));
    }
  }

  private static void scribble(BlockDevice device, long middle, Random random)
      throws BlockException {
    int longest = 600;
    ByteBuffer bytes = ByteBuffer.allocateDirect(longest * 512);
    long size = device.info().sizeBytes();
    long window = Math.min(middle, size - middle);
    for (int i = 0; i < 60; i++) {
      int length = 512 * random.nextInt(1, longest);
      long offset = middle - window + 512L * random.nextLong((2 * window - length) / 512);
      if (i % 20 == 0) {
        offset = middle - length / 1024 * 512L; // Across the middle.
      }
      bytes.clear();
      for (int at = 0; at < bytes.capacity(); at += 8) {
        bytes.putLong(at, random.nextLong());
      }
      device.write(offset, bytes.limit(length), Durability.BUFFERED, Blocking.ALLOWED);
      if (i % 7 == 0) {
        long at = middle - window + 512L * random.nextLong((2 * window - (1 << 20)) / 512);
        device.trim(at, 1 << 20, Durability.BUFFERED, Blocking.ALLOWED);
      }
      if (i % 11 == 0) {
        device.flush(Blocking.ALLOWED);
      }
    }
  }

  private static void assertOthersAgree(Path disk, Path raw)
      throws IOException, InterruptedException {
    assertThat(run("qemu-img", "check", "-f", "vmdk", disk.toString()))
        .as("seed %d", SEED)
        .contains("No errors were found");
    run("qemu-img", "compare", "-f", "vmdk", "-F", "raw", disk.toString(), raw.toString());
  }

  private void assertWeRead(Path disk, Path raw)
      throws IOException, BlockException, InterruptedException {
    Path copy = Files.createTempDirectory(folder, "copy").resolve("copy.raw");
    try (VmdkDisk ours = VmdkDisk.open(disk, Access.READ_ONLY)) {
      assertThat(DiskCopy.toRaw(ours.link(), copy, (done, total) -> true)).isTrue();
    }
    run("qemu-img", "compare", "-f", "raw", "-F", "raw", copy.toString(), raw.toString());
  }

  private static String run(String... command) throws IOException, InterruptedException {
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    process.getOutputStream().close();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
    if (process.exitValue() != 0) {
      throw new IOException("seed " + SEED + ": " + String.join(" ", command) + ": " + output);
    }
    return output;
  }
}
