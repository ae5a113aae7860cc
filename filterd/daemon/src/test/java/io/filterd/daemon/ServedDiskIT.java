package io.filterd.daemon;

import static io.filterd.daemon.RunningFilterd.tool;
import static java.nio.charset.StandardCharsets.US_ASCII;
import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.daemon.control.ControlClient;
import io.filterd.daemon.control.Operation;
import io.filterd.daemon.control.Progress;
import io.filterd.daemon.control.Requests;
import io.filterd.keys.BackupRule;
import io.filterd.keys.KeyEncryptionKey;
import io.filterd.keys.KeyReference;
import io.filterd.keys.NativeProvider;
import io.filterd.vmdk.Access;
import io.filterd.vmdk.Locker;
import io.filterd.vmdk.VmdkDisk;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A disk under the policy that encrypts, served by the real daemon to real clients. */
class ServedDiskIT {
  private static final String DISK = "vm1/disk0";
  private static final int SIZE_BYTES = 64 << 20;
  private static final String PYTHON = "/usr/bin/python3";

  @TempDir Path folder;
  private Path image = Path.of("");

  @BeforeEach
  void makeContent() throws Exception {
    long seed = Long.getLong("test.seed", 20_261_124L);
    Random random = new Random(seed);
    byte[] content = new byte[SIZE_BYTES];
    byte[] text = "A plain text of 32 bytes, again.".getBytes(US_ASCII);
    for (int at = 0; at < 8 << 20; at += text.length) {
      System.arraycopy(text, 0, content, at, text.length);
    }
    byte[] noise = new byte[3 << 20];
    random.nextBytes(noise);
    System.arraycopy(noise, 0, content, (20 << 20) + 12_345, noise.length);
    image = Files.write(folder.resolve("image.raw"), content);
  }

  private RunningFilterd withDisk() throws Exception {
    RunningFilterd.configure(folder, 0);
    assertThat(RunningFilterd.filterd(folder, "provider", "init").exitCode()).isZero();
    RunningFilterd running = RunningFilterd.start(folder);
    running.filterd("disk", "create", DISK, "--size", "64MiB", "--policy", "encrypted");
    running.filterd("disk", "attach", DISK);
    return running;
  }

  private void store(RunningFilterd running) throws Exception {
    tool(
        "qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", image.toString(), running.uri(DISK));
  }

  private void compare(String uri) throws Exception {
    tool("qemu-img", "compare", "-f", "raw", "-F", "raw", image.toString(), uri);
  }

  @Test
  void clientsReadBackWhatTheyWroteAlsoAfterARestart() throws Exception {
    Path copy = folder.resolve("copy.raw");
    try (RunningFilterd running = withDisk()) {
      store(running);
      compare(running.uri(DISK));
      compare(running.unixUri(DISK));
      tool("nbdcopy", "--connections=4", running.uri(DISK), copy.toString());
      assertThat(Files.mismatch(copy, image)).isEqualTo(-1);
      assertThat(tool("nbdinfo", "--json", running.uri(DISK)))
          .contains("\"export-size\": 67108864");
      assertThat(tool("nbdinfo", "--list", "nbd://127.0.0.1:" + running.port())).contains(DISK);
      assertThat(tool("nbdinfo", "--map", running.uri(DISK))).contains("hole,zero");
      assertThat(tool("nbdinfo", "--map=qemu:allocation-depth", running.uri(DISK)))
          .contains("1  local", "0  absent");
      assertThat(running.filterd("disk", "list")).contains(DISK, "attached");
      assertThat(running.filterd("disk", "info", DISK, "--json")).contains("\"compliant\"");
    }
    try (RunningFilterd again = RunningFilterd.start(folder)) {
      compare(again.uri(DISK));
      tool(
          "fio",
          "--name=verify",
          "--ioengine=nbd",
          "--uri=" + again.uri(DISK),
          "--rw=randwrite",
          "--bs=4k",
          "--size=16m",
          "--offset=40m",
          "--iodepth=16",
          "--verify=crc32c",
          "--do_verify=1",
          "--verify_fatal=1",
          "--verify_state_save=0");
      tool(
          PYTHON,
          "-c",
          """
          import nbd, sys
          h = nbd.NBD()
          h.connect_uri(sys.argv[1])
          h.pwrite(b'x' * 1000, 1234)
          assert h.pread(1002, 1233)[1:-1] == b'x' * 1000
          h.zero(700, 1300)
          assert h.pread(900, 1234) == b'x' * 66 + bytes(700) + b'x' * 134
          h.pwrite(b'y' * 512, 512, nbd.CMD_FLAG_FUA)
          h.trim(65536 * 3, 65536 * 100)
          assert h.pread(65536 * 3, 65536 * 100) == bytes(65536 * 3)
          h.flush()
          h.shutdown()
          """,
          again.uri(DISK));
    }
    assertThat(tool("qemu-img", "check", "-f", "vmdk", disk().toString())).contains("No errors");
  }

  @Test
  void theToolsOfQemuAndLibnbdUseItByTcpAndByUnixSocket() throws Exception {
    try (RunningFilterd running = withDisk()) {
      List<String> uris = List.of(running.uri(DISK), running.unixUri(DISK));
      for (int i = 0; i < 2; i++) {
        // Written by one way, read by the other.
        String there = uris.get(i);
        String back = uris.get(1 - i);
        String pattern = "-P 0x6" + i;
        tool(
            "qemu-io", "-f", "raw", "-c", "write -f " + pattern + " 1M 192k", "-c", "flush", there);
        tool("qemu-io", "-f", "raw", "-c", "write -z 1088k 64k", there);
        assertThat(
                tool(
                    "qemu-io",
                    "-f",
                    "raw",
                    "-c",
                    "read " + pattern + " 1M 64k",
                    "-c",
                    "read -P 0 1088k 64k",
                    "-c",
                    "read " + pattern + " 1152k 64k",
                    "-c",
                    "discard 1M 192k",
                    "-c",
                    "read -P 0 1M 192k",
                    back))
            .doesNotContain("verification failed");
        nbdsh(
            "--base-allocation",
            "-u",
            there,
            "-c",
            """
            h.pwrite(b'n' * 65536, 4 << 20)
            h.pwrite(b'b' * 700, (4 << 20) + 1000)
            h.zero(65536, (4 << 20) + 65536)
            h.flush()
            """);
        nbdsh(
            "--base-allocation",
            "-u",
            back,
            "-c",
            """
            read = h.pread(131072, 4 << 20)
            assert read == b'n' * 1000 + b'b' * 700 + b'n' * 63836 + bytes(65536)
            found = []
            h.block_status(131072, 4 << 20, lambda name, at, entries, error: found.extend(entries))
            print(found)
            assert found[:2] == [65536, 0] and found[2] >= 65536 and found[3] == 3
            h.trim(131072, 4 << 20)
            assert h.pread(131072, 4 << 20) == bytes(131072)
            """);
      }
    }
  }

  /** Runs nbdsh with Debian's Python, which has its module, whatever is first in the path. */
  private static void nbdsh(String... arguments) throws Exception {
    List<String> command = new ArrayList<>(List.of("env", "PATH=/usr/bin:/bin", "nbdsh"));
    command.addAll(List.of(arguments));
    tool(command.toArray(String[]::new));
  }

  private Path disk() {
    return folder.resolve("disks/vm1/disk0.vmdk");
  }

  @Test
  void theFileHoldsCiphertextThatOnlyTheKeyOpens() throws Exception {
    Path dump = folder.resolve("heap.hprof");
    try (RunningFilterd running = withDisk()) {
      store(running);
      compare(running.uri(DISK));
      Process busy = startReadingAndWriting(running);
      long before = requestsOfTheBusiestClient();
      tool(
          Path.of(System.getProperty("java.home"), "bin", "jcmd").toString(),
          Long.toString(running.pid()),
          "GC.heap_dump",
          dump.toString());
      Awaitility.await().until(() -> requestsOfTheBusiestClient() > before);
      assertThat(busy.isAlive()).as("fio still runs").isTrue();
      busy.destroy();
      busy.onExit().join();
      tool("qemu-io", "-f", "raw", "-c", "write -z 40M 16M", running.uri(DISK));
    }

    Path stored = folder.resolve("stored.raw");
    tool("qemu-img", "convert", "-f", "vmdk", "-O", "raw", disk().toString(), stored.toString());
    byte[] ciphertext = Arrays.copyOf(Files.readAllBytes(stored), 8 << 20);
    assertThat(entropyBitsPerByte(ciphertext)).isGreaterThan(7.99);
    Set<String> units = new HashSet<>();
    for (int at = 0; at < ciphertext.length; at += 4096) {
      units.add(HexFormat.of().formatHex(ciphertext, at, at + 16));
    }
    assertThat(units).as("first blocks of equal plaintext units").hasSize(ciphertext.length / 4096);
    assertThat(indexOf(disk(), "A plain text of ".getBytes(US_ASCII))).isEqualTo(-1);

    byte[] kek = kek();
    Path kekFile = Files.writeString(folder.resolve("kek.hex"), HexFormat.of().formatHex(kek));
    Path opened = folder.resolve("opened.raw");
    tool(
        PYTHON,
        RunningFilterd.HOME.resolve("filterd/vmdk/docs/decrypt.py").toString(),
        "--kek-hex-file",
        kekFile.toString(),
        disk().toString(),
        opened.toString());
    assertThat(Files.mismatch(opened, image)).isEqualTo(-1);

    // The heap of the busy daemon held neither key.
    assertThat(indexOf(dump, kek)).as("KEK in the heap dump").isEqualTo(-1);
    String dek =
        tool(
                PYTHON,
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
                disk().toString(),
                HexFormat.of().formatHex(kek))
            .strip();
    byte[] key = HexFormat.of().parseHex(dek);
    assertThat(key).hasSize(64);
    assertThat(indexOf(dump, Arrays.copyOf(key, 32))).as("DEK in the heap dump").isEqualTo(-1);
    assertThat(indexOf(dump, Arrays.copyOfRange(key, 32, 64))).isEqualTo(-1);
    // The search finds what is there.
    assertThat(indexOf(dump, "io/filterd/daemon/Host".getBytes(US_ASCII))).isNotNegative();
  }

  /** Keeps a part of the disk that holds nothing busy, until it is told to end. */
  private Process startReadingAndWriting(RunningFilterd running) throws Exception {
    Process fio =
        new ProcessBuilder(
                "fio",
                "--name=busy",
                "--ioengine=nbd",
                "--uri=" + running.uri(DISK),
                "--rw=randrw",
                "--bs=4k",
                "--offset=40m",
                "--size=16m",
                "--iodepth=16",
                "--time_based",
                "--runtime=300")
            .directory(folder.toFile())
            .redirectErrorStream(true)
            .redirectOutput(folder.resolve("fio.log").toFile())
            .start();
    Awaitility.await()
        .atMost(Duration.ofSeconds(60))
        .until(() -> !fio.isAlive() || requestsOfTheBusiestClient() > 1000);
    assertThat(fio.isAlive()).as("%s", Files.readString(folder.resolve("fio.log"))).isTrue();
    return fio;
  }

  private long requestsOfTheBusiestClient() throws Exception {
    return new ControlClient(folder.resolve("control.sock"))
        .call(Operation.DISK_INFO, new Requests.Disk(DISK), Progress.NONE).connections().stream()
            .mapToLong(client -> Long.parseLong(String.valueOf(client.get("requests"))))
            .max()
            .orElse(0);
  }

  private byte[] kek() throws Exception {
    Locker locker;
    try (VmdkDisk disk = VmdkDisk.open(disk(), Access.READ_ONLY)) {
      locker = disk.encryption().orElseThrow().keySafe().getFirst();
    }
    byte[] kek = new byte[32];
    try (NativeProvider provider =
            NativeProvider.open(
                "native",
                folder.resolve("native.provider"),
                folder.resolve("native.passphrase"),
                BackupRule.WAIVED);
        KeyEncryptionKey key =
            provider.open(
                new KeyReference(locker.provider(), locker.keyId(), locker.checkValue()))) {
      key.copySecretTo(kek);
    }
    return kek;
  }

  private static double entropyBitsPerByte(byte[] bytes) {
    long[] counts = new long[256];
    for (byte b : bytes) {
      counts[Byte.toUnsignedInt(b)]++;
    }
    double bits = 0;
    for (long count : counts) {
      if (count > 0) {
        double share = (double) count / bytes.length;
        bits -= share * Math.log(share) / Math.log(2);
      }
    }
    return bits;
  }

  /** Where bytes stand in a file of any size; -1 if nowhere. */
  private static long indexOf(Path file, byte[] wanted) throws Exception {
    try (InputStream in = Files.newInputStream(file)) {
      byte[] window = new byte[1 << 20];
      int kept = 0;
      long start = 0;
      for (int count = in.read(window, kept, window.length - kept);
          count > 0;
          count = in.read(window, kept, window.length - kept)) {
        int length = kept + count;
        for (int at = 0; at <= length - wanted.length; at++) {
          if (window[at] == wanted[0]
              && Arrays.equals(window, at, at + wanted.length, wanted, 0, wanted.length)) {
            return start + at;
          }
        }
        kept = Math.min(length, wanted.length - 1);
        System.arraycopy(window, length - kept, window, 0, kept);
        start += length - kept;
      }
      return -1;
    }
  }

  @Test
  void wrongsAreToldInOneSentence() throws Exception {
    try (RunningFilterd running = withDisk()) {
      running.filterd("disk", "detach", DISK);
      Path other = Files.createDirectory(folder.resolve("other"));
      RunningFilterd.configure(other, running.port());
      refuses(4, "in use", RunningFilterd.filterd(other, "serve"));
      refuses(
          3, "no disk vm1/disk9", RunningFilterd.filterd(folder, "disk", "attach", "vm1/disk9"));

      Path bad =
          Files.write(folder.resolve("bad.vmdk"), Arrays.copyOf(Files.readAllBytes(disk()), 700));
      refuses(
          6,
          "bad.vmdk",
          RunningFilterd.filterd(folder, "disk", "attach", "vm1/bad", "--file", bad.toString()));
    }
    Path policy =
        Files.writeString(
            folder.resolve("five.yaml"),
            "version: 1\nname: Five\nfilters: {inspektion: {}}\nencryption: {unit: 8KiB, kek: x}\nmore: 1\n");
    RunningFilterd.Result check =
        RunningFilterd.filterd(folder, "policy", "check", policy.toString());
    refuses(2, "found 5 problem(s)", check);
    Files.writeString(folder.resolve("native.passphrase"), "wrong\n");
    Path plain = folder.resolve("out.raw");
    refuses(
        5,
        "passphrase",
        RunningFilterd.filterd(
            folder, "disk", "export", DISK, plain.toString(), "--format", "raw"));
    assertThat(plain).doesNotExist();
  }

  private static void refuses(int exitCode, String sentence, RunningFilterd.Result result) {
    assertThat(result.output()).contains(sentence).doesNotContain("\tat ", "Exception");
    assertThat(result.exitCode()).as("%s", result.output()).isEqualTo(exitCode);
  }
}
