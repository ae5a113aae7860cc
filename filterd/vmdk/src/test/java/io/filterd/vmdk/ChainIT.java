package io.filterd.vmdk;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.block.Blocking;
import io.filterd.block.CheckedDevice;
import io.filterd.block.Durability;
import io.filterd.block.ZeroMode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.Arrays;
import java.util.Optional;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Chains against qemu and libvmdk: they read what we make, we read what they make. */
class ChainIT {
  private static final int SIZE_BYTES = 8 << 20;
  private static final LinkedDisk.Front PLAIN = link -> new CheckedDevice(link.link());

  @TempDir Path temp;
  private Path folder;
  private final byte[] content = TestDisks.content(SIZE_BYTES, new SplittableRandom(4));

  @BeforeEach
  void makeFolder() throws IOException {
    folder = temp.toRealPath();
  }

  private static byte[] read(Path top) throws Exception {
    try (LinkedDisk disk = LinkedDisk.open(top, Access.READ_ONLY, PLAIN, moved -> {})) {
      return TestDisks.contentOf(disk);
    }
  }

  private void qemuWrites(String file, int value, int at, int bytes) throws Exception {
    run(
        "qemu-io",
        "-f",
        "vmdk",
        "-c",
        "write -P %d %d %d".formatted(value, at, bytes),
        folder.resolve(file).toString());
    Arrays.fill(content, at, at + bytes, (byte) value);
  }

  @ParameterizedTest
  @ValueSource(strings = {"monolithicSparse", "twoGbMaxExtentSparse"})
  void readsChainsThatQemuMade(String subformat) throws Exception {
    Path raw = Files.write(folder.resolve("base.raw"), content);
    run("qemu-img", "convert", "-O", "vmdk", raw.toString(), folder.resolve("l0.vmdk").toString());
    for (int i = 1; i <= 3; i++) {
      run(
          "qemu-img",
          "create",
          "-f",
          "vmdk",
          "-o",
          "subformat=" + subformat,
          "-F",
          "vmdk",
          "-b",
          folder.resolve("l" + (i - 1) + ".vmdk").toString(),
          folder.resolve("l" + i + ".vmdk").toString());
      qemuWrites("l" + i + ".vmdk", i, i * 700_416, 1_000_448);
    }

    assertThat(Arrays.mismatch(read(folder.resolve("l3.vmdk")), content)).isEqualTo(-1);

    // A base that is written breaks what is above it.
    run("qemu-io", "-f", "vmdk", "-c", "write 0 512", folder.resolve("l1.vmdk").toString());
    assertThatThrownBy(() -> read(folder.resolve("l3.vmdk")))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("was written after this link was made");
  }

  @Test
  void takesAndDeletesSnapshotsOfADiskThatQemuMade() throws Exception {
    Path raw = Files.write(folder.resolve("base.raw"), content);
    Path base = folder.resolve("disk.vmdk");
    run("qemu-img", "convert", "-O", "vmdk", raw.toString(), base.toString());
    Path top = write(snapshot(base, "one"), 9, 65_536, 300_032);
    assertRead(top);

    // Its descriptor has one slot, so that it can't take over; its child can.
    Path[] now = {top};
    Snapshots.delete(top, "one", PLAIN, moved -> now[0] = moved, (done, total) -> true);

    assertThat(now[0]).isEqualTo(top);
    assertThat(base).doesNotExist();
    assertRead(top);
    assertThat(Arrays.mismatch(read(top), content)).isEqualTo(-1);
  }

  @Test
  void makesChainsThatOthersRead() throws Exception {
    Path base = folder.resolve("disk.vmdk");
    TestDisks.sparse(base, content);
    Path one = write(snapshot(base, "one"), 1, 100_352, 200_704);
    Path two = write(snapshot(one, "two"), 2, 1_000_448, 2_000_384);
    try (LinkedDisk disk = LinkedDisk.open(two, Access.READ_WRITE, PLAIN, moved -> {})) {
      disk.zero(4 << 20, 1 << 20, ZeroMode.MAY_DEALLOCATE, Durability.BUFFERED, Blocking.ALLOWED);
      Arrays.fill(content, 4 << 20, 5 << 20, (byte) 0);
    }
    assertRead(two);
    assertThat(run("qemu-img", "info", "--backing-chain", "-f", "vmdk", two.toString()))
        .contains("disk-000001.vmdk", "disk.vmdk");

    // The inner one goes into the base, then the top one.
    Snapshots.delete(two, "one", PLAIN, moved -> {}, (done, total) -> true);
    assertThat(one).doesNotExist();
    assertRead(two);
    Path[] now = {two};
    Snapshots.delete(two, "two", PLAIN, moved -> now[0] = moved, (done, total) -> true);
    assertThat(now[0]).isEqualTo(base);
    assertRead(base);
    try (Stream<Path> files = Files.list(folder)) {
      assertThat(files.filter(file -> file.toString().endsWith(".vmdk"))).containsExactly(base);
    }
  }

  @Test
  void libvmdkReadsWhatWeMake() throws Exception {
    Path base = folder.resolve("disk.vmdk");
    TestDisks.sparse(base, content);
    Path top = write(snapshot(base, "one"), 1, 100_352, 200_704);
    Path mount = Files.createDirectory(folder.resolve("mount"));
    run("vmdkmount", top.toString(), mount.toString());
    try {
      // The base is the first, the top the last.
      assertThat(Arrays.mismatch(Files.readAllBytes(mount.resolve("vmdk2")), content))
          .isEqualTo(-1);
    } finally {
      run("fusermount", "-u", mount.toString());
    }
  }

  private static Path snapshot(Path top, String name) throws Exception {
    return Snapshots.create(
        top, new SnapshotRecord(name, Instant.now()), Optional.empty(), PLAIN, moved -> {});
  }

  private Path write(Path top, int value, int at, int bytes) throws Exception {
    Arrays.fill(content, at, at + bytes, (byte) value);
    byte[] written = Arrays.copyOfRange(content, at, at + bytes);
    try (LinkedDisk disk = LinkedDisk.open(top, Access.READ_WRITE, PLAIN, moved -> {})) {
      disk.write(at, TestDisks.direct(written), Durability.BUFFERED, Blocking.ALLOWED);
    }
    return top;
  }

  /** qemu finds nothing wrong with a chain, and reads it as we do. */
  private void assertRead(Path top) throws Exception {
    Path raw = Files.write(folder.resolve("expected.raw"), content);
    assertThat(Arrays.mismatch(read(top), content)).isEqualTo(-1);
    assertThat(run("qemu-img", "check", "-f", "vmdk", top.toString())).contains("No errors");
    run("qemu-img", "compare", "-f", "vmdk", "-F", "raw", top.toString(), raw.toString());
  }

  private static String run(String... command) throws IOException {
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    process.getOutputStream().close();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    process.onExit().orTimeout(60, TimeUnit.SECONDS).join();
    assertThat(process.exitValue()).as("%s: %s", String.join(" ", command), output).isZero();
    return output;
  }
}
