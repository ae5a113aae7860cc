package io.filterd.nbd;

import static io.filterd.nbd.RawClient.contextData;
import static io.filterd.nbd.RawClient.infoData;
import static io.filterd.nbd.RawClient.option;
import static io.filterd.nbd.wire.Protocol.NBD_INFO_BLOCK_SIZE;
import static io.filterd.nbd.wire.Protocol.NBD_INFO_DESCRIPTION;
import static io.filterd.nbd.wire.Protocol.NBD_INFO_EXPORT;
import static io.filterd.nbd.wire.Protocol.NBD_INFO_NAME;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_ABORT;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_EXPORT_NAME;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_GO;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_INFO;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_LIST;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_LIST_META_CONTEXT;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_SET_META_CONTEXT;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_STARTTLS;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_STRUCTURED_REPLY;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ACK;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_INVALID;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_POLICY;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_SHUTDOWN;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_TOO_BIG;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_UNKNOWN;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_UNSUP;
import static io.filterd.nbd.wire.Protocol.NBD_REP_INFO;
import static io.filterd.nbd.wire.Protocol.NBD_REP_META_CONTEXT;
import static io.filterd.nbd.wire.Protocol.NBD_REP_SERVER;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.filterd.block.BlockException.Reason;
import io.filterd.block.MemoryDevice;
import io.filterd.nbd.RawClient.OptionReply;
import io.netty.buffer.ByteBufAllocator;
import io.netty.buffer.ByteBufAllocatorMetricProvider;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The handshake, option by option, as proto.md says it; each server is asked by hand. */
final class NegotiationTest {
  private static final long SIZE_BYTES = 8 << 20;

  private final CountedExports exports =
      new CountedExports()
          .with("disk", new MemoryDevice(SIZE_BYTES))
          .withReadOnly("vm1/größe", new MemoryDevice(4096), "for looking only")
          .withRefused("locked", Reason.IO_ERROR, "its key can't be had: see the log")
          .withRefused("ending", Reason.SHUTTING_DOWN, "is being detached");
  @TempDir Path folder;

  private NbdServer server = start(Duration.ofSeconds(10));

  private NbdServer start(Duration handshakeTimeout) {
    try {
      return NbdServer.start(
          NbdServerConfig.on(List.of(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0)))
              .toBuilder()
              .maxOptions(32)
              .maxConnections(4)
              .handshakeTimeout(handshakeTimeout)
              .build(),
          exports);
    } catch (IOException failure) {
      throw new IllegalStateException(failure);
    }
  }

  @BeforeEach
  void listens() {
    assertThat(server.addresses()).hasSize(1);
  }

  @AfterEach
  void givesBackEveryLease() {
    server.close();
    await().until(() -> exports.openLeases() == 0);
  }

  private RawClient connect() throws IOException {
    return new RawClient(server.addresses().getFirst());
  }

  private static int type(List<OptionReply> replies) {
    return replies.getLast().type();
  }

  @Test
  void dropsAClientWithUnknownFlags() throws Exception {
    try (RawClient client = connect()) {
      client.greet(4 | RawClient.FIXED_NEWSTYLE);

      assertThat(client.atEnd()).isTrue();
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 4, 12, 99, -1})
  void refusesAnUnknownOptionAndGoesOn(int unknown) throws Exception {
    try (RawClient client = connect()) {
      client.greet();

      assertThat(type(client.ask(unknown, new byte[100]))).isEqualTo(NBD_REP_ERR_UNSUP);
      assertThat(type(client.ask(NBD_OPT_LIST))).isEqualTo(NBD_REP_ACK);
    }
  }

  @Test
  void doesNotOfferTls() throws Exception {
    try (RawClient client = connect()) {
      client.greet();

      assertThat(type(client.ask(NBD_OPT_STARTTLS))).isEqualTo(NBD_REP_ERR_POLICY);
      assertThat(type(client.ask(NBD_OPT_GO, infoData("disk")))).isEqualTo(NBD_REP_ACK);
    }
  }

  @Test
  void tellsTheOwnerOfTheExportsWhoAsks() throws Exception {
    Path socket = folder.resolve("nbd.sock");
    try (NbdServer unix =
            NbdServer.start(
                NbdServerConfig.on(List.of(UnixDomainSocketAddress.of(socket))), exports);
        RawClient client = connect();
        SocketChannel channel = SocketChannel.open(UnixDomainSocketAddress.of(socket))) {
      client.greet();
      client.ask(NBD_OPT_LIST);
      assertThat(exports.lastClient().origin())
          .isEqualTo(new Client.Origin.Tcp(client.localAddress()));
      assertThat(exports.lastClient().identity()).isEqualTo(new Client.Identity.Unproven());

      channel.write(ByteBuffer.allocate(4).putInt(3).flip());
      channel.write(ByteBuffer.wrap(option(NBD_OPT_LIST)));
      int uid = (int) Files.getAttribute(socket, "unix:uid");
      int gid = (int) Files.getAttribute(socket, "unix:gid");
      int pid = (int) ProcessHandle.current().pid();
      // The JDK's own selector does not say.
      Client.Origin expected =
          "nio".equals(System.getProperty("io.filterd.nbd.transport"))
              ? new Client.Origin.Unknown("unix")
              : new Client.Origin.Unix(pid, uid, gid);
      await().until(() -> exports.lastClient().origin().equals(expected));
      assertThat(unix.addresses()).hasSize(1);
    }
  }

  @Test
  void skipsTheDataOfATooLongOption() throws Exception {
    try (RawClient client = connect()) {
      client.greet();

      assertThat(type(client.ask(NBD_OPT_INFO, new byte[(64 << 10) + 1])))
          .isEqualTo(NBD_REP_ERR_TOO_BIG);
      assertThat(type(client.ask(NBD_OPT_LIST))).isEqualTo(NBD_REP_ACK);
    }
  }

  @Test
  void dropsAClientWithFourGibibytesOfOption() throws Exception {
    try (RawClient client = connect()) {
      client.greet();
      byte[] header = option(NBD_OPT_INFO);
      ByteBuffer.wrap(header).putInt(12, -1);
      client.send(header);

      assertThat(client.atEnd()).isTrue();
    }
  }

  @Test
  void dropsAClientWithoutTheOptionMagic() throws Exception {
    try (RawClient client = connect()) {
      client.greet();
      client.send(new byte[16]);

      assertThat(client.atEnd()).isTrue();
    }
  }

  @Test
  void listsEveryExport() throws Exception {
    try (RawClient client = connect()) {
      client.greet();
      List<OptionReply> replies = client.ask(NBD_OPT_LIST);

      assertThat(replies)
          .extracting(OptionReply::type)
          .containsExactly(NBD_REP_SERVER, NBD_REP_SERVER, NBD_REP_ACK);
      assertThat(replies.subList(0, 2))
          .extracting(reply -> reply.text(4))
          .containsExactly("disk", "vm1/größe");
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {NBD_OPT_LIST, NBD_OPT_STRUCTURED_REPLY})
  void refusesDataWhereThereMustBeNone(int number) throws Exception {
    try (RawClient client = connect()) {
      client.greet();

      assertThat(type(client.ask(number, (byte) 1))).isEqualTo(NBD_REP_ERR_INVALID);
      assertThat(type(client.ask(number))).isEqualTo(NBD_REP_ACK);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 5})
  void acknowledgesAnAbort(int dataBytes) throws Exception {
    try (RawClient client = connect()) {
      client.greet();

      assertThat(type(client.ask(NBD_OPT_ABORT, new byte[dataBytes]))).isEqualTo(NBD_REP_ACK);
      assertThat(client.atEnd()).isTrue();
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {RawClient.FIXED_NEWSTYLE, RawClient.FIXED_NEWSTYLE | RawClient.NO_ZEROES})
  void opensByNameInTheOldWay(int flags) throws Exception {
    try (RawClient client = connect()) {
      client.greet(flags);
      client.sendOption(NBD_OPT_EXPORT_NAME, "disk".getBytes(StandardCharsets.UTF_8));
      int zeroes = (flags & RawClient.NO_ZEROES) != 0 ? 0 : 124;
      ByteBuffer answer = ByteBuffer.wrap(client.readBytes(10 + zeroes));

      assertThat(answer.getLong()).isEqualTo(SIZE_BYTES);
      assertThat(answer.getShort() & 1).isEqualTo(1);
      assertThat(client.read(0, 512)).containsOnly(0);
    }
  }

  @Test
  void dropsAClientThatOpensAnUnknownNameInTheOldWay() throws Exception {
    try (RawClient client = connect()) {
      client.greet();
      client.sendOption(NBD_OPT_EXPORT_NAME, "none".getBytes(StandardCharsets.UTF_8));

      assertThat(client.atEnd()).isTrue();
    }
  }

  @Test
  void saysTheSameForInfoAndGo() throws Exception {
    try (RawClient client = connect()) {
      client.greet();
      byte[] data =
          infoData(
              "vm1/größe", NBD_INFO_NAME, NBD_INFO_BLOCK_SIZE, NBD_INFO_DESCRIPTION, 0x1234, 77);
      List<OptionReply> info = client.ask(NBD_OPT_INFO, data);
      List<OptionReply> go = client.ask(NBD_OPT_GO, data);

      assertThat(go)
          .extracting(OptionReply::type)
          .containsExactly(NBD_REP_INFO, NBD_REP_INFO, NBD_REP_INFO, NBD_REP_INFO, NBD_REP_ACK);
      assertThat(go)
          .extracting(OptionReply::data)
          .usingRecursiveComparison()
          .isEqualTo(info.stream().map(OptionReply::data).toList());
      ByteBuffer export = go.getFirst().data();
      assertThat(export.getShort()).isEqualTo((short) NBD_INFO_EXPORT);
      assertThat(export.getLong()).isEqualTo(4096);
      assertThat(export.getShort() & 2).as("read-only").isEqualTo(2);
      assertThat(go.get(1).text(2)).isEqualTo("vm1/größe");
      assertThat(go.get(2).text(2)).isEqualTo("for looking only");
      ByteBuffer sizes = go.get(3).data().position(2);
      int minimum = sizes.getInt();
      int preferred = sizes.getInt();
      int maximum = sizes.getInt();
      assertThat(Integer.bitCount(minimum)).isEqualTo(1);
      assertThat(Integer.bitCount(preferred)).isEqualTo(1);
      assertThat(preferred).isGreaterThanOrEqualTo(Math.max(minimum, 512));
      assertThat(maximum).isGreaterThanOrEqualTo(1 << 20).matches(most -> most % minimum == 0);
    }
  }

  @Test
  void opensTheDefaultExportByTheEmptyName() throws Exception {
    try (RawClient client = connect()) {
      client.greet();
      List<OptionReply> replies = client.ask(NBD_OPT_GO, infoData("", NBD_INFO_NAME));

      assertThat(replies.get(1).text(2)).isEqualTo("disk");
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {NBD_OPT_INFO, NBD_OPT_GO})
  void refusesAnUnknownExportAndGoesOn(int number) throws Exception {
    try (RawClient client = connect()) {
      client.greet();

      assertThat(client.ask(number, infoData("none")))
          .hasSize(1)
          .extracting(OptionReply::type)
          .containsExactly(NBD_REP_ERR_UNKNOWN);
      assertThat(type(client.ask(NBD_OPT_GO, infoData("disk")))).isEqualTo(NBD_REP_ACK);
    }
  }

  @Test
  void saysWhyAnExportCannotBeHad() throws Exception {
    try (RawClient client = connect()) {
      client.greet();
      OptionReply locked = client.ask(NBD_OPT_GO, infoData("locked")).getLast();

      assertThat(locked.type()).isEqualTo(NBD_REP_ERR_POLICY);
      assertThat(locked.text(0)).isEqualTo("its key can't be had: see the log");
      assertThat(type(client.ask(NBD_OPT_GO, infoData("ending")))).isEqualTo(NBD_REP_ERR_SHUTDOWN);
    }
  }

  @Test
  void refusesMalformedRequestsForAnExport() throws Exception {
    byte[][] malformed = {
      {},
      {0, 0, 0},
      {0, 0, 0, 9, 'd'},
      {-1, -1, -1, -1, 'd', 0, 0},
      {0, 0, 0, 4, 'd', 'i', 's', 'k'},
      {0, 0, 0, 4, 'd', 'i', 's', 'k', 0, 1},
      {0, 0, 0, 4, 'd', 'i', 's', 'k', 0, 0, 7},
      {0, 0, 0, 1, (byte) 0xff, 0, 0},
      {0, 0, 0, 2, 'd', 0, 0, 0},
      infoData("n".repeat(4097)),
    };
    try (RawClient client = connect()) {
      client.greet();
      for (byte[] data : malformed) {
        assertThat(type(client.ask(NBD_OPT_GO, data))).isEqualTo(NBD_REP_ERR_INVALID);
      }
      assertThat(type(client.ask(NBD_OPT_GO, infoData("n".repeat(4096)))))
          .isEqualTo(NBD_REP_ERR_UNKNOWN);
      assertThat(type(client.ask(NBD_OPT_GO, infoData("disk")))).isEqualTo(NBD_REP_ACK);
    }
  }

  @Test
  void listsItsContext() throws Exception {
    try (RawClient client = connect()) {
      client.greet();
      for (String[] queries :
          new String[][] {{}, {"base:"}, {"base:allocation"}, {"x:y", "base:allocation"}}) {
        List<OptionReply> replies =
            client.ask(NBD_OPT_LIST_META_CONTEXT, contextData("disk", queries));

        assertThat(replies)
            .extracting(OptionReply::type)
            .containsExactly(NBD_REP_META_CONTEXT, NBD_REP_ACK);
        assertThat(replies.getFirst().text(4)).isEqualTo("base:allocation");
      }
      assertThat(client.ask(NBD_OPT_LIST_META_CONTEXT, contextData("disk", "qemu:", "base:none")))
          .extracting(OptionReply::type)
          .containsExactly(NBD_REP_ACK);
    }
  }

  @Test
  void choosesContextsAfterStructuredRepliesOnly() throws Exception {
    try (RawClient client = connect()) {
      client.greet();
      byte[] chosen = contextData("disk", "base:allocation");

      assertThat(type(client.ask(NBD_OPT_SET_META_CONTEXT, chosen))).isEqualTo(NBD_REP_ERR_INVALID);
      client.ask(NBD_OPT_STRUCTURED_REPLY);
      assertThat(client.ask(NBD_OPT_SET_META_CONTEXT, chosen))
          .extracting(OptionReply::type)
          .containsExactly(NBD_REP_META_CONTEXT, NBD_REP_ACK);
      assertThat(client.ask(NBD_OPT_SET_META_CONTEXT, contextData("disk", "base:")))
          .extracting(OptionReply::type)
          .containsExactly(NBD_REP_ACK);
      assertThat(type(client.ask(NBD_OPT_SET_META_CONTEXT, contextData("disk", "nocolon"))))
          .isEqualTo(NBD_REP_ERR_INVALID);
      assertThat(type(client.ask(NBD_OPT_SET_META_CONTEXT, contextData("none", "base:allocation"))))
          .isEqualTo(NBD_REP_ERR_UNKNOWN);
    }
  }

  @Test
  void refusesMalformedContexts() throws Exception {
    byte[][] malformed = {
      {},
      {0, 0, 0, 4, 'd', 'i', 's', 'k'},
      {0, 0, 0, 4, 'd', 'i', 's', 'k', -1, -1, -1, -1},
      {0, 0, 0, 4, 'd', 'i', 's', 'k', 0, 0, 0, 1, -1, -1, -1, -1},
      {0, 0, 0, 4, 'd', 'i', 's', 'k', 0, 0, 0, 0, 1},
    };
    try (RawClient client = connect()) {
      client.greet();
      client.ask(NBD_OPT_STRUCTURED_REPLY);
      for (byte[] data : malformed) {
        assertThat(type(client.ask(NBD_OPT_SET_META_CONTEXT, data))).isEqualTo(NBD_REP_ERR_INVALID);
        assertThat(type(client.ask(NBD_OPT_LIST_META_CONTEXT, data)))
            .isEqualTo(NBD_REP_ERR_INVALID);
      }
    }
  }

  @Test
  void forgetsAContextThatWasChosenForAnotherExport() throws Exception {
    try (RawClient client = connect()) {
      client.greet();
      client.ask(NBD_OPT_STRUCTURED_REPLY);
      client.ask(NBD_OPT_SET_META_CONTEXT, contextData("disk", "base:allocation"));
      client.ask(NBD_OPT_GO, infoData("vm1/größe"));
      client.sendRequest(0, 7, 5, 0, 4096);

      assertThat(client.readReply().error()).isEqualTo(22);
    }
  }

  @Test
  void forgetsAContextWhenChoosingAnewFails() throws Exception {
    try (RawClient client = connect()) {
      client.greet();
      client.ask(NBD_OPT_STRUCTURED_REPLY);
      client.ask(NBD_OPT_SET_META_CONTEXT, contextData("disk", "base:allocation"));
      client.ask(NBD_OPT_SET_META_CONTEXT, contextData("none", "base:allocation"));
      client.ask(NBD_OPT_GO, infoData("disk"));
      client.sendRequest(0, 7, 5, 0, 4096);

      assertThat(client.readReply().error()).isEqualTo(22);
    }
  }

  @Test
  void dropsAClientWithTooManyOptions() throws Exception {
    try (RawClient client = connect()) {
      client.greet();
      for (int i = 0; i < 32; i++) {
        assertThat(type(client.ask(NBD_OPT_LIST))).isEqualTo(NBD_REP_ACK);
      }
      client.sendOption(NBD_OPT_LIST);

      assertThat(client.atEnd()).isTrue();
    }
  }

  @Test
  void refusesAConnectionTooMany() throws Exception {
    try (RawClient first = connect();
        RawClient second = connect();
        RawClient third = connect();
        RawClient fourth = connect()) {
      first.greet();
      second.greet();
      third.greet();
      fourth.greet();
      try (RawClient fifth = connect()) {
        assertThat(fifth.atEnd()).isTrue();
      }
      assertThat(type(first.ask(NBD_OPT_LIST))).isEqualTo(NBD_REP_ACK);
    }
  }

  @Test
  void takesOptionsAByteAtATimeAndAllAtOnce() throws Exception {
    byte[] all =
        RawClient.bytes(
            to -> {
              to.write(option(NBD_OPT_LIST));
              to.write(option(99, new byte[5]));
              to.write(option(NBD_OPT_GO, infoData("disk")));
              to.write(RawClient.request(0, 0, 9, 0, 512));
            });
    for (boolean single : new boolean[] {true, false}) {
      try (RawClient client = connect()) {
        client.greet();
        if (single) {
          for (byte each : all) {
            client.send(each);
          }
        } else {
          client.send(all);
        }

        assertThat(client.readOptionReplies(NBD_OPT_LIST)).hasSize(3);
        assertThat(type(client.readOptionReplies(99))).isEqualTo(NBD_REP_ERR_UNSUP);
        assertThat(type(client.readOptionReplies(NBD_OPT_GO))).isEqualTo(NBD_REP_ACK);
        assertThat(client.readSimple(512).cookie()).isEqualTo(9);
      }
    }
  }

  @Test
  void endsAHandshakeThatTakesTooLong() throws Exception {
    server.close();
    server = start(Duration.ofMillis(300));
    try (RawClient client = connect()) {
      client.greet();

      assertThat(client.atEnd()).isTrue();
    }
  }

  @Test
  void doesNotPileUpAnswersThatAreNotRead() throws Exception {
    NbdServer many =
        NbdServer.start(
            NbdServerConfig.on(List.of(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0))),
            manyExports());
    long before = usedBytes();
    try (RawClient deaf = new RawClient(many.addresses().getFirst(), 4096)) {
      deaf.greet();
      deaf.send(
          RawClient.bytes(
              to -> {
                for (int i = 0; i < 3000; i++) {
                  to.write(option(NBD_OPT_LIST));
                }
              }));

      // All at once they would be 160 MiB of answers.
      await()
          .during(Duration.ofSeconds(1))
          .atMost(Duration.ofSeconds(10))
          .until(() -> usedBytes() - before < 16 << 20);
      try (RawClient other = new RawClient(many.addresses().getFirst())) {
        other.go("disk0", false);
        assertThat(other.read(0, 512)).hasSize(512);
      }
    } finally {
      many.close();
    }
  }

  private static long usedBytes() {
    return ((ByteBufAllocatorMetricProvider) ByteBufAllocator.DEFAULT).metric().usedDirectMemory();
  }

  private static CountedExports manyExports() {
    CountedExports many = new CountedExports();
    MemoryDevice device = new MemoryDevice(4096);
    for (int i = 0; i < 2000; i++) {
      many.with("disk" + i, device);
    }
    many.with("x".repeat(4000), device);
    return many;
  }
}
