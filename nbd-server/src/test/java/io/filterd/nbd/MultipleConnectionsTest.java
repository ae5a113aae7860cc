package io.filterd.nbd;

import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLAG_FUA;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLUSH;
import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/**
 * What NBD_FLAG_CAN_MULTI_CONN promises (proto.md, "Transmission flags"): a flush covers the
 * completed writes of all connections, and what is written with FUA, or was flushed, is seen by
 * all. The device below loses at a crash what was not flushed.
 */
@ExtendWith(NoLeaks.class)
final class MultipleConnectionsTest {
  private static final int CONNECTIONS = 4;
  private static final int BLOCK_BYTES = 4096;

  /** Blocks of a connection: those of all connections lie in turns. */
  private static final int BLOCKS = 64;

  private static final int SIZE_BYTES = CONNECTIONS * BLOCKS * BLOCK_BYTES;

  private final LosingDevice device = new LosingDevice(SIZE_BYTES);
  private final List<RawClient> clients = new ArrayList<>();

  @SuppressWarnings("NullAway.Init") // Started before every test.
  private NbdServer server;

  @BeforeEach
  void connect() throws IOException {
    server =
        NbdServer.start(
            NbdServerConfig.on(List.of(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0))),
            Exports.of("disk", device));
    for (int i = 0; i < CONNECTIONS; i++) {
      clients.add(new RawClient(server.addresses().getFirst()).go("disk", false));
    }
  }

  @AfterEach
  void stop() throws IOException {
    for (RawClient client : clients) {
      client.close();
    }
    server.close();
  }

  private static long offset(int connection, int block) {
    return (long) (block * CONNECTIONS + connection) * BLOCK_BYTES;
  }

  private static byte[] content(int value) {
    byte[] content = new byte[BLOCK_BYTES];
    Arrays.fill(content, (byte) value);
    return content;
  }

  private static byte[] read(BlockDevice device, long offset) throws BlockException {
    ByteBuffer target = ByteBuffer.allocateDirect(BLOCK_BYTES);
    device.read(offset, target, Blocking.ALLOWED);
    byte[] bytes = new byte[BLOCK_BYTES];
    target.get(0, bytes);
    return bytes;
  }

  /** All connections write all of their blocks at the same time, with many in flight each. */
  private void writeAll(int value)
      throws ExecutionException, InterruptedException, TimeoutException {
    List<CompletableFuture<Void>> done = new ArrayList<>();
    for (int i = 0; i < CONNECTIONS; i++) {
      int connection = i;
      done.add(
          CompletableFuture.runAsync(
              () -> {
                try {
                  RawClient client = clients.get(connection);
                  for (int block = 0; block < BLOCKS; block++) {
                    client.sendWrite(0, block, offset(connection, block), content(value));
                  }
                  for (int block = 0; block < BLOCKS; block++) {
                    assertThat(client.readReply().error()).isZero();
                  }
                } catch (IOException failure) {
                  throw new UncheckedIOException(failure);
                }
              }));
    }
    for (CompletableFuture<Void> each : done) {
      each.get(60, TimeUnit.SECONDS);
    }
  }

  @Test
  void flushesWhatAllConnectionsHaveWritten()
      throws BlockException,
          ExecutionException,
          IOException,
          InterruptedException,
          TimeoutException {
    for (int flusher = 0; flusher < CONNECTIONS; flusher++) {
      writeAll(flusher + 1);
      assertThat(read(device.afterCrash(), 0)).as("before the flush").containsOnly(flusher);

      clients.get(flusher).sendRequest(0, NBD_CMD_FLUSH, 1, 0, 0);
      assertThat(clients.get(flusher).readReply().error()).isZero();

      for (int block = 0; block < CONNECTIONS * BLOCKS; block++) {
        assertThat(read(device.afterCrash(), (long) block * BLOCK_BYTES))
            .as("block %d, flushed by connection %d", block, flusher)
            .containsOnly(flusher + 1);
      }
    }
  }

  @Test
  void showsToAllWhatOneHasWrittenDurably() throws BlockException, IOException {
    for (int writer = 0; writer < CONNECTIONS; writer++) {
      long at = offset(writer, 7);
      clients.get(writer).sendWrite(NBD_CMD_FLAG_FUA, 1, at, content(writer + 10));
      assertThat(clients.get(writer).readReply().error()).isZero();

      for (RawClient client : clients) {
        assertThat(client.read(at, BLOCK_BYTES)).containsOnly(writer + 10);
      }
      assertThat(read(device.afterCrash(), at)).containsOnly(writer + 10);
    }
  }
}
