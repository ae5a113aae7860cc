package io.filterd.daemon;

import static io.filterd.daemon.RunningFilterd.run;
import static io.filterd.daemon.RunningFilterd.tool;
import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.daemon.control.Operation;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.Progress;
import io.filterd.daemon.control.Requests;
import io.filterd.daemon.control.Results;
import io.filterd.kmip.server.PyKmipServer;
import io.filterd.kmip.server.TestPki;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Disks whose keys are in clusters that lose servers, don't replicate, or aren't trusted. */
class KmipClusterIT {
  private static final Logger LOG = LoggerFactory.getLogger(KmipClusterIT.class);
  private static final String DISK = "vm1/disk0";

  @TempDir Path folder;
  private final PyKmipServer first;
  private KmsSite site = new KmsSite(Path.of(""));

  KmipClusterIT(@TempDir Path server) {
    first = PyKmipServer.start(server.resolve("first"));
  }

  @BeforeEach
  void prepare() throws IOException {
    site = new KmsSite(folder);
    site.shows(first, "filterd");
  }

  private RunningFilterd withDisk() throws IOException, OperationException {
    RunningFilterd running = RunningFilterd.start(folder);
    site.create(DISK, 16 << 20, "encrypted");
    site.attach(DISK);
    tool("qemu-io", "-f", "raw", "-c", "write -P 0x4b 0 16M", "-c", "flush", running.uri(DISK));
    return running;
  }

  private static void assertHoldsItsData(RunningFilterd running) throws IOException {
    assertThat(tool("qemu-io", "-r", "-f", "raw", "-c", "read -P 0x4b 0 16M", running.uri(DISK)))
        .doesNotContain("failed");
  }

  /** Detaches the disk, which wipes its key, and attaches it; how long that took. */
  private long attachMillis() throws OperationException {
    site.control().call(Operation.DISK_DETACH, new Requests.Disk(DISK), Progress.NONE);
    long start = System.nanoTime();
    site.attach(DISK);
    return (System.nanoTime() - start) / 1_000_000;
  }

  @Test
  void losesNothingWithOneOfTwoServers() throws Exception {
    try (first;
        PyKmipServer second = first.startReplica(folder.resolve("second"))) {
      site.uses(
          ", connectTimeout: 2s, handshakeTimeout: 2s, answerTimeout: 2s",
          first.authorities(),
          first,
          second);
      try (RunningFilterd running = withDisk()) {
        first.kill();
        long killed = attachMillis();
        assertHoldsItsData(running);
        assertThat(site.provider().health()).isEqualTo("yellow");

        first.restart();
        second.freeze();
        long frozen = attachMillis();
        assertHoldsItsData(running);
        LOG.info("attached in {} ms with a server killed, {} ms with one frozen", killed, frozen);
        // Of a connection that was kept, a new one, and the other server.
        assertThat(List.of(killed, frozen)).allSatisfy(ms -> assertThat(ms).isLessThan(3 * 2000));
        second.thaw();
        assertThat(running.filterd("provider", "status", "--probe")).contains("green");
      }
    }
  }

  @Test
  void aKeyOfAServerThatDoesNotReplicateOpensNothing() throws Exception {
    try (first;
        PyKmipServer stranger = first.startStranger(folder.resolve("stranger"))) {
      // The stranger's key "1" is another one.
      site.uses("", first.authorities(), stranger);
      try (RunningFilterd other = RunningFilterd.start(folder)) {
        assertThat(other.pid()).isPositive();
        site.create("other/disk0", 1 << 20, "encrypted");
      }
      site.uses(", readBack: 1", first.authorities(), first, stranger);
      withDisk().kill();
      Path file = folder.resolve("disks/vm1/disk0.vmdk");
      byte[] before = Files.readAllBytes(file);

      first.kill();
      try (RunningFilterd running = RunningFilterd.start(folder)) {
        Awaitility.await().until(() -> site.provider().waitingDisks() == 1);
        RunningFilterd.Result refused =
            run("qemu-io", "-f", "raw", "-c", "write 0 512", running.uri(DISK));
        assertThat(refused.exitCode()).isNotZero();
        assertThat(running.filterd("disk", "list"))
            .contains("this is another key of the same name");
        Results.Provider alarm = site.provider();
        assertThat(alarm.health()).isEqualTo("red");
        assertThat(alarm.details().toString())
            .contains(stranger.host() + ":" + stranger.port() + ": red", "does not replicate");
        assertThat(running.log()).contains("health=RED", "does not replicate");
        assertThat(Arrays.equals(Files.readAllBytes(file), before)).as("untouched").isTrue();

        first.restart();
        site.awaitAttached(1, Duration.ofSeconds(15));
        assertHoldsItsData(running);
        assertThat(running.filterd("provider", "status", "--probe"))
            .contains("yellow", "does not replicate");
      }
    }
  }

  @Test
  void aCertificateThatTheKmsRefusesLocksDisksWithoutHaste() throws Exception {
    try (first) {
      site.uses("", first.authorities(), first);
      withMoreDisks().kill();
      site.shows(first, "noeku");
      assertLockedForGood("AUTHENTICATION_NOT_SUCCESSFUL");
    }
  }

  @Test
  void aKmsOfAnUnknownAuthorityIsNotAsked() throws Exception {
    try (first) {
      site.uses("", first.authorities(), first);
      withMoreDisks().kill();
      site.uses("", new TestPki("Another CA").writeTo(folder.resolve("another.crt")), first);
      assertLockedForGood("certificate");
    }
  }

  private RunningFilterd withMoreDisks() throws IOException, OperationException {
    RunningFilterd running = withDisk();
    for (String disk : List.of("vm1/disk1", "vm2/disk0")) {
      site.create(disk, 1 << 20, "encrypted");
      site.attach(disk);
    }
    return running;
  }

  /** Only an operator can change that: nobody knocks every few seconds. */
  private void assertLockedForGood(String... why) throws Exception {
    try (RunningFilterd running = RunningFilterd.start(folder)) {
      Awaitility.await().until(() -> site.provider().waitingDisks() == 3);
      RunningFilterd.Result refused =
          run("qemu-io", "-r", "-f", "raw", "-c", "read 0 512", running.uri(DISK));
      assertThat(refused.exitCode()).isNotZero();
      assertThat(refused.output()).contains("waits for key provider kms").contains(why);
      assertThat(running.filterd("disk", "list")).contains(why);
      assertThat(site.provider().health()).isEqualTo("red");
      assertThat(site.provider().details().toString()).contains(why);
      long connections = connectionsSoFar();
      Awaitility.await()
          .during(Duration.ofSeconds(6))
          .atMost(Duration.ofSeconds(10))
          .until(() -> connectionsSoFar() == connections);
      assertThat(running.log()).doesNotContain("answers again");
      assertThat(RunningFilterd.filterd(folder, "key", "unlock", "--all").exitCode()).isEqualTo(5);
    }
  }

  private long connectionsSoFar() throws IOException {
    try (var lines = Files.lines(first.log())) {
      return lines.filter(line -> line.contains("Receiving incoming connection")).count();
    }
  }
}
