package io.filterd.nbd;

import static io.filterd.nbd.wire.Protocol.NBD_CMD_READ;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_WRITE;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.filterd.block.MemoryDevice;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/** Clients that stop, vanish, or want more of the memory than their share. */
final class GreedyClientsTest {
  private static final int MIB = 1 << 20;
  private static final long SIZE_BYTES = 80L * MIB;
  private static final int ANY_UNKNOWN_COMMAND = 55;

  private final HeldDevice slow = new HeldDevice(new MemoryDevice(SIZE_BYTES));
  private final CountedExports exports =
      new CountedExports().with("disk", new MemoryDevice(SIZE_BYTES)).with("slow", slow);

  @RegisterExtension
  final Serving serving =
      new Serving(
          exports,
          settings ->
              settings
                  .stallTimeout(Duration.ofSeconds(2))
                  .drainTimeout(Duration.ofSeconds(5))
                  .maxTotalBytesInFlight(64 * MIB)
                  .workers(8));

  @AfterEach
  void letGo() {
    slow.letGo();
  }

  private static byte[] random(int length, long seed) {
    byte[] bytes = new byte[length];
    new Random(seed).nextBytes(bytes);
    return bytes;
  }

  @Test
  void survivesClientsThatVanish() throws Exception {
    for (int round = 0; round < 20; round++) {
      RawClient client = serving.connect("slow", round % 2 == 0);
      client.sendWrite(0, 1, 0, new byte[4096]);
      client.sendRequest(0, NBD_CMD_READ, 2, 0, MIB);
      client.sendRequest(0, NBD_CMD_WRITE, 3, 0, MIB);
      client.send(new byte[1000 * round]);
      if (round % 3 == 0) {
        client.reset();
      } else {
        client.close();
      }
    }
    slow.letGo();

    await().until(() -> exports.openLeases() == 0);
    assertThat(serving.server().connections()).isEmpty();
  }

  @Test
  void endsAClientThatStopsInsideARequest() throws Exception {
    try (RawClient half = serving.connect("disk", false);
        RawClient payload = serving.connect("disk", false);
        RawClient idle = serving.connect("disk", false)) {
      half.send(new byte[] {0x25, 0x60});
      payload.sendRequest(0, NBD_CMD_WRITE, 1, 0, 4096);

      assertThat(half.atEnd()).isTrue();
      assertThat(payload.atEnd()).isTrue();
      assertThat(idle.read(0, 512)).containsOnly(0);
    }
  }

  @Test
  void endsAClientThatDoesNotReadItsReplies() throws Exception {
    try (RawClient deaf =
            new RawClient(serving.server().addresses().getFirst(), 4096).go("disk", false);
        RawClient other = serving.connect("disk", false)) {
      for (int i = 0; i < 8; i++) {
        deaf.sendRequest(0, NBD_CMD_READ, i, 0, 16 * MIB);
      }
      for (int i = 0; i < 100; i++) {
        assertThat(other.read(0, 4096)).hasSize(4096);
      }

      // The other connection stays.
      await()
          .atMost(Duration.ofSeconds(20))
          .until(() -> serving.server().connections().size() == 1);
      assertThat(other.read(0, 4096)).hasSize(4096);
    }
  }

  @Test
  void servesSmallRequestsWhileOthersHoldAllMemory() throws Exception {
    try (RawClient first = serving.connect("disk", false);
        RawClient second = serving.connect("disk", false);
        RawClient third = serving.connect("disk", false);
        RawClient small = serving.connect("slow", false)) {
      for (RawClient greedy : List.of(first, second, third)) {
        greedy.sendRequest(0, NBD_CMD_WRITE, 1, 0, 32 * MIB);
      }
      slow.letGo();
      for (int i = 0; i < 200; i++) {
        // The first half: done by the workers.
        assertThat(small.read(0, 4096)).hasSize(4096);
      }

      // They never send their payloads and are ended; then there is memory again.
      byte[] data = random(32 * MIB, 8);
      small.write(0, data);
      assertThat(small.read(0, 32 * MIB)).isEqualTo(data);
      assertThat(first.atEnd()).isTrue();
    }
  }

  @Test
  void endsClientsThatDripWhileOthersWaitForMemory() throws Exception {
    try (RawClient first = serving.connect("disk", false);
        RawClient second = serving.connect("disk", false);
        RawClient victim = serving.connect("slow", false)) {
      slow.letGo();
      for (RawClient greedy : List.of(first, second)) {
        greedy.sendRequest(0, NBD_CMD_WRITE, 1, 0, 32 * MIB);
      }
      await().until(() -> serving.server().connections().size() == 3);
      Thread dripping = Thread.ofVirtual().start(() -> drip(first, second));

      // It waits for the memory that they hold, and gets it.
      byte[] data = random(MIB, 9);
      victim.write(0, data);
      assertThat(victim.read(0, MIB)).isEqualTo(data);
      await().until(() -> !dripping.isAlive());
    }
  }

  @Test
  void answersAReadThatHadToWaitForMemory() throws Exception {
    try (RawClient first = serving.connect("disk", false);
        RawClient second = serving.connect("disk", false);
        RawClient victim = serving.connect("disk", false)) {
      for (RawClient greedy : List.of(first, second)) {
        greedy.sendRequest(0, NBD_CMD_WRITE, 1, 0, 32 * MIB);
      }
      await().until(() -> serving.server().connections().size() == 3);
      victim.sendRequest(0, NBD_CMD_READ, 2, 0, 128 << 10);
      first.reset();

      assertThat(victim.readSimple(128 << 10).cookie()).isEqualTo(2);
    }
  }

  /** Sends a byte to each now and then, until one of them is ended. */
  private static void drip(RawClient... clients) {
    await()
        .pollInterval(Duration.ofMillis(300))
        .atMost(Duration.ofSeconds(30))
        .until(
            () -> {
              int ended = 0;
              for (RawClient client : clients) {
                try {
                  client.send((byte) 0);
                } catch (IOException dropped) {
                  ended++;
                }
              }
              return ended > 0;
            });
  }

  @Test
  void holdsLittleForClientsThatReadNothing() throws Exception {
    // More errors than the kernel takes for a client, so that the rest stays in the
    // server.
    byte[] requests =
        RawClient.bytes(
            to -> {
              for (int i = 0; i < 100_000; i++) {
                to.write(RawClient.request(0, ANY_UNKNOWN_COMMAND, i, 0, 4096));
              }
            });
    List<RawClient> deaf = new ArrayList<>();
    // By its own configuration, under which they are not ended soon.
    try (NbdServer patient =
        NbdServer.start(
            NbdServerConfig.on(List.of(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0)))
                .toBuilder()
                .drainTimeout(Duration.ofMillis(200))
                .build(),
            exports)) {
      long heapBefore = usedHeapBytes();
      for (int i = 0; i < 20; i++) {
        RawClient client = new RawClient(patient.addresses().getFirst(), 4096).go("disk", true);
        deaf.add(client);
        Thread.ofVirtual().start(() -> sendWhatIsTaken(client, requests));
      }
      try (RawClient other = new RawClient(patient.addresses().getFirst()).go("disk", false)) {
        await()
            .during(Duration.ofSeconds(3))
            .atMost(Duration.ofSeconds(20))
            .until(
                () -> {
                  assertThat(other.read(0, 4096)).hasSize(4096);
                  return usedHeapBytes() - heapBefore < 8 * MIB;
                });
      }
    } finally {
      for (RawClient client : deaf) {
        client.close();
      }
    }
  }

  private static long usedHeapBytes() {
    System.gc();
    return Runtime.getRuntime().totalMemory() - Runtime.getRuntime().freeMemory();
  }

  private static void sendWhatIsTaken(RawClient client, byte[] bytes) {
    try {
      client.send(bytes);
    } catch (IOException ended) {
      // That is the end of it.
    }
  }
}
