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
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * The NBD project's own nbd-tester-client, in every mode that it has, as that project's test suite
 * (simple_test) runs it. No package has it: src/test/scripts/make-nbd-tester-client makes it.
 */
@Tag("nbd-tester-client") // Left out, and said to be, where its source can't be had.
// In a thread of its own: waiting for a program that hangs.
@Timeout(value = 300, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class NbdTesterClientIT {
  private static final Path MADE = Path.of("target", "nbd-tester-client");
  private static final int MIB = 1 << 20;

  enum Transport {
    TCP,
    UNIX,
    TLS
  }

  @TempDir
  @SuppressWarnings("NonFinalStaticField") // Set by the framework.
  static Path folder;

  @SuppressWarnings({"NullAway.Init", "NonFinalStaticField"}) // Made before all tests.
  private static TestPki pki;

  private final CountedExports exports =
      new CountedExports()
          .with("export", new MemoryDevice(4 * MIB))
          .with("large", new MemoryDevice(50 * MIB))
          .withReadOnly("readonly", new MemoryDevice(4 * MIB), "");

  @SuppressWarnings("NullAway.Init") // Started before every test.
  private NbdServer server;

  private Path socket = Path.of("");

  @BeforeAll
  static void makeCertificates() throws IOException {
    assertThat(MADE.resolve("nbd-tester-client"))
        .as("made by: nbd-server/src/test/scripts/make-nbd-tester-client nbd-server/%s", MADE)
        .isExecutable();
    pki = new TestPki(folder.resolve("pki"));
    // As the NBD project has them: no authority of the client's.
    pki.openssl(
        "req -x509 -newkey rsa:2048 -nodes -days 2 -keyout selfsigned-key.pem -out"
            + " selfsigned-cert.pem -subj /CN=nobody");
  }

  @BeforeEach
  void start() throws IOException {
    socket = folder.resolve("nbd.sock");
    server =
        NbdServer.start(
            NbdServerConfig.on(
                    List.of(
                        new InetSocketAddress(InetAddress.getLoopbackAddress(), 0),
                        UnixDomainSocketAddress.of(socket)))
                .toBuilder()
                .tls(new Tls(Tls.Mode.ON, pki.server(true)))
                .build(),
            exports);
  }

  @AfterEach
  void givesBackEveryLease() {
    server.close();
    await().until(() -> exports.openLeases() == 0);
  }

  private record Ended(int status, String said) {}

  private Ended run(Transport transport, String certificate, String... words)
      throws IOException, InterruptedException {
    List<String> command = new ArrayList<>();
    command.add(MADE.resolve("nbd-tester-client").toAbsolutePath().toString());
    command.addAll(List.of(words));
    switch (transport) {
      case UNIX -> command.addAll(List.of("-u", socket.toString()));
      case TLS ->
          command.addAll(
              List.of(
                  "-C",
                  pki.file(certificate + "-cert.pem").toString(),
                  "-K",
                  pki.file(certificate + "-key.pem").toString(),
                  "-A",
                  pki.file("ca-cert.pem").toString(),
                  "-H",
                  "localhost"));
      case TCP -> {}
    }
    if (transport != Transport.UNIX) {
      int port = ((InetSocketAddress) server.addresses().getFirst()).getPort();
      command.addAll(List.of("127.0.0.1", Integer.toString(port)));
    }
    Path output = folder.resolve("output");
    Process process =
        new ProcessBuilder(command)
            .directory(folder.toFile())
            .redirectErrorStream(true)
            .redirectOutput(output.toFile())
            .start();
    try {
      assertThat(process.waitFor(200, TimeUnit.SECONDS)).as("%s ends", command).isTrue();
    } finally {
      process.destroyForcibly();
    }
    return new Ended(process.exitValue(), Files.readString(output));
  }

  private void succeeds(Transport transport, String... words)
      throws IOException, InterruptedException {
    Ended ended = run(transport, "client", words);
    assertThat(ended.status()).as("%s: %s", List.of(words), ended.said()).isZero();
  }

  @ParameterizedTest
  @EnumSource
  void readsAll(Transport transport) throws IOException, InterruptedException {
    succeeds(transport, "-N", "export");
    succeeds(transport, "-N", "readonly");
  }

  @ParameterizedTest
  @EnumSource
  void writesAll(Transport transport) throws IOException, InterruptedException {
    succeeds(transport, "-N", "export", "-w");
  }

  @ParameterizedTest
  @EnumSource
  void writesAllWithFlushes(Transport transport) throws IOException, InterruptedException {
    succeeds(transport, "-N", "export", "-w", "-f");
  }

  @ParameterizedTest
  @EnumSource
  void mayNotWriteWhatIsReadOnly(Transport transport) throws IOException, InterruptedException {
    succeeds(transport, "-N", "readonly", "-w", "-F");
  }

  @ParameterizedTest
  @EnumSource
  void readsMoreThanAMebibyteAtOnce(Transport transport) throws IOException, InterruptedException {
    succeeds(transport, "-N", "export", "-o");
  }

  @ParameterizedTest
  @EnumSource
  void isToldThatAnOptionIsUnknown(Transport transport) throws IOException, InterruptedException {
    succeeds(transport, "-N", "export", "-h");
  }

  @ParameterizedTest
  @CsvSource({
    "TCP,integrity-test.tr",
    "UNIX,integrity-test.tr",
    "TLS,integrity-test.tr",
    // Requests of 47.5 MiB, by a client that knows nothing of block sizes.
    "UNIX,integrityhuge-test.tr",
    "TLS,integrityhuge-test.tr"
  })
  void readsWhatItHasWritten(Transport transport, String log)
      throws IOException, InterruptedException {
    succeeds(transport, "-N", "large", "-i", "-t", MADE.resolve(log).toAbsolutePath().toString());
  }

  /** With the order of replies and requests as loose as the protocol lets it be. */
  @ParameterizedTest
  @EnumSource
  void readsWhatItHasWrittenInAnyOrder(Transport transport)
      throws IOException, InterruptedException {
    String log = MADE.resolve("integrity-test.tr").toAbsolutePath().toString();
    succeeds(transport, "-N", "large", "-l", "-i", "-t", log);
  }

  @Test
  void isRefusedWithACertificateOfNobody() throws IOException, InterruptedException {
    Ended refused = run(Transport.TLS, "selfsigned", "-N", "export");

    assertThat(refused.status()).as(refused.said()).isNotZero();
    assertThat(refused.said()).contains("Could not");
    Ended expected = run(Transport.TLS, "selfsigned", "-N", "export", "-F");
    assertThat(expected.status()).as(expected.said()).isZero();
  }

  /** That it can fail: what it has not written is not there. */
  @Test
  void noticesWhatIsWrong() throws IOException, InterruptedException {
    assertThat(run(Transport.TCP, "client", "-N", "export", "-w", "-F").status()).isNotZero();
    assertThat(run(Transport.TCP, "client", "-N", "readonly", "-w").status()).isNotZero();
    assertThat(run(Transport.TCP, "client", "-N", "nothing").status()).isNotZero();
  }
}
