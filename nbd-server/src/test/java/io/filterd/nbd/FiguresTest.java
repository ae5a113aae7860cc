package io.filterd.nbd;

import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLUSH;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_READ;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_WRITE;
import static io.filterd.nbd.wire.Protocol.NBD_EINVAL;
import static io.filterd.nbd.wire.Protocol.NBD_OK;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.filterd.block.MemoryDevice;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.List;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

@ExtendWith(NoLeaks.class)
final class FiguresTest {
  private static final int SIZE_BYTES = 1 << 20;

  @Test
  void putsTimesIntoBucketsOfPowersOfTwo() {
    assertThat(LongStream.of(0, 999, 1000, 1999, 2000, 3999, 4000, 7999).map(Figures::bucket))
        .containsExactly(0L, 0L, 1L, 1L, 2L, 2L, 3L, 3L);
    assertThat(Figures.bucket(16_700_000_000L)).isEqualTo(Figures.BUCKETS - 2);
    assertThat(Figures.bucket(16_800_000_000L)).isEqualTo(Figures.BUCKETS - 1);
    assertThat(Figures.bucket(Long.MAX_VALUE)).isEqualTo(Figures.BUCKETS - 1);
  }

  @Test
  void countsWhatIsAnswered() {
    Figures figures = new Figures();
    figures.answered(NBD_CMD_READ, NBD_OK, 512, System.nanoTime());
    figures.answered(NBD_CMD_READ, NBD_EINVAL, 4096, System.nanoTime());
    figures.answered(NBD_CMD_WRITE, NBD_OK, 1024, System.nanoTime() - 5_000_000_000L);
    figures.answered(65535, NBD_EINVAL, 0, System.nanoTime());

    assertThat(figures.requests()).isEqualTo(4);
    assertThat(figures.errors()).isEqualTo(2);
    assertThat(figures.bytesRead()).isEqualTo(512);
    assertThat(figures.bytesWritten()).isEqualTo(1024);
    List<CommandFigures> commands = figures.commands();
    assertThat(commands).extracting(CommandFigures::command).containsExactly("read", "write");
    assertThat(commands.getFirst().requests()).isEqualTo(2);
    assertThat(commands.getLast().meanNanos()).isGreaterThanOrEqualTo(5_000_000_000L);
    // Less than 2^23 microseconds, and no less than 2^22.
    assertThat(commands.getLast().buckets().get(23)).isEqualTo(1);
  }

  @Test
  void roundsPercentilesUpToTheirBucket() {
    CommandFigures figures = new CommandFigures("read", 1000, 0, List.of(500L, 490L, 9L, 1L));

    assertThat(figures.percentileMicros(500)).isEqualTo(1);
    assertThat(figures.percentileMicros(501)).isEqualTo(2);
    assertThat(figures.percentileMicros(990)).isEqualTo(2);
    assertThat(figures.percentileMicros(999)).isEqualTo(4);
    assertThat(figures.percentileMicros(1000)).isEqualTo(-1);
    assertThat(new CommandFigures("read", 0, 0, List.of(0L, 0L)).percentileMicros(500)).isZero();
  }

  @Test
  void showsWhatAClientDoes() throws IOException {
    HeldDevice held = new HeldDevice(new MemoryDevice(SIZE_BYTES));
    try (NbdServer server =
            NbdServer.start(
                NbdServerConfig.on(
                    List.of(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0))),
                Exports.of("disk", held));
        RawClient client = new RawClient(server.addresses().getFirst());
        RawClient other = new RawClient(server.addresses().getFirst())) {
      client.go("disk", false);
      client.write(SIZE_BYTES / 2, new byte[512]);
      client.read(SIZE_BYTES / 2, 4096);
      client.sendRequest(0, NBD_CMD_FLUSH, 1, 0, 0);
      client.readReply();
      client.sendRequest(0, NBD_CMD_READ, 2, SIZE_BYTES, 512);
      assertThat(client.readReply().error()).isEqualTo(NBD_EINVAL);
      client.sendRequest(0, NBD_CMD_READ, 3, 0, 512);
      await().until(() -> held.held() == 1);
      other.go("disk", true);

      ConnectionInfo shown =
          server.connections().stream()
              .filter(each -> each.requests() > 0)
              .findFirst()
              .orElseThrow();

      assertThat(shown.export()).isEqualTo("disk");
      assertThat(shown.requests()).isEqualTo(4);
      assertThat(shown.errors()).isEqualTo(1);
      assertThat(shown.bytesRead()).isEqualTo(4096);
      assertThat(shown.bytesWritten()).isEqualTo(512);
      assertThat(shown.inFlight()).isEqualTo(1);
      assertThat(shown.ageMillis()).isGreaterThanOrEqualTo(shown.idleMillis());
      assertThat(shown.commands())
          .extracting(each -> each.command() + " " + each.requests())
          .containsExactly("read 2", "write 1", "flush 1");
      assertThat(server.connections()).extracting(ConnectionInfo::id).doesNotHaveDuplicates();
      held.letGo();
      client.readSimple(512);
    } finally {
      held.letGo();
    }
  }
}
