package io.filterd.daemon;

import static io.filterd.daemon.RunningFilterd.tool;
import static java.nio.charset.StandardCharsets.US_ASCII;
import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.daemon.control.ControlClient;
import io.filterd.daemon.control.Operation;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import io.filterd.daemon.control.Progress;
import io.filterd.daemon.control.Requests;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.SecureRandom;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.SplittableRandom;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestInstance.Lifecycle;
import org.junit.jupiter.api.io.TempDir;

/**
 * Files that are damaged, full or forbidden: each is told in one sentence with its exit code, never
 * with a stack trace, and another disk is served as if nothing had happened.
 */
@TestInstance(Lifecycle.PER_CLASS)
class BadInputIT {
  private static final long SEED = Long.getLong("test.seed", new SecureRandom().nextInt());
  private static final String GOOD = "vm1/good";
  private static final String BAD = "vm1/bad";

  /** Never attached, so never known. */
  private static final String REFUSED = "vm1/refused";

  private static final int SIZE_BYTES = 4 << 20;
  private static final int HEADER_BYTES = 80;
  private static final int SECTOR = 512;
  private static final int CAPACITY_AT = 12;
  private static final int DESCRIPTOR_AT = 28;
  private static final int SLOT_BYTES = 20 * SECTOR;
  private static final int DIRECTORY_AT = 56;
  private static final int OVERHEAD_AT = 64;
  private static final Set<Code> REFUSALS =
      EnumSet.of(Code.FORMAT, Code.KEY, Code.INVALID, Code.NOT_FOUND);

  private Path folder;
  private Path image;
  private Path bad;

  /** The file of a disk like the one that is served. */
  private byte[] whole;

  private RunningFilterd running;

  @BeforeAll
  void serveAGoodDisk(@TempDir Path folder) throws Exception {
    this.folder = folder;
    byte[] content = new byte[SIZE_BYTES];
    new Random(SEED).nextBytes(content);
    image = Files.write(folder.resolve("image.raw"), content);
    bad = folder.resolve("bad.vmdk");
    for (String name : List.of("full", "wide", "fixed", "kept")) {
      Files.createDirectory(folder.resolve(name));
    }
    RunningFilterd.configure(folder, 0);
    assertThat(RunningFilterd.filterd(folder, "provider", "init").exitCode()).isZero();
    startWithSmallDisk();
    call(Operation.DISK_IMPORT, importOf(GOOD, null));
    call(Operation.DISK_IMPORT, importOf("vm1/master", folder.resolve("master.vmdk").toString()));
    whole = Files.readAllBytes(folder.resolve("master.vmdk"));
    Files.write(folder.resolve("fixed/bad.vmdk"), whole);
    call(Operation.DISK_ATTACH, new Requests.AttachDisk(GOOD, null));
  }

  private void startWithSmallDisk() throws Exception {
    String script =
        RunningFilterd.HOME.resolve("filterd/daemon/src/test/scripts/small-disk.sh").toString();
    running = RunningFilterd.start(folder, List.of(script, folder.toString()));
  }

  private Requests.ImportDisk importOf(String name, @Nullable String file) {
    return new Requests.ImportDisk(name, image.toString(), "raw", "encrypted", file, false);
  }

  /** Asks the daemon without the second that a command takes to start. */
  private <A, R> R call(Operation<A, R> operation, A arguments) throws OperationException {
    return new ControlClient(folder.resolve("control.sock"))
        .call(operation, arguments, Progress.NONE);
  }

  @AfterEach
  void theOtherDiskIsServedAsEver() throws Exception {
    compare(running.uri(GOOD));
    assertThat(running.log()).doesNotContain("\tat ", "Exception");
  }

  @AfterAll
  void stop() {
    running.close();
  }

  private void compare(String uri) throws Exception {
    tool("qemu-img", "compare", "-f", "raw", "-F", "raw", image.toString(), uri);
  }

  private void attachIsRefused(int exitCode, String sentence) throws Exception {
    attachIsRefused(exitCode, sentence, bad);
  }

  private void attachIsRefused(int exitCode, String sentence, Path file) throws Exception {
    RunningFilterd.Result result =
        RunningFilterd.filterd(folder, "disk", "attach", REFUSED, "--file", file.toString());

    assertThat(result.output().strip().lines()).as("%s", result.output()).hasSize(1);
    assertThat(result.output()).startsWith("filterd: ").contains(sentence, file.toString());
    assertThat(result.exitCode()).isEqualTo(exitCode);
    assertThat(call(Operation.DISK_LIST, new Requests.None()).disks())
        .noneMatch(disk -> disk.name().equals(REFUSED));
  }

  /** Attaches damaged bytes: refused with a sentence, or the right content. */
  private boolean isRefused(byte[] damaged, String damage) throws Exception {
    Files.write(bad, damaged);
    try {
      call(Operation.DISK_ATTACH, new Requests.AttachDisk(BAD, bad.toString()));
    } catch (OperationException refusal) {
      assertThat(refusal.code()).as("%s: %s", damage, refusal.getMessage()).isIn(REFUSALS);
      assertThat(refusal.getMessage()).as(damage).doesNotContain("\n", "Exception");
      return true;
    }
    RunningFilterd.Result content =
        RunningFilterd.run(
            "qemu-img", "compare", "-f", "raw", "-F", "raw", image.toString(), running.uri(BAD));
    assertThat(content.exitCode()).as("%s: %s", damage, content.output()).isZero();
    call(Operation.DISK_DETACH, new Requests.Disk(BAD));
    return false;
  }

  private static ByteBuffer fields(byte[] bytes) {
    return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  /** Where the one of the two slots is that the header names. */
  private int descriptorAt() {
    return (int) fields(whole).getLong(DESCRIPTOR_AT) * SECTOR;
  }

  private byte[] flipped(int at, int bit) {
    byte[] damaged = whole.clone();
    damaged[at] = (byte) (damaged[at] ^ 1 << bit);
    return damaged;
  }

  @Test
  void flippedBitsAreRefusedOrDoNoHarm() throws Exception {
    SplittableRandom random = new SplittableRandom(SEED);
    // Each field of the header by its first byte.
    int[] fields = {0, 4, 8, 12, 20, 28, 36, 44, 48, 56, 64, 72, 73, 77};
    for (int at : fields) {
      int bit = random.nextInt(8);
      isRefused(flipped(at, bit), "seed %d: bit %d of byte %d".formatted(SEED, bit, at));
    }
    int textAt = descriptorAt();
    int textBytes = new String(whole, textAt, SLOT_BYTES, US_ASCII).indexOf('\0');
    assertThat(textBytes).isGreaterThan(500);
    int refused = 0;
    for (int i = 0; i < 50; i++) {
      boolean inHeader = random.nextInt(4) == 0;
      int at = inHeader ? random.nextInt(HEADER_BYTES) : textAt + random.nextInt(textBytes);
      int bit = random.nextInt(8);
      if (isRefused(flipped(at, bit), "seed %d: bit %d of byte %d".formatted(SEED, bit, at))) {
        refused++;
      }
    }
    assertThat(refused).as("seed %d", SEED).isBetween(10, 49);
  }

  @Test
  void truncatedFilesAreRefused() throws Exception {
    int overhead = (int) fields(whole).getLong(OVERHEAD_AT) * SECTOR;
    int[] lengths = {
      0,
      3,
      79,
      511,
      512,
      700,
      21 * SECTOR,
      overhead - 1,
      overhead,
      overhead + 65_536,
      whole.length - 65_536,
      whole.length - 4096,
      whole.length - 1
    };
    for (int length : lengths) {
      assertThat(isRefused(Arrays.copyOf(whole, length), length + " bytes"))
          .as("%d of %d bytes", length, whole.length)
          .isTrue();
    }
    Files.write(bad, Arrays.copyOf(whole, 700));
    attachIsRefused(6, "(expected: ");
  }

  @Test
  void aCapacityOfTwoExbibytesIsRefused() throws Exception {
    byte[] damaged = whole.clone();
    fields(damaged).putLong(CAPACITY_AT, 1L << 52);
    Files.write(bad, damaged);

    attachIsRefused(6, "capacity: 4503599627370496 sectors");
  }

  @Test
  void aGrainBehindTheEndOfTheFileIsRefused() throws Exception {
    byte[] damaged = whole.clone();
    ByteBuffer fields = fields(damaged);
    int directory = (int) fields.getLong(DIRECTORY_AT) * SECTOR;
    int table = fields.getInt(directory) * SECTOR;
    int sector = whole.length / SECTOR + 128 - whole.length / SECTOR % 128;
    assertThat(fields.getInt(table + 5 * Integer.BYTES)).isPositive();
    fields.putInt(table + 5 * Integer.BYTES, sector);
    Files.write(bad, damaged);

    attachIsRefused(6, "grain table entry: sector " + sector);
  }

  @Test
  void aCopyOfADiskIsNotAttachedBesideIt() throws Exception {
    Path copy = Files.copy(folder.resolve("master.vmdk"), folder.resolve("copy.vmdk"));
    call(Operation.DISK_ATTACH, new Requests.AttachDisk("vm1/master", null));

    RunningFilterd.Result refused =
        RunningFilterd.filterd(folder, "disk", "attach", REFUSED, "--file", copy.toString());
    assertThat(refused.output())
        .startsWith("filterd: disk " + REFUSED)
        .contains("has the key of disk vm1/master, which is attached")
        .hasLineCount(1);
    assertThat(refused.exitCode()).isEqualTo(4);

    compare(running.uri("vm1/master"));
    call(Operation.DISK_DETACH, new Requests.Disk("vm1/master"));
    call(Operation.DISK_ATTACH, new Requests.AttachDisk("vm1/copy", copy.toString()));
    compare(running.uri("vm1/copy"));
    call(Operation.DISK_DETACH, new Requests.Disk("vm1/copy"));
  }

  @Test
  void aTamperedWrappedKeyIsRefused() throws Exception {
    String text = new String(whole, StandardCharsets.ISO_8859_1);
    int at = text.indexOf("wrappedDek=", descriptorAt()) + "wrappedDek=".length() + 40;
    byte[] damaged = whole.clone();
    damaged[at] = (byte) (damaged[at] == 'A' ? 'B' : 'A');
    Files.write(bad, damaged);

    RunningFilterd.Result result =
        RunningFilterd.filterd(folder, "disk", "attach", REFUSED, "--file", bad.toString());

    assertThat(result.output())
        .startsWith("filterd: ")
        .contains(REFUSED, "changed")
        .hasLineCount(1);
    assertThat(result.exitCode()).isEqualTo(5);
  }

  @Test
  void aDiskThatIsDamagedWhileTheDaemonIsDownIsLockedAndNothingElseIs() throws Exception {
    Files.write(bad, whole);
    call(Operation.DISK_ATTACH, new Requests.AttachDisk(BAD, bad.toString()));
    running.close();
    Files.write(bad, flipped(CAPACITY_AT, 3));
    startWithSmallDisk();

    assertThat(running.filterd("disk", "list")).contains("locked", BAD + ": " + bad);
    RunningFilterd.Result refused = RunningFilterd.run("qemu-img", "info", running.uri(BAD));
    assertThat(refused.exitCode()).isNotZero();
    assertThat(refused.output()).contains("is locked: " + bad);

    Files.write(bad, whole);
    call(Operation.DISK_DETACH, new Requests.Disk(BAD));
    call(Operation.DISK_ATTACH, new Requests.AttachDisk(BAD, null));
    compare(running.uri(BAD));
    call(Operation.DISK_DETACH, new Requests.Disk(BAD));
  }

  private static String fullDisk() {
    return RunningFilterd.HOME.resolve("filterd/daemon/src/test/scripts/full-disk.py").toString();
  }

  @Test
  void aFullStorageRefusesWritesAndLosesNothing() throws Exception {
    String disk = "vm1/full";
    Path file = folder.resolve("full/disk.vmdk");
    running.filterd(
        "disk", "create", disk, "-s", "256MiB", "-p", "encrypted", "-f", file.toString());
    call(Operation.DISK_ATTACH, new Requests.AttachDisk(disk, null));

    String mebibytes = tool("/usr/bin/python3", fullDisk(), "fill", running.uri(disk)).strip();
    compare(running.uri(GOOD));
    running.filterd("disk", "detach", disk);
    call(Operation.DISK_ATTACH, new Requests.AttachDisk(disk, null));
    tool("/usr/bin/python3", fullDisk(), "check", running.uri(disk), mebibytes);

    // Nor is anything left of what does not fit.
    Path second = folder.resolve("full/second.vmdk");
    RunningFilterd.Result result =
        RunningFilterd.filterd(
            folder,
            "disk",
            "import",
            image.toString(),
            "vm1/second",
            "--format",
            "raw",
            "--policy",
            "encrypted",
            "--file",
            second.toString());
    assertThat(result.output()).startsWith("filterd: ").contains("space").hasLineCount(1);
    assertThat(result.exitCode()).isEqualTo(7);
    assertThat(call(Operation.DISK_LIST, new Requests.None()).disks())
        .noneMatch(each -> each.name().equals("vm1/second"));
    call(Operation.DISK_DETACH, new Requests.Disk(disk));

    running.close();
    assertThat(folder.resolve("kept")).isDirectoryContaining("glob:**/disk.vmdk");
    assertThat(folder.resolve("kept/second.vmdk")).doesNotExist();
    assertThat(tool("qemu-img", "check", "-f", "vmdk", folder.resolve("kept/disk.vmdk").toString()))
        .contains("No errors");
    startWithSmallDisk();
  }

  @Test
  void aFullStorageHasRoomForWhatSaysWhereThingsAre() throws Exception {
    String disk = "vm1/wide";
    Path file = folder.resolve("wide/disk.vmdk");
    call(
        Operation.DISK_CREATE,
        new Requests.CreateDisk(disk, 64L << 30, "encrypted", file.toString(), false));
    call(Operation.DISK_ATTACH, new Requests.AttachDisk(disk, null));

    tool("/usr/bin/python3", fullDisk(), "scatter", running.uri(disk));
    call(Operation.DISK_DETACH, new Requests.Disk(disk));
  }

  @Test
  void anImportTellsWhatItsSourceLacks() throws Exception {
    Path stream = folder.resolve("stream.vmdk");
    String options = "subformat=streamOptimized";
    tool("qemu-img", "convert", "-O", "vmdk", "-o", options, image.toString(), stream.toString());
    byte[] bytes = Files.readAllBytes(stream);
    Files.write(stream, Arrays.copyOf(bytes, bytes.length / 2));

    String output =
        running.filterd("disk", "import", stream.toString(), "vm1/half", "--policy", "encrypted");

    assertThat(output)
        .contains("warning")
        .contains(stream + ": cut off at byte " + bytes.length / 2 + "; missing grains");
    assertThat(running.filterd("disk", "info", "vm1/half")).doesNotContain("warning");
  }

  @Test
  void aFileThatCanNotBeWrittenIsRefused() throws Exception {
    Path forbidden = Files.write(folder.resolve("forbidden.vmdk"), whole);
    Files.setPosixFilePermissions(forbidden, PosixFilePermissions.fromString("r--r--r--"));

    attachIsRefused(7, "may not be written", forbidden);
    attachIsRefused(7, "may not be written", folder.resolve("fixed/bad.vmdk"));
  }

  @Test
  void aDiskThatCanNotBeNotedIsNotMade() throws Exception {
    Path blocked = Files.createDirectory(folder.resolve("inventory.json.new"));

    RunningFilterd.Result result =
        RunningFilterd.filterd(
            folder, "disk", "create", "vm2/new", "--size", "8MiB", "--policy", "encrypted");

    assertThat(result.output()).startsWith("filterd: " + blocked).hasLineCount(1);
    assertThat(result.exitCode()).isEqualTo(7);
    assertThat(folder.resolve("disks/vm2/new.vmdk")).doesNotExist();
    Files.delete(blocked);
    call(
        Operation.DISK_CREATE,
        new Requests.CreateDisk("vm2/new", 8 << 20, "encrypted", null, false));
  }

  @Test
  void filesThatAreNotThereAreNotFound() throws Exception {
    attachIsRefused(3, "there is no such file", folder.resolve("none.vmdk"));

    RunningFilterd.Result result =
        RunningFilterd.filterd(
            folder,
            "disk",
            "export",
            GOOD,
            folder.resolve("none/copy.raw").toString(),
            "--format",
            "raw");
    assertThat(result.output()).startsWith("filterd: ").contains("or folder").hasLineCount(1);
    assertThat(result.exitCode()).isEqualTo(3);
  }
}
