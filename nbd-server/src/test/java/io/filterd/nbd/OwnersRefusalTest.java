package io.filterd.nbd;

import static io.filterd.nbd.RawClient.infoData;
import static io.filterd.nbd.wire.Protocol.NBD_INFO_DESCRIPTION;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_GO;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_INFO;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_LIST;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ACK;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_POLICY;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_UNKNOWN;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.filterd.block.BlockDevice;
import io.filterd.block.MemoryDevice;
import io.filterd.nbd.RawClient.OptionReply;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** What clients see when the owner of the exports refuses them, or fails. */
@ExtendWith(NoLeaks.class)
final class OwnersRefusalTest {
  private final AtomicInteger open = new AtomicInteger();

  /** Refuses "theirs" and "secret", fails to describe "broken", and has "mine". */
  private final Exports exports =
      new Exports() {
        @Override
        public List<String> names(Client client) {
          return List.of("mine");
        }

        @Override
        public Optional<Lease> open(String name, Client client) throws NoAccessException {
          if (name.equals("theirs")) {
            throw new NoAccessException("not for you", NoAccessException.Told.SENTENCE);
          }
          if (name.equals("secret")) {
            throw new NoAccessException("not for you", NoAccessException.Told.UNKNOWN);
          }
          if (!name.equals("broken") && !name.equals("mine")) {
            return Optional.empty();
          }
          open.incrementAndGet();
          return Optional.of(new CountedLease(name));
        }
      };

  private final class CountedLease implements Exports.Lease {
    private final String name;
    private final BlockDevice device = new MemoryDevice(1 << 16);

    CountedLease(String name) {
      this.name = name;
    }

    @Override
    public BlockDevice device() {
      return device;
    }

    @Override
    public String name() {
      return name;
    }

    @Override
    public String description() {
      if (name.equals("broken")) {
        throw new IllegalStateException("told to fail");
      }
      return "";
    }

    @Override
    public boolean readOnly() {
      return false;
    }

    @Override
    public void close() {
      open.decrementAndGet();
    }
  }

  private NbdServer start() throws IOException {
    return NbdServer.start(
        NbdServerConfig.on(List.of(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0))),
        exports);
  }

  @Test
  void toldBySentenceOrAsIfThereWereNone() throws IOException {
    try (NbdServer server = start();
        RawClient client = new RawClient(server.addresses().getFirst())) {
      client.greet();
      for (int option : new int[] {NBD_OPT_INFO, NBD_OPT_GO}) {
        OptionReply theirs = client.ask(option, infoData("theirs")).getLast();
        OptionReply secret = client.ask(option, infoData("secret")).getLast();
        OptionReply none = client.ask(option, infoData("none")).getLast();

        assertThat(theirs.type()).isEqualTo(NBD_REP_ERR_POLICY);
        assertThat(theirs.text(0)).isEqualTo("not for you");
        assertThat(secret.type()).isEqualTo(NBD_REP_ERR_UNKNOWN);
        assertThat(secret.text(0)).isEqualTo(none.text(0));
      }
      assertThat(client.ask(NBD_OPT_LIST).getLast().type()).isEqualTo(NBD_REP_ACK);
      assertThat(client.ask(NBD_OPT_GO, infoData("mine")).getLast().type()).isEqualTo(NBD_REP_ACK);
    }
    await().until(() -> open.get() == 0);
  }

  @Test
  void failureOfTheOwnerGivesTheExportBack() throws IOException {
    try (NbdServer server = start()) {
      for (int option : new int[] {NBD_OPT_INFO, NBD_OPT_GO}) {
        try (RawClient client = new RawClient(server.addresses().getFirst())) {
          client.greet().sendOption(option, infoData("broken", NBD_INFO_DESCRIPTION));
          while (!client.atEnd()) {
            Thread.onSpinWait(); // What was answered before is of no interest.
          }
        }
      }
      await().until(() -> open.get() == 0);
      try (RawClient client = new RawClient(server.addresses().getFirst())) {
        client.go("mine", false);
      }
    }
  }
}
