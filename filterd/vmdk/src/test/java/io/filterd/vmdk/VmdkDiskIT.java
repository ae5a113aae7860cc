package io.filterd.vmdk;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Durability;
import io.filterd.block.Extents;
import io.filterd.block.file.BlockFile;
import io.filterd.block.file.FileDevice;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Against qemu-img and libvmdk: they read what we write, we read what they write. */
class VmdkDiskIT {
  private static final int SIZE_BYTES = 40 << 20;

  @TempDir Path folder;

  @Test
  void makesDisksThatOthersTakeForTheirOwn() throws Exception {
    Path disk = folder.resolve("disk.vmdk");
    Path raw = folder.resolve("disk.raw");
    VmdkDisk.create(disk, CreateOptions.ofSize(SIZE_BYTES));
    long seed = Long.getLong("test.seed", System.nanoTime());
    try (BlockDevice vmdk = VmdkDisk.open(disk, Access.READ_WRITE).link();
        BlockDevice shadow = FileDevice.create(raw, SIZE_BYTES)) {
      scribble(vmdk, new Random(seed));
      scribble(shadow, new Random(seed));
    }

    assertThat(run("qemu-img", "check", "-f", "vmdk", disk.toString()))
        .as("seed %d", seed)
        .contains("No errors were found");
    assertThat(run("qemu-img", "info", "-f", "vmdk", disk.toString())).contains("monolithicSparse");
    assertThat(run("vmdkinfo", disk.toString())).contains("Monolithic sparse");
    run("qemu-img", "compare", "-f", "vmdk", "-F", "raw", disk.toString(), raw.toString());
    // qemu writes into our tables, and we read it.
    run("qemu-io", "-f", "vmdk", "-c", "write -P 0x5a 20M 1M", disk.toString());
    run("qemu-io", "-f", "raw", "-c", "write -P 0x5a 20M 1M", raw.toString());
    assertSame(disk, raw, seed);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "monolithicSparse",
        "monolithicFlat",
        "twoGbMaxExtentSparse",
        "twoGbMaxExtentFlat",
        "streamOptimized"
      })
  void readsWhatQemuMakes(String subformat) throws Exception {
    Path raw = folder.resolve("source.raw");
    Path disk = folder.resolve("made.vmdk");
    long seed = Long.getLong("test.seed", System.nanoTime());
    try (BlockDevice source = FileDevice.create(raw, SIZE_BYTES)) {
      scribble(source, new Random(seed));
    }
    run(
        "qemu-img",
        "convert",
        "-f",
        "raw",
        "-O",
        "vmdk",
        "-o",
        "subformat=" + subformat,
        raw.toString(),
        disk.toString());

    assertSame(disk, raw, seed);
  }

  @Test
  void staysADiskForOthersInEitherDescriptorSlot()
      throws BlockException, IOException, InterruptedException {
    Path file = folder.resolve("slots.vmdk");
    byte[] content = TestDisks.content(5 << 20, new SplittableRandom(1));
    TestDisks.sparse(file, content);
    Path raw = Files.write(folder.resolve("slots.raw"), content);
    for (int i = 0; i < 2; i++) {
      String value = "turn " + i;
      try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_WRITE)) {
        disk.rewriteDescriptor(
            d -> EncryptionMetadataTest.METADATA.writeTo(d.withDdb("comment", value)));
      }
      String name = file.toString();
      assertThat(run("qemu-img", "check", "-f", "vmdk", name)).contains("No errors were found");
      assertThat(run("qemu-img", "info", "-f", "vmdk", name)).contains("monolithicSparse");
      assertThat(run("vmdkinfo", name)).contains("Monolithic sparse", "5.0 MiB");
      run("qemu-img", "compare", "-f", "vmdk", "-F", "raw", name, raw.toString());
      String out = folder.resolve("7z-" + i).toString();
      run("7z", "x", "-y", "-tVMDK", "-o" + out, name);
      try (Stream<Path> files = Files.list(Path.of(out))) {
        assertThat(Files.mismatch(files.findFirst().orElseThrow(), raw)).isEqualTo(-1);
      }
      // qemu changes the content id where it finds it, and we find it there.
      run("qemu-io", "-f", "vmdk", "-c", "write -P 0x11 1M 64k", name);
      run("qemu-io", "-f", "raw", "-c", "write -P 0x11 1M 64k", raw.toString());
      try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_ONLY)) {
        assertThat(disk.descriptor().ddb("comment")).hasValue(value);
        assertThat(disk.encryption()).hasValue(EncryptionMetadataTest.METADATA);
      }
    }
  }

  @Test
  void leavesACleanDiskForOthersAfterACrash()
      throws BlockException, IOException, InterruptedException {
    long seed = Long.getLong("test.seed", System.nanoTime());
    SplittableRandom random = new SplittableRandom(seed);
    CrashTest.History history = new CrashTest.History(random.split());
    history.play(150);
    history.close();
    CrashFile file = history.file();
    for (int i = 0; i < 15; i++) {
      int cut = random.nextInt(file.logSize());
      Path left = folder.resolve("left-" + i + ".vmdk");
      Files.write(left, file.lostPowerAfter(cut, random));
      Path raw = folder.resolve("left-" + i + ".raw");
      for (Access access : Access.values()) {
        assertThat(run("qemu-img", "check", "-f", "vmdk", left.toString()))
            .as("seed %d, cut %d, before %s", seed, cut, access)
            .contains("No errors were found");
        try (VmdkDisk disk = VmdkDisk.open(left, access)) {
          Files.write(raw, TestDisks.contentOf(disk.link()));
        }
        run("qemu-img", "compare", "-f", "vmdk", "-F", "raw", left.toString(), raw.toString());
      }
    }
  }

  @Test
  void writesDisksOfVmware() throws BlockException, IOException, InterruptedException {
    Path file = folder.resolve("monolithicSparse.vmdk");
    Path raw = folder.resolve("guest.raw");
    Files.write(file, TestDisks.sample("monolithicSparse.vmdk"));
    Files.write(raw, TestDisks.sample("guest-content.raw"));
    long seed = Long.getLong("test.seed", System.nanoTime());
    try (BlockDevice vmdk = VmdkDisk.open(file, Access.READ_WRITE).link();
        BlockDevice shadow = FileDevice.open(raw, BlockFile.Access.READ_WRITE)) {
      scribble(vmdk, new Random(seed));
      scribble(shadow, new Random(seed));
    }

    assertThat(run("qemu-img", "check", "-f", "vmdk", file.toString()))
        .as("seed %d", seed)
        .contains("No errors were found");
    run("qemu-img", "compare", "-f", "vmdk", "-F", "raw", file.toString(), raw.toString());
    assertThat(run("vmdkinfo", file.toString())).contains("Monolithic sparse");
  }

  @Test
  void writesDisksOfQemuWithGrainsOfZeros() throws Exception {
    Path file = folder.resolve("zeros.vmdk");
    Path raw = folder.resolve("zeros.raw");
    String size = Integer.toString(SIZE_BYTES);
    run("qemu-img", "create", "-f", "vmdk", "-o", "zeroed_grain=on", file.toString(), size);
    run("qemu-img", "create", "-f", "raw", raw.toString(), size);
    for (String change : new String[] {"write -P 0x5a 0 1M", "write -z 64k 512k"}) {
      run("qemu-io", "-f", "vmdk", "-c", change, file.toString());
      run("qemu-io", "-f", "raw", "-c", change, raw.toString());
    }
    long seed = Long.getLong("test.seed", System.nanoTime());
    try (BlockDevice vmdk = VmdkDisk.open(file, Access.READ_WRITE).link();
        BlockDevice shadow = FileDevice.open(raw, BlockFile.Access.READ_WRITE)) {
      assertThat(vmdk.extents(64 << 10, 64 << 10, Blocking.ALLOWED)).isEqualTo(Extents.ALL_ZERO);
      scribble(vmdk, new Random(seed));
      scribble(shadow, new Random(seed));
      for (BlockDevice device : List.of(vmdk, shadow)) {
        device.trim(30 << 20, 5 << 20, Durability.BUFFERED, Blocking.ALLOWED);
      }
      assertThat(vmdk.extents(30 << 20, 5 << 20, Blocking.ALLOWED)).isEqualTo(Extents.ALL_ZERO);
    }
    assertThat(run("qemu-img", "check", "-f", "vmdk", file.toString()))
        .as("seed %d", seed)
        .contains("No errors were found");
    run("qemu-img", "compare", "-f", "vmdk", "-F", "raw", file.toString(), raw.toString());
    // qemu tells marked grains from absent ones: it looks for no parent's.
    run("qemu-io", "-f", "vmdk", "-c", "write -P 0x5a 31M 1M", file.toString());
    run("qemu-io", "-f", "raw", "-c", "write -P 0x5a 31M 1M", raw.toString());
    assertSame(file, raw, seed);
  }

  @ParameterizedTest
  @EnumSource
  void agreesWithQemuAboutStreams(TestDisks.Stream kind)
      throws BlockException, IOException, InterruptedException {
    byte[] content = TestDisks.content(7 << 20, new SplittableRandom(2));
    Path file = Files.write(folder.resolve("stream.vmdk"), TestDisks.stream(content, kind));
    Path raw = Files.write(folder.resolve("stream.raw"), content);

    run("qemu-img", "compare", "-f", "vmdk", "-F", "raw", file.toString(), raw.toString());
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_ONLY)) {
      assertThat(TestDisks.contentOf(disk.link())).isEqualTo(content);
    }
  }

  @Test
  void keepsOthersFromWritingWhileItIsOpen() throws Exception {
    Path disk = folder.resolve("disk.vmdk");
    VmdkDisk.create(disk, CreateOptions.ofSize(SIZE_BYTES));
    try (VmdkDisk open = VmdkDisk.open(disk, Access.READ_WRITE)) {
      assertThat(open.link().info().sizeBytes()).isEqualTo(SIZE_BYTES);

      assertThatThrownBy(() -> VmdkDisk.open(disk, Access.READ_WRITE))
          .isInstanceOf(IOException.class);
      assertThatThrownBy(() -> run("qemu-io", "-f", "vmdk", "-c", "write 0 64k", disk.toString()))
          .hasMessageContaining("lock");
    }
  }

  /** Writes, trims and flushes at random. */
  private static void scribble(BlockDevice device, Random random) throws BlockException {
    ByteBuffer bytes = ByteBuffer.allocateDirect(300 << 10);
    int size = (int) device.info().sizeBytes();
    for (int i = 0; i < 60; i++) {
      int length = 512 * random.nextInt(1, 600);
      long offset = 512L * random.nextInt((size - length) / 512);
      bytes.clear();
      for (int at = 0; at < bytes.capacity(); at += 8) {
        bytes.putLong(at, random.nextLong());
      }
      device.write(offset, bytes.limit(length), Durability.BUFFERED, Blocking.ALLOWED);
      if (i % 7 == 0) {
        long at = 512L * random.nextInt((size - (1 << 20)) / 512);
        device.trim(at, 1 << 20, Durability.BUFFERED, Blocking.ALLOWED);
      }
      if (i % 11 == 0) {
        device.flush(Blocking.ALLOWED);
      }
    }
  }

  private void assertSame(Path disk, Path raw, long seed) throws Exception {
    Path copy = Files.createTempDirectory(folder, "copy").resolve("copy.raw");
    try (BlockDevice vmdk = VmdkDisk.open(disk, Access.READ_ONLY).link();
        BlockDevice target = FileDevice.create(copy, SIZE_BYTES)) {
      assertThat(DiskCopy.copy(vmdk, target, (done, total) -> true)).isTrue();
    }
    try (FileDevice ours = FileDevice.open(copy, BlockFile.Access.READ_ONLY)) {
      assertThat(ours.info().sizeBytes()).isEqualTo(SIZE_BYTES);
    }
    assertThat(Files.mismatch(copy, raw)).as("seed %d: first difference", seed).isEqualTo(-1);
  }

  private static String run(String... command) throws IOException, InterruptedException {
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    process.getOutputStream().close();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
    if (process.exitValue() != 0) {
      throw new IOException(String.join(" ", command) + ": " + output);
    }
    return output;
  }
}
