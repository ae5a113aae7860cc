package io.filterd.kmip.net;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.filterd.kmip.cert.ClientIdentity;
import io.filterd.kmip.cert.Fingerprint;
import io.filterd.kmip.net.ConnectionPool.Repeat;
import io.filterd.kmip.net.TransportException.Reason;
import io.filterd.kmip.net.TransportException.Request;
import io.filterd.kmip.server.ScriptedKmipServer;
import io.filterd.kmip.server.ScriptedKmipServer.Script;
import io.filterd.kmip.server.TestPki;
import io.filterd.kmip.server.TestPki.Order;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import org.bouncycastle.asn1.x509.KeyPurposeId;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Each way in which the path to a server can fail has a state and a sentence of its own. */
class TransportTest {
  private static final TestPki PKI = new TestPki("kms authority");
  private static final TestPki STRANGERS = new TestPki("strangers");
  private static final ClientIdentity SERVER = PKI.issue(Order.server());
  private static final ClientIdentity CLIENT = PKI.issue(Order.client("filterd"));
  private static final Script ECHO = ScriptedKmipServer.answering(Messages::echo);
  private static final byte[] REQUEST = Messages.request(64, 7);

  @TempDir Path folder;

  private Path authorities = Path.of("");
  private Timeouts timeouts = Timeouts.defaults();

  @BeforeEach
  void writeAuthorities() {
    authorities = PKI.writeTo(folder.resolve("ca.crt"));
  }

  private TlsSettings signed() {
    return TlsSettings.of(new ServerTrust.SignedBy(authorities), CLIENT);
  }

  private static TlsSettings pinned(ClientIdentity server) {
    return TlsSettings.of(
        new ServerTrust.Pinned(Set.of(Fingerprint.of(server.certificate()))), CLIENT);
  }

  private ConnectionPool pool(int port, TlsSettings tls) throws IOException {
    return new ConnectionPool(
        new ServerAddress("127.0.0.1", port), tls, timeouts, PoolSettings.defaults());
  }

  private TransportException failureOf(int port, TlsSettings tls, byte[] request)
      throws IOException {
    try (ConnectionPool pool = pool(port, tls)) {
      TransportException failure =
          catchThrowableOfType(
              TransportException.class, () -> Messages.exchange(pool, request, Repeat.ALLOWED));
      assertThat(pool.openConnections()).isZero();
      return failure;
    }
  }

  private TransportException failureOf(Script script) throws IOException {
    return failureOf(SERVER, script, signed());
  }

  private TransportException failureOf(ClientIdentity server, Script script, TlsSettings tls)
      throws IOException {
    try (ScriptedKmipServer kms = ScriptedKmipServer.start(server, PKI.certificate(), script)) {
      return failureOf(kms.port(), tls, REQUEST);
    }
  }

  private static void assertFailed(
      TransportException failure, Reason reason, Request request, String sentence) {
    assertThat(failure)
        .isNotNull()
        .extracting(e -> String.valueOf(e.getMessage()).replaceFirst("127.0.0.1:[0-9]+", "ADDRESS"))
        .isEqualTo("KMS ADDRESS: " + sentence);
    assertThat(failure.reason()).isEqualTo(reason);
    assertThat(failure.request()).isEqualTo(request);
  }

  @Test
  void exchangesMessagesOfManyTlsRecords() throws IOException {
    try (ScriptedKmipServer kms = ScriptedKmipServer.start(SERVER, PKI.certificate(), ECHO);
        ConnectionPool pool = pool(kms.port(), signed())) {
      for (int bodyBytes : new int[] {0, 64, 16 * 1024, 300_000}) {
        assertThat(Messages.exchange(pool, Messages.request(bodyBytes, 9), Repeat.NEVER))
            .isEqualTo(Messages.answer(bodyBytes, 9));
      }
      assertThat(kms.connections()).isEqualTo(1);
      Peer peer = pool.peer().orElseThrow();
      assertThat(peer.protocol()).isEqualTo("TLSv1.3");
      assertThat(peer.certificate()).isEqualTo(SERVER.certificate());
    }
  }

  @Test
  void refusesAServerOfAnUnknownAuthority() throws IOException {
    assertFailed(
        failureOf(STRANGERS.issue(Order.server()), ECHO, signed()),
        Reason.SERVER_NOT_TRUSTED,
        Request.NOT_SENT,
        "server certificate: issued by CN=strangers (expected: signed by a certificate of "
            + authorities
            + ")");
  }

  @Test
  void refusesAnExpiredServerCertificate() throws IOException {
    ClientIdentity expired =
        PKI.issue(Order.server().valid(Duration.ofDays(-9), Duration.ofDays(-1)));
    assertFailed(
        failureOf(expired, ECHO, signed()),
        Reason.SERVER_NOT_TRUSTED,
        Request.NOT_SENT,
        "server certificate: expired on "
            + expired.certificate().getNotAfter().toInstant()
            + " (expected: one that is valid now)");
  }

  @Test
  void refusesAServerCertificateThatIsNotValidYet() throws IOException {
    ClientIdentity early = PKI.issue(Order.server().valid(Duration.ofDays(1), Duration.ofDays(9)));
    assertFailed(
        failureOf(early, ECHO, signed()),
        Reason.SERVER_NOT_TRUSTED,
        Request.NOT_SENT,
        "server certificate: valid from "
            + early.certificate().getNotBefore().toInstant()
            + " on (expected: one that is valid now; is the clock right?)");
  }

  @Test
  void refusesAServerCertificateOfAnotherName() throws IOException {
    assertFailed(
        failureOf(PKI.issue(Order.server().named("kms-2.test", "127.0.0.2")), ECHO, signed()),
        Reason.SERVER_NOT_TRUSTED,
        Request.NOT_SENT,
        "server certificate: issued for kms-2.test, 127.0.0.2 (expected: for 127.0.0.1)");
    assertFailed(
        failureOf(PKI.issue(Order.server().named()), ECHO, signed()),
        Reason.SERVER_NOT_TRUSTED,
        Request.NOT_SENT,
        "server certificate: issued for CN=kms.test, without alternative names (expected: for"
            + " 127.0.0.1)");
  }

  @Test
  void refusesACertificateThatIsNotThePinnedOne() throws IOException {
    ClientIdentity other = PKI.issue(Order.server());
    assertFailed(
        failureOf(SERVER, ECHO, pinned(other)),
        Reason.SERVER_NOT_TRUSTED,
        Request.NOT_SENT,
        "server certificate: fingerprint "
            + Fingerprint.of(SERVER.certificate())
            + " (expected: the trusted "
            + Fingerprint.of(other.certificate())
            + ")");
  }

  @Test
  void believesAPinnedCertificateWithoutAuthorityNamesOrValidity() throws IOException {
    ClientIdentity old =
        STRANGERS.issue(
            Order.server().named().valid(Duration.ofDays(-9), Duration.ofDays(-1)).usedFor(null));
    try (ScriptedKmipServer kms = ScriptedKmipServer.start(old, PKI.certificate(), ECHO);
        ConnectionPool pool = pool(kms.port(), pinned(old))) {
      assertThat(Messages.exchange(pool, REQUEST, Repeat.NEVER)).hasSameSizeAs(REQUEST);
    }
  }

  @Test
  void showsACertificateWithoutTrustingIt() throws IOException {
    ClientIdentity unknown = STRANGERS.issue(Order.server());
    try (ScriptedKmipServer kms = ScriptedKmipServer.start(unknown, PKI.certificate(), ECHO)) {
      ServerAddress address = new ServerAddress("127.0.0.1", kms.port());
      assertThat(CertificateViewer.fetch(address, List.of("TLSv1.3", "TLSv1.2"), timeouts))
          .isEqualTo(unknown.chain());
      assertThat(CertificateViewer.fetch(address, List.of("TLSv1.2"), timeouts))
          .isEqualTo(unknown.chain());
      assertThat(kms.requests()).isZero();
    }
  }

  @Test
  void saysThatTheServerDoesNotTrustTheClient() throws IOException {
    ClientIdentity stranger = STRANGERS.issue(Order.client("filterd"));
    for (String protocol : List.of("TLSv1.3", "TLSv1.2")) {
      TlsSettings tls =
          TlsSettings.of(new ServerTrust.SignedBy(authorities), stranger)
              .withProtocols(List.of(protocol));
      TransportException failure = failureOf(SERVER, ECHO, tls);
      // In TLS 1.3 the server looks at the certificate when our handshake is over.
      assertFailed(
          failure,
          Reason.CLIENT_NOT_TRUSTED,
          protocol.equals("TLSv1.3") ? Request.MAYBE_SENT : Request.NOT_SENT,
          "client certificate: refused by the server with certificate_unknown (expected: trusted"
              + " there)");
    }
  }

  @Test
  void saysThatTheServerWantsAnOlderOrNewerTls() throws IOException {
    try (ScriptedKmipServer old =
        ScriptedKmipServer.start(SERVER, PKI.certificate(), List.of("TLSv1.2"), ECHO)) {
      assertFailed(
          failureOf(old.port(), signed().withProtocols(List.of("TLSv1.3")), REQUEST),
          Reason.TLS,
          Request.NOT_SENT,
          "TLS handshake: no common TLS version (expected: one of [TLSv1.3])");
      try (ConnectionPool pool = pool(old.port(), signed())) {
        Messages.exchange(pool, REQUEST, Repeat.NEVER);
        assertThat(pool.peer().orElseThrow().protocol()).isEqualTo("TLSv1.2");
      }
    }
    try (ScriptedKmipServer strict =
        ScriptedKmipServer.start(SERVER, PKI.certificate(), List.of("TLSv1.3"), ECHO)) {
      assertFailed(
          failureOf(strict.port(), signed().withProtocols(List.of("TLSv1.2")), REQUEST),
          Reason.TLS,
          Request.NOT_SENT,
          "TLS handshake: no common TLS version (expected: one of [TLSv1.2])");
    }
  }

  @Test
  void saysThatThereIsNoCommonSuite() throws IOException {
    TlsSettings rsa =
        signed()
            .withProtocols(List.of("TLSv1.2"))
            .withSuites(List.of("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"));
    assertFailed(
        failureOf(SERVER, ECHO, rsa),
        Reason.TLS,
        Request.NOT_SENT,
        "TLS handshake: refused by the server with handshake_failure (expected: a common version"
            + " out of [TLSv1.2], a common cipher suite, a client certificate it takes)");
  }

  @Test
  void refusesAClientUseOfTheServersCertificate() throws IOException {
    assertThat(
            failureOf(
                    PKI.issue(Order.server().usedFor(KeyPurposeId.id_kp_clientAuth)),
                    ECHO,
                    signed())
                .reason())
        .isEqualTo(Reason.SERVER_NOT_TRUSTED);
  }

  @Test
  void refusesGarbageInsteadOfTls() throws IOException {
    assertFailed(
        failureOf(
            line -> {
              line.sendRaw("220 mail.test ESMTP\r\n".getBytes(StandardCharsets.US_ASCII));
              line.hold();
            }),
        Reason.TLS,
        Request.NOT_SENT,
        "TLS handshake: Unsupported or unrecognized SSL message (expected: TLS of a KMIP server)");
  }

  @Test
  void refusesGarbageInsteadOfAnAnswer() throws IOException {
    assertFailed(
        failureOf(answeredWith("HTTP/1.1 400 Bad Request".getBytes(StandardCharsets.US_ASCII))),
        Reason.PROTOCOL,
        Request.MAYBE_SENT,
        "answer: byte 0: 0x485454 (expected: the tag of a ResponseMessage)");
  }

  @Test
  void refusesAnAnswerOfTwoGibibytesBeforeItHasRoomForIt() throws IOException {
    assertFailed(
        failureOf(answeredWith(HexFormat.of().parseHex("42007b0180000000"))),
        Reason.PROTOCOL,
        Request.MAYBE_SENT,
        "answer: byte 0: ResponseMessage: length: 2147483648 bytes (expected: at most 1048568)");
    assertFailed(
        failureOf(answeredWith(HexFormat.of().parseHex("42007b01fffffff8"))),
        Reason.PROTOCOL,
        Request.MAYBE_SENT,
        "answer: byte 0: ResponseMessage: length: 4294967288 bytes (expected: at most 1048568)");
  }

  @Test
  void refusesAnAnswerWithoutPadding() throws IOException {
    assertFailed(
        failureOf(answeredWith(HexFormat.of().parseHex("42007b010000000d"))),
        Reason.PROTOCOL,
        Request.MAYBE_SENT,
        "answer: byte 0: ResponseMessage: length: 13 bytes (expected: a multiple of 8)");
  }

  @Test
  void refusesHalfAnAnswer() throws IOException {
    for (int bytes : new int[] {0, 3, 8, 40, 71}) {
      assertFailed(
          failureOf(
              line -> {
                line.shakeHands();
                line.request();
                line.send(Arrays.copyOf(Messages.answer(64, 1), bytes));
              }),
          Reason.CLOSED,
          Request.MAYBE_SENT,
          "answer: closed by the server (expected: an answer; some refuse client certificates this"
              + " way)");
    }
  }

  @Test
  void saysThatTheServerClosesAtOnce() throws IOException {
    assertFailed(
        failureOf(line -> {}),
        Reason.CLOSED,
        Request.NOT_SENT,
        "TLS handshake: closed by the server (expected: an answer; some refuse client certificates"
            + " this way)");
  }

  @Test
  void givesUpASilentServerInTheHandshake() throws IOException {
    timeouts = new Timeouts(Duration.ofSeconds(5), Duration.ofMillis(200), Duration.ofSeconds(30));
    assertFailed(
        failureOf(ScriptedKmipServer.silent()),
        Reason.TIMED_OUT,
        Request.NOT_SENT,
        "TLS handshake: not done (expected: within 200 ms)");
  }

  @Test
  void givesUpAFrozenServerWhoseKernelStillAccepts() throws IOException {
    timeouts = new Timeouts(Duration.ofSeconds(5), Duration.ofMillis(200), Duration.ofSeconds(30));
    try (ServerSocket frozen = new ServerSocket(0, 5, InetAddress.getLoopbackAddress())) {
      assertFailed(
          failureOf(frozen.getLocalPort(), signed(), REQUEST),
          Reason.TIMED_OUT,
          Request.NOT_SENT,
          "TLS handshake: not done (expected: within 200 ms)");
    }
  }

  @Test
  void givesUpAHandshakeThatTrickles() throws IOException {
    timeouts = new Timeouts(Duration.ofSeconds(5), Duration.ofMillis(500), Duration.ofSeconds(30));
    assertFailed(
        failureOf(
            line -> {
              line.trickle(20);
              line.shakeHands();
            }),
        Reason.TIMED_OUT,
        Request.NOT_SENT,
        "TLS handshake: not done (expected: within 500 ms)");
  }

  @Test
  void givesUpAServerThatNeverAnswers() throws IOException {
    timeouts = new Timeouts(Duration.ofSeconds(5), Duration.ofSeconds(30), Duration.ofMillis(200));
    assertFailed(
        failureOf(
            line -> {
              line.shakeHands();
              line.request();
              line.hold();
            }),
        Reason.TIMED_OUT,
        Request.MAYBE_SENT,
        "answer: not done (expected: within 200 ms)");
  }

  @Test
  void givesUpAnAnswerThatTrickles() throws IOException {
    timeouts = new Timeouts(Duration.ofSeconds(5), Duration.ofSeconds(30), Duration.ofMillis(500));
    assertFailed(
        failureOf(
            line -> {
              line.shakeHands();
              line.request();
              line.trickle(20);
              line.send(Messages.answer(4096, 1));
            }),
        Reason.TIMED_OUT,
        Request.MAYBE_SENT,
        "answer: not done (expected: within 500 ms)");
  }

  @Test
  void givesUpAServerThatReadsNothing() throws IOException {
    timeouts = new Timeouts(Duration.ofSeconds(5), Duration.ofSeconds(30), Duration.ofMillis(500));
    try (ScriptedKmipServer kms =
        ScriptedKmipServer.start(
            SERVER,
            PKI.certificate(),
            line -> {
              line.shakeHands();
              line.hold();
            })) {
      assertFailed(
          failureOf(kms.port(), signed(), Messages.request(32 << 20, 1)),
          Reason.TIMED_OUT,
          Request.MAYBE_SENT,
          "answer: not done (expected: within 500 ms)");
    }
  }

  @Test
  void saysThatNobodyListens() throws IOException {
    int port;
    try (ServerSocket closed = new ServerSocket(0, 5, InetAddress.getLoopbackAddress())) {
      port = closed.getLocalPort();
    }
    assertFailed(
        failureOf(port, signed(), REQUEST),
        Reason.UNREACHABLE,
        Request.NOT_SENT,
        "connect: Connection refused (expected: a listening server)");
  }

  @Test
  void saysThatANameIsUnknown() throws IOException {
    try (ConnectionPool pool =
        new ConnectionPool(
            // RFC 6761 reserves it for names that do not exist.
            new ServerAddress("kms.invalid", 5696), signed(), timeouts, PoolSettings.defaults())) {
      TransportException failure =
          catchThrowableOfType(
              TransportException.class, () -> Messages.exchange(pool, REQUEST, Repeat.ALLOWED));
      assertThat(failure)
          .hasMessage("KMS kms.invalid:5696: host: unknown (expected: a name with an address)");
      assertThat(failure.reason()).isEqualTo(Reason.UNREACHABLE);
    }
  }

  private static Script answeredWith(byte[] bytes) {
    return line -> {
      line.shakeHands();
      line.request();
      line.send(bytes);
      line.hold();
    };
  }
}
