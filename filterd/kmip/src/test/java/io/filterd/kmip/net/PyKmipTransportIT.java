package io.filterd.kmip.net;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.filterd.kmip.cert.Certificates;
import io.filterd.kmip.cert.ClientIdentity;
import io.filterd.kmip.cert.Fingerprint;
import io.filterd.kmip.cert.IdentityFolder;
import io.filterd.kmip.cert.IdentityFolder.Subject;
import io.filterd.kmip.net.ConnectionPool.Repeat;
import io.filterd.kmip.net.TransportException.Reason;
import io.filterd.kmip.server.PyKmipServer;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.io.TempDir;

/** The transport with a real server: PyKMIP, which speaks TLS 1.2 only. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class PyKmipTransportIT {
  /** Discover Versions in a message of KMIP 1.1, as vCenter sends it. */
  private static final byte[] DISCOVER =
      HexFormat.of()
          .parseHex(
              "42007801000000604200770100000038420069010000002042006a0200000004000000010000000042006b"
                  + "0200000004000000010000000042000d0200000004000000010000000042000f0100000018"
                  + "42005c05000000040000001e000000004200790100000000");

  private static final Timeouts SHORT =
      new Timeouts(Duration.ofSeconds(5), Duration.ofSeconds(1), Duration.ofSeconds(1));

  @SuppressWarnings("NullAway.Init") // Set before the first test.
  private Path folder;

  @SuppressWarnings("NullAway.Init") // Started before the first test.
  private PyKmipServer server;

  @SuppressWarnings("NullAway.Init") // Made before the first test.
  private ClientIdentity identity;

  @BeforeAll
  void start(@TempDir Path temporary) throws IOException {
    folder = temporary;
    server = PyKmipServer.start(folder.resolve("a"));
    identity = identity("filterd");
  }

  @AfterAll
  void stop() {
    server.close();
  }

  private ClientIdentity identity(String client) throws IOException {
    IdentityFolder identities = new IdentityFolder(folder.resolve("identity-" + client));
    identities.upload(server.key(client), server.certificate(client), Subject.SAME);
    return identities.switchToNext(next -> {});
  }

  private ConnectionPool pool(TlsSettings tls, Timeouts timeouts) throws IOException {
    return new ConnectionPool(
        new ServerAddress(server.host(), server.port()), tls, timeouts, PoolSettings.defaults());
  }

  private TlsSettings signed() {
    return TlsSettings.of(new ServerTrust.SignedBy(server.authorities()), identity);
  }

  private static void discover(ConnectionPool pool) throws TransportException {
    ByteBuffer answer = ByteBuffer.wrap(Messages.exchange(pool, DISCOVER, Repeat.ALLOWED));
    assertThat(answer.getInt(0)).isEqualTo(0x42007b01);
    assertThat(answer.getInt(4)).isEqualTo(answer.capacity() - 8);
  }

  @Test
  void exchangesMessages() throws IOException {
    try (ConnectionPool pool = pool(signed(), Timeouts.defaults())) {
      for (int i = 0; i < 20; i++) {
        discover(pool);
      }
      assertThat(pool.openConnections()).isEqualTo(1);
      Peer peer = pool.peer().orElseThrow();
      assertThat(peer.protocol()).isEqualTo("TLSv1.2");
      assertThat(peer.suite()).matches("TLS_ECDHE_ECDSA_WITH_AES_[0-9]+_GCM_SHA[0-9]+");
    }
  }

  @Test
  void trustsTheCertificateThatWasLookedAt() throws IOException {
    ServerAddress address = new ServerAddress(server.host(), server.port());
    Fingerprint shown =
        Fingerprint.of(
            CertificateViewer.fetch(address, List.of("TLSv1.3", "TLSv1.2"), Timeouts.defaults())
                .getFirst());
    assertThat(shown)
        .isEqualTo(Fingerprint.of(Certificates.read(server.certificate("server")).getFirst()));
    try (ConnectionPool pool =
        pool(
            TlsSettings.of(new ServerTrust.Pinned(Set.of(shown)), identity), Timeouts.defaults())) {
      discover(pool);
    }
  }

  @Test
  void saysThatTheServerDoesNotSpeakTls13() throws IOException {
    try (ConnectionPool pool =
        pool(signed().withProtocols(List.of("TLSv1.3")), Timeouts.defaults())) {
      TransportException failure =
          catchThrowableOfType(TransportException.class, () -> discover(pool));
      assertThat(failure.reason()).isEqualTo(Reason.TLS);
    }
  }

  @Test
  void saysThatTheServerDoesNotTrustAStranger() throws IOException {
    IdentityFolder identities = new IdentityFolder(folder.resolve("stranger"));
    identities.selfSigned("CN=filterd", Duration.ofDays(90), Subject.SAME);
    ClientIdentity stranger = identities.switchToNext(next -> {});
    try (ConnectionPool pool =
        pool(
            TlsSettings.of(new ServerTrust.SignedBy(server.authorities()), stranger),
            Timeouts.defaults())) {
      TransportException failure =
          catchThrowableOfType(TransportException.class, () -> discover(pool));
      assertThat(failure).hasMessageContaining("client certificate");
    }
  }

  @Test
  void givesUpAFrozenServerAndUsesItAgainWhenItGoesOn() throws IOException {
    try (ConnectionPool pool = pool(signed(), SHORT)) {
      discover(pool);
      server.freeze();
      try {
        TransportException kept =
            catchThrowableOfType(TransportException.class, () -> discover(pool));
        assertThat(kept.reason()).isEqualTo(Reason.TIMED_OUT);
        assertThat(kept).hasMessageContaining("answer: not done (expected: within 1000 ms)");
        TransportException fresh =
            catchThrowableOfType(TransportException.class, () -> discover(pool));
        assertThat(fresh.reason()).isEqualTo(Reason.TIMED_OUT);
        assertThat(fresh).hasMessageContaining("TLS handshake: not done");
      } finally {
        server.thaw();
      }
    }
    try (ConnectionPool pool = pool(signed(), Timeouts.defaults())) {
      discover(pool);
    }
  }

  @Test
  void noticesACrashAndTheReturn() throws IOException {
    try (PyKmipServer other = server.startReplica(folder.resolve("b"));
        ConnectionPool pool =
            new ConnectionPool(
                new ServerAddress(other.host(), other.port()),
                signed(),
                Timeouts.defaults(),
                PoolSettings.defaults())) {
      discover(pool);
      other.kill();
      TransportException failure =
          catchThrowableOfType(TransportException.class, () -> discover(pool));
      assertThat(failure.reason()).isEqualTo(Reason.UNREACHABLE);
      other.restart();
      discover(pool);
    }
  }
}
