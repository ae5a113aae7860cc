package io.filterd.daemon;

import static io.filterd.daemon.RunningFilterd.run;
import static io.filterd.daemon.RunningFilterd.tool;
import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.filterd.daemon.control.OperationException;
import io.filterd.keys.KeyReference;
import io.filterd.kmip.server.PyKmipServer;
import io.filterd.vmdk.Access;
import io.filterd.vmdk.Locker;
import io.filterd.vmdk.VmdkDisk;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** A disk whose key is in a real KMS (Debian's python3-pykmip), which goes and comes. */
class KmipIT {
  private static final Logger LOG = LoggerFactory.getLogger(KmipIT.class);
  private static final String DISK = "vm1/disk0";
  private static final int SIZE_BYTES = 32 << 20;
  private static final int SEED = 5696;

  @TempDir Path folder;
  private final PyKmipServer kms;
  private KmsSite site = new KmsSite(Path.of(""));

  KmipIT(@TempDir Path server) {
    kms = PyKmipServer.start(server.resolve("kms"));
  }

  @BeforeEach
  void prepare() throws IOException {
    site = new KmsSite(folder);
    site.shows(kms, "filterd");
    site.uses("", kms.authorities(), kms);
  }

  private Path image() {
    return folder.resolve("image.raw");
  }

  /** A daemon with one disk, which holds an image. */
  private RunningFilterd withDisk() throws IOException, OperationException {
    byte[] content = new byte[SIZE_BYTES];
    new Random(SEED).nextBytes(content);
    Files.write(image(), content);
    RunningFilterd running = RunningFilterd.start(folder);
    site.create(DISK, SIZE_BYTES, "encrypted");
    site.attach(DISK);
    tool("nbdcopy", "--flush", image().toString(), running.uri(DISK));
    return running;
  }

  private void assertHoldsTheImage(RunningFilterd running) throws IOException {
    Path copy = folder.resolve("copy.raw");
    tool("nbdcopy", running.uri(DISK), copy.toString());
    assertThat(Files.mismatch(copy, image())).as("first byte that differs").isEqualTo(-1);
  }

  private Path file() {
    return folder.resolve("disks/vm1/disk0.vmdk");
  }

  @Test
  void aDiskUnlocksByItselfAsSoonAsItsKmsAnswers() throws Exception {
    try (kms) {
      withDisk().kill();

      RunningFilterd second = RunningFilterd.start(folder);
      site.awaitAttached(1, Duration.ofSeconds(30));
      assertHoldsTheImage(second);
      second.kill();

      kms.kill();
      try (RunningFilterd third = RunningFilterd.start(folder)) {
        Awaitility.await().until(() -> site.provider().waitingDisks() == 1);
        RunningFilterd.Result refused =
            run("qemu-io", "-r", "-f", "raw", "-c", "read 0 512", third.uri(DISK));
        assertThat(refused.exitCode()).isNotZero();
        assertThat(refused.output())
            .contains("waits for key provider kms", "KMS " + kms.host() + ":" + kms.port());
        assertThat(run("nbdinfo", "--list", "nbd://127.0.0.1:" + third.port()).output())
            .contains(DISK);
        assertThat(third.filterd("disk", "list")).contains("locked", "waits for key provider kms");
        assertThat(third.filterd("provider", "status", "--probe")).contains("red");
        assertThat(RunningFilterd.filterd(folder, "key", "unlock", "--all").exitCode())
            .isEqualTo(5);

        KmsSite.Return back = KmsSite.returns(kms);
        site.awaitAttached(1, Duration.ofSeconds(10));
        LOG.info("unlocked {} ms after the KMS's return", back.millisSince());
        assertHoldsTheImage(third);
        back.up().join();
        assertThat(third.filterd("provider", "status", "--probe")).contains("green");
        assertThat(third.log().split("disk=vm1/disk0 is locked", -1)).as("alarms").hasSize(2);
      }
    }
  }

  @Test
  void aDiskThatRunsNeverNoticesThatItsKmsIsAway() throws Exception {
    try (kms;
        RunningFilterd running = withDisk()) {
      long with = worstLatencyMillis(running, "with");
      kms.freeze();
      long frozen = worstLatencyMillis(running, "frozen");
      kms.thaw();
      kms.kill();
      long without = worstLatencyMillis(running, "without");
      LOG.info(
          "slowest request: {} ms with the KMS, {} ms while it is frozen, {} ms without it",
          with,
          frozen,
          without);
      assertThat(List.of(frozen, without)).allSatisfy(ms -> assertThat(ms).isLessThan(5000));
    }
  }

  /** Reads and writes for some seconds, while others ask how the provider is. */
  private long worstLatencyMillis(RunningFilterd running, String name) throws IOException {
    Path result = folder.resolve(name + ".json");
    Process fio =
        new ProcessBuilder(
                "fio",
                "--name=busy",
                "--ioengine=nbd",
                "--uri=" + running.uri(DISK),
                "--rw=randrw",
                "--bs=4k",
                "--size=16m",
                "--iodepth=8",
                "--time_based",
                "--runtime=4",
                "--output-format=json",
                "--output=" + result)
            .redirectErrorStream(true)
            .redirectOutput(folder.resolve("fio.log").toFile())
            .start();
    while (fio.isAlive()) {
      running.filterd("provider", "status", "--probe");
    }
    assertThat(fio.exitValue()).as("%s", Files.readString(folder.resolve("fio.log"))).isZero();
    String text = Files.readString(result);
    JsonNode job =
        new ObjectMapper().readTree(text.substring(text.indexOf('{'))).path("jobs").path(0);
    assertThat(job.path("error").asInt(-1)).isZero();
    long worst = 0;
    for (String kind : List.of("read", "write")) {
      assertThat(job.path(kind).path("total_ios").asLong()).isPositive();
      worst = Math.max(worst, job.path(kind).path("clat_ns").path("max").asLong());
    }
    return worst / 1_000_000;
  }

  @Test
  void theHeapOfAnIdleDaemonHoldsNoKey() throws Exception {
    Path dump = folder.resolve("heap.hprof");
    try (kms) {
      withDisk().kill();
      Locker locker;
      try (VmdkDisk disk = VmdkDisk.open(file(), Access.READ_ONLY)) {
        locker = disk.encryption().orElseThrow().keySafe().getFirst();
      }
      try (RunningFilterd running = RunningFilterd.start(folder)) {
        site.awaitAttached(1, Duration.ofSeconds(30));
        assertHoldsTheImage(running);
        // With its connections go the buffers of TLS.
        Awaitility.await().until(() -> KmsSite.connections(kms) == 0);
        tool(
            Path.of(System.getProperty("java.home"), "bin", "jcmd").toString(),
            Long.toString(running.pid()),
            "GC.heap_dump",
            dump.toString());
      }
      byte[] kek =
          site.secret(
              kms, new KeyReference(locker.provider(), locker.keyId(), locker.checkValue()));
      byte[] dek = dek(kek);
      String heap = Files.readString(dump, StandardCharsets.ISO_8859_1);
      assertThat(found(heap, kek)).as("KEK in the heap").isFalse();
      for (int start = 0; start < 64; start += 16) {
        assertThat(found(heap, Arrays.copyOfRange(dek, start, start + 16)))
            .as("DEK in the heap")
            .isFalse();
        if (start < 32) {
          assertThat(found(heap, Arrays.copyOfRange(kek, start, start + 16))).isFalse();
        }
      }
      // The search finds what is there.
      assertThat(heap).contains("io/filterd/keys/kmip/KmipProvider");
    }
  }

  private static boolean found(String heap, byte[] secret) {
    return heap.contains(new String(secret, StandardCharsets.ISO_8859_1));
  }

  /** The data key, by the tool that shows how to read a disk without filterd. */
  private byte[] dek(byte[] kek) throws IOException {
    String dek =
        tool(
            "/usr/bin/python3",
            "-c",
            """
            import sys
            sys.path.insert(0, sys.argv[1])
            import decrypt
            disk = open(sys.argv[2], 'rb')
            entries = decrypt.read_entries(decrypt.read_descriptor(disk)[0])
            print(decrypt.unwrap(entries, bytes.fromhex(sys.argv[3])).hex())
            """,
            RunningFilterd.HOME.resolve("filterd/vmdk/docs").toString(),
            file().toString(),
            HexFormat.of().formatHex(kek));
    byte[] key = HexFormat.of().parseHex(dek.strip());
    assertThat(key).hasSize(64);
    return key;
  }
}
