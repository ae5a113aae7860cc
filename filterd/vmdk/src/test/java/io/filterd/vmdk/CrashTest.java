package io.filterd.vmdk;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.Blocking;
import io.filterd.block.Durability;
import io.filterd.block.ZeroMode;
import io.filterd.block.file.BlockFile;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Cuts the log of a disk's writes at every sync and at random places, drops what was not synced,
 * and looks at what is left.
 */
class CrashTest {
  private static final long SEED = Long.getLong("test.seed", new SecureRandom().nextInt());
  private static final int SECTOR_BYTES = 512;
  // The last grain is cut short by the disk's end.
  private static final int DISK_BYTES = (12 << 16) + (5 << 9);
  private static final int SECTORS = DISK_BYTES / SECTOR_BYTES;
  // Of a disk that has grown only what was there is written: the rest is zeros. A disk of 32 MiB
  // has one table.
  private static final long[] GROWN_BYTES = {
    DISK_BYTES, DISK_BYTES + (3 << 9), 64L << 20, (64L << 20) + 512, 1L << 30, 3L << 30
  };
  private static final String COUNTER = "test.counter";

  /** What a sector was to hold, from when in the log on, and whether that failed. 0: zeros. */
  private record Version(long content, int startedAt, boolean failed) {
    Version(long content, int startedAt) {
      this(content, startedAt, false);
    }
  }

  /** From this place of the log on, no sector of the range may be older than its version then. */
  @SuppressWarnings("ArrayRecordComponent") // never compared
  private record Durable(int at, int from, int to, int[] versions) {}

  /** From this place of the log on, the descriptor must not be older than this version. */
  private record Rewrite(int at, int version) {}

  /** A disk on a file that can crash, and all that was ever done to it. */
  static final class History {
    private final CrashDisk files;
    private VmdkDisk disk;
    private final SplittableRandom random;
    private final List<List<Version>> sectors = new ArrayList<>();
    private final List<Durable> durables = new ArrayList<>();
    private final List<Version> counters = new ArrayList<>();
    private final List<Rewrite> rewrites = new ArrayList<>();
    private final List<Version> sizes = new ArrayList<>(List.of(new Version(0, 0)));
    private final List<Rewrite> growths = new ArrayList<>();
    private long content;

    History(SplittableRandom random) throws IOException, BlockException {
      this(random, CrashDisk.monolithic(DISK_BYTES));
    }

    History(SplittableRandom random, CrashDisk files) throws IOException, BlockException {
      this.random = random;
      this.files = files;
      this.disk = files.open();
      for (int i = 0; i < SECTORS; i++) {
        sectors.add(new ArrayList<>(List.of(new Version(0, 0))));
      }
      counters.add(new Version(0, 0));
    }

    /** The only file, if there is only one. */
    CrashFile file() {
      return files.files().getFirst();
    }

    void play(int steps) throws BlockException {
      for (int i = 0; i < steps; i++) {
        step();
      }
    }

    private void step() throws BlockException {
      int most = random.nextInt(4) == 0 ? 300 : 20;
      int from = random.nextInt(SECTORS);
      int count = 1 + random.nextInt(Math.min(most, SECTORS - from));
      Durability durability = random.nextInt(12) == 0 ? Durability.DURABLE : Durability.BUFFERED;
      int kind = random.nextInt(16);
      boolean done = false;
      try {
        change(kind, from, count, durability);
        done = true;
      } finally {
        if (!done && kind < 13) {
          noteFailure(from, count);
        }
      }
      if (durability == Durability.DURABLE && kind < 13) {
        durables.add(new Durable(files.order().size(), from, from + count, versions()));
      }
    }

    private void change(int kind, int from, int count, Durability durability)
        throws BlockException {
      BlockDevice link = disk.link();
      long offset = (long) from * SECTOR_BYTES;
      long length = (long) count * SECTOR_BYTES;
      switch (kind) {
        case 0, 1, 2, 3, 4, 5, 6, 7, 8 -> {
          ByteBuffer bytes = ByteBuffer.allocateDirect(count * SECTOR_BYTES);
          for (int i = 0; i < count; i++) {
            content++;
            note(from + i, content);
            fill(bytes, content, from + i);
          }
          link.write(offset, bytes.flip(), durability, Blocking.ALLOWED);
        }
        case 9, 10 -> {
          noteZeros(from, count);
          link.trim(offset, length, durability, Blocking.ALLOWED);
        }
        case 11 -> {
          noteZeros(from, count);
          link.zero(offset, length, ZeroMode.MAY_DEALLOCATE, durability, Blocking.ALLOWED);
        }
        case 12 -> {
          noteZeros(from, count);
          link.zero(offset, length, ZeroMode.ALLOCATE, durability, Blocking.ALLOWED);
        }
        case 13 -> {
          content++;
          counters.add(new Version(content, files.order().size()));
          String value = Long.toString(content);
          disk.rewriteDescriptor(descriptor -> descriptor.withDdb(COUNTER, value));
          rewrites.add(new Rewrite(files.order().size(), counters.size() - 1));
        }
        default -> {
          int[] versions = versions();
          link.flush(Blocking.ALLOWED);
          durables.add(new Durable(files.order().size(), 0, SECTORS, versions));
        }
      }
    }

    /** Makes the disk larger, if it can get larger. */
    void grow() throws BlockException {
      int next = (int) sizes.getLast().content() + 1;
      if (next < GROWN_BYTES.length) {
        sizes.add(new Version(next, files.order().size()));
        disk.grow(GROWN_BYTES[next]);
        growths.add(new Rewrite(files.order().size(), next));
      }
    }

    private void note(int sector, long what) {
      sectors.get(sector).add(new Version(what, files.order().size()));
    }

    private void noteZeros(int from, int count) {
      for (int i = 0; i < count; i++) {
        note(from + i, 0);
      }
    }

    /** Of each sector the last version that did not fail. */
    private int[] versions() {
      return sectors.stream().mapToInt(History::lastDone).toArray();
    }

    private static int lastDone(List<Version> versions) {
      int last = versions.size() - 1;
      while (versions.get(last).failed()) {
        last--;
      }
      return last;
    }

    private void noteFailure(int from, int count) {
      for (List<Version> versions : sectors.subList(from, from + count)) {
        Version last = versions.removeLast();
        versions.add(new Version(last.content(), last.startedAt(), true));
      }
    }

    void close() throws BlockException {
      disk.close();
    }

    /** The process dies, the machine lives, and another process opens the disk. */
    void restart() throws IOException, BlockException {
      disk = files.open();
      ByteBuffer bytes = ByteBuffer.allocateDirect(DISK_BYTES);
      disk.link().read(0, bytes, Blocking.ALLOWED);
      checkContent(bytes, files.order().size(), "seed " + SEED + ", restart");
      for (int sector = 0; sector < SECTORS; sector++) {
        note(sector, contentOf(bytes, sector));
      }
    }

    /** Opens what a crash after {@code cut} log entries has left, and checks all of it. */
    void check(CrashDisk left, int cut, String what) throws IOException, BlockException {
      VmdkDisk reopened = left.open();
      long counter = Long.parseLong(reopened.descriptor().ddb(COUNTER).orElse("0"));
      int oldestCounter =
          rewrites.stream().filter(r -> r.at() <= cut).mapToInt(Rewrite::version).max().orElse(0);
      assertThat(counters.subList(oldestCounter, counters.size()))
          .as("%s: descriptor", what)
          .anyMatch(v -> v.content() == counter && v.startedAt() <= cut);
      long size = reopened.link().info().sizeBytes();
      int oldestSize =
          growths.stream().filter(r -> r.at() <= cut).mapToInt(Rewrite::version).max().orElse(0);
      assertThat(sizes.subList(oldestSize, sizes.size()))
          .as("%s: size %d", what, size)
          .anyMatch(v -> GROWN_BYTES[(int) v.content()] == size && v.startedAt() <= cut);
      ByteBuffer bytes = ByteBuffer.allocateDirect(DISK_BYTES);
      reopened.link().read(0, bytes, Blocking.ALLOWED);
      checkContent(bytes, cut, what);
      if (size > DISK_BYTES) {
        ByteBuffer behind = ByteBuffer.allocateDirect((int) Math.min(size - DISK_BYTES, 1 << 16));
        reopened.link().read(DISK_BYTES, behind, Blocking.ALLOWED);
        assertThat(Zeros.isAll(behind.flip())).as("%s: behind the old end", what).isTrue();
      }
      reopened.close();
      if (left.files().size() == 1) {
        checkFile(left.files().getFirst(), what);
      }
    }

    /** The second oracle: what was opened and closed again has no errors and lost no space. */
    private static void checkFile(CrashFile left, String what) throws IOException, BlockException {
      try (Inspection inspection = Inspection.of(Path.of("crash.vmdk"), Access.READ_ONLY, left)) {
        assertThat(inspection.report().findings())
            .as(what)
            .allMatch(finding -> finding.severity() == Finding.Severity.WARNING);
        assertThat(inspection.report().findings())
            .as(what)
            .allMatch(finding -> finding.field().equals("spare descriptor slot"));
      }
    }

    private void checkContent(ByteBuffer bytes, int cut, String what) {
      int[] oldest = new int[SECTORS];
      for (Durable durable : durables) {
        if (durable.at() <= cut) {
          for (int i = durable.from(); i < durable.to(); i++) {
            oldest[i] = Math.max(oldest[i], durable.versions()[i]);
          }
        }
      }
      for (int sector = 0; sector < SECTORS; sector++) {
        long found = contentOf(bytes, sector);
        List<Version> versions = sectors.get(sector);
        boolean allowed = false;
        for (int i = oldest[sector]; i < versions.size(); i++) {
          allowed |= versions.get(i).content() == found && versions.get(i).startedAt() <= cut;
        }
        assertThat(allowed)
            .as(
                "%s: sector %d holds %d, versions from %d of %s",
                what, sector, found, oldest[sector], versions)
            .isTrue();
      }
    }
  }

  private static void fill(ByteBuffer bytes, long content, int sector) {
    for (int at = 0; at < SECTOR_BYTES; at += 16) {
      bytes.putLong(content).putLong(sector);
    }
  }

  /** The content of a sector; -1 if it is none that was ever written there. */
  private static long contentOf(ByteBuffer bytes, int sector) {
    int start = sector * SECTOR_BYTES;
    long content = bytes.getLong(start);
    for (int at = start; at < start + SECTOR_BYTES; at += 16) {
      if (bytes.getLong(at) != content || bytes.getLong(at + 8) != (content == 0 ? 0 : sector)) {
        return -1;
      }
    }
    return content;
  }

  /** The disks of this size that are looked at. */
  enum Kind {
    MONOLITHIC,
    /** The second extent is smaller than a grain. */
    SPLIT;

    CrashDisk make() throws IOException, BlockException {
      long first = 5L << 16;
      long second = 7 << 9;
      return this == MONOLITHIC
          ? CrashDisk.monolithic(DISK_BYTES)
          : CrashDisk.split(first, second, DISK_BYTES - first - second);
    }
  }

  @ParameterizedTest
  @EnumSource
  void leavesOldOrNewOrZerosWhereverItIsCutOff(Kind kind) throws Exception {
    SplittableRandom random = new SplittableRandom(SEED);
    int cuts = 0;
    for (int round = 0; round < 4; round++) {
      History history = new History(random.split(), kind.make());
      for (int life = 0; life < 4; life++) {
        history.play(40);
        history.restart();
      }
      history.close();
      cuts += checkCuts(history, random, kind + ", round " + round);
    }
    assertThat(cuts).isGreaterThan(2000);
  }

  @Test
  void leavesTheOldSizeOrTheNewOneWhereverItIsCutOff() throws Exception {
    SplittableRandom random = new SplittableRandom(SEED);
    History history = new History(random.split(), Kind.MONOLITHIC.make());
    for (int life = 0; life < 2; life++) {
      for (int i = 0; i < 3; i++) {
        history.play(6);
        history.grow();
      }
      history.play(3);
      history.restart();
    }
    history.close();
    assertThat(history.sizes).hasSize(GROWN_BYTES.length);
    assertThat(checkCuts(history, random, "growth")).isGreaterThan(200);
  }

  /** Cuts a history everywhere; how often. */
  private static int checkCuts(History history, SplittableRandom random, String name)
      throws IOException, BlockException {
    CrashDisk files = history.files;
    int cuts = 0;
    for (int cut = 0; cut <= files.order().size(); cut++) {
      String what = "seed " + SEED + ", " + name + ", cut " + cut;
      history.check(files.killedAfter(cut), cut, what + ", killed");
      CrashDisk left = files.lostPowerAfter(cut, random);
      history.check(left, cut, what + ", power lost");
      // The repair itself, and the close after it, may be cut off as well.
      int again = random.nextInt(left.order().size() + 1);
      CrashDisk leftAgain = left.lostPowerAfter(again, random);
      history.check(leftAgain, cut, what + ", power lost again after " + again);
      cuts += 3;
    }
    return cuts;
  }

  @Test
  void keepsBothSetsOfTablesEqual() throws Exception {
    SplittableRandom random = new SplittableRandom(SEED);
    History history = new History(random);
    history.play(200);
    history.close();
    CrashFile file = history.file();
    for (int cut = 0; cut <= file.logSize(); cut += 1 + random.nextInt(5)) {
      CrashFile left = new CrashFile(file.lostPowerAfter(cut, random));
      VmdkDisk.openSparse(left, Access.READ_WRITE).close();
      byte[] bytes = left.killedAfter(left.logSize());

      SparseLayout layout = new SparseLayout(SECTORS);
      int redundant = (int) layout.redundantTable(0) * SECTOR_BYTES;
      int table = (int) layout.table(0) * SECTOR_BYTES;
      assertThat(ByteBuffer.wrap(bytes, redundant, 2048).slice())
          .as("seed %d, cut %d", SEED, cut)
          .isEqualTo(ByteBuffer.wrap(bytes, table, 2048).slice());
      assertThat(bytes[72]).as("unclean mark").isZero();
    }
  }

  @ParameterizedTest
  @EnumSource
  void survivesAFailureOfAnyOperation(Kind kind) throws Exception {
    SplittableRandom random = new SplittableRandom(SEED);
    History rehearsal = new History(random.split(), kind.make());
    rehearsal.play(60);
    rehearsal.close();
    long seed = random.nextLong();
    for (int at = 0; at < rehearsal.files.order().size(); at++) {
      History history = new History(new SplittableRandom(seed), kind.make());
      history.files.order().failAt(at);
      boolean failed = false;
      for (int i = 0; i < 60; i++) {
        try {
          history.step();
        } catch (BlockException failure) {
          failed = true;
          assertThat(failure.reason()).isEqualTo(Reason.IO_ERROR);
        }
      }
      try {
        history.close();
      } catch (BlockException failure) {
        failed = true;
      }
      String what = "seed " + SEED + ", " + kind + ", failure at " + at + ", failed " + failed;
      assertThat(history.files.files()).as(what).allMatch(CrashFile::isClosed);
      int end = history.files.order().size();
      history.check(history.files.killedAfter(end), end, what);
    }
  }

  @Test
  void losesNothingWhenTheFileSystemIsFull() throws Exception {
    History history = new History(new SplittableRandom(SEED));
    history.play(2);
    history.file().limit(history.file().sizeBytes() + 100_000);
    int full = 0;
    for (int i = 0; i < 100; i++) {
      try {
        history.step();
      } catch (BlockException failure) {
        assertThat(failure.reason()).isEqualTo(Reason.NO_SPACE);
        full++;
      }
    }
    assertThat(full).as("seed %d", SEED).isPositive();

    history.file().limit(Long.MAX_VALUE);
    history.play(20);
    history.disk.link().flush(Blocking.ALLOWED);
    history.durables.add(new Durable(history.files.order().size(), 0, SECTORS, new int[SECTORS]));
    history.close();

    int end = history.files.order().size();
    history.check(history.files.killedAfter(end), end, "seed " + SEED);
  }

  @Test
  void refusesAfterAFailedSyncWhatItCouldNotKeep() throws Exception {
    History history = new History(new SplittableRandom(SEED));
    ByteBuffer bytes = ByteBuffer.allocateDirect(SECTOR_BYTES);
    BlockDevice link = history.disk.link();
    link.write(0, bytes, Durability.BUFFERED, Blocking.ALLOWED);
    history.file().failAt(history.file().logSize());

    assertThatThrownBy(() -> link.flush(Blocking.ALLOWED)).isInstanceOf(BlockException.class);

    // The kernel has forgotten the failure by now; we have not.
    assertThatThrownBy(() -> link.flush(Blocking.ALLOWED)).isInstanceOf(BlockException.class);
    assertThatThrownBy(() -> history.disk.close()).isInstanceOf(BlockException.class);
    assertThat(history.file().isClosed()).isTrue();
  }

  @Test
  void aNewDiskHasTheSpaceOfItsTables(@TempDir Path folder) throws Exception {
    Path file = folder.resolve("new.vmdk");
    long sizeBytes = 64L << 30;

    VmdkDisk.create(file, CreateOptions.ofSize(sizeBytes));

    long overheadBytes = new SparseLayout(sizeBytes / 512).overheadSectors() * 512;
    assertThat(Files.size(file)).isEqualTo(overheadBytes);
    assertThat(BlockFile.storedBytes(file)).isGreaterThanOrEqualTo(overheadBytes);
  }
}
