package io.filterd.vmdk;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.block.AlignmentFilter;
import io.filterd.block.BlockDevice;
import io.filterd.block.BlockDeviceContract;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Capability;
import io.filterd.block.CheckedDevice;
import io.filterd.block.DeviceInfo;
import io.filterd.block.Durability;
import io.filterd.block.ExtentKind;
import io.filterd.block.Extents;
import io.filterd.block.ZeroMode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.SplittableRandom;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class LinkedDiskTest {
  private static final long SEED = Long.getLong("test.seed", new SecureRandom().nextInt());
  private static final int GRAIN = TestDisks.GRAIN;
  private static final int DISK_BYTES = 16 * GRAIN;
  private static final LinkedDisk.Front PLAIN = link -> new CheckedDevice(link.link());
  private static final LinkedDisk.Switch NOBODY = top -> {};

  @TempDir Path temp;

  private Path make(String name) throws IOException, BlockException {
    Path file = temp.toRealPath().resolve(name);
    VmdkDisk.create(file, CreateOptions.ofSize(DISK_BYTES));
    return file;
  }

  private static LinkedDisk open(Path file) throws IOException, BlockException {
    return LinkedDisk.open(file, Access.READ_WRITE, new ScramblingFront(), NOBODY);
  }

  private static SnapshotRecord named(String name) {
    return new SnapshotRecord(name, Instant.parse("2026-01-31T12:00:00.5Z"));
  }

  private static void fill(BlockDevice disk, long at, int length, int value) throws BlockException {
    byte[] bytes = new byte[length];
    Arrays.fill(bytes, (byte) value);
    disk.write(at, TestDisks.direct(bytes), Durability.BUFFERED, Blocking.ALLOWED);
  }

  @Test
  void namesLinksAsVmwareAndListsThem() throws Exception {
    Path file = make("disk.vmdk");
    try (LinkedDisk disk = open(file)) {
      assertThat(disk.snapshot(named("before"), Optional.empty(), NOBODY))
          .isEqualTo(file.resolveSibling("disk-000001.vmdk"));
      assertThat(disk.snapshot(named("after it"), Optional.empty(), NOBODY))
          .isEqualTo(file.resolveSibling("disk-000002.vmdk"));

      List<Snapshot> snapshots = disk.snapshots();
      assertThat(snapshots).extracting(Snapshot::name).containsExactly("after it", "before");
      assertThat(snapshots).extracting(Snapshot::depth).containsExactly(1, 2);
      assertThat(snapshots.getLast().file()).isEqualTo(file);
      assertThat(snapshots.getLast().record().orElseThrow().time())
          .isEqualTo(Instant.parse("2026-01-31T12:00:00Z"));
      assertThatThrownBy(() -> disk.snapshot(named("before"), Optional.empty(), NOBODY))
          .isInstanceOf(FileSystemException.class)
          .hasMessageContaining("has a snapshot before already");
      assertThatThrownBy(() -> disk.delete("never"))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("[after it, before]");
    }
  }

  @Test
  void marksZerosOverAParentWithoutSpace() throws Exception {
    Path file = make("disk.vmdk");
    try (LinkedDisk disk = open(file)) {
      DeviceInfo before = disk.info();
      fill(disk, 0, DISK_BYTES, 7);
      disk.snapshot(named("full"), Optional.empty(), NOBODY);
      disk.trim(0, 2L * GRAIN, Durability.BUFFERED, Blocking.ALLOWED);
      disk.zero(
          4L * GRAIN, GRAIN, ZeroMode.FAST_MAY_DEALLOCATE, Durability.BUFFERED, Blocking.ALLOWED);
      disk.flush(Blocking.ALLOWED);

      assertThat(disk.info()).isEqualTo(before);
      assertThat(before.can(Capability.MARKS_ZEROS)).isFalse();
      Extents extents = disk.extents(0, 5L * GRAIN, Blocking.ALLOWED);
      assertThat(extents.count()).isEqualTo(3);
      assertThat(extents.kind(0)).isEqualTo(ExtentKind.ZERO);
      assertThat(extents.kind(2)).isEqualTo(ExtentKind.ZERO);
      assertThat(Files.size(disk.file())).isLessThan(4L * GRAIN);
      byte[] expected = new byte[DISK_BYTES];
      Arrays.fill(expected, 2 * GRAIN, 4 * GRAIN, (byte) 7);
      Arrays.fill(expected, 5 * GRAIN, DISK_BYTES, (byte) 7);
      assertThat(TestDisks.contentOf(disk)).isEqualTo(expected);
    }
  }

  @Test
  void tellsHowDeepEachPartLies() throws Exception {
    Path file = make("disk.vmdk");
    try (LinkedDisk disk = open(file)) {
      fill(disk, 0, GRAIN, 1);
      disk.snapshot(named("one"), Optional.empty(), NOBODY);
      fill(disk, GRAIN, GRAIN, 2);
      List<Integer> depths = new ArrayList<>();

      disk.depths(0, 3L * GRAIN, (bytes, depth) -> depths.add(depth), Blocking.ALLOWED);

      assertThat(depths).containsExactly(2, 1, 0);
    }
  }

  @Test
  void neverStoresInTheClearWhatWasEncrypted() throws Exception {
    SplittableRandom random = new SplittableRandom(SEED);
    Path file = make("disk.vmdk");
    Path top =
        Snapshots.create(
            file, named("plain"), Optional.of(ScramblingFront.metadata(random)), PLAIN, NOBODY);
    Path topmost =
        Snapshots.create(top, named("sealed"), Optional.empty(), new ScramblingFront(), NOBODY);
    try (LinkedDisk disk = open(topmost);
        Merge merge = disk.delete("sealed")) {
      // Into the encrypted parent, not into the plain child.
      assertThat(merge.into()).isEqualTo(top);
    }
    try (LinkedDisk disk = open(topmost);
        Merge merge = disk.delete("plain")) {
      // Into the encrypted child, not into the plain parent.
      assertThat(merge.into()).isEqualTo(top);
    }
  }

  @Test
  void refusesToDeleteWhatABranchNeeds() throws Exception {
    Path file = make("disk.vmdk");
    Path top = Snapshots.create(file, named("one"), Optional.empty(), PLAIN, NOBODY);
    Path other = Snapshots.revert(top, "one", Optional.empty(), NOBODY);
    try (LinkedDisk disk = open(other)) {
      assertThatThrownBy(() -> disk.delete("one"))
          .isInstanceOf(FileSystemException.class)
          .hasMessageContaining("has another child, " + top);
    }
    assertThat(Snapshots.discard(top)).containsExactly(top);
    assertThat(Snapshots.delete(other, "one", PLAIN, NOBODY, (done, total) -> true)).isTrue();
    assertThat(Snapshots.list(file)).isEmpty();
  }

  @Test
  void takesNoSnapshotThatNobodyCouldRemember() throws Exception {
    Path file = make("disk.vmdk");
    try (LinkedDisk disk = open(file)) {
      assertThatThrownBy(
              () ->
                  disk.snapshot(
                      named("one"),
                      Optional.empty(),
                      top -> {
                        throw new IOException("no space for the list of disks");
                      }))
          .isInstanceOf(IOException.class);
      fill(disk, 0, GRAIN, 4);
      assertThat(disk.snapshots()).isEmpty();
      assertThat(disk.file()).isEqualTo(file);
      assertThat(file.resolveSibling("disk-000001.vmdk")).doesNotExist();
    }
  }

  @Test
  void refusesTheStateThatAStoppedDeletionHasChanged() throws Exception {
    Path file = make("disk.vmdk");
    Path top = Snapshots.create(file, named("one"), Optional.empty(), PLAIN, NOBODY);
    try (LinkedDisk disk = open(top)) {
      fill(disk, 0, DISK_BYTES, 4);
      try (Merge merge = disk.delete("one")) {
        assertThat(merge.copy((done, total) -> false)).isFalse();
      }
      fill(disk, 0, GRAIN, 5);
    }
    assertThatThrownBy(() -> Snapshots.revert(top, "one", Optional.empty(), NOBODY))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("only partly here");
    assertThat(Snapshots.delete(top, "one", PLAIN, NOBODY, (done, total) -> true)).isTrue();
    try (LinkedDisk disk = open(file)) {
      byte[] expected = new byte[DISK_BYTES];
      Arrays.fill(expected, (byte) 4);
      Arrays.fill(expected, 0, GRAIN, (byte) 5);
      assertThat(TestDisks.contentOf(disk)).isEqualTo(expected);
    }
  }

  @Test
  void servesManyWhileSnapshotsComeAndGo()
      throws BlockException, ExecutionException, IOException, InterruptedException {
    Path file = make("disk.vmdk");
    AtomicBoolean stop = new AtomicBoolean();
    try (LinkedDisk disk = open(file);
        ExecutorService clients = Executors.newFixedThreadPool(3)) {
      List<Future<Long>> running = new ArrayList<>();
      for (int i = 0; i < 3; i++) {
        running.add(clients.submit(client(disk, i, stop)));
      }
      try {
        for (int i = 0; i < 12; i++) {
          disk.snapshot(named("s" + i), Optional.empty(), NOBODY);
          if (i % 3 > 0) {
            // The newest, or the one below it.
            String name = i % 3 == 1 ? "s" + i : "s" + (i - 2);
            try (Merge merge = disk.delete(name)) {
              merge.copy((done, total) -> true);
              merge.finish(NOBODY);
            }
          }
        }
      } finally {
        stop.set(true);
      }
      for (Future<Long> each : running) {
        assertThat(each.get()).as("steps of a client, seed " + SEED).isPositive();
      }
      assertThat(disk.snapshots()).hasSize(4);
    }
  }

  /** Writes and reads a third of each grain, in its own bytes. */
  private static Callable<Long> client(LinkedDisk disk, int number, AtomicBoolean stop) {
    return () -> {
      SplittableRandom random = new SplittableRandom(SEED + number);
      int own = 16 * 1024;
      byte[] content = new byte[DISK_BYTES / GRAIN * own];
      long steps = 0;
      while (!stop.get() || steps < 200) {
        int grain = random.nextInt(DISK_BYTES / GRAIN);
        int at = random.nextInt(own / 512) * 512;
        int length = 512 * (1 + random.nextInt((own - at) / 512));
        long place = (long) grain * GRAIN + (long) number * own + at;
        ByteBuffer bytes = ByteBuffer.allocateDirect(length);
        switch (random.nextInt(5)) {
          case 0, 1 -> {
            Arrays.fill(content, grain * own + at, grain * own + at + length, (byte) steps);
            bytes.put(content, grain * own + at, length).flip();
            disk.write(place, bytes, Durability.BUFFERED, Blocking.ALLOWED);
          }
          case 2 -> {
            Arrays.fill(content, grain * own + at, grain * own + at + length, (byte) 0);
            disk.zero(
                place, length, ZeroMode.MAY_DEALLOCATE, Durability.BUFFERED, Blocking.ALLOWED);
          }
          default -> {
            disk.read(place, bytes, Blocking.ALLOWED);
            assertThat(bytes.flip().mismatch(ByteBuffer.wrap(content, grain * own + at, length)))
                .as("seed %d, client %d, step %d, at %d", SEED, number, steps, place)
                .isEqualTo(-1);
          }
        }
        steps++;
      }
      return steps;
    };
  }

  /** The device over parents keeps the rules of every device. */
  @Nested
  class OverParents extends BlockDeviceContract {
    private Path file = Path.of("");

    @Override
    protected BlockDevice create(long sizeBytes, UnaryOperator<BlockDevice> below)
        throws Exception {
      Path folder = Files.createTempDirectory(temp.toRealPath(), "disk");
      Path base = folder.resolve("disk.vmdk");
      VmdkDisk.create(base, CreateOptions.ofSize(sizeBytes));
      file = Snapshots.create(base, named("one"), Optional.empty(), PLAIN, NOBODY);
      return LinkedDisk.open(file, Access.READ_WRITE, link -> below.apply(link.link()), NOBODY);
    }

    @Override
    protected BlockDevice reopen() throws Exception {
      return open(file);
    }

    @Override
    protected boolean tearsReads() {
      return true;
    }

    @Override
    protected int sizeBytes() {
      return (3 << 16) + 512;
    }

    @Override
    protected int modelSteps() {
      return 400;
    }
  }

  @Test
  void readsPartsOfItsLinksBlocksWhereTheirSizesDiffer() throws Exception {
    SplittableRandom random = new SplittableRandom(SEED);
    Path base = temp.toRealPath().resolve("odd.vmdk");
    CreateOptions options = CreateOptions.ofSize(2L * GRAIN + 1024);
    VmdkDisk.create(base, options.withEncryption(ScramblingFront.metadata(random)));
    Path top =
        Snapshots.create(base, named("one"), Optional.empty(), new ScramblingFront(), NOBODY);
    try (BlockDevice disk = new AlignmentFilter(open(top), 1)) {
      assertThat(disk.info().sizeBytes()).isEqualTo(2L * GRAIN + 1024);
      fill(disk, 2L * GRAIN + 100, 300, 8);
      byte[] expected = new byte[2 * GRAIN + 1024];
      Arrays.fill(expected, 2 * GRAIN + 100, 2 * GRAIN + 400, (byte) 8);
      assertThat(TestDisks.contentOf(disk)).isEqualTo(expected);
    }
  }
}
