package io.filterd.vmdk;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockDeviceContract;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Completion;
import io.filterd.block.Durability;
import io.filterd.block.MemoryDevice;
import io.filterd.block.ZeroMode;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ChangeTrackingTest {
  private static final long SEED = Long.getLong("test.seed", new SecureRandom().nextInt());
  private static final int GRAIN_BYTES = 64 << 10;
  // Three regions, the last cut short by the disk's end, as its last grain is.
  private static final long DISK_BYTES = (160L << 20) + 512;
  private static final int GRAINS = (int) Math.ceilDiv(DISK_BYTES, GRAIN_BYTES);

  private static CrashFile created(long sizeBytes) throws Exception {
    CrashFile made = new CrashFile();
    ChangeTracking.write(made, sizeBytes, 7);
    return new CrashFile(made.killedAfter(made.logSize()));
  }

  private static ChangeTracking opened(CrashFile file) throws Exception {
    return ChangeTracking.open(file, DISK_BYTES, () -> 7);
  }

  private static BitSet changed(ChangeTracking tracking, String point) {
    return changed(tracking, point, DISK_BYTES);
  }

  private static BitSet changed(ChangeTracking tracking, String point, long sizeBytes) {
    BitSet grains = new BitSet();
    long[] at = {0};
    boolean known =
        tracking.changes(
            point,
            0,
            sizeBytes,
            (bytes, is) -> {
              if (is) {
                grains.set(
                    (int) (at[0] / GRAIN_BYTES), (int) Math.ceilDiv(at[0] + bytes, GRAIN_BYTES));
              }
              at[0] += bytes;
              return true;
            });
    assertThat(known).isTrue();
    assertThat(at[0]).isEqualTo(sizeBytes);
    return grains;
  }

  /** Notes a change as a device does. */
  private static void change(ChangeTracking tracking, long offset, long length) throws Exception {
    int noted = tracking.changing(offset, length, Blocking.ALLOWED);
    tracking.changed(noted, offset, length, Blocking.ALLOWED);
  }

  private static BitSet grains(int... grains) {
    BitSet set = new BitSet();
    for (int grain : grains) {
      set.set(grain);
    }
    return set;
  }

  @Test
  void tellsWhatChangedSinceEachPoint() throws Exception {
    CrashFile file = created(DISK_BYTES);
    try (ChangeTracking tracking = opened(file)) {
      change(tracking, 0, 512);
      tracking.mark("monday");
      change(tracking, 5L * GRAIN_BYTES + 512, GRAIN_BYTES);
      tracking.mark("tuesday");
      change(tracking, DISK_BYTES - 512, 512);
      assertThat(changed(tracking, "monday")).isEqualTo(grains(5, 6, GRAINS - 1));
      assertThat(changed(tracking, "tuesday")).isEqualTo(grains(GRAINS - 1));
      assertThat(tracking.changes("sunday", 0, 512, (bytes, is) -> true)).isFalse();
    }
    try (ChangeTracking tracking = opened(new CrashFile(file.killedAfter(file.logSize())))) {
      assertThat(changed(tracking, "monday")).isEqualTo(grains(5, 6, GRAINS - 1));
      assertThat(tracking.points())
          .extracting(ChangeTracking.Point::name)
          .containsExactly("monday", "tuesday");
      assertThat(tracking.forget("monday")).isTrue();
      assertThat(tracking.forget("monday")).isFalse();
      assertThat(changed(tracking, "tuesday")).isEqualTo(grains(GRAINS - 1));
    }
  }

  @Test
  void countsAllAsChangedOnceOthersHaveWrittenTheDisk() throws Exception {
    CrashFile file = created(DISK_BYTES);
    AtomicLong contentId = new AtomicLong(7);
    try (ChangeTracking tracking = ChangeTracking.open(file, DISK_BYTES, contentId::get)) {
      tracking.mark("p");
      contentId.set(8); // As our own first write does.
      change(tracking, 0, 1);
    }
    byte[] closed = file.killedAfter(file.logSize());
    try (ChangeTracking tracking =
        ChangeTracking.open(new CrashFile(closed), DISK_BYTES, () -> 8)) {
      assertThat(changed(tracking, "p")).isEqualTo(grains(0));
    }
    CrashFile foreign = new CrashFile(closed);
    try (ChangeTracking tracking = ChangeTracking.open(foreign, DISK_BYTES, () -> 9)) {
      assertThat(changed(tracking, "p").cardinality()).isEqualTo(GRAINS);
      change(tracking, 0, 1); // A crash from here on must not forget it.
    }
    for (int cut = 0; cut <= foreign.logSize(); cut++) {
      CrashFile after = new CrashFile(foreign.killedAfter(cut));
      try (ChangeTracking tracking = ChangeTracking.open(after, DISK_BYTES, () -> 9)) {
        assertThat(changed(tracking, "p").cardinality()).isEqualTo(GRAINS);
      }
    }
  }

  @Test
  void countsWhatTheDiskGrewAsChanged() throws Exception {
    CrashFile file = created(DISK_BYTES);
    try (ChangeTracking tracking = opened(file)) {
      tracking.mark("p");
    }
    long larger = DISK_BYTES + (100L << 20);
    int all = (int) Math.ceilDiv(larger, GRAIN_BYTES);
    CrashFile grown = new CrashFile(file.killedAfter(file.logSize()));
    for (int round = 0; round < 2; round++) {
      try (ChangeTracking tracking = ChangeTracking.open(grown, larger, () -> 7)) {
        BitSet expected = new BitSet();
        expected.set(GRAINS, all);
        assertThat(changed(tracking, "p", larger)).isEqualTo(expected);
        change(tracking, larger - 1, 1);
      }
      grown = new CrashFile(grown.killedAfter(grown.logSize()));
    }
    CrashFile now = grown;
    assertThatThrownBy(() -> opened(now)).isInstanceOf(FormatException.class);
  }

  @ParameterizedTest
  @ValueSource(longs = {33L << 30, (1L << 40) - 512, 9L << 40})
  void tracksLargeDisks(long sizeBytes) throws Exception {
    try (ChangeTracking tracking = ChangeTracking.open(created(sizeBytes), sizeBytes, () -> 7)) {
      tracking.mark("p");
      change(tracking, sizeBytes - 512, 512);
      long[] changed = {0, 0};
      tracking.changes(
          "p",
          0,
          sizeBytes,
          (bytes, is) -> {
            changed[is ? 1 : 0] += bytes;
            return true;
          });
      int grainBytes = tracking.points().getFirst().grainBytes();
      assertThat(changed[1]).isEqualTo((sizeBytes - 1) % grainBytes + 1);
      assertThat(changed[0] + changed[1]).isEqualTo(sizeBytes);
      assertThat(sizeBytes / grainBytes).isLessThanOrEqualTo(8 << 20);
    }
  }

  @Test
  void refusesDamagedHeads() throws Exception {
    CrashFile file = created(DISK_BYTES);
    byte[] bytes = file.killedAfter(0);
    for (int at : new int[] {0, 8, 12, 16, 24, 56, 4000}) {
      byte[] both = bytes.clone();
      both[at] ^= 0x55;
      byte[] one = both.clone();
      System.arraycopy(bytes, 4096, one, 4096, 4096);
      both[4096 + at] ^= 0x55;
      assertThatThrownBy(() -> opened(new CrashFile(both))).isInstanceOf(FormatException.class);
      opened(new CrashFile(one)).close();
    }
    for (int length : new int[] {0, 4096, 8192, 12_288, bytes.length - 1}) {
      byte[] cut = java.util.Arrays.copyOf(bytes, length);
      assertThatThrownBy(() -> opened(new CrashFile(cut))).isInstanceOf(FormatException.class);
    }
  }

  @Test
  void hasNoRoomForMoreThan16Points() throws Exception {
    try (ChangeTracking tracking = opened(created(DISK_BYTES))) {
      for (int i = 0; i < 16; i++) {
        tracking.mark("p" + i);
      }
      assertThatThrownBy(() -> tracking.mark("p16")).isInstanceOf(BlockException.class);
      assertThatThrownBy(() -> tracking.mark("p3")).isInstanceOf(BlockException.class);
      for (String wrong : List.of("", "a b", "a:b", "a\nb", "\u00e4", "x".repeat(97))) {
        assertThatThrownBy(() -> tracking.mark(wrong)).isInstanceOf(IllegalArgumentException.class);
      }
    }
  }

  @Test
  void neverBlocksWhereThatIsForbidden() throws Exception {
    CrashFile file = created(DISK_BYTES);
    try (ChangeTracking tracking = opened(file)) {
      assertThat(tracking.changing(0, 512, Blocking.FORBIDDEN)).isNegative();
      change(tracking, 0, 512);
      int log = file.logSize();
      assertThat(tracking.changing(512, 512, Blocking.FORBIDDEN)).isPositive();
      assertThat(tracking.changing(GRAIN_BYTES, 512, Blocking.FORBIDDEN)).isPositive();
      assertThat(tracking.changing(100L << 20, 512, Blocking.FORBIDDEN)).isNegative();
      assertThat(file.logSize()).isEqualTo(log);
    }
  }

  /** A change is missed by no crash, at whichever place of the log and whatever was lost of it. */
  @Test
  void missesNoChangeAfterACrash() throws Exception {
    SplittableRandom random = new SplittableRandom(SEED);
    for (int round = 0; round < 12; round++) {
      CrashFile file = created(DISK_BYTES);
      // For each point, from when it was durable, and the changes since with their places.
      Map<String, Integer> marked = new HashMap<>();
      List<long[]> changes = new ArrayList<>();
      ChangeTracking tracking = opened(file);
      for (int step = 0; step < 60; step++) {
        switch (random.nextInt(12)) {
          case 0 -> {
            if (marked.size() < 10) {
              tracking.mark("p" + step);
              marked.put("p" + step, file.logSize());
            }
          }
          case 1, 2 -> tracking.checkpoint();
          default -> {
            long offset = random.nextLong(DISK_BYTES / 512) * 512;
            long length = Math.min(DISK_BYTES - offset, 512L << random.nextInt(12));
            int noted = tracking.changing(offset, length, Blocking.ALLOWED);
            changes.add(new long[] {file.logSize(), offset, length});
            tracking.changed(noted, offset, length, Blocking.ALLOWED);
          }
        }
      }
      for (int cut = 0; cut < 40; cut++) {
        int at = random.nextInt(file.logSize() + 1);
        byte[] bytes =
            random.nextBoolean() ? file.killedAfter(at) : file.lostPowerAfter(at, random);
        try (ChangeTracking after = opened(new CrashFile(bytes))) {
          for (Map.Entry<String, Integer> point : marked.entrySet()) {
            if (point.getValue() > at) {
              continue;
            }
            BitSet told = changed(after, point.getKey());
            for (long[] change : changes) {
              if (change[0] >= point.getValue() && change[0] <= at) {
                int first = (int) (change[1] / GRAIN_BYTES);
                int end = (int) ((change[1] + change[2] - 1) / GRAIN_BYTES) + 1;
                assertThat(told.nextClearBit(first))
                    .as("seed %d, round %d, cut at %d of %d", SEED, round, at, file.logSize())
                    .isGreaterThanOrEqualTo(end);
              }
            }
          }
        }
      }
      tracking.close();
    }
  }

  @Test
  void namesFewRegionsAfterACrashThatCameLongAfterTheChanges() throws Exception {
    CrashFile file = created(DISK_BYTES);
    ChangeTracking tracking = opened(file);
    tracking.mark("p");
    change(tracking, 0, 512);
    tracking.checkpoint();
    tracking.checkpoint();
    change(tracking, 100L << 20, 512);
    CrashFile killed = new CrashFile(file.killedAfter(file.logSize()));
    try (ChangeTracking after = opened(killed)) {
      BitSet told = changed(after, "p");
      assertThat(told.get(0)).isTrue();
      assertThat(told.nextSetBit(1)).isEqualTo(1024);
      assertThat(told.cardinality()).isEqualTo(1 + 1024);
    }
    tracking.close();
  }

  /** What lands after a point was set is known, though it was begun before. */
  @Test
  void missesNoChangeThatIsUnderWayWhileAPointIsSet() throws Exception {
    try (ChangeTracking tracking = opened(created(DISK_BYTES))) {
      int noted = tracking.changing(3L * GRAIN_BYTES, 512, Blocking.ALLOWED);
      tracking.mark("p");
      tracking.changed(noted, 3L * GRAIN_BYTES, 512, Blocking.ALLOWED);
      assertThat(changed(tracking, "p")).isEqualTo(grains(3));
    }
  }

  @Nested
  class Device extends BlockDeviceContract {
    @TempDir Path folder;
    private Path file = Path.of("");

    @Override
    protected BlockDevice create(long sizeBytes, UnaryOperator<BlockDevice> below)
        throws Exception {
      file = Files.createTempDirectory(folder, "disk").resolve("disk.vmdk");
      VmdkDisk.create(file, CreateOptions.ofSize(sizeBytes));
      ChangeTracking.create(ChangeTracking.fileOf(file), sizeBytes, 0);
      return tracked(below);
    }

    private BlockDevice tracked(UnaryOperator<BlockDevice> below) throws Exception {
      VmdkDisk disk = VmdkDisk.open(file, Access.READ_WRITE);
      ChangeTracking tracking =
          ChangeTracking.open(
              ChangeTracking.fileOf(file),
              disk.link().info().sizeBytes(),
              () -> disk.descriptor().cid());
      return tracking.track(below.apply(disk.link()));
    }

    @Override
    protected BlockDevice reopen() throws Exception {
      return tracked(UnaryOperator.identity());
    }

    @Override
    protected int sizeBytes() {
      return (3 << 16) + 512;
    }

    @Override
    protected boolean tearsReads() {
      return true;
    }

    @Override
    protected int modelSteps() {
      return 1000;
    }
  }

  @Test
  void notesWritesZerosAndTrims() throws Exception {
    CrashFile file = created(DISK_BYTES);
    ChangeTracking tracking = opened(file);
    tracking.mark("p");
    try (BlockDevice device = tracking.track(new MemoryDevice(DISK_BYTES))) {
      ByteBuffer sector = ByteBuffer.allocateDirect(512);
      device.write(0, sector, Durability.BUFFERED, Blocking.ALLOWED);
      device.zero(
          2L * GRAIN_BYTES, 512, ZeroMode.MAY_DEALLOCATE, Durability.BUFFERED, Blocking.ALLOWED);
      device.trim(4L * GRAIN_BYTES, 512, Durability.BUFFERED, Blocking.ALLOWED);
      device.read(6L * GRAIN_BYTES, sector.clear(), Blocking.ALLOWED);
      assertThat(changed(tracking, "p")).isEqualTo(grains(0, 2, 4));
      assertThat(device.flush(Blocking.ALLOWED)).isEqualTo(Completion.DONE);
    }
  }
}
