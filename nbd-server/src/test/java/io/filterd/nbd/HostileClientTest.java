package io.filterd.nbd;

import static io.filterd.nbd.RawClient.infoData;
import static io.filterd.nbd.RawClient.option;
import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.block.MemoryDevice;
import io.filterd.nbd.wire.Protocol;
import java.io.IOException;
import java.time.Duration;
import java.util.Random;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Clients that send noise, or the right bytes with some of them changed: the server survives each,
 * goes on serving others, and forgets no buffer and no lease.
 */
final class HostileClientTest {
  private static final int CLIENTS = 60;
  private static final int SIZE_BYTES = 1 << 20;

  private final CountedExports exports =
      new CountedExports()
          .with("disk", new MemoryDevice(SIZE_BYTES))
          .with("quiet", new MemoryDevice(SIZE_BYTES));

  @RegisterExtension
  final Serving serving =
      new Serving(
          exports,
          settings ->
              settings.handshakeTimeout(Duration.ofSeconds(1)).stallTimeout(Duration.ofSeconds(1)));

  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3})
  void survivesNoiseInTheHandshake(long seed) throws Exception {
    Random random = new Random(seed);
    for (int i = 0; i < CLIENTS; i++) {
      byte[] right =
          RawClient.bytes(
              to -> {
                to.write(option(Protocol.NBD_OPT_STRUCTURED_REPLY));
                to.write(
                    option(
                        Protocol.NBD_OPT_SET_META_CONTEXT,
                        RawClient.contextData("disk", "base:allocation")));
                to.write(option(Protocol.NBD_OPT_INFO, infoData("disk", 1, 2, 3)));
                to.write(option(Protocol.NBD_OPT_LIST));
                to.write(option(Protocol.NBD_OPT_GO, infoData("disk")));
              });
      disturb(random, right);
      try (RawClient client = serving.connect()) {
        client.greet();
        sendSome(client, right);
      }
    }
    assertThatOthersAreServed();
  }

  @ParameterizedTest
  @ValueSource(longs = {4, 5, 6})
  void survivesNoiseInTheTransmissionPhase(long seed) throws Exception {
    Random random = new Random(seed);
    for (int i = 0; i < CLIENTS; i++) {
      byte[] right =
          RawClient.bytes(
              to -> {
                for (int command = 0; command < 9; command++) {
                  if (command != Protocol.NBD_CMD_DISC) {
                    to.write(RawClient.request(0, command, command, 0, 4096));
                    to.write(new byte[command == Protocol.NBD_CMD_WRITE ? 4096 : 0]);
                  }
                }
              });
      disturb(random, right);
      try (RawClient client = serving.connect()) {
        client.go("disk", random.nextBoolean());
        sendSome(client, right);
        if (random.nextBoolean()) {
          client.reset();
        }
      }
    }
    assertThatOthersAreServed();
  }

  private static void disturb(Random random, byte[] bytes) {
    int changes = 1 + random.nextInt(4);
    for (int i = 0; i < changes; i++) {
      bytes[random.nextInt(bytes.length)] = (byte) random.nextInt(256);
    }
  }

  private static void sendSome(RawClient client, byte[] bytes) {
    try {
      client.send(bytes);
    } catch (IOException dropped) {
      // The server has seen enough.
    }
  }

  private void assertThatOthersAreServed() throws IOException {
    try (RawClient other = serving.connect()) {
      other.go("quiet", false);
      byte[] data = new byte[4096];
      new Random(9).nextBytes(data);
      other.write(8192, data);
      assertThat(other.read(8192, 4096)).isEqualTo(data);
      assertThat(other.read(0, 8192)).containsOnly(0);
    }
  }
}
