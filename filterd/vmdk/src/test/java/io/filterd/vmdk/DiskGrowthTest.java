package io.filterd.vmdk;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Durability;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Disks that get larger, with all that is in them, and under those who use them. */
@Timeout(60)
class DiskGrowthTest {
  private static final long SEED = Long.getLong("test.seed", new SecureRandom().nextInt());
  private static final int MIB = 1 << 20;

  @TempDir Path folder;

  @Test
  void keepsWhatIsThereAndReadsZerosBehindIt() throws Exception {
    Path file = folder.resolve("disk.vmdk");
    byte[] content = TestDisks.content(20 * MIB + 512, new SplittableRandom(SEED));
    TestDisks.sparse(file, content);
    // Within the last grain, the last table, to more tables twice, and into what the first left.
    for (long size : new long[] {20L * MIB + 1024, 31L * MIB, 2L << 30, 100L << 30, 101L << 30}) {
      try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_WRITE)) {
        disk.grow(size);

        assertThat(disk.link().info().sizeBytes()).isEqualTo(size);
        assertThat(disk.descriptor().sizeBytes()).isEqualTo(size);
        checkContent(disk.link(), content, size);
        ByteBuffer end = ByteBuffer.allocateDirect(512);
        disk.link().write(size - 512, end, Durability.BUFFERED, Blocking.ALLOWED);
      }
      assertThat(DiskCheck.check(file).findings()).as("seed %d, size %d", SEED, size).isEmpty();
      try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_ONLY)) {
        assertThat(disk.link().info().sizeBytes()).isEqualTo(size);
        checkContent(disk.link(), content, size);
      }
    }
  }

  private static void checkContent(BlockDevice link, byte[] content, long size)
      throws BlockException {
    ByteBuffer piece = ByteBuffer.allocateDirect(MIB);
    long end = Math.min(size, content.length + 2L * MIB);
    for (long at = 0; at < end; at += MIB) {
      link.read(at, piece.clear().limit((int) Math.min(MIB, end - at)), Blocking.ALLOWED);
      byte[] found = new byte[piece.flip().remaining()];
      piece.get(found);
      byte[] expected = new byte[found.length];
      if (at < content.length) {
        int count = (int) Math.min(found.length, content.length - at);
        System.arraycopy(content, (int) at, expected, 0, count);
      }
      assertThat(Arrays.mismatch(found, expected)).as("seed %d, at %d", SEED, at).isEqualTo(-1);
    }
  }

  @Test
  void growsUnderThoseWhoWriteAndRead()
      throws BlockException, ExecutionException, IOException, InterruptedException {
    Path file = folder.resolve("disk.vmdk");
    VmdkDisk.create(file, CreateOptions.ofSize(30L * MIB));
    AtomicBoolean stop = new AtomicBoolean();
    try (ExecutorService users = Executors.newFixedThreadPool(3);
        VmdkDisk disk = VmdkDisk.open(file, Access.READ_WRITE)) {
      Future<?>[] all = new Future<?>[3];
      for (int i = 0; i < all.length; i++) {
        long base = i * 10L * MIB;
        all[i] = users.submit(() -> use(disk.link(), base, stop));
      }
      long size = 30L * MIB;
      for (int i = 0; i < 12; i++) {
        size = size * 2 + 512;
        disk.grow(size);
      }
      stop.set(true);
      for (Future<?> each : all) {
        each.get();
      }
    }
    assertThat(DiskCheck.check(file).findings()).as("seed %d", SEED).isEmpty();
  }

  /** Writes to a range of its own, and reads it back, until it is told to stop. */
  private static Void use(BlockDevice link, long base, AtomicBoolean stop) throws BlockException {
    SplittableRandom random = new SplittableRandom(SEED + base);
    ByteBuffer bytes = ByteBuffer.allocateDirect(4096);
    long[] written = new long[10 * MIB / 4096];
    while (!stop.get()) {
      int block = random.nextInt(written.length);
      long offset = base + block * 4096L;
      link.read(offset, bytes.clear(), Blocking.ALLOWED);
      assertThat(bytes.getLong(0)).isEqualTo(written[block]);
      if (random.nextInt(20) == 0) {
        link.trim(offset / 65_536 * 65_536, 65_536, Durability.BUFFERED, Blocking.ALLOWED);
        int first = (int) (offset / 65_536 * 65_536 - base) / 4096;
        Arrays.fill(written, Math.max(0, first), Math.min(written.length, first + 16), 0);
      } else {
        written[block] = random.nextLong();
        bytes.clear().putLong(0, written[block]);
        link.write(offset, bytes, Durability.BUFFERED, Blocking.ALLOWED);
      }
    }
    return null;
  }

  @Test
  void refusesWhatItCanNotDo() throws Exception {
    Path ours = folder.resolve("ours.vmdk");
    Path theirs = folder.resolve("monolithicSparse.vmdk");
    VmdkDisk.create(ours, CreateOptions.ofSize(MIB));
    Files.write(theirs, TestDisks.sample("monolithicSparse.vmdk"));
    try (VmdkDisk disk = VmdkDisk.open(ours, Access.READ_WRITE)) {
      for (long size : new long[] {0, MIB, 2L * MIB + 1, 1L << 41}) {
        assertThatThrownBy(() -> disk.grow(size)).isInstanceOf(IllegalArgumentException.class);
      }
    }
    refuses(ours, Access.READ_ONLY);
    refuses(theirs, Access.READ_WRITE);
  }

  private static void refuses(Path file, Access access) throws IOException, BlockException {
    try (VmdkDisk disk = VmdkDisk.open(file, access)) {
      assertThatThrownBy(() -> disk.grow(1L << 30))
          .isInstanceOf(BlockException.class)
          .hasMessageContaining("import it into a new disk");
    }
  }

  @Test
  void takesNothingWhenItFails() throws Exception {
    for (int at = 0; at < 30; at++) {
      CrashFile file = new CrashFile(disk());
      VmdkDisk disk = VmdkDisk.openSparse(file, Access.READ_WRITE);
      file.failAt(at);
      boolean failed = false;
      try {
        disk.grow(1L << 30);
      } catch (BlockException failure) {
        failed = true;
      }
      ByteBuffer bytes = ByteBuffer.allocateDirect(MIB);
      disk.link().read(0, bytes, Blocking.ALLOWED);
      assertThat(bytes.getLong(MIB - 8)).as("failed at %d", at).isEqualTo(7);
      try {
        disk.close();
      } catch (BlockException failure) {
        failed = true; // A failed sync is not forgotten.
      }
      CrashFile left = new CrashFile(file.killedAfter(file.logSize()));
      VmdkDisk.openSparse(left, Access.READ_WRITE).close();
      assertThat(DiskCheckTest.check(left.killedAfter(left.logSize())).totals().errors())
          .as("at %d, failed %s", at, failed)
          .isZero();
      assertThat(DiskCheckTest.check(left.killedAfter(left.logSize())).totals().leaks())
          .as("at %d, failed %s", at, failed)
          .isZero();
    }
  }

  private static byte[] disk() throws IOException, BlockException {
    CrashFile file = new CrashFile();
    NewDisk.write(file, Path.of("h.vmdk"), CreateOptions.ofSize(MIB));
    VmdkDisk disk = VmdkDisk.openSparse(file, Access.READ_WRITE);
    ByteBuffer bytes = ByteBuffer.allocateDirect(MIB);
    for (int i = 0; i < MIB; i += 8) {
      bytes.putLong(i, 7);
    }
    disk.link().write(0, bytes, Durability.BUFFERED, Blocking.ALLOWED);
    disk.close();
    return file.killedAfter(file.logSize());
  }
}
