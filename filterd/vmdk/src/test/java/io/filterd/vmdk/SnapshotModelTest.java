package io.filterd.vmdk;

import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.block.AlignmentFilter;
import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Durability;
import io.filterd.block.ZeroMode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.SplittableRandom;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Everything that can be done to a disk with snapshots, at random, against arrays of bytes. */
class SnapshotModelTest {
  private static final int STEPS = Integer.getInteger("test.steps", 34_000);
  // The last grain is cut short by the disk's end.
  private static final int DISK_BYTES = (14 << 16) + (5 << 9);
  private static final int LARGEST_BYTES = 100_000;
  private static final int MOST_LINKS = 5;

  @TempDir Path folder;

  static List<Long> seeds() {
    Long given = Long.getLong("test.seed");
    SecureRandom random = new SecureRandom();
    return given != null
        ? List.of(given)
        : List.of(1L, (long) random.nextInt(), (long) random.nextInt());
  }

  @SuppressWarnings("ArrayRecordComponent") // never compared
  private record State(String name, byte[] content) {}

  /** A disk, and what it should hold. */
  private static final class Run {
    private final LinkFiles files = RecordedLinks.unsynced();
    private final LinkedDisk.Front front = new ScramblingFront();
    private final SplittableRandom random;
    private final List<State> snapshots = new ArrayList<>();
    private byte[] content = new byte[DISK_BYTES];
    private Path file;
    private LinkedDisk disk;
    private BlockDevice device;
    private int named;

    Run(Path folder, SplittableRandom random) throws IOException, BlockException {
      this.random = random;
      this.file = folder.resolve("disk.vmdk");
      CreateOptions options = CreateOptions.ofSize(DISK_BYTES);
      VmdkDisk.create(
          file,
          random.nextBoolean()
              ? options
              : options.withEncryption(ScramblingFront.metadata(random)));
      open();
    }

    private void open() throws IOException, BlockException {
      disk = LinkedDisk.open(files, file, Access.READ_WRITE, front, this::moved, false);
      // The shape may change between plain and encrypted links, so each is seen anew.
      device = new AlignmentFilter(disk, 1);
    }

    private void moved(Path top) {
      file = top;
    }

    void step(int number) throws IOException, BlockException {
      int kind = random.nextInt(1000);
      if (kind < 350) {
        write();
      } else if (kind < 700) {
        read();
      } else if (kind < 790) {
        zero();
      } else if (kind < 870) {
        trim();
      } else if (kind < 975) {
        device.flush(Blocking.ALLOWED);
      } else if (kind < 983) {
        snapshot();
      } else if (kind < 991) {
        delete();
      } else if (kind < 994) {
        revert();
      } else if (kind < 995) {
        grow();
      } else {
        restart();
      }
      if (number % 500 == 0) {
        check();
      }
    }

    private void write() throws BlockException {
      int at = random.nextInt(content.length);
      int length = length(at);
      byte[] bytes = new byte[length];
      for (int i = 0; i < length; i += 1 + random.nextInt(200)) {
        bytes[i] = (byte) random.nextInt();
      }
      bytes[0] = 1;
      device.write(at, TestDisks.direct(bytes), durability(), Blocking.ALLOWED);
      System.arraycopy(bytes, 0, content, at, length);
    }

    private Durability durability() {
      return random.nextInt(10) == 0 ? Durability.DURABLE : Durability.BUFFERED;
    }

    private int length(int at) {
      int most = random.nextInt(8) == 0 ? LARGEST_BYTES : 6000;
      return 1 + random.nextInt(Math.min(most, content.length - at));
    }

    private void read() throws BlockException {
      int at = random.nextInt(content.length);
      int length = length(at);
      ByteBuffer target = ByteBuffer.allocateDirect(length);
      device.read(at, target, Blocking.ALLOWED);
      assertThat(target.flip().mismatch(ByteBuffer.wrap(content, at, length)))
          .as("read %d+%d", at, length)
          .isEqualTo(-1);
    }

    private void zero() throws BlockException {
      int at = random.nextInt(content.length);
      int length = wholeOr(at);
      ZeroMode mode = random.nextInt(3) == 0 ? ZeroMode.ALLOCATE : ZeroMode.MAY_DEALLOCATE;
      device.zero(start(at, length), length, mode, durability(), Blocking.ALLOWED);
      Arrays.fill(content, start(at, length), start(at, length) + length, (byte) 0);
    }

    private int wholeOr(int at) {
      return random.nextBoolean()
          ? Math.min(TestDisks.GRAIN, content.length - at / TestDisks.GRAIN * TestDisks.GRAIN)
          : length(at);
    }

    private int start(int at, int length) {
      int grain = at / TestDisks.GRAIN * TestDisks.GRAIN;
      boolean whole = length == Math.min(TestDisks.GRAIN, content.length - grain);
      return whole ? grain : at;
    }

    private void trim() throws BlockException {
      int at = random.nextInt(content.length);
      int length = wholeOr(at);
      device.trim(start(at, length), length, durability(), Blocking.ALLOWED);
      Arrays.fill(content, start(at, length), start(at, length) + length, (byte) 0);
    }

    private void snapshot() throws IOException, BlockException {
      if (snapshots.size() == MOST_LINKS - 1) {
        return;
      }
      named++;
      String name = "state " + named;
      Path top =
          disk.snapshot(
              new SnapshotRecord(name, Instant.ofEpochSecond(named)),
              random.nextInt(3) == 0
                  ? Optional.empty()
                  : Optional.of(ScramblingFront.metadata(random)),
              this::moved);
      assertThat(top).isEqualTo(file);
      snapshots.addFirst(new State(name, content.clone()));
      device = new AlignmentFilter(disk, 1);
      restartIfPlain();
    }

    /** A disk that gets larger blocks is for who opens it again. */
    private void restartIfPlain() throws IOException, BlockException {
      if (disk.info().blockSizes().minimum() < 4096) {
        restart();
      }
    }

    private void delete() throws IOException, BlockException {
      if (snapshots.isEmpty()) {
        return;
      }
      int which = random.nextInt(snapshots.size());
      try (Merge merge = disk.delete(snapshots.get(which).name())) {
        int stopAt = random.nextInt(4) == 0 ? random.nextInt(20) : Integer.MAX_VALUE;
        int[] calls = {0};
        boolean copied =
            merge.copy(
                (done, total) -> {
                  changeMeanwhile();
                  calls[0]++;
                  return calls[0] < stopAt;
                });
        if (copied) {
          changeMeanwhile();
          merge.finish(this::moved);
          snapshots.remove(which);
        }
      } catch (java.nio.file.FileSystemException refused) {
        // Plaintext of an encrypted link must stay out of a plain one, and what a stopped deletion
        // has changed is no state that another could keep.
        assertThat(refused.getMessage())
            .containsPattern("encrypted|was stopped; repeat that first");
        return;
      }
      restartIfPlain();
      if (random.nextInt(4) == 0) {
        check();
      }
    }

    private void changeMeanwhile() {
      try {
        switch (random.nextInt(6)) {
          case 0, 1 -> write();
          case 2 -> zero();
          case 3 -> trim();
          case 4 -> read();
          default -> device.flush(Blocking.ALLOWED);
        }
      } catch (BlockException failure) {
        throw new AssertionError(failure);
      }
    }

    private void revert() throws IOException, BlockException {
      if (snapshots.isEmpty()) {
        return;
      }
      int which = random.nextInt(snapshots.size());
      State state = snapshots.get(which);
      device.close();
      Path former = file;
      try {
        Snapshots.revert(
            files, file, state.name(), Optional.of(ScramblingFront.metadata(random)), this::moved);
      } catch (FormatException lost) {
        assertThat(lost.getMessage()).contains("only partly here");
        open();
        return;
      }
      Snapshots.discard(former);
      assertThat(Files.exists(former)).isFalse();
      content = state.content().clone();
      snapshots.subList(0, which).clear();
      open();
      check();
    }

    /** From then on its parents are shorter. */
    private void grow() throws IOException, BlockException {
      if (content.length >= 2 * DISK_BYTES) {
        return;
      }
      device.close();
      content = Arrays.copyOf(content, content.length + 512 * (1 + random.nextInt(200)));
      try (VmdkDisk top = files.open(file, Access.READ_WRITE)) {
        top.grow(content.length);
      }
      open();
      check();
    }

    private void restart() throws IOException, BlockException {
      device.close();
      open();
    }

    void check() throws IOException, BlockException {
      byte[] stored = TestDisks.contentOf(device);
      assertThat(Arrays.mismatch(stored, content)).as("content").isEqualTo(-1);
      assertThat(disk.snapshots().stream().map(Snapshot::name).toList())
          .isEqualTo(snapshots.stream().map(State::name).toList());
    }

    void end() throws IOException, BlockException {
      check();
      device.close();
      try (DiskChain chain = DiskChain.open(file, Access.READ_ONLY)) {
        assertThat(chain.links()).hasSize(snapshots.size() + 1);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("seeds")
  void readsWhatWasWrittenWhateverIsDoneToTheChain(long seed) throws Exception {
    Run run = new Run(folder, new SplittableRandom(seed));
    for (int i = 0; i < STEPS; i++) {
      try {
        run.step(i);
      } catch (AssertionError | Exception failure) {
        throw new AssertionError("seed " + seed + ", step " + i + ": " + failure, failure);
      }
    }
    run.end();
  }
}
