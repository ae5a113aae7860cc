package io.filterd.nbd;

import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.block.MemoryDevice;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The Linux kernel as a client, in a guest under software emulation, with nbd-client's own TLS
 * between it and this server. The daemon's tests have the kernel without TLS.
 */
class KernelTlsIT {
  @TempDir Path folder;

  @Test
  void aGuestKeepsItsFilesBehindTls() throws IOException, InterruptedException {
    TestPki pki = new TestPki(folder);
    CountedExports exports = new CountedExports().with("disk", new MemoryDevice(64 << 20));
    try (NbdServer server =
        NbdServer.start(
            NbdServerConfig.on(List.of(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0)))
                .toBuilder()
                .tls(new Tls(Tls.Mode.REQUIRE, pki.server(true)))
                .build(),
            exports)) {
      int port = ((InetSocketAddress) server.addresses().getFirst()).getPort();
      Path console = folder.resolve("console");
      Process guest =
          new ProcessBuilder(
                  "src/test/scripts/kernel-client.sh",
                  Integer.toString(port),
                  "disk",
                  "4",
                  pki.file("").toString())
              .redirectErrorStream(true)
              .redirectOutput(console.toFile())
              .start();

      assertThat(guest.waitFor(330, TimeUnit.SECONDS)).as("the guest ends").isTrue();

      assertThat(Files.readString(console)).contains("GUEST-OK 20 files", "bytes trimmed");
      assertThat(exports.lastClient().identity()).isInstanceOf(Client.Identity.Certificate.class);
    }
  }
}
