package io.filterd.nbd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.filterd.block.MemoryDevice;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnixDomainSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Clients with GnuTLS against this server's TLS: libnbd's tools, qemu's, and nbdkit. */
class TlsToolsIT {
  private static final int SIZE_BYTES = 32 << 20;

  @TempDir Path folder;

  @SuppressWarnings("NullAway.Init") // Made before every test.
  private TestPki pki;

  private final CountedExports exports =
      new CountedExports().with("disk", new MemoryDevice(SIZE_BYTES));

  @SuppressWarnings("NullAway.Init") // Each test starts its own kind first.
  private NbdServer server;

  @BeforeEach
  void makeCertificates() throws IOException {
    pki = new TestPki(folder.resolve("pki"));
  }

  @AfterEach
  void stop() {
    server.close();
    await().until(() -> exports.openLeases() == 0);
  }

  private int start(Tls.Credentials credentials) throws IOException {
    server =
        NbdServer.start(
            NbdServerConfig.on(
                    List.of(
                        new InetSocketAddress(InetAddress.getLoopbackAddress(), 0),
                        UnixDomainSocketAddress.of(folder.resolve("nbd.sock"))))
                .toBuilder()
                .tls(new Tls(Tls.Mode.REQUIRE, credentials))
                .build(),
            exports);
    return ((InetSocketAddress) server.addresses().getFirst()).getPort();
  }

  private String uri(int port) {
    return "nbds://localhost:%d/disk?tls-certificates=%s".formatted(port, pki.file(""));
  }

  /** Has psktool make a key, as its users do. */
  private Path makeKey() throws IOException, InterruptedException {
    Path keys = pki.file("keys.psk");
    succeed("psktool", "--username=alice", "--pskfile=" + keys);
    return keys;
  }

  private record Ended(int status, String said) {}

  private Ended run(String... command) throws IOException, InterruptedException {
    Path output = folder.resolve("output");
    ProcessBuilder builder =
        new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(output.toFile());
    builder.environment().put("PATH", "/usr/bin:/bin:/usr/sbin");
    Process process = builder.start();
    assertThat(process.waitFor(60, TimeUnit.SECONDS)).as("%s ends", List.of(command)).isTrue();
    return new Ended(process.exitValue(), Files.readString(output));
  }

  private String succeed(String... command) throws IOException, InterruptedException {
    Ended ended = run(command);
    assertThat(ended.status()).as("%s: %s", List.of(command), ended.said()).isZero();
    return ended.said();
  }

  private Path randomFile() throws IOException {
    byte[] bytes = new byte[SIZE_BYTES];
    new Random(1).nextBytes(bytes);
    return Files.write(folder.resolve("content.raw"), bytes);
  }

  private void copiesThereAndBack(String uri) throws IOException, InterruptedException {
    Path content = randomFile();
    Path back = folder.resolve("back.raw");
    succeed("nbdcopy", "--connections=4", "--requests=64", content.toString(), uri);
    succeed("nbdcopy", "--connections=4", uri, back.toString());
    assertThat(Files.mismatch(content, back)).isEqualTo(-1);
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void keepsWhatNbdcopyCopiesWithCertificates(boolean mutual)
      throws IOException, InterruptedException {
    int port = start(pki.server(mutual));
    assertThat(succeed("nbdinfo", uri(port))).contains("with TLS");
    assertThat(exports.lastClient().identity())
        .isInstanceOf(mutual ? Client.Identity.Certificate.class : Client.Identity.Unproven.class);
    copiesThereAndBack(uri(port));
  }

  @Test
  void keepsWhatNbdcopyCopiesWithAPreSharedKey() throws IOException, InterruptedException {
    Path keys = makeKey();
    int port = start(new Tls.PreSharedKeys(keys));
    String uri = "nbds://alice@localhost:%d/disk?tls-psk-file=%s".formatted(port, keys);
    assertThat(succeed("nbdinfo", uri)).contains("with TLS");
    assertThat(exports.lastClient().identity())
        .isEqualTo(new Client.Identity.PreSharedKey("alice"));
    copiesThereAndBack(uri);
    String unix =
        "nbds+unix://alice@/disk?socket=%s&tls-psk-file=%s"
            .formatted(folder.resolve("nbd.sock"), keys);
    assertThat(succeed("nbdinfo", unix)).contains("with TLS");
  }

  @Test
  void keepsWhatQemuCopies() throws IOException, InterruptedException {
    int port = start(pki.server(true));
    qemuCopies(
        port, "tls-creds-x509,id=tls,endpoint=client,dir=" + pki.file("") + ",verify-peer=on");
    server.close();
    makeKey();
    int other = start(new Tls.PreSharedKeys(pki.file("keys.psk")));
    qemuCopies(other, "tls-creds-psk,id=tls,endpoint=client,username=alice,dir=" + pki.file(""));
  }

  private void qemuCopies(int port, String credentials) throws IOException, InterruptedException {
    String image = "driver=nbd,host=localhost,port=%d,export=disk,tls-creds=tls".formatted(port);
    Path content = randomFile();
    succeed(
        "qemu-img",
        "convert",
        "-n",
        "--object",
        credentials,
        "-f",
        "raw",
        content.toString(),
        "--target-image-opts",
        image);
    Path back = folder.resolve("back.raw");
    succeed(
        "qemu-img",
        "convert",
        "--object",
        credentials,
        "--image-opts",
        image,
        "-O",
        "raw",
        back.toString());
    assertThat(Files.mismatch(content, back)).isEqualTo(-1);
    assertThat(
            succeed(
                "qemu-nbd",
                "--list",
                "--object",
                credentials,
                "--tls-creds=tls",
                "--tls-hostname=localhost",
                "--bind=127.0.0.1",
                "--port=" + port))
        .contains("export: 'disk'");
  }

  @Test
  void servesNbdkitAsAClient() throws IOException, InterruptedException {
    int port = start(pki.server(true));
    assertThat(
            succeed(
                "nbdkit",
                "--foreground",
                "--exit-with-parent",
                "--unix=-",
                "nbd",
                "hostname=localhost",
                "port=" + port,
                "export=disk",
                "tls=require",
                "tls-certificates=" + pki.file(""),
                "--run",
                "nbdinfo --size \"$uri\""))
        .isEqualToIgnoringWhitespace(Integer.toString(SIZE_BYTES));
  }

  @Test
  void refusesClientsWithoutTlsOrCertificate() throws IOException, InterruptedException {
    int port = start(pki.server(true));
    assertThat(run("nbdinfo", "nbd://localhost:" + port + "/disk").status()).isNotZero();
    assertThat(run("qemu-img", "info", "nbd://localhost:" + port + "/disk").said())
        .contains("TLS is required");
    Files.delete(pki.file("client-cert.pem"));
    assertThat(run("nbdinfo", uri(port)).status()).isNotZero();
    assertThat(exports.wereAsked()).isFalse();
  }

  @Test
  void goesDownToTls12ForClientsThatHaveNoMore() throws IOException, InterruptedException {
    Path priorities = folder.resolve("gnutls.conf");
    Files.writeString(priorities, "[overrides]\ndisabled-version = TLS1.3\n");
    int port = start(pki.server(true));
    succeed("env", "GNUTLS_SYSTEM_PRIORITY_FILE=" + priorities, "nbdinfo", uri(port));
    server.close();
    int other = start(new Tls.PreSharedKeys(makeKey()));
    succeed(
        "env",
        "GNUTLS_SYSTEM_PRIORITY_FILE=" + priorities,
        "nbdinfo",
        "nbds://alice@localhost:%d/disk?tls-psk-file=%s".formatted(other, pki.file("keys.psk")));
  }
}
