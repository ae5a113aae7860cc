package io.filterd.vmdk;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Durability;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Damages a disk in every way, repairs it, and takes the repair back. */
@Timeout(60)
class DiskRepairTest {
  private static final long SEED = Long.getLong("test.seed", new SecureRandom().nextInt());

  @TempDir Path folder;

  static Stream<DiskCheckTest.Damage> damages() {
    return DiskCheckTest.damages();
  }

  @ParameterizedTest
  @MethodSource("damages")
  void mendsWhatItCanAndTakesItBack(DiskCheckTest.Damage damage) throws Exception {
    Path disk = folder.resolve("h.vmdk");
    Path backup = folder.resolve("h.backup");
    byte[] damaged = damage.to(DiskCheckTest.disk());
    Files.write(disk, damaged);

    DiskRepair.Result result = DiskRepair.repair(disk, backup);

    if (damage.repairable()) {
      assertThat(result.after().findings()).isEmpty();
      assertThat(result.changes()).isPositive();
      VmdkDisk.open(disk, Access.READ_WRITE).close();
    } else {
      assertThat(result.after().totals().errors()).isEqualTo(result.before().totals().errors());
    }
    if (result.backup().isPresent()) {
      DiskRepair.undo(disk, backup);
    }
    assertThat(disk).hasBinaryContent(damaged);
  }

  @ParameterizedTest
  @MethodSource("damages")
  void endsWellWhereverItIsCutOff(DiskCheckTest.Damage damage) throws Exception {
    CrashFile file = new CrashFile(damage.to(DiskCheckTest.disk()));
    repair(file);
    SplittableRandom random = new SplittableRandom(SEED);
    for (int cut = 0; cut <= file.logSize(); cut++) {
      CrashFile left = new CrashFile(file.lostPowerAfter(cut, random));

      repair(left);

      assertThat(left.killedAfter(left.logSize()))
          .as("seed %d, cut %d", SEED, cut)
          .isEqualTo(file.killedAfter(file.logSize()));
    }
  }

  private static void repair(CrashFile file) throws IOException, BlockException {
    try (Inspection inspection = Inspection.of(Path.of("h.vmdk"), Access.READ_WRITE, file)) {
      DiskRepair.apply(file, DiskRepair.wanted(inspection.parts().getFirst()));
    }
  }

  @Test
  void leavesAWholeDiskAlone() throws Exception {
    Path disk = Files.write(folder.resolve("h.vmdk"), DiskCheckTest.disk());

    DiskRepair.Result result = DiskRepair.repair(disk, folder.resolve("h.backup"));

    assertThat(result.changes()).isZero();
    assertThat(folder.resolve("h.backup")).doesNotExist();
  }

  @Test
  void refusesABackupThatItCanNotBe() throws Exception {
    byte[] damaged = DiskCheckTest.disk();
    damaged[72] = 1;
    Path disk = Files.write(folder.resolve("h.vmdk"), damaged);
    Path backup = folder.resolve("h.backup");
    DiskRepair.repair(disk, backup);

    assertThatThrownBy(() -> DiskRepair.repair(disk, backup))
        .isInstanceOf(FileAlreadyExistsException.class);
    byte[] saved = Files.readAllBytes(backup);
    for (int length = 0; length < saved.length; length++) {
      Path part = Files.write(folder.resolve("part"), Arrays.copyOf(saved, length));
      assertThatThrownBy(() -> DiskRepair.undo(disk, part)).isInstanceOf(FormatException.class);
    }
    for (int at = 0; at < saved.length; at++) {
      byte[] flipped = saved.clone();
      flipped[at] ^= 4;
      Path part = Files.write(folder.resolve("part"), flipped);
      assertThatThrownBy(() -> DiskRepair.undo(disk, part)).isInstanceOf(FormatException.class);
    }
    // Written since: the tables of then would lose what was written.
    try (VmdkDisk opened = VmdkDisk.open(disk, Access.READ_WRITE)) {
      opened.link().write(0, ByteBuffer.allocateDirect(512), Durability.BUFFERED, Blocking.ALLOWED);
    }
    assertThatThrownBy(() -> DiskRepair.undo(disk, backup))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("written since");
  }
}
