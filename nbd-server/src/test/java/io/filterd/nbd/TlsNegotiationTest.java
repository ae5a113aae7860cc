package io.filterd.nbd;

import static io.filterd.nbd.RawClient.contextData;
import static io.filterd.nbd.RawClient.infoData;
import static io.filterd.nbd.RawClient.option;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_DISC;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_READ;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_ABORT;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_EXPORT_NAME;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_GO;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_INFO;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_LIST;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_SET_META_CONTEXT;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_STARTTLS;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_STRUCTURED_REPLY;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ACK;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_INVALID;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_POLICY;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_TLS_REQD;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_UNKNOWN;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import io.filterd.block.MemoryDevice;
import io.filterd.nbd.RawClient.OptionReply;
import io.netty.buffer.ByteBufAllocator;
import io.netty.buffer.ByteBufAllocatorMetricProvider;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.security.cert.X509Certificate;
import java.time.Duration;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicLong;
import javax.net.ssl.SSLSocket;
import org.bouncycastle.tls.CipherSuite;
import org.bouncycastle.tls.ProtocolVersion;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** TLS as proto.md has it ("TLS support", "NBD_OPT_STARTTLS"), each rule by hand. */
@ExtendWith(NoLeaks.class)
final class TlsNegotiationTest {
  private static final int MIB = 1 << 20;
  private static final String KEY = "00112233445566778899aabbccddeeff";

  @SuppressWarnings("NonFinalStaticField") // Set by the framework.
  @TempDir
  static Path shared;

  @SuppressWarnings({"NullAway.Init", "NonFinalStaticField"}) // Made before the first test.
  private static TestPki pki;

  @TempDir Path folder;

  private final CountedExports exports =
      new CountedExports()
          .with("disk", new MemoryDevice(64 << 20))
          .withInTls("secret", new MemoryDevice(MIB));

  @SuppressWarnings("NullAway.Init") // Each test starts its own kind first.
  private NbdServer server;

  @BeforeAll
  static void makeCertificates() throws IOException {
    pki = new TestPki(shared);
  }

  @AfterEach
  void givesBackEveryLease() {
    server.close();
    await().until(() -> exports.openLeases() == 0);
  }

  private NbdServerConfig config() {
    return NbdServerConfig.on(List.of(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0)));
  }

  private void start(Tls.Mode mode, Tls.Credentials credentials) throws IOException {
    start(config().toBuilder().tls(new Tls(mode, credentials)).build());
  }

  private void start(NbdServerConfig config) throws IOException {
    server = NbdServer.start(config, exports);
  }

  private RawClient connect() throws IOException {
    return new RawClient(server.addresses().getFirst()).greet();
  }

  private static int type(List<OptionReply> replies) {
    return replies.getLast().type();
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 3, 4, 6, 7, 8, 9, 10, 11, 99})
  void answersNothingButStartTlsAndAbortWithoutTlsThatIsRequired(int number) throws Exception {
    start(Tls.Mode.REQUIRE, pki.server(false));
    try (RawClient client = connect()) {
      assertThat(type(client.ask(number, infoData("disk")))).isEqualTo(NBD_REP_ERR_TLS_REQD);
      assertThat(type(client.ask(number))).isEqualTo(NBD_REP_ERR_TLS_REQD);
      assertThat(type(client.ask(number, new byte[70_000]))).isEqualTo(NBD_REP_ERR_TLS_REQD);

      client.startTls(pki.client(null));
      assertThat(type(client.ask(NBD_OPT_GO, infoData("disk")))).isEqualTo(NBD_REP_ACK);
      assertThat(client.read(0, 4096)).hasSize(4096);
    }
  }

  @Test
  void acceptsAbortWithoutTlsThatIsRequired() throws Exception {
    start(Tls.Mode.REQUIRE, pki.server(false));
    try (RawClient client = connect()) {
      assertThat(type(client.ask(NBD_OPT_ABORT))).isEqualTo(NBD_REP_ACK);
      assertThat(client.atEnd()).isTrue();
    }
  }

  @Test
  void dropsAnExportNameWithoutTlsThatIsRequired() throws Exception {
    start(Tls.Mode.REQUIRE, pki.server(false));
    try (RawClient client = connect()) {
      client.sendOption(NBD_OPT_EXPORT_NAME, "disk".getBytes(StandardCharsets.UTF_8));

      assertThat(client.atEnd()).isTrue();
    }
  }

  @Test
  void neverAsksForTlsThatItDoesNotHave() throws Exception {
    start(config());
    try (RawClient client = connect()) {
      assertThat(type(client.ask(NBD_OPT_STARTTLS))).isEqualTo(NBD_REP_ERR_POLICY);
      assertThat(type(client.ask(NBD_OPT_GO, infoData("secret")))).isEqualTo(NBD_REP_ERR_POLICY);
      assertThat(type(client.ask(NBD_OPT_GO, infoData("disk")))).isEqualTo(NBD_REP_ACK);
    }
  }

  @Test
  void doesTlsAsEachListenerSays() throws Exception {
    Listener loopback = Listener.on(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
    Listener local = Listener.at(new Listener.Unix(folder.resolve("s"), null, null, null));
    start(
        config().toBuilder()
            .tls(new Tls(Tls.Mode.REQUIRE, pki.server(true)))
            .listen(List.of(loopback, loopback.with(Tls.Mode.ON), local.with(Tls.Mode.OFF)))
            .build());
    List<SocketAddress> addresses = server.addresses();

    assertThat(addresses).map(server::needsTls).containsExactly(true, false, false);
    try (RawClient required = new RawClient(addresses.get(0)).greet();
        RawClient offered = new RawClient(addresses.get(1)).greet();
        RawClient off = new RawClient(addresses.get(2)).greet()) {
      assertThat(type(required.ask(NBD_OPT_LIST))).isEqualTo(NBD_REP_ERR_TLS_REQD);
      assertThat(type(offered.ask(NBD_OPT_INFO, infoData("secret"))))
          .isEqualTo(NBD_REP_ERR_TLS_REQD);
      assertThat(type(offered.ask(NBD_OPT_LIST))).isEqualTo(NBD_REP_ACK);
      assertThat(type(off.ask(NBD_OPT_STARTTLS))).isEqualTo(NBD_REP_ERR_POLICY);
      // Never TLS_REQD where there is none to be had.
      assertThat(type(off.ask(NBD_OPT_GO, infoData("secret")))).isEqualTo(NBD_REP_ERR_POLICY);
      assertThat(type(off.ask(NBD_OPT_GO, infoData("disk")))).isEqualTo(NBD_REP_ACK);
      assertThat(off.read(0, 512)).hasSize(512);

      for (RawClient client : List.of(required, offered)) {
        client.startTls(pki.client("client"));
        assertThat(type(client.ask(NBD_OPT_GO, infoData("secret")))).isEqualTo(NBD_REP_ACK);
      }
    }
  }

  @Test
  void turnsTlsOnForOneListenerOnly() throws Exception {
    Listener loopback = Listener.on(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
    start(
        config().toBuilder()
            .tls(new Tls(Tls.Mode.OFF, pki.server(false)))
            .listen(List.of(loopback, loopback.with(Tls.Mode.REQUIRE)))
            .build());
    try (RawClient plain = connect();
        RawClient inside = new RawClient(server.addresses().get(1)).greet()) {
      assertThat(type(plain.ask(NBD_OPT_STARTTLS))).isEqualTo(NBD_REP_ERR_POLICY);
      assertThat(type(plain.ask(NBD_OPT_GO, infoData("disk")))).isEqualTo(NBD_REP_ACK);
      assertThat(type(inside.ask(NBD_OPT_LIST))).isEqualTo(NBD_REP_ERR_TLS_REQD);
      inside.startTls(pki.client(null));
      assertThat(type(inside.ask(NBD_OPT_GO, infoData("disk")))).isEqualTo(NBD_REP_ACK);
    }
    NbdServerConfig.Builder without =
        config().toBuilder().listen(List.of(loopback.with(Tls.Mode.ON)));
    assertThatThrownBy(without::build).hasMessageContaining("tlsMode: ON without credentials");
  }

  @Test
  void servesBothKindsOfClientsWhereTlsIsOn() throws Exception {
    start(Tls.Mode.ON, pki.server(false));
    try (RawClient plain = connect();
        RawClient inside = connect()) {
      assertThat(type(plain.ask(NBD_OPT_INFO, infoData("secret")))).isEqualTo(NBD_REP_ERR_TLS_REQD);
      assertThat(type(plain.ask(NBD_OPT_GO, infoData("secret")))).isEqualTo(NBD_REP_ERR_TLS_REQD);
      assertThat(plain.ask(NBD_OPT_LIST)).hasSize(2);
      assertThat(type(plain.ask(NBD_OPT_GO, infoData("disk")))).isEqualTo(NBD_REP_ACK);

      inside.startTls(pki.client(null));
      assertThat(inside.ask(NBD_OPT_LIST)).hasSize(3);
      assertThat(type(inside.ask(NBD_OPT_INFO, infoData("none")))).isEqualTo(NBD_REP_ERR_UNKNOWN);
      assertThat(type(inside.ask(NBD_OPT_GO, infoData("secret")))).isEqualTo(NBD_REP_ACK);
      assertThat(exports.lastClient().inTls()).isTrue();
      assertThat(exports.lastClient().identity()).isEqualTo(new Client.Identity.Unproven());
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"ON", "REQUIRE"})
  void refusesStartTlsWithData(Tls.Mode mode) throws Exception {
    start(mode, pki.server(false));
    try (RawClient client = connect()) {
      assertThat(type(client.ask(NBD_OPT_STARTTLS, (byte) 0))).isEqualTo(NBD_REP_ERR_INVALID);

      client.startTls(pki.client(null));
      assertThat(type(client.ask(NBD_OPT_LIST))).isEqualTo(NBD_REP_ACK);
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"ON", "REQUIRE"})
  void refusesASecondStartTls(Tls.Mode mode) throws Exception {
    start(mode, pki.server(false));
    try (RawClient client = connect()) {
      client.startTls(pki.client(null));

      assertThat(type(client.ask(NBD_OPT_STARTTLS))).isEqualTo(NBD_REP_ERR_INVALID);
      assertThat(type(client.ask(NBD_OPT_GO, infoData("disk")))).isEqualTo(NBD_REP_ACK);
    }
  }

  @Test
  void forgetsWhatWasSaidBeforeTls() throws Exception {
    start(Tls.Mode.ON, pki.server(false));
    try (RawClient client = connect()) {
      assertThat(type(client.ask(NBD_OPT_STRUCTURED_REPLY))).isEqualTo(NBD_REP_ACK);
      assertThat(type(client.ask(NBD_OPT_SET_META_CONTEXT, contextData("disk", "base:allocation"))))
          .isEqualTo(NBD_REP_ACK);

      client.startTls(pki.client(null));
      assertThat(type(client.ask(NBD_OPT_SET_META_CONTEXT, contextData("disk", "base:allocation"))))
          .isEqualTo(NBD_REP_ERR_INVALID);
      assertThat(type(client.ask(NBD_OPT_GO, infoData("disk")))).isEqualTo(NBD_REP_ACK);
      // A simple reply.
      assertThat(client.read(0, 4096)).hasSize(4096);
    }
  }

  @Test
  void remembersTheClientFlagsWhichAreSentOnce() throws Exception {
    start(Tls.Mode.ON, pki.server(false));
    try (RawClient client = connect()) {
      client.startTls(pki.client(null));
      client.sendOption(NBD_OPT_EXPORT_NAME, "disk".getBytes(StandardCharsets.UTF_8));

      client.readBytes(10);
      assertThat(client.read(0, 4096)).hasSize(4096);
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"ON", "REQUIRE"})
  void obeysNothingThatStandsBehindStartTlsInPlaintext(Tls.Mode mode) throws Exception {
    start(mode, pki.server(false));
    try (RawClient client = connect()) {
      client.send(
          RawClient.bytes(
              to -> {
                to.write(option(NBD_OPT_STARTTLS));
                to.write(option(NBD_OPT_STRUCTURED_REPLY));
              }));

      assertThat(client.atEnd()).isTrue();
    }
  }

  @Test
  void dropsAClientThatAnnouncesTlsAndGoesOnWithoutIt() throws Exception {
    start(Tls.Mode.ON, pki.server(false));
    try (RawClient client = connect()) {
      assertThat(type(client.ask(NBD_OPT_STARTTLS))).isEqualTo(NBD_REP_ACK);
      client.sendOption(NBD_OPT_GO, infoData("disk"));

      assertThat(client.readToEnd()).doesNotContain("disk".getBytes(StandardCharsets.UTF_8));
      assertThat(exports.wereAsked()).isFalse();
    }
  }

  /** The ClientHello of a client that can do TLS 1.1, and no more. */
  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void refusesOldVersions(boolean preShared) throws Exception {
    byte[] hello =
        RawClient.bytes(
            to -> {
              to.write(new byte[] {22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2});
              to.write(new byte[32]);
              // ECDHE_RSA_AES_128_CBC_SHA.
              to.write(new byte[] {0, 0, 2, (byte) 0xc0, 0x13, 1, 0});
            });
    start(
        Tls.Mode.REQUIRE,
        preShared ? new Tls.PreSharedKeys(pki.keys("alice:" + KEY)) : pki.server(false));
    try (RawClient client = connect()) {
      assertThat(type(client.ask(NBD_OPT_STARTTLS))).isEqualTo(NBD_REP_ACK);
      client.send(hello);

      // A fatal alert: protocol_version.
      assertThat(client.readToEnd()).hasSize(7).startsWith(21).endsWith(2, 70);
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void endsAStalledHandshakeAndServesOthersMeanwhile(boolean preShared) throws Exception {
    Tls.Credentials credentials =
        preShared ? new Tls.PreSharedKeys(pki.keys("alice:" + KEY)) : pki.server(false);
    start(
        config().toBuilder()
            .tls(new Tls(Tls.Mode.ON, credentials))
            .handshakeTimeout(Duration.ofSeconds(2))
            .build());
    try (RawClient stalled = connect();
        RawClient other = connect()) {
      assertThat(type(stalled.ask(NBD_OPT_STARTTLS))).isEqualTo(NBD_REP_ACK);
      stalled.send((byte) 22, (byte) 3);
      assertThat(type(other.ask(NBD_OPT_GO, infoData("disk")))).isEqualTo(NBD_REP_ACK);

      stalled.readToEnd();
      assertThat(other.read(0, 4096)).hasSize(4096);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"TLSv1.2", "TLSv1.3"})
  void tellsTheOwnerOfTheExportsWhoHasShownACertificate(String version) throws Exception {
    start(Tls.Mode.REQUIRE, pki.server(true));
    try (RawClient client = connect()) {
      SSLSocket socket = client.startTls(pki.client("client"), version);
      assertThat(type(client.ask(NBD_OPT_GO, infoData("disk")))).isEqualTo(NBD_REP_ACK);

      assertThat(socket.getSession().getProtocol()).isEqualTo(version);
      X509Certificate shown = pki.certificate("client");
      byte[] digest = MessageDigest.getInstance("SHA-256").digest(shown.getEncoded());
      assertThat(exports.lastClient().identity())
          .isEqualTo(new Client.Identity.Certificate("CN=alice", HexFormat.of().formatHex(digest)));
      assertThat(client.read(0, 512)).hasSize(512);
      assertThat(server.connections())
          .singleElement()
          .satisfies(each -> assertThat(each.peer()).endsWith("/certificate:CN=alice"));
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"TLSv1.2", "TLSv1.3"})
  void refusesClientsWithoutACertificateOfTheAuthority(String version) throws Exception {
    TestPki others = new TestPki(folder.resolve("others"));
    start(Tls.Mode.REQUIRE, pki.server(true));
    try (RawClient without = connect();
        RawClient stranger = connect();
        RawClient asServer = connect();
        RawClient right = connect()) {
      Files.copy(
          pki.file("ca-cert.pem"), others.file("ca-cert.pem"), StandardCopyOption.REPLACE_EXISTING);
      assertThatThrownBy(() -> listInTls(without, pki, null, version))
          .isInstanceOf(IOException.class);
      assertThatThrownBy(() -> listInTls(stranger, others, "client", version))
          .isInstanceOf(IOException.class);
      // Its certificate is the authority's, but not one for clients.
      assertThatThrownBy(() -> listInTls(asServer, pki, "server", version))
          .isInstanceOf(IOException.class);
      assertThat(exports.wereAsked()).isFalse();

      assertThat(type(listInTls(right, pki, "client", version))).isEqualTo(NBD_REP_ACK);
    }
  }

  private static List<OptionReply> listInTls(
      RawClient client, TestPki own, @Nullable String certificate, String version)
      throws Exception {
    client.startTls(own.client(certificate), version);
    return client.ask(NBD_OPT_LIST);
  }

  @ParameterizedTest
  @CsvSource({"TLSv1.3, 0x1301", "TLSv1.2, 0xd001", "TLSv1.2, 0x00aa", "TLSv1.2, 0x00ab"})
  void knowsWhoHasAPreSharedKey(String version, String suite) throws Exception {
    start(
        Tls.Mode.REQUIRE,
        new Tls.PreSharedKeys(pki.keys("bob:00" + KEY + "\nalice:" + KEY + "\n")));
    byte[] data = new byte[MIB];
    new Random(1).nextBytes(data);
    try (RawClient client = connect()) {
      startPsk(client, "alice", KEY, version, Integer.decode(suite));
      assertThat(type(client.ask(NBD_OPT_GO, infoData("disk")))).isEqualTo(NBD_REP_ACK);
      client.write(512, data);
      assertThat(client.read(512, MIB)).isEqualTo(data);

      assertThat(exports.lastClient().identity())
          .isEqualTo(new Client.Identity.PreSharedKey("alice"));
    }
  }

  private static void startPsk(
      RawClient client, String identity, String key, String version, int suite) throws IOException {
    client.startPsk(
        identity,
        HexFormat.of().parseHex(key),
        version.equals("TLSv1.3") ? ProtocolVersion.TLSv13 : ProtocolVersion.TLSv12,
        suite);
  }

  @ParameterizedTest
  @ValueSource(strings = {"TLSv1.2", "TLSv1.3"})
  void refusesClientsWithoutTheKey(String version) throws Exception {
    start(Tls.Mode.REQUIRE, new Tls.PreSharedKeys(pki.keys("alice:" + KEY)));
    int suite =
        version.equals("TLSv1.3")
            ? CipherSuite.TLS_AES_128_GCM_SHA256
            : CipherSuite.TLS_ECDHE_PSK_WITH_AES_128_GCM_SHA256;
    try (RawClient wrong = connect();
        RawClient unknown = connect();
        RawClient without = connect();
        RawClient right = connect()) {
      assertThatThrownBy(
              () -> {
                startPsk(wrong, "alice", KEY.replace('0', '1'), version, suite);
                wrong.ask(NBD_OPT_LIST);
              })
          .isInstanceOf(IOException.class);
      assertThatThrownBy(
              () -> {
                startPsk(unknown, "mallory", KEY, version, suite);
                unknown.ask(NBD_OPT_LIST);
              })
          .isInstanceOf(IOException.class);
      assertThatThrownBy(() -> listInTls(without, pki, null, version))
          .isInstanceOf(IOException.class);
      assertThat(exports.wereAsked()).isFalse();

      startPsk(right, "alice", KEY, version, suite);
      assertThat(type(right.ask(NBD_OPT_LIST))).isEqualTo(NBD_REP_ACK);
    }
  }

  /** What is not said goodbye to is an exception on the client's side. */
  @ParameterizedTest
  @ValueSource(strings = {"TLSv1.2", "TLSv1.3"})
  void closesTlsBeforeTcp(String version) throws Exception {
    start(Tls.Mode.REQUIRE, pki.server(false));
    try (RawClient disconnecting = connect();
        RawClient aborting = connect()) {
      disconnecting.startTls(pki.client(null), version);
      assertThat(type(disconnecting.ask(NBD_OPT_GO, infoData("disk")))).isEqualTo(NBD_REP_ACK);
      disconnecting.sendRequest(0, NBD_CMD_READ, 1, 0, MIB);
      disconnecting.sendRequest(0, NBD_CMD_DISC, 2, 0, 0);
      assertThat(disconnecting.readSimple(MIB).cookie()).isEqualTo(1);
      assertThat(disconnecting.readToEnd()).isEmpty();

      aborting.startTls(pki.client(null), version);
      assertThat(type(aborting.ask(NBD_OPT_ABORT))).isEqualTo(NBD_REP_ACK);
      assertThat(aborting.readToEnd()).isEmpty();
    }
    server.close();

    start(Tls.Mode.REQUIRE, new Tls.PreSharedKeys(pki.keys("alice:" + KEY)));
    try (RawClient client = connect()) {
      int suite = version.equals("TLSv1.3") ? 0x1301 : 0xd001;
      startPsk(client, "alice", KEY, version, suite);
      assertThat(type(client.ask(NBD_OPT_GO, infoData("disk")))).isEqualTo(NBD_REP_ACK);
      client.sendRequest(0, NBD_CMD_DISC, 2, 0, 0);
      assertThat(client.readToEnd()).isEmpty();
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void endsOnlyTheClientWhoseRecordsAreBroken(boolean preShared) throws Exception {
    start(
        Tls.Mode.REQUIRE,
        preShared ? new Tls.PreSharedKeys(pki.keys("alice:" + KEY)) : pki.server(false));
    try (RawClient broken = connect();
        RawClient other = connect()) {
      for (RawClient each : List.of(broken, other)) {
        if (preShared) {
          startPsk(each, "alice", KEY, "TLSv1.3", 0x1301);
        } else {
          each.startTls(pki.client(null));
        }
        assertThat(type(each.ask(NBD_OPT_GO, infoData("disk")))).isEqualTo(NBD_REP_ACK);
      }
      byte[] record = new byte[105];
      new Random(1).nextBytes(record);
      System.arraycopy(new byte[] {23, 3, 3, 0, 100}, 0, record, 0, 5);
      broken.sendOutsideTls(record);

      await().until(() -> server.connections().size() == 1);
      assertThat(other.read(0, 4096)).hasSize(4096);
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void holdsNoMoreForAClientInTlsThatReadsNothing(boolean preShared) throws Exception {
    start(
        config().toBuilder()
            .tls(
                new Tls(
                    Tls.Mode.REQUIRE,
                    preShared
                        ? new Tls.PreSharedKeys(pki.keys("alice:" + KEY))
                        : pki.server(false)))
            .maxBytesInFlight(32 * MIB)
            .maxTotalBytesInFlight(32 * MIB)
            .stallTimeout(Duration.ofSeconds(3))
            .build());
    try (RawClient deaf = new RawClient(server.addresses().getFirst(), 4096).greet()) {
      if (preShared) {
        startPsk(deaf, "alice", KEY, "TLSv1.3", 0x1301);
      } else {
        deaf.startTls(pki.client(null));
      }
      assertThat(type(deaf.ask(NBD_OPT_GO, infoData("disk")))).isEqualTo(NBD_REP_ACK);
      long before = usedBytes();
      AtomicLong most = new AtomicLong();
      for (int i = 0; i < 100; i++) {
        deaf.sendRequest(0, NBD_CMD_READ, i, 0, 4 * MIB);
      }

      await()
          .pollInterval(Duration.ofMillis(2))
          .atMost(Duration.ofSeconds(20))
          .until(
              () -> {
                most.accumulateAndGet(usedBytes() - before, Math::max);
                return server.connections().isEmpty();
              });
      // Once more what is just being enciphered, and what the pool rounds up; not 400 MiB.
      assertThat(most.get()).isBetween(8L * MIB, 80L * MIB);
    }
  }

  private static long usedBytes() {
    return ((ByteBufAllocatorMetricProvider) ByteBufAllocator.DEFAULT).metric().usedDirectMemory();
  }

  @Test
  void takesNewCertificatesWithoutARestart() throws Exception {
    TestPki own = new TestPki(folder.resolve("own"));
    start(Tls.Mode.REQUIRE, own.server(true));
    try (RawClient first = connect();
        RawClient second = connect();
        RawClient third = connect();
        RawClient fourth = connect()) {
      X509Certificate old = own.certificate("server");
      assertThat(shown(first, own)).isEqualTo(old);

      // The key of another certificate: as if only half of the files were there yet.
      byte[] key = Files.readAllBytes(own.file("server-key.pem"));
      Files.copy(
          pki.file("server-key.pem"),
          own.file("server-key.pem"),
          StandardCopyOption.REPLACE_EXISTING,
          StandardCopyOption.COPY_ATTRIBUTES);
      assertThat(shown(second, own)).isEqualTo(old);
      Files.delete(own.file("server-key.pem"));
      assertThat(shown(third, own)).isEqualTo(old);
      assertThat(key).isNotEmpty();

      own.issue("server", "localhost", "rsa:2048", "serverAuth");
      assertThat(shown(fourth, own)).isEqualTo(own.certificate("server")).isNotEqualTo(old);
      // Those who are there stay.
      assertThat(type(first.ask(NBD_OPT_LIST))).isEqualTo(NBD_REP_ACK);
    }
  }

  private static X509Certificate shown(RawClient client, TestPki own) throws Exception {
    SSLSocket socket = client.startTls(own.client("client"));
    assertThat(type(client.ask(NBD_OPT_LIST))).isEqualTo(NBD_REP_ACK);
    return (X509Certificate) socket.getSession().getPeerCertificates()[0];
  }

  @Test
  void takesNewKeysWithoutARestart() throws Exception {
    Path keys = pki.keys("alice:" + KEY + "\n");
    start(Tls.Mode.REQUIRE, new Tls.PreSharedKeys(keys));
    Files.writeString(keys, "alice:" + KEY + "\nbob:" + KEY + "\n");
    try (RawClient bob = connect();
        RawClient stillBob = connect()) {
      startPsk(bob, "bob", KEY, "TLSv1.3", 0x1301);
      assertThat(type(bob.ask(NBD_OPT_LIST))).isEqualTo(NBD_REP_ACK);

      Files.writeString(keys, "broken");
      startPsk(stillBob, "bob", KEY, "TLSv1.3", 0x1301);
      assertThat(type(stillBob.ask(NBD_OPT_LIST))).isEqualTo(NBD_REP_ACK);
    }
  }

  @Test
  void doesNotStartWithFilesThatCanNotBeUsed() throws Exception {
    start(config());
    Path missing = folder.resolve("missing.pem");
    assertThatThrownBy(() -> start(Tls.Mode.ON, new Tls.Certificates(missing, missing, null)))
        .hasMessage(missing + ": there is no such file");
    Path key = pki.file("ca-key.pem");
    assertThatThrownBy(
            () -> start(Tls.Mode.ON, new Tls.Certificates(pki.file("client-cert.pem"), key, null)))
        .hasMessage(key + ": not the key of the certificate");
    assertThatThrownBy(
            () -> start(Tls.Mode.ON, new Tls.Certificates(pki.file("server-cert.pem"), key, null)))
        .hasMessageStartingWith(key + ": no private key of kind RSA");
    Path readable = Files.copy(pki.file("server-key.pem"), folder.resolve("readable.pem"));
    Files.setPosixFilePermissions(readable, PosixFilePermissions.fromString("rw-r--r--"));
    assertThatThrownBy(
            () ->
                start(
                    Tls.Mode.ON, new Tls.Certificates(pki.file("server-cert.pem"), readable, null)))
        .hasMessage(readable + ": mode rw-r--r-- (expected: not for others)");
  }

  @ParameterizedTest
  @CsvSource({
    "'', no keys (expected: lines identity:key)",
    "'alice', 1: no identity (expected: identity:key)",
    "':00112233445566778899aabbccddeeff', 1: no identity (expected: identity:key)",
    "'alice:xx', 1: a key or an identity with # is not hexadecimal",
    "'#6:00112233445566778899aabbccddeeff', 1: a key or an identity with # is not hexadecimal",
    "'alice:0011', '1: key: 2 bytes (expected: 16..512)'",
  })
  void saysWhatIsWrongWithAFileOfKeysAndNotTheKeys(String lines, String problem) throws Exception {
    start(config());
    Path keys = pki.keys(lines);
    assertThatThrownBy(() -> start(Tls.Mode.ON, new Tls.PreSharedKeys(keys)))
        .hasMessageStartingWith(keys + ":")
        .hasMessageEndingWith(problem);
    Path twice = pki.keys("a:%s\n\n#61:%s\n".formatted(KEY, KEY));
    assertThatThrownBy(() -> start(Tls.Mode.ON, new Tls.PreSharedKeys(twice)))
        .hasMessage(twice + ":3: the identity is there twice");
  }

  @ParameterizedTest
  @ValueSource(strings = {"rsa -in server-key.pem -traditional", "ec -in client-key.pem"})
  void readsTheOldFormsOfKeys(String words) throws Exception {
    String name = words.startsWith("rsa") ? "server" : "client";
    Path old = pki.file("old-key.pem");
    Files.deleteIfExists(old);
    pki.openssl(words + " -out old-key.pem");
    assertThat(old).content().containsAnyOf("BEGIN RSA PRIVATE KEY", "BEGIN EC PRIVATE KEY");
    start(Tls.Mode.ON, new Tls.Certificates(pki.file(name + "-cert.pem"), old, null));
    assertThat(server.addresses()).hasSize(1);
  }
}
