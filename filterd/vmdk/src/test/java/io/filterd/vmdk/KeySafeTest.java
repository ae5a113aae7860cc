package io.filterd.vmdk;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Durability;
import java.io.IOException;
import java.nio.file.DirectoryStream;
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
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class KeySafeTest {
  private static final long SEED = Long.getLong("test.seed", new SecureRandom().nextInt());
  private static final int DISK_BYTES = 8 * TestDisks.GRAIN;
  private static final LinkedDisk.Switch NOBODY = top -> {};
  private static final Locker NEXT =
      new Locker("other", "key-2", "7766554433221100", "AES-256-GCM", "B".repeat(124));

  @TempDir Path temp;
  private final SplittableRandom random = new SplittableRandom(SEED);
  private final LinkedDisk.Front front = new ScramblingFront();

  /** A disk with so many snapshots, and something in each of its links. */
  private Path make(LinkFiles files, int snapshots) throws IOException, BlockException {
    Path folder = Files.createDirectories(temp.toRealPath().resolve("vm"));
    Path file = folder.resolve("disk.vmdk");
    VmdkDisk.create(
        file, CreateOptions.ofSize(DISK_BYTES).withEncryption(ScramblingFront.metadata(random)));
    for (int i = 0; i <= snapshots; i++) {
      try (LinkedDisk disk = open(files, file, Access.READ_WRITE)) {
        fill(disk, i, i + 1);
        if (i < snapshots) {
          SnapshotRecord record = new SnapshotRecord("s" + i, Instant.EPOCH);
          file = disk.snapshot(record, Optional.of(ScramblingFront.metadata(random)), NOBODY);
        }
      }
    }
    return file;
  }

  private LinkedDisk open(LinkFiles files, Path file, Access access)
      throws IOException, BlockException {
    return LinkedDisk.open(files, file, access, front, NOBODY, false);
  }

  private static void fill(LinkedDisk disk, int grain, int value) throws BlockException {
    byte[] bytes = new byte[TestDisks.GRAIN];
    Arrays.fill(bytes, (byte) value);
    disk.write(
        (long) grain * TestDisks.GRAIN,
        TestDisks.direct(bytes),
        Durability.BUFFERED,
        Blocking.ALLOWED);
  }

  private static List<EncryptionMetadata> metadata(LinkedDisk disk) {
    return disk.links().stream().map(link -> link.disk().encryption().orElseThrow()).toList();
  }

  /** Gives each link a new locker, with both in the safe in between. */
  private static void exchangeLockers(LinkedDisk disk) throws IOException, BlockException {
    for (EncryptionMetadata link : metadata(disk)) {
      try (KeySafe safe = disk.keySafe(link.linkId())) {
        List<Locker> both = List.of(NEXT, link.keySafe().getFirst());
        safe.write(both);
        assertThat(safe.stored()).isEqualTo(link.withKeySafe(both));
        safe.write(List.of(NEXT));
        assertThat(safe.metadata()).isEqualTo(link.withKeySafe(List.of(NEXT)));
        assertThat(safe.stored()).isEqualTo(safe.metadata());
      }
    }
  }

  private void assertExchanged(Path file) throws IOException, BlockException {
    try (LinkedDisk disk = open(LinkFiles.STORED, file, Access.READ_ONLY)) {
      assertThat(metadata(disk))
          .allSatisfy(link -> assertThat(link.keySafe()).containsExactly(NEXT));
    }
  }

  @Test
  void changesEveryLinkOfAChain() throws Exception {
    Path file = make(LinkFiles.STORED, 3);
    byte[] before;
    try (LinkedDisk disk = open(LinkFiles.STORED, file, Access.READ_WRITE)) {
      before = TestDisks.contentOf(disk);
      exchangeLockers(disk);

      assertThat(TestDisks.contentOf(disk)).isEqualTo(before);
      fill(disk, 0, 99);
      SnapshotRecord record = new SnapshotRecord("afterwards", Instant.EPOCH);
      disk.snapshot(record, Optional.empty(), NOBODY);
      assertThat(disk.links()).hasSize(5);
    }
    assertExchanged(file);
  }

  @Test
  void changesADiskThatIsOpenForReading() throws Exception {
    Path file = make(LinkFiles.STORED, 1);
    try (LinkedDisk disk = open(LinkFiles.STORED, file, Access.READ_ONLY)) {
      byte[] before = TestDisks.contentOf(disk);

      exchangeLockers(disk);

      assertThat(TestDisks.contentOf(disk)).isEqualTo(before);
      // Others may read it again.
      open(LinkFiles.STORED, file, Access.READ_ONLY).close();
    }
    assertExchanged(file);
  }

  @Test
  void changesADescriptorInAFileOfItsOwn() throws Exception {
    Path file = temp.toRealPath().resolve("flat.vmdk");
    VmdkDisk.create(
        file,
        CreateOptions.ofSize(DISK_BYTES, Layout.MONOLITHIC_FLAT)
            .withEncryption(ScramblingFront.metadata(random)));
    try (LinkedDisk disk = open(LinkFiles.STORED, file, Access.READ_WRITE)) {
      exchangeLockers(disk);
      fill(disk, 0, 5);
    }
    assertExchanged(file);
  }

  @Test
  void leavesALinkThatSomebodyElseReads() throws Exception {
    Path file = make(LinkFiles.STORED, 1);
    Path parent = file.resolveSibling("disk.vmdk");
    try (LinkedDisk disk = open(LinkFiles.STORED, file, Access.READ_WRITE)) {
      byte[] before = TestDisks.contentOf(disk);
      String parentId = metadata(disk).getLast().linkId();
      try (VmdkDisk reader = VmdkDisk.open(parent, Access.READ_ONLY)) {
        assertThat(reader.encryption().orElseThrow().linkId()).isEqualTo(parentId);
        assertThatThrownBy(() -> disk.keySafe(parentId))
            .isInstanceOf(FileSystemException.class)
            .hasMessageContaining("in use");
      }
      assertThat(TestDisks.contentOf(disk)).isEqualTo(before);
      exchangeLockers(disk);
    }
  }

  @Test
  void refusesWhatItCantDo() throws Exception {
    Path file = make(LinkFiles.STORED, 1);
    try (LinkedDisk disk = open(LinkFiles.STORED, file, Access.READ_WRITE)) {
      String linkId = metadata(disk).getFirst().linkId();
      assertThatThrownBy(() -> disk.keySafe("nobody's"))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("link: nobody's");
      try (Merge merge = disk.delete("s0")) {
        assertThatThrownBy(() -> disk.keySafe(linkId))
            .isInstanceOf(FileSystemException.class)
            .hasMessageContaining("wait for that");
        merge.copy((done, total) -> false);
      }
      KeySafe safe = disk.keySafe(linkId);
      assertThatThrownBy(() -> disk.delete("s0")).isInstanceOf(FileSystemException.class);
      safe.close();
      safe.close();
      assertThatThrownBy(safe::metadata).isInstanceOf(IllegalStateException.class);
    }
  }

  @Test
  void goesUnnoticedByRequests()
      throws BlockException, ExecutionException, IOException, InterruptedException {
    Path file = make(LinkFiles.STORED, 3);
    AtomicBoolean done = new AtomicBoolean();
    try (LinkedDisk disk = open(LinkFiles.STORED, file, Access.READ_WRITE);
        ExecutorService others = Executors.newFixedThreadPool(2)) {
      List<Future<?>> users = new ArrayList<>();
      for (int user = 0; user < 2; user++) {
        int grain = 2 * user; // In a parent first, and copied up later.
        users.add(
            others.submit(
                () -> {
                  for (int i = 0; !done.get(); i++) {
                    fill(disk, grain, i % 100);
                    byte[] content = TestDisks.contentOf(disk);
                    assertThat(content[grain * TestDisks.GRAIN]).isEqualTo((byte) (i % 100));
                    assertThat(content[TestDisks.GRAIN]).isEqualTo((byte) 2);
                    disk.flush(Blocking.ALLOWED);
                  }
                  return null;
                }));
      }
      try {
        for (int i = 0; i < 8; i++) {
          exchangeLockers(disk);
        }
      } finally {
        done.set(true);
      }
      for (Future<?> user : users) {
        user.get();
      }
    }
    assertExchanged(file);
  }

  /** Whatever a crash leaves has, for each link, one of the three safes that there were. */
  @Test
  void leavesAWholeSafeAtAnyCrash() throws Exception {
    Path file = make(RecordedLinks.unsynced(), 2);
    List<Locker> old;
    byte[] content;
    try (LinkedDisk disk = open(LinkFiles.STORED, file, Access.READ_ONLY)) {
      content = TestDisks.contentOf(disk);
      old = metadata(disk).getFirst().keySafe();
    }
    RecordedLinks files = RecordedLinks.of(temp.toRealPath().resolve("vm"));
    try (LinkedDisk disk = open(files, file, Access.READ_WRITE)) {
      exchangeLockers(disk);
    }
    List<List<Locker>> allowed = List.of(old, List.of(NEXT, old.getFirst()), List.of(NEXT));
    int changed = 0;
    for (int cut = 0; cut <= files.logSize(); cut++) {
      for (int kind = 0; kind < 3; kind++) {
        Path left = temp.resolve("cut");
        if (kind == 0) {
          files.killedAfter(cut, left);
        } else {
          files.lostPowerAfter(cut, random, left);
        }
        try (LinkedDisk disk =
            open(RecordedLinks.unsynced(), left.resolve(file.getFileName()), Access.READ_WRITE)) {
          for (EncryptionMetadata link : metadata(disk)) {
            assertThat(link.keySafe()).as("seed %s, cut %s.%s", SEED, cut, kind).isIn(allowed);
            changed += link.keySafe().equals(old) ? 0 : 1;
          }
          assertThat(Arrays.mismatch(TestDisks.contentOf(disk), content)).isEqualTo(-1);
          exchangeAgain(disk);
        }
        delete(left);
      }
    }
    assertThat(changed).isGreaterThan(100);
  }

  private static void exchangeAgain(LinkedDisk disk) throws IOException, BlockException {
    for (EncryptionMetadata link : metadata(disk)) {
      try (KeySafe safe = disk.keySafe(link.linkId())) {
        safe.write(List.of(NEXT));
        assertThat(safe.stored().keySafe()).containsExactly(NEXT);
      }
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
}
