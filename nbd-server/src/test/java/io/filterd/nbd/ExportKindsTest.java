package io.filterd.nbd;

import static io.filterd.nbd.RawClient.infoData;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLUSH;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_READ;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_TRIM;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_WRITE;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_WRITE_ZEROES;
import static io.filterd.nbd.wire.Protocol.NBD_EPERM;
import static io.filterd.nbd.wire.Protocol.NBD_ESHUTDOWN;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_CAN_MULTI_CONN;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_READ_ONLY;
import static io.filterd.nbd.wire.Protocol.NBD_INFO_EXPORT;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_EXPORT_NAME;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_GO;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_INFO;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_LIST;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ACK;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_POLICY;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_UNKNOWN;
import static io.filterd.nbd.wire.Protocol.NBD_REP_INFO;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.filterd.block.MemoryDevice;
import io.filterd.block.WriteGate;
import io.filterd.nbd.RawClient.OptionReply;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** Exports for few clients, and exports that change while clients use them. */
@ExtendWith(NoLeaks.class)
final class ExportKindsTest {
  private static final int SIZE_BYTES = 1 << 20;

  private final LiveExports exports = new LiveExports();

  @SuppressWarnings("NullAway.Init") // Started before every test.
  private NbdServer server;

  @BeforeEach
  void start() throws IOException {
    server =
        NbdServer.start(
            NbdServerConfig.on(List.of(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0))),
            exports);
  }

  @AfterEach
  void stop() {
    server.close();
  }

  private RawClient connect() throws IOException {
    return new RawClient(server.addresses().getFirst());
  }

  private static int flags(List<OptionReply> replies) {
    for (OptionReply reply : replies) {
      if (reply.type() == NBD_REP_INFO && reply.data().getShort(0) == NBD_INFO_EXPORT) {
        return reply.data().getShort(Short.BYTES + Long.BYTES);
      }
    }
    throw new AssertionError("no NBD_INFO_EXPORT in " + replies);
  }

  private int flagsOf(String export) throws IOException {
    try (RawClient client = connect()) {
      return flags(client.greet().ask(NBD_OPT_INFO, infoData(export)));
    }
  }

  @Test
  void refusesAFurtherClientWithASentence() throws IOException {
    exports.add("one", new MemoryDevice(SIZE_BYTES), 1);
    try (RawClient first = connect();
        RawClient second = connect();
        RawClient old = connect()) {
      first.go("one", false);
      second.greet();

      OptionReply refusal = second.ask(NBD_OPT_GO, infoData("one")).getLast();

      assertThat(refusal.type()).isEqualTo(NBD_REP_ERR_POLICY);
      assertThat(refusal.text(0))
          .isEqualTo("clients of export one: 1 already (expected: at most 1 at a time)");
      // The handshake goes on, and what asks in a way that can't be refused is dropped.
      assertThat(second.ask(NBD_OPT_LIST).getLast().type()).isEqualTo(NBD_REP_ACK);
      old.greet().sendOption(NBD_OPT_EXPORT_NAME, (byte) 'o', (byte) 'n', (byte) 'e');
      assertThat(old.atEnd()).isTrue();
      assertThat(first.read(0, 512)).containsOnly(0);
    }
  }

  @Test
  void countsClientsOfEachExport() throws IOException {
    exports.add("two", new MemoryDevice(SIZE_BYTES), 2);
    exports.add("other", new MemoryDevice(SIZE_BYTES), 1);
    try (RawClient first = connect();
        RawClient second = connect();
        RawClient third = connect()) {
      first.go("two", false);
      second.go("two", false);

      third.greet();
      assertThat(third.ask(NBD_OPT_GO, infoData("two")).getLast().type())
          .isEqualTo(NBD_REP_ERR_POLICY);
      assertThat(third.ask(NBD_OPT_GO, infoData("other")).getLast().type()).isEqualTo(NBD_REP_ACK);
    }
  }

  @Test
  void hasThePlaceFreeAtOnceWhenItsClientHasGone() throws IOException {
    exports.add("one", new MemoryDevice(SIZE_BYTES), 1);
    for (int i = 0; i < 20; i++) {
      RawClient client = connect();
      // Information alone takes no place for longer than it takes to answer.
      client.greet();
      assertThat(client.ask(NBD_OPT_INFO, infoData("one")).getLast().type()).isEqualTo(NBD_REP_ACK);
      assertThat(client.ask(NBD_OPT_GO, infoData("one")).getLast().type()).isEqualTo(NBD_REP_ACK);
      if (i % 2 == 0) {
        client.reset();
      } else {
        client.close();
      }
    }
  }

  @Test
  void keepsThePlaceForWhatIsStillInFlight() throws IOException {
    HeldDevice held = new HeldDevice(new MemoryDevice(SIZE_BYTES));
    exports.add("one", held, 1);
    try (RawClient client = connect();
        RawClient next = connect()) {
      client.go("one", false).sendWrite(0, 1, 0, new byte[512]);
      await().until(() -> held.held() == 1);
      client.reset();
      next.greet();
      assertThat(next.ask(NBD_OPT_GO, infoData("one")).getLast().type())
          .isEqualTo(NBD_REP_ERR_POLICY);

      held.letGo();

      assertThat(next.ask(NBD_OPT_GO, infoData("one")).getLast().type()).isEqualTo(NBD_REP_ACK);
    } finally {
      held.letGo();
    }
  }

  @Test
  void offersSeveralConnectionsOnlyWhereTheyMayBe() throws IOException {
    exports.add("one", new MemoryDevice(SIZE_BYTES), 1);
    exports.add("many", new MemoryDevice(SIZE_BYTES));

    assertThat(flagsOf("one") & NBD_FLAG_CAN_MULTI_CONN).isZero();
    assertThat(flagsOf("many") & NBD_FLAG_CAN_MULTI_CONN).isNotZero();
  }

  @Test
  void turnsReadOnlyUnderItsClientsAndBack() throws IOException {
    LiveExports.Entry disk = exports.add("disk", new MemoryDevice(SIZE_BYTES));
    try (RawClient client = connect();
        RawClient reader = connect()) {
      client.go("disk", false).write(0, new byte[] {1});

      disk.readOnly = true;

      client.sendWrite(0, 2, 0, new byte[] {2});
      assertThat(client.readReply().error()).isEqualTo(NBD_EPERM);
      client.sendRequest(0, NBD_CMD_TRIM, 3, 0, 4096);
      assertThat(client.readReply().error()).isEqualTo(NBD_EPERM);
      client.sendRequest(0, NBD_CMD_WRITE_ZEROES, 4, 0, 4096);
      assertThat(client.readReply().error()).isEqualTo(NBD_EPERM);
      client.sendRequest(0, NBD_CMD_FLUSH, 5, 0, 0);
      assertThat(client.readReply().error()).isZero();
      assertThat(client.read(0, 1)).containsExactly(1);
      assertThat(flagsOf("disk") & NBD_FLAG_READ_ONLY).isNotZero();
      assertThat(server.connections().getFirst().readOnly()).isTrue();
      reader.go("disk", false);

      disk.readOnly = false;

      client.write(0, new byte[] {6});
      assertThat(flagsOf("disk") & NBD_FLAG_READ_ONLY).isZero();
      // Who was told that it only reads keeps to it.
      reader.sendWrite(0, 7, 0, new byte[] {7});
      assertThat(reader.readReply().error()).isEqualTo(NBD_EPERM);
      assertThat(reader.read(0, 1)).containsExactly(6);
    }
  }

  @Test
  void letsNoWriteThroughOnceItIsReadOnly()
      throws ExecutionException, IOException, InterruptedException, TimeoutException {
    MemoryDevice memory = new MemoryDevice(SIZE_BYTES);
    HeldDevice held = new HeldDevice(memory);
    WriteGate gate = new WriteGate(held);
    LiveExports.Entry disk = exports.add("disk", gate);
    try (RawClient client = connect();
        RawClient slow = connect()) {
      client.go("disk", false).sendWrite(0, 1, 0, new byte[] {1});
      slow.go("disk", false);
      // Of the second write, only a part is here.
      byte[] header = RawClient.request(0, NBD_CMD_WRITE, 2, SIZE_BYTES / 2, 2);
      slow.send(header);
      slow.send((byte) 2);
      await().until(() -> held.held() == 1);
      assertThat(gate.shut(Duration.ZERO)).isFalse();
      CompletableFuture<Boolean> shut =
          CompletableFuture.supplyAsync(
              () -> {
                try {
                  disk.readOnly = true;
                  return gate.shut(Duration.ofSeconds(20));
                } catch (InterruptedException stop) {
                  Thread.currentThread().interrupt();
                  return false;
                }
              });
      await().until(() -> disk.readOnly);
      assertThat(shut).isNotDone();

      held.letGo();

      assertThat(shut.get(20, TimeUnit.SECONDS)).isTrue();
      assertThat(client.readReply().error()).isZero();
      slow.send((byte) 2);
      assertThat(slow.readReply().error()).isEqualTo(NBD_EPERM);
      assertThat(slow.read(SIZE_BYTES / 2, 2)).containsOnly(0);
      assertThat(slow.read(0, 1)).containsExactly(1);
      disk.readOnly = false;
      gate.open();
      slow.write(0, new byte[] {3});
    } finally {
      held.letGo();
    }
  }

  @Test
  void servesAnExportFromTheMomentItIsAdded() throws IOException {
    try (RawClient client = connect()) {
      client.greet();
      assertThat(client.ask(NBD_OPT_GO, infoData("late")).getLast().type())
          .isEqualTo(NBD_REP_ERR_UNKNOWN);

      exports.add("late", new MemoryDevice(SIZE_BYTES));

      assertThat(client.ask(NBD_OPT_GO, infoData("late")).getLast().type()).isEqualTo(NBD_REP_ACK);
      assertThat(client.read(0, 512)).containsOnly(0);
    }
  }

  @Test
  void tellsClientsOfAnExportThatIsRemoved()
      throws ExecutionException, IOException, InterruptedException, TimeoutException {
    HeldDevice held = new HeldDevice(new MemoryDevice(SIZE_BYTES));
    exports.add("disk", held);
    try (RawClient client = connect()) {
      client.go("disk", false).sendWrite(0, 1, 0, new byte[512]);
      await().until(() -> held.held() == 1);
      exports.remove("disk");
      CompletableFuture<Boolean> gone =
          CompletableFuture.supplyAsync(
              () -> {
                try {
                  return server.disconnect("disk");
                } catch (InterruptedException stop) {
                  Thread.currentThread().interrupt();
                  return false;
                }
              });

      // What comes before the end is known is still answered; from then on nothing is begun.
      int error = 0;
      for (int i = 2; error == 0; i++) {
        client.sendRequest(0, NBD_CMD_READ, i, SIZE_BYTES / 2, 512);
        error = client.readSimple(512).error();
      }
      assertThat(error).isEqualTo(NBD_ESHUTDOWN);
      held.letGo();

      assertThat(client.readReply().error()).isZero();
      assertThat(client.atEnd()).isTrue();
      assertThat(gone.get(20, TimeUnit.SECONDS)).isTrue();
    } finally {
      held.letGo();
    }
  }

  @Test
  void describesItsExportsInTheList() throws IOException {
    exports.add("disk", new MemoryDevice(SIZE_BYTES));
    exports.addLocked("locked", "its key can't be had");
    try (RawClient client = connect()) {
      List<OptionReply> replies = client.greet().ask(NBD_OPT_LIST);

      assertThat(replies).hasSize(3);
      assertThat(replies.getFirst().data().getInt(0)).isEqualTo(4);
      assertThat(replies.getFirst().text(4)).isEqualTo("disk" + "the disk disk");
      assertThat(replies.get(1).text(4)).isEqualTo("locked" + "its key can't be had");
    }
  }
}
