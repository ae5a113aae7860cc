package io.filterd.daemon;

import static io.filterd.daemon.RunningFilterd.tool;
import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.daemon.control.KeyOperations;
import io.filterd.daemon.control.Operation;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.Requests;
import io.filterd.daemon.control.Results;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * kill -9 at random moments of shallow recrypts of twenty disks, some attached, some with
 * snapshots: every disk opens afterwards with its old or its new key, and what was begun can be
 * finished.
 */
class RecryptCrashIT {
  private static final long SEED = Long.getLong("test.seed", new SecureRandom().nextInt());

  /** For each kind of providers. */
  private static final int POINTS = Integer.getInteger("recrypt.points", 12);

  private static final int DISKS = 20;

  /** Their VMs have one key for each disk. */
  private static final int ALONE = 4;

  /** Who shares keys: four VMs of four disks, and four disks. */
  private static final int OWNERS = 8;

  private static final Path SCRIPT =
      RunningFilterd.HOME.resolve("filterd/daemon/src/test/scripts/read-patterns.py");

  @TempDir Path folder;
  private final SplittableRandom random = new SplittableRandom(SEED);
  private String from = "a";
  private String to = "b";
  private int begun;
  private int killedAtWork;

  static List<TwoProviders> providers() {
    return List.of(TwoProviders.ofTypeNative(), TwoProviders.ofTypeKmip());
  }

  private static String disk(int number) {
    return "vm" + number / 4 + "/disk" + number % 4;
  }

  private static boolean isAttached(int number) {
    return number % 2 == 0;
  }

  private static int snapshots(int number) {
    return number % 3 == 0 ? 2 : 0;
  }

  @ParameterizedTest
  @MethodSource("providers")
  void everyDiskOpensAfterEveryKill(TwoProviders providers)
      throws ExecutionException, IOException, InterruptedException, OperationException {
    try (providers) {
      writePolicies();
      providers.prepare(folder);
      RunningFilterd running = RunningFilterd.start(folder);
      makeDisks(running);
      long nanos = System.nanoTime();
      migrate(running);
      long wholeNanos = System.nanoTime() - nanos;
      turn();
      int point = 0;
      while (killedAtWork < POINTS) {
        assertThat(point++).as("seed %s: kills", SEED).isLessThan(3 * POINTS);
        // As far as is likely to be before its end.
        kill(running, random.nextLong(1 + wholeNanos * disksLeft() / DISKS));
        running = RunningFilterd.start(folder);
        assertAllOpen(running, point);
        if (isFinished(running)) {
          turn();
        }
      }
      RunningFilterd last = running;
      finish(last);
      if (to.equals("a")) {
        turn();
        migrate(last);
      }
      // What was made before a kill was used after it, and not made again.
      assertThat(keysEverMade())
          .as("seed %s", SEED)
          .isLessThanOrEqualTo((long) OWNERS * (begun + 1));
      last.close();
      providers.loseA(folder);
      try (RunningFilterd without = RunningFilterd.start(folder)) {
        assertAllOpen(without, POINTS);
      }
    }
  }

  private void writePolicies() throws IOException {
    Path own = Files.createDirectory(folder.resolve("policies"));
    Files.writeString(own.resolve("shared.yaml"), "version: 1\nname: shared\nencryption: {}\n");
    Files.writeString(
        own.resolve("alone.yaml"), "version: 1\nname: alone\nencryption: {kek: per-disk}\n");
  }

  private static void makeDisks(RunningFilterd running) throws OperationException, IOException {
    for (int i = 0; i < DISKS; i++) {
      String policy = i < DISKS - ALONE ? "shared" : "alone";
      running.call(
          Operation.DISK_CREATE, new Requests.CreateDisk(disk(i), 1 << 20, policy, null, false));
      running.call(Operation.DISK_ATTACH, new Requests.AttachDisk(disk(i), null));
      write(running, i, 0);
      for (int j = 0; j < snapshots(i); j++) {
        running.call(Operation.SNAPSHOT_CREATE, new Requests.CreateSnapshot(disk(i), null));
        write(running, i, j + 1);
      }
      if (!isAttached(i)) {
        running.call(Operation.DISK_DETACH, new Requests.Disk(disk(i)));
      }
    }
  }

  private static int pattern(int disk, int part) {
    return 1 + 3 * disk + part;
  }

  private static void write(RunningFilterd running, int disk, int part) throws IOException {
    tool(
        "qemu-io",
        "-f",
        "raw",
        "-c",
        "write -P %d %dk 64k".formatted(pattern(disk, part), part * 64),
        "-c",
        "flush",
        running.uri(disk(disk)));
  }

  private void turn() {
    String former = from;
    from = to;
    to = former;
  }

  private KeyOperations.Recrypted migrate(RunningFilterd running) throws OperationException {
    begun++;
    return running.call(
        KeyOperations.KEY_RECRYPT, new KeyOperations.Recrypt(null, null, from, to, false, false));
  }

  private boolean isUnfinished() {
    return Files.exists(folder.resolve("recrypt.json"));
  }

  private long disksLeft() throws IOException {
    return isUnfinished()
        ? Pattern.compile("\"done\":false")
            .matcher(Files.readString(folder.resolve("recrypt.json")))
            .results()
            .count()
        : DISKS;
  }

  private KeyOperations.Recrypted goOn(RunningFilterd running) throws OperationException {
    return isUnfinished()
        ? running.call(KeyOperations.KEY_RECRYPT, KeyOperations.Recrypt.resumed())
        : migrate(running);
  }

  /** Kills the daemon at some moment of a recrypt. */
  private void kill(RunningFilterd running, long afterNanos)
      throws ExecutionException, InterruptedException {
    CompletableFuture<KeyOperations.Recrypted> recrypt =
        CompletableFuture.supplyAsync(
            () -> {
              try {
                return goOn(running);
              } catch (OperationException killed) {
                throw new IllegalStateException(killed);
              }
            });
    try {
      KeyOperations.Recrypted done = recrypt.get(afterNanos, TimeUnit.NANOSECONDS);
      assertThat(done.exitStatus()).as("seed %s: %s", SEED, done).isZero();
    } catch (TimeoutException atWork) {
      killedAtWork++;
    }
    running.kill();
    recrypt.exceptionally(killed -> null).join();
  }

  /** Whether no disk needs the former provider: nothing is left to do, and it was begun. */
  private boolean isFinished(RunningFilterd running) throws OperationException {
    Results.Encryption encryption =
        running.call(Operation.DISK_INFO, new Requests.Disk(disk(0))).encryption();
    return !isUnfinished() && encryption != null && encryption.provider().equals(to);
  }

  private void finish(RunningFilterd running) throws OperationException {
    KeyOperations.Recrypted done = goOn(running);
    assertThat(done.exitStatus()).as("seed %s: %s", SEED, done).isZero();
    assertThat(isUnfinished()).isFalse();
  }

  /** Also waits for the disks that are being opened, as their clients do. */
  private static void assertAllOpen(RunningFilterd running, int point)
      throws OperationException, IOException {
    for (int i = 0; i < DISKS; i++) {
      if (!isAttached(i)) {
        running.call(Operation.DISK_ATTACH, new Requests.AttachDisk(disk(i), null));
      }
    }
    List<String> command =
        new ArrayList<>(List.of("/usr/bin/python3", SCRIPT.toString(), running.uri("")));
    for (int i = 0; i < DISKS; i++) {
      int number = i;
      command.add(
          disk(i)
              + ":"
              + IntStream.rangeClosed(0, snapshots(i))
                  .mapToObj(part -> Integer.toString(pattern(number, part)))
                  .collect(Collectors.joining(",")));
    }
    RunningFilterd.Result read = RunningFilterd.run(command.toArray(String[]::new));
    assertThat(read.exitCode())
        .as("seed %s, point %d: %s %s", SEED, point, read.output(), running.log())
        .isZero();
    for (int i = 0; i < DISKS; i++) {
      if (!isAttached(i)) {
        running.call(Operation.DISK_DETACH, new Requests.Disk(disk(i)));
      }
    }
  }

  private long keysEverMade() throws IOException {
    String inventory = Files.readString(folder.resolve("inventory.json"));
    return Pattern.compile("\"owner\"").matcher(inventory).results().count();
  }
}
