package io.filterd.nbd;

import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.block.MemoryDevice;
import io.filterd.nbd.example.MemoryExport;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnixDomainSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The clients that people use, against this server alone: libnbd's tools, qemu's, and fio. */
class NbdToolsIT {
  private static final int SIZE_BYTES = 64 << 20;

  @TempDir Path folder;

  @SuppressWarnings("NullAway.Init") // Started before every test.
  private NbdServer server;

  private String tcp = "";
  private String unix = "";

  @BeforeEach
  void start() throws IOException {
    CountedExports exports = new CountedExports();
    exports.with("disk", new MemoryDevice(SIZE_BYTES));
    exports.withReadOnly("readonly", new MemoryDevice(SIZE_BYTES), "nobody writes here");
    for (int i = 0; i < 60; i++) {
      exports.with("more" + i, new MemoryDevice(1 << 20));
    }
    Path socket = folder.resolve("nbd.sock");
    server =
        NbdServer.start(
            NbdServerConfig.on(
                List.of(
                    new InetSocketAddress(InetAddress.getLoopbackAddress(), 0),
                    UnixDomainSocketAddress.of(socket))),
            exports);
    InetSocketAddress address = (InetSocketAddress) server.addresses().getFirst();
    tcp = "nbd://127.0.0.1:" + address.getPort() + "/";
    unix = "nbd+unix:///%s?socket=" + socket;
  }

  @AfterEach
  void stop() {
    server.close();
  }

  private String run(String... command) throws IOException, InterruptedException {
    return Tool.run(folder, command);
  }

  private Path randomFile(long seed) throws IOException {
    byte[] bytes = new byte[SIZE_BYTES];
    new Random(seed).nextBytes(bytes);
    Arrays.fill(bytes, 8 << 20, 24 << 20, (byte) 0);
    return Files.write(folder.resolve("content.raw"), bytes);
  }

  @Test
  void isListedByLibnbdQemuAndNbdClient() throws IOException, InterruptedException {
    assertThat(run("nbdinfo", "--list", "--json", tcp))
        .contains("\"more59\"", "\"base:allocation\"");
    int port = ((InetSocketAddress) server.addresses().getFirst()).getPort();
    assertThat(run("qemu-nbd", "--list", "--port=" + port, "--bind=127.0.0.1"))
        .contains("exports available: 62", "export: 'more59'", "base:allocation");
    assertThat(run("/usr/sbin/nbd-client", "-list", "127.0.0.1", Integer.toString(port)).lines())
        .contains("disk", "readonly", "more0", "more59");
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void keepsWhatNbdcopyAndQemuCopy(boolean overTcp) throws IOException, InterruptedException {
    String uri = overTcp ? tcp + "disk" : unix.formatted("disk");
    Path content = randomFile(1);
    run("nbdcopy", "--connections=4", "--requests=64", content.toString(), uri);
    run("qemu-img", "compare", "-f", "raw", "-F", "raw", content.toString(), uri);
    assertThat(run("nbdinfo", "--map", uri)).contains("hole,zero");
    Path back = folder.resolve("back.raw");
    run("nbdcopy", uri, back.toString());
    assertThat(Files.mismatch(content, back)).isEqualTo(-1);
    run("qemu-img", "convert", "-f", "raw", "-O", "raw", uri, back.toString());
    assertThat(Files.mismatch(content, back)).isEqualTo(-1);
  }

  @Test
  void holdsWhatFioVerifies() throws IOException, InterruptedException {
    run(
        "fio",
        "--name=verify",
        "--ioengine=nbd",
        "--uri=" + tcp + "disk",
        "--rw=randwrite",
        "--bsrange=512-128k",
        "--iodepth=64",
        "--size=64M",
        "--verify=crc32c",
        "--randseed=7",
        "--verify_state_save=0");
  }

  /** Libnbd checks every structured reply by itself, and refuses what is not as it should be. */
  @Test
  void satisfiesLibnbdInStrictMode() throws IOException, InterruptedException {
    String script =
        """
        import errno
        def expect(error, call):
            try:
                call()
            except nbd.Error as e:
                assert e.errnum == error, e
            else:
                raise AssertionError("no error")
        h.add_meta_context("base:allocation")
        h.connect_uri("URI")
        assert h.get_structured_replies_negotiated()
        assert h.can_multi_conn() and h.can_fua() and h.can_trim() and h.can_zero()
        assert h.can_fast_zero() and h.can_cache() and h.can_df() and not h.is_read_only()
        h.pwrite(b"x" * 8192, 4096, nbd.CMD_FLAG_FUA)
        assert h.pread(8192, 4096) == b"x" * 8192
        chunks = []
        def chunk(data, offset, status, error):
            chunks.append((offset, len(data), status))
        h.pread_structured(16384, 0, chunk)
        assert chunks == [(0, 4096, nbd.READ_HOLE), (4096, 8192, nbd.READ_DATA),
                          (12288, 4096, nbd.READ_HOLE)], chunks
        chunks.clear()
        h.pread_structured(16384, 0, chunk, nbd.CMD_FLAG_DF)
        assert chunks == [(0, 16384, nbd.READ_DATA)], chunks
        found = []
        h.block_status(16384, 0, lambda name, offset, entries, error: found.extend(entries))
        assert found == [4096, 3, 8192, 0, 4096, 3], found
        h.zero(4096, 4096, nbd.CMD_FLAG_NO_HOLE)
        h.trim(4096, 8192)
        assert h.pread(12288, 0) == b"\\0" * 12288
        h.cache(65536, 0)
        h.flush()
        h.set_strict_mode(0)
        expect(errno.EINVAL, lambda: h.pread(512, h.get_size()))
        expect(errno.ENOSPC, lambda: h.pwrite(b"x" * 512, h.get_size()))
        expect(errno.EINVAL, lambda: h.trim(512, h.get_size()))
        expect(errno.ENOSPC, lambda: h.zero(512, h.get_size()))
        expect(errno.EINVAL, lambda: h.flush(nbd.CMD_FLAG_DF))
        assert h.pread(512, 0) == b"\\0" * 512
        h.shutdown()
        """
            .replace("URI", unix.formatted("disk"));
    run("nbdsh", "-c", script);
  }

  @Test
  void worksAsTheExampleSays() throws IOException, InterruptedException {
    Process example =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--enable-native-access=ALL-UNNAMED",
                "--sun-misc-unsafe-memory-access=allow",
                "-cp",
                System.getProperty("java.class.path"),
                MemoryExport.class.getName())
            .redirectError(ProcessBuilder.Redirect.DISCARD)
            .start();
    try (BufferedReader said =
        new BufferedReader(
            new InputStreamReader(example.getInputStream(), StandardCharsets.UTF_8))) {
      String address = String.valueOf(said.readLine());
      String port = address.substring(address.lastIndexOf(':') + 1);
      assertThat(run("nbdinfo", "--size", "nbd://127.0.0.1:" + port + "/memory").strip())
          .isEqualTo("1073741824");
      example.getOutputStream().close();
      assertThat(example.waitFor(20, TimeUnit.SECONDS)).isTrue();
      assertThat(example.exitValue()).isZero();
    } finally {
      example.destroyForcibly();
    }
  }
}
