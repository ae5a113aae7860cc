package io.filterd.nbd;

import static io.filterd.nbd.wire.Protocol.NBD_CMD_READ;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_WRITE;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_LIST;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.filterd.block.MemoryDevice;
import java.io.IOException;
import java.util.Arrays;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Clients that close their direction only: they are let go, and cost nobody else anything. */
final class HalfClosedTest {
  private final HeldDevice slow = new HeldDevice(new MemoryDevice(1 << 20));
  private final CountedExports exports =
      new CountedExports().with("slow", slow).with("disk", new MemoryDevice(1 << 20));

  @RegisterExtension final Serving serving = new Serving(exports);

  @AfterEach
  void letGo() {
    slow.letGo();
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 27, 28 + 100})
  void areLetGoInsideARequest(int bytes) throws IOException {
    byte[] write =
        RawClient.bytes(
            to -> {
              to.write(RawClient.request(0, NBD_CMD_WRITE, 1, 0, 4096));
              to.write(new byte[4096]);
            });
    try (RawClient client = serving.connect("disk", false)) {
      client.send(Arrays.copyOf(write, bytes));
      client.shutdownOutput();

      assertThat(client.atEnd()).isTrue();
      await().until(() -> exports.openLeases() == 0);
    }
  }

  @Test
  void areLetGoInTheHandshake() throws IOException {
    try (RawClient client = serving.connect().greet()) {
      client.send(Arrays.copyOf(RawClient.option(NBD_OPT_LIST, new byte[100]), 50));
      client.shutdownOutput();

      assertThat(client.atEnd()).isTrue();
    }
  }

  @Test
  void keepTheirExportOpenForWhatIsInFlight() throws IOException {
    try (RawClient client = serving.connect("slow", false)) {
      client.sendRequest(0, NBD_CMD_READ, 1, 0, 512);
      await().until(() -> slow.held() == 1);
      client.shutdownOutput();

      assertThat(client.atEnd()).isTrue();
      assertThat(exports.openLeases()).isOne();
      slow.letGo();
      await().until(() -> exports.openLeases() == 0);
    }
  }
}
