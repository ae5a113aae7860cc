package io.filterd.vmdk;

import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Durability;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.SplittableRandom;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Cuts what is done to a disk's files when snapshots are taken, deleted and reverted to, before and
 * behind every sync and every name's change, and opens what is left by the file that the disk is
 * known by at that moment.
 */
class SnapshotCrashTest {
  private static final long SEED = Long.getLong("test.seed", new SecureRandom().nextInt());
  private static final int DISK_BYTES = (5 << 16) + (5 << 9);

  @TempDir Path temp;
  private final SplittableRandom random = new SplittableRandom(SEED);
  private final LinkedDisk.Front front = new ScramblingFront();
  private Path folder;
  private Path file;
  private byte[] content = new byte[DISK_BYTES];
  private final List<byte[]> states = new ArrayList<>();
  private int cuts;

  @BeforeEach
  void makeDisk() throws Exception {
    folder = Files.createDirectories(temp.toRealPath().resolve("vm"));
    file = folder.resolve("disk.vmdk");
  }

  private void makeBase(boolean encrypted) throws IOException, BlockException {
    CreateOptions options = CreateOptions.ofSize(DISK_BYTES);
    VmdkDisk.create(
        file, encrypted ? options.withEncryption(ScramblingFront.metadata(random)) : options);
    change(RecordedLinks.unsynced());
  }

  /** Writes to some grains of the disk, all or a part of each. */
  private void change(LinkFiles files) throws IOException, BlockException {
    try (LinkedDisk disk = open(files, file)) {
      for (int i = 0; i < 3; i++) {
        write(disk);
      }
    }
  }

  private void write(LinkedDisk disk) throws BlockException {
    int at = random.nextInt(DISK_BYTES / 4096) * 4096;
    byte[] bytes = new byte[Math.min(DISK_BYTES - at, 4096 * (1 + random.nextInt(20)))];
    Arrays.fill(bytes, (byte) (1 + random.nextInt(250)));
    disk.write(at, TestDisks.direct(bytes), Durability.BUFFERED, Blocking.ALLOWED);
    System.arraycopy(bytes, 0, content, at, bytes.length);
  }

  private LinkedDisk open(LinkFiles files, Path top) throws IOException, BlockException {
    return LinkedDisk.open(files, top, Access.READ_WRITE, front, this::moved, false);
  }

  private void moved(Path top) {
    file = top;
  }

  private void snapshot(boolean encrypted) throws IOException, BlockException {
    Snapshots.create(
        RecordedLinks.unsynced(),
        file,
        new SnapshotRecord("s" + states.size(), Instant.EPOCH),
        encrypted ? Optional.of(ScramblingFront.metadata(random)) : Optional.empty(),
        front,
        this::moved);
    states.add(content.clone());
    change(RecordedLinks.unsynced());
  }

  /** Where the disk is to be found, from which place of the log on. */
  private record Place(int at, Path top) {}

  /** What is to be cut. */
  @FunctionalInterface
  private interface Action {
    void run(LinkFiles files, LinkedDisk.Switch moved) throws IOException, BlockException;
  }

  /** Looks at the folder after a crash. */
  @FunctionalInterface
  private interface Look {
    void at(Path top) throws IOException, BlockException;
  }

  private void cut(Action action, Look look) throws Exception {
    RecordedLinks files = RecordedLinks.of(folder);
    List<Place> places = new ArrayList<>(List.of(new Place(0, file)));
    action.run(
        files,
        top -> {
          places.add(new Place(files.logSize(), top));
          file = top;
        });
    Path last = file;
    for (int cut : files.steps()) {
      for (int i = 0; i < 4; i++) {
        Path left = temp.resolve("cut");
        if (i == 0) {
          files.killedAfter(cut, left);
        } else {
          files.lostPowerAfter(cut, random, left);
        }
        // At the very place of a switch, the old and the new file may be remembered.
        for (Place place : places) {
          Place next = places.stream().filter(p -> p.at() > place.at()).findFirst().orElse(place);
          if (place.at() <= cut && (next.equals(place) || cut <= next.at())) {
            lookAt(look, left.resolve(place.top().getFileName()), cut, i);
          }
        }
        delete(left);
      }
    }
    file = last;
  }

  private void lookAt(Look look, Path top, int cut, int kind) {
    cuts++;
    try {
      look.at(top);
    } catch (Exception | AssertionError failure) {
      throw new AssertionError(
          "seed " + SEED + ", cut " + cut + "." + kind + ", " + top.getFileName(), failure);
    }
  }

  private static void delete(Path folder) throws IOException {
    try (DirectoryStream<Path> files = Files.newDirectoryStream(folder)) {
      for (Path each : files) {
        Files.delete(each);
      }
    }
    Files.delete(folder);
  }

  /** The disk reads as it should, also for one that only reads, and can be written. */
  private Path assertContent(Path top, byte[] expected) throws IOException, BlockException {
    try (LinkedDisk disk = LinkedDisk.open(top, Access.READ_ONLY, front, moved -> {})) {
      assertThat(Arrays.mismatch(TestDisks.contentOf(disk), expected)).isEqualTo(-1);
    }
    Path[] now = {top};
    LinkFiles files = RecordedLinks.unsynced();
    try (LinkedDisk disk =
        LinkedDisk.open(files, top, Access.READ_WRITE, front, moved -> now[0] = moved, false)) {
      assertThat(Arrays.mismatch(TestDisks.contentOf(disk), expected)).isEqualTo(-1);
      assertThat(disk.file()).isEqualTo(now[0].toRealPath());
    }
    return now[0];
  }

  /** A deletion that was stopped can be made again, and then the rest of the states is right. */
  private void deleteAgain(Path top, String name, byte[] expected)
      throws IOException, BlockException {
    Path[] now = {top};
    LinkFiles files = RecordedLinks.unsynced();
    LinkedDisk.Switch moved = file -> now[0] = file;
    boolean there;
    try (LinkedDisk disk = LinkedDisk.open(files, top, Access.READ_WRITE, front, moved, false)) {
      there = disk.snapshots().stream().anyMatch(each -> each.isCalled(name));
    }
    if (there) {
      assertThat(Snapshots.delete(files, now[0], name, front, moved, (done, total) -> true))
          .isTrue();
    }
    assertContent(now[0], expected);
    List<Snapshot> left = Snapshots.list(now[0]);
    assertThat(left).extracting(Snapshot::name).doesNotContain(name);
    for (Snapshot snapshot : left) {
      int number = Integer.parseInt(snapshot.name().substring(1));
      try (LinkedDisk state =
          LinkedDisk.open(snapshot.file(), Access.READ_ONLY, front, none -> {})) {
        assertThat(Arrays.mismatch(TestDisks.contentOf(state), states.get(number)))
            .as(snapshot.name())
            .isEqualTo(-1);
      }
    }
  }

  private void cutDelete(String name) throws Exception {
    if (random.nextInt(3) == 0) {
      cutDeleteUnderChanges(name);
      return;
    }
    byte[] before = content.clone();
    cut(
        (files, moved) -> Snapshots.delete(files, file, name, front, moved, (done, total) -> true),
        top -> deleteAgain(assertContent(top, before), name, before));
  }

  /** Changes are written and flushed while the content moves; each cut must show the last flush. */
  private void cutDeleteUnderChanges(String name) throws Exception {
    List<byte[]> flushed = new ArrayList<>();
    flushed.add(content.clone());
    List<Integer> flushedAt = new ArrayList<>(List.of(0));
    RecordedLinks files = RecordedLinks.of(folder);
    List<Place> places = new ArrayList<>(List.of(new Place(0, file)));
    LinkedDisk.Switch moved =
        top -> {
          places.add(new Place(files.logSize(), top));
          file = top;
        };
    try (LinkedDisk disk = LinkedDisk.open(files, file, Access.READ_WRITE, front, moved, false);
        Merge merge = disk.delete(name)) {
      merge.copy(
          (done, total) -> {
            try {
              write(disk);
              disk.flush(Blocking.ALLOWED);
            } catch (BlockException failure) {
              throw new AssertionError(failure);
            }
            flushed.add(content.clone());
            flushedAt.add(files.logSize());
            return true;
          });
      merge.finish(moved);
    }
    for (int at : flushedAt) {
      Path left = temp.resolve("cut");
      files.lostPowerAfter(at, random, left);
      Path top = file;
      for (Place place : places) {
        top = place.at() <= at ? place.top() : top;
      }
      byte[] expected = flushed.get(flushedAt.indexOf(at));
      lookAt(look -> deleteAgain(look, name, expected), left.resolve(top.getFileName()), at, 9);
      delete(left);
    }
  }

  @Test
  void takesASnapshotOrNone() throws Exception {
    makeBase(false);
    for (int i = 0; i < 3; i++) {
      byte[] before = content.clone();
      Optional<EncryptionMetadata> encryption =
          i == 1 ? Optional.of(ScramblingFront.metadata(random)) : Optional.empty();
      SnapshotRecord record = new SnapshotRecord("s" + i, Instant.EPOCH);
      cut(
          (files, moved) -> Snapshots.create(files, file, record, encryption, front, moved),
          top -> assertContent(top, before));
      change(RecordedLinks.unsynced());
    }
    assertThat(cuts).isGreaterThan(100);
  }

  @Test
  void movesTheNewestSnapshotIntoItsParent() throws Exception {
    for (int i = 0; i < 2; i++) {
      makeBase(false);
      snapshot(false);
      snapshot(false);
      cutDelete("s1");
      cutDelete("s0");
      startAgain();
    }
    assertThat(cuts).isGreaterThan(40);
  }

  @Test
  void movesAnInnerSnapshotIntoItsParent() throws Exception {
    for (int i = 0; i < 2; i++) {
      makeBase(true);
      snapshot(true);
      snapshot(true);
      snapshot(true);
      cutDelete("s1");
      cutDelete("s0");
      startAgain();
    }
    assertThat(cuts).isGreaterThan(40);
  }

  @Test
  void copiesAPlainParentIntoItsEncryptedChild() throws Exception {
    for (int i = 0; i < 2; i++) {
      makeBase(false);
      snapshot(true);
      snapshot(true);
      cutDelete("s0");
      cutDelete("s1");
      startAgain();
    }
    assertThat(cuts).isGreaterThan(40);
  }

  @Test
  void revertsOrDoesNot() throws Exception {
    makeBase(false);
    snapshot(false);
    snapshot(false);
    byte[] before = content.clone();
    byte[] after = states.get(0);
    Path top = file;
    cut(
        (files, moved) -> Snapshots.revert(files, file, "s0", Optional.empty(), moved),
        left -> assertContent(left, left.endsWith(top.getFileName()) ? before : after));

    assertThat(Snapshots.list(file)).extracting(Snapshot::name).containsExactly("s0");
    assertThat(Snapshots.discard(top)).hasSize(2);
    assertContent(file, after);
  }

  private void startAgain() throws IOException {
    delete(folder);
    Files.createDirectories(folder);
    file = folder.resolve("disk.vmdk");
    content = new byte[DISK_BYTES];
    states.clear();
  }
}
