package io.filterd.nbd;

import static io.filterd.nbd.RawClient.infoData;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_ABORT;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_GO;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_LIST;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_STARTTLS;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ACK;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_INVALID;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_POLICY;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import io.filterd.block.MemoryDevice;
import io.filterd.nbd.RawClient.OptionReply;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.List;
import org.bouncycastle.tls.CipherSuite;
import org.bouncycastle.tls.NamedGroup;
import org.bouncycastle.tls.ProtocolVersion;
import org.bouncycastle.tls.TlsFatalAlertReceived;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Clients that do what they may not around TLS. */
final class TlsHostileTest {
  private static final String KEY = "00112233445566778899aabbccddeeff";
  private static final byte[] TOO_MUCH = new byte[(64 << 10) + 1];

  @SuppressWarnings("NonFinalStaticField") // Set by the framework.
  @TempDir
  static Path shared;

  @SuppressWarnings({"NullAway.Init", "NonFinalStaticField"}) // Made before the first test.
  private static TestPki pki;

  private final CountedExports exports =
      new CountedExports()
          .with("disk", new MemoryDevice(1 << 20))
          .withInTls("secret", new MemoryDevice(1 << 20));

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

  private void start(Tls.Mode mode, Tls.Credentials credentials) throws IOException {
    server =
        NbdServer.start(
            NbdServerConfig.on(List.of(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0)))
                .toBuilder()
                .tls(new Tls(mode, credentials))
                .build(),
            exports);
  }

  private RawClient connect() throws IOException {
    return new RawClient(server.addresses().getFirst());
  }

  private static int type(List<OptionReply> replies) {
    return replies.getLast().type();
  }

  /** "The server MUST operate in NOTLS mode unless the client replied with FIXED_NEWSTYLE". */
  @ParameterizedTest
  @EnumSource
  void getNoTlsWithoutFixedNewstyle(Tls.Mode mode) throws Exception {
    start(mode, pki.server(false));
    try (RawClient client = connect().greet(RawClient.NO_ZEROES)) {
      assertThat(type(client.ask(NBD_OPT_STARTTLS))).isEqualTo(NBD_REP_ERR_POLICY);
      assertThat(type(client.ask(NBD_OPT_GO, infoData("secret")))).isEqualTo(NBD_REP_ERR_POLICY);
      int disk = type(client.ask(NBD_OPT_GO, infoData("disk")));
      assertThat(disk).isEqualTo(mode == Tls.Mode.REQUIRE ? NBD_REP_ERR_POLICY : NBD_REP_ACK);
    }
  }

  @Test
  void mayAbortWithTooMuchDataWhereTlsIsRequired() throws Exception {
    start(Tls.Mode.REQUIRE, pki.server(false));
    try (RawClient client = connect().greet()) {
      assertThat(type(client.ask(NBD_OPT_STARTTLS, TOO_MUCH))).isEqualTo(NBD_REP_ERR_INVALID);
      assertThat(type(client.ask(NBD_OPT_ABORT, TOO_MUCH))).isEqualTo(NBD_REP_ACK);
    }
    try (RawClient client = connect().greet()) {
      client.startTls(pki.client(null));
      assertThat(type(client.ask(NBD_OPT_STARTTLS, TOO_MUCH))).isEqualTo(NBD_REP_ERR_INVALID);
    }
  }

  /** Computing with groups as large as these would hold up the event loop. */
  @Test
  void mayNotChooseHugeGroups() throws Exception {
    start(Tls.Mode.REQUIRE, new Tls.PreSharedKeys(pki.keys("alice:" + KEY)));
    for (int group : new int[] {NamedGroup.ffdhe6144, NamedGroup.ffdhe8192}) {
      try (RawClient client = connect().greet()) {
        assertThatThrownBy(
                () ->
                    client.startPsk(
                        new PreSharedKeyClient(
                            "alice",
                            HexFormat.of().parseHex(KEY),
                            ProtocolVersion.TLSv12,
                            CipherSuite.TLS_DHE_PSK_WITH_AES_128_GCM_SHA256,
                            group)))
            .isInstanceOf(IOException.class);
      }
    }
  }

  /** Each answer would wait for a client that does not read it. */
  @Test
  void mayNotNegotiateTlsAnew() throws Exception {
    start(Tls.Mode.REQUIRE, new Tls.PreSharedKeys(pki.keys("alice:" + KEY)));
    try (RawClient client = connect().greet()) {
      PreSharedKeyClient psk =
          new PreSharedKeyClient(
              "alice",
              HexFormat.of().parseHex(KEY),
              ProtocolVersion.TLSv12,
              CipherSuite.TLS_ECDHE_PSK_WITH_AES_128_GCM_SHA256,
              NamedGroup.secp256r1);
      RawClient.PskConnection connection = client.startPsk(psk);
      assertThat(type(client.ask(NBD_OPT_LIST))).isEqualTo(NBD_REP_ACK);
      connection.negotiateAnew();

      assertThatThrownBy(() -> client.ask(NBD_OPT_LIST)).isInstanceOf(TlsFatalAlertReceived.class);
    }
  }
}
