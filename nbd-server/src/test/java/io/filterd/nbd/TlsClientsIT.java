package io.filterd.nbd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.filterd.block.MemoryDevice;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What clients do without TLS, done inside it, with each kind of proof that they know. */
// In a thread of its own: reading from a program can't be interrupted.
@Timeout(value = 120, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class TlsClientsIT {
  private static final int SIZE_BYTES = 16 << 20;

  enum Proof {
    CERTIFICATE,
    PRE_SHARED_KEY
  }

  @TempDir Path folder;

  private final CountedExports exports =
      new CountedExports().with("disk", new MemoryDevice(SIZE_BYTES));

  @SuppressWarnings("NullAway.Init") // Made before every test.
  private TestPki pki;

  @SuppressWarnings("NullAway.Init") // Each test starts its own kind first.
  private NbdServer server;

  @BeforeEach
  void makeProofs() throws IOException {
    pki = new TestPki(folder.resolve("pki"));
    pki.keys("alice:" + "c0ffee42".repeat(8) + "\n");
  }

  @AfterEach
  void stop() {
    server.close();
    await().until(() -> exports.openLeases() == 0);
  }

  /** Serves the disk on this port, or one that is free; returns which. */
  private int start(Proof proof, int port) throws IOException {
    server =
        NbdServer.start(
            NbdServerConfig.on(
                    List.of(
                        new InetSocketAddress(InetAddress.getLoopbackAddress(), port),
                        UnixDomainSocketAddress.of(folder.resolve("nbd.sock"))))
                .toBuilder()
                .tls(
                    new Tls(
                        Tls.Mode.REQUIRE,
                        switch (proof) {
                          case CERTIFICATE -> pki.server(true);
                          case PRE_SHARED_KEY -> new Tls.PreSharedKeys(pki.file("keys.psk"));
                        }))
                .build(),
            exports);
    return ((InetSocketAddress) server.addresses().getFirst()).getPort();
  }

  /** Where libnbd finds the disk, over TCP or the Unix socket. */
  private String uri(Proof proof, boolean overTcp, int port) {
    String proven =
        switch (proof) {
          case CERTIFICATE -> "tls-certificates=" + pki.file("");
          case PRE_SHARED_KEY -> "tls-psk-file=" + pki.file("keys.psk");
        };
    return overTcp
        ? "nbds://alice@localhost:%d/disk?%s".formatted(port, proven)
        : "nbds+unix://alice@/disk?socket=%s&%s".formatted(folder.resolve("nbd.sock"), proven);
  }

  /** What qemu's programs call the proof; its id is {@code tls}. */
  private String credentials(Proof proof) {
    return switch (proof) {
          case CERTIFICATE -> "tls-creds-x509,verify-peer=on";
          case PRE_SHARED_KEY -> "tls-creds-psk,username=alice";
        }
        + ",id=tls,endpoint=client,dir="
        + pki.file("");
  }

  private static String image(int port) {
    return "driver=nbd,host=localhost,port=%d,export=disk,tls-creds=tls,reconnect-delay=30"
        .formatted(port);
  }

  /** The words for nbdkit to be a client of the disk. */
  private List<String> nbdkit(Proof proof, int port, String... more) {
    List<String> words =
        new ArrayList<>(
            List.of(
                "nbdkit",
                "--exit-with-parent",
                "nbd",
                "hostname=localhost",
                "port=" + port,
                "export=disk",
                "tls=require"));
    words.addAll(
        switch (proof) {
          case CERTIFICATE -> List.of("tls-certificates=" + pki.file(""));
          case PRE_SHARED_KEY -> List.of("tls-psk=" + pki.file("keys.psk"), "tls-username=alice");
        });
    words.addAll(List.of(more));
    return words;
  }

  private String run(String... command) throws IOException, InterruptedException {
    return Tool.run(folder, command);
  }

  private static byte[] random(int length, long seed) {
    byte[] bytes = new byte[length];
    new Random(seed).nextBytes(bytes);
    return bytes;
  }

  /** A file of the disk's size, partly zeros. */
  private Path content() throws IOException {
    byte[] bytes = random(SIZE_BYTES, 1);
    Arrays.fill(bytes, 4 << 20, 8 << 20, (byte) 0);
    return Files.write(folder.resolve("content.raw"), bytes);
  }

  @ParameterizedTest
  @EnumSource
  void isDescribedByNbdinfo(Proof proof) throws IOException, InterruptedException {
    int port = start(proof, 0);
    for (boolean overTcp : List.of(true, false)) {
      String uri = uri(proof, overTcp, port);
      run("nbdcopy", "--connections=4", "--requests=64", content().toString(), uri);
      assertThat(run("nbdinfo", "--list", "--json", uri))
          .contains("\"TLS\": true", "\"export-name\": \"disk\"", "\"base:allocation\"");
      assertThat(run("nbdinfo", "--map", uri))
          .matches("(?s)\\s*0\\s+4194304\\s+0\\s+data\\s+4194304\\s+4194304\\s+3\\s+hole,zero.*");
      run("nbdinfo", "--can", "multi-conn", uri);
      run("nbdinfo", "--is", "tls", uri);
    }
  }

  @ParameterizedTest
  @EnumSource
  void obeysQemu(Proof proof) throws IOException, InterruptedException {
    int port = start(proof, 0);
    List<String> options = List.of("--object", credentials(proof), "--image-opts", image(port));
    List<String> commands = new ArrayList<>(List.of("qemu-io"));
    commands.addAll(options);
    for (String command :
        List.of(
            "aio_write -P 7 0 8M",
            "aio_write -P 8 8M 8M",
            "aio_flush",
            "discard 1M 1M",
            "write -z 4M 64k",
            "write -f -P 9 513 1000",
            "flush",
            "read -P 7 8k 1000k",
            "read -P 9 513 1000",
            "read -P 0 1M 1M",
            "read -P 0 4M 64k",
            "read -P 8 8M 8M")) {
      commands.addAll(List.of("-c", command));
    }
    assertThat(run(commands.toArray(String[]::new)))
        .contains("read 8388608/8388608 bytes at offset 8388608")
        .doesNotContain("failed", "error");

    List<String> convert = new ArrayList<>(List.of("qemu-img", "convert"));
    convert.addAll(options);
    Path copy = folder.resolve("copy.raw");
    convert.addAll(List.of("-O", "raw", copy.toString()));
    run(convert.toArray(String[]::new));
    List<String> compare = new ArrayList<>(List.of("qemu-img", "compare"));
    compare.addAll(options);
    compare.add("driver=raw,file.driver=file,file.filename=" + copy);
    assertThat(run(compare.toArray(String[]::new))).contains("Images are identical");
    List<String> map = new ArrayList<>(List.of("qemu-img", "map", "--output=json"));
    map.addAll(options);
    assertThat(run(map.toArray(String[]::new)))
        .contains("\"start\": 1048576, \"length\": 1048576")
        .contains("\"zero\": true, \"data\": false");
  }

  /** Another TLS session, for the same block device of qemu. */
  @ParameterizedTest
  @EnumSource
  void isFoundAgainByQemuAfterARestart(Proof proof) throws IOException, InterruptedException {
    int port = start(proof, 0);
    Process qemu =
        Tool.builder(
                // Says each line at once.
                "stdbuf",
                "-oL",
                "qemu-io",
                "--object",
                credentials(proof),
                "--image-opts",
                image(port))
            .start();
    try (BufferedWriter commands = qemu.outputWriter();
        BufferedReader said = qemu.inputReader()) {
      MoreToolsIT.tell(commands, "write -P 7 0 64k");
      assertThat(MoreToolsIT.lineWith(said, "wrote")).contains("wrote 65536/65536 bytes");
      server.close();
      // Asked for while nobody is there.
      MoreToolsIT.tell(commands, "read -P 7 0 64k");
      start(proof, port);

      assertThat(MoreToolsIT.lineWith(said, "read ")).contains("read 65536/65536 bytes");
      MoreToolsIT.tell(commands, "quit");
      assertThat(qemu.waitFor(20, TimeUnit.SECONDS)).isTrue();
    } finally {
      qemu.destroyForcibly();
    }
  }

  @ParameterizedTest
  @EnumSource
  void isServedOnByNbdkit(Proof proof) throws IOException, InterruptedException {
    int port = start(proof, 0);
    Path content = content();
    String map =
        run(
            nbdkit(
                    proof,
                    port,
                    "shared=true",
                    "--unix=-",
                    "--run",
                    "nbdcopy --connections=4 "
                        + content
                        + " \"$uri\" && qemu-img compare -f raw -F raw "
                        + content
                        + " \"$uri\" && nbdinfo --map \"$uri\"")
                .toArray(String[]::new));

    assertThat(map).contains("Images are identical", "hole,zero");
  }

  /**
   * Nbdfuse 1.14 lets no address name files, and finds certificates in /etc or, unless it is root,
   * at home; but only root may mount everywhere. So it speaks by nbdkit.
   */
  @ParameterizedTest
  @EnumSource
  void isAFileByNbdfuse(Proof proof) throws IOException, InterruptedException {
    int port = start(proof, 0);
    Path mount = Files.createDirectory(folder.resolve("mount"));
    Path file = mount.resolve("nbd");
    Path log = folder.resolve("nbdfuse.log");
    byte[] data = random(1 << 20, 2);
    List<String> command = new ArrayList<>(List.of("nbdfuse", mount.toString(), "["));
    command.addAll(nbdkit(proof, port, "]"));
    Process nbdfuse =
        Tool.builder(command.toArray(String[]::new)).redirectOutput(log.toFile()).start();
    try {
      await()
          .until(
              () -> {
                assertThat(nbdfuse.isAlive()).as(Files.readString(log)).isTrue();
                return Files.exists(file);
              });
      try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
        channel.write(ByteBuffer.wrap(data), 12_345);
        channel.force(true);
      }
      byte[] whole = Files.readAllBytes(file);
      assertThat(whole).hasSize(SIZE_BYTES);
      assertThat(Arrays.copyOfRange(whole, 12_345, 12_345 + data.length)).isEqualTo(data);
    } finally {
      run("fusermount3", "-u", "-z", mount.toString());
      assertThat(nbdfuse.waitFor(20, TimeUnit.SECONDS)).isTrue();
    }
    assertThat(nbdfuse.exitValue()).isZero();
  }

  /** Four connections of one program, with many requests at once. */
  @ParameterizedTest
  @EnumSource
  void showsWhatWasFlushedToNbdshOnEveryConnection(Proof proof)
      throws IOException, InterruptedException {
    int port = start(proof, 0);
    String script =
        """
        import os
        handles = [h] + [nbd.NBD() for i in range(3)]
        for each in handles:
            each.set_uri_allow_local_file(True)
            each.set_tls(nbd.TLS_REQUIRE)
            each.connect_uri("URI")
            assert each.get_tls_negotiated() and each.can_multi_conn()
        blocks = [os.urandom(4096) for i in range(512)]
        buffers = [nbd.Buffer.from_bytearray(bytearray(block)) for block in blocks]
        for i, buffer in enumerate(buffers):
            while h.aio_in_flight() >= 64:
                h.poll(-1)
            h.aio_pwrite(buffer, i * 4096)
        while h.aio_in_flight() > 0:
            h.poll(-1)
        h.flush()
        for each in handles:
            assert each.pread(512 * 4096, 0) == b"".join(blocks)
        h.set_strict_mode(0)
        try:
            h.pwrite(b"x" * 65536, h.get_size())
        except nbd.Error:
            pass
        else:
            raise AssertionError("no error")
        h.zero(4096, 0, nbd.CMD_FLAG_FUA)
        h.trim(4096, 4096, nbd.CMD_FLAG_FUA)
        assert handles[3].pread(8192, 0) == bytes(8192)
        for each in handles:
            each.shutdown()
        """
            .replace("URI", uri(proof, true, port));

    run("nbdsh", "-c", script);
  }

  /**
   * Fio 3.33 allows no address to name files ("local file access is not allowed"), so there is no
   * key for it to use. It finds certificates at home, unless it is root.
   */
  @Test
  void holdsWhatFioVerifies() throws IOException, InterruptedException {
    int port = start(Proof.CERTIFICATE, 0);
    Path certificates = Files.createDirectories(folder.resolve("home/.pki/libnbd"));
    for (String name : List.of("ca-cert.pem", "client-cert.pem", "client-key.pem")) {
      Path copy = Files.copy(pki.file(name), certificates.resolve(name));
      Files.setPosixFilePermissions(copy, PosixFilePermissions.fromString("rw-r--r--"));
    }
    for (String each : List.of("", "home", "home/.pki", "home/.pki/libnbd")) {
      Files.setPosixFilePermissions(
          folder.resolve(each), PosixFilePermissions.fromString("rwxr-xr-x"));
    }
    List<String> command = new ArrayList<>(List.of("env", "HOME=" + folder.resolve("home")));
    if (Files.getAttribute(folder, "unix:uid").equals(0)) {
      command.addAll(List.of("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"));
    }
    command.addAll(
        List.of(
            "fio",
            "--name=verify",
            "--ioengine=nbd",
            "--uri=nbds://localhost:" + port + "/disk",
            "--rw=randwrite",
            "--bsrange=512-128k",
            "--iodepth=64",
            "--size=16M",
            "--verify=crc32c",
            "--randseed=7",
            "--verify_state_save=0"));

    assertThat(run(command.toArray(String[]::new))).contains("err= 0");
    assertThat(exports.lastClient().identity()).isInstanceOf(Client.Identity.Certificate.class);
  }

  /** The kernel's client: here only what it asks by itself, see {@code KernelTlsIT}. */
  @Test
  void isListedByNbdClient() throws IOException, InterruptedException {
    int port = start(Proof.CERTIFICATE, 0);
    assertThat(
            run(
                "/usr/sbin/nbd-client",
                "-list",
                "localhost",
                Integer.toString(port),
                "-enable-tls",
                "-certfile",
                pki.file("client-cert.pem").toString(),
                "-keyfile",
                pki.file("client-key.pem").toString(),
                "-cacertfile",
                pki.file("ca-cert.pem").toString(),
                "-tlshostname",
                "localhost"))
        .contains("disk");
  }
}
