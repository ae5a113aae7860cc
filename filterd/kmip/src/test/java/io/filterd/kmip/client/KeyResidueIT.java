package io.filterd.kmip.client;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import com.sun.management.HotSpotDiagnosticMXBean;
import io.filterd.kmip.cert.IdentityFolder;
import io.filterd.kmip.cert.IdentityFolder.Subject;
import io.filterd.kmip.net.ConnectionPool;
import io.filterd.kmip.net.PoolSettings;
import io.filterd.kmip.net.ServerAddress;
import io.filterd.kmip.net.ServerTrust;
import io.filterd.kmip.net.Timeouts;
import io.filterd.kmip.net.TlsSettings;
import io.filterd.kmip.server.PyKmipServer;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.ValueLayout;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Where in the Java heap a key is, after it was fetched. The server is another process. */
class KeyResidueIT {
  private static final int MASK = 0xa5;

  @TempDir Path folder;

  @Test
  void leavesNoKeyInTheHeapOnceItsConnectionHasRested() throws IOException, KmsException {
    try (PyKmipServer server = PyKmipServer.start(folder.resolve("kms"))) {
      IdentityFolder identities = new IdentityFolder(folder.resolve("identity"));
      identities.upload(server.key("filterd"), server.certificate("filterd"), Subject.SAME);
      try (ConnectionPool pool =
              new ConnectionPool(
                  new ServerAddress(server.host(), server.port()),
                  TlsSettings.of(
                      new ServerTrust.SignedBy(server.authorities()),
                      identities.switchToNext(next -> {})),
                  new Timeouts(
                      Duration.ofSeconds(10), Duration.ofSeconds(60), Duration.ofSeconds(60)),
                  PoolSettings.defaults());
          KmipClient client = new KmipClient(pool, VersionRange.defaults(), null)) {
        byte[] masked = fetch(client);
        await().until(() -> pool.openConnections() == 0);
        assertThat(occurrences(masked)).isZero();
      }
    }
  }

  private static byte[] fetch(KmipClient client) throws KmsException {
    String id = client.create(KeySpec.aes256());
    try (FetchedKey key = client.get(id)) {
      byte[] masked = new byte[(int) key.bytes().byteSize()];
      for (int i = 0; i < masked.length; i++) {
        masked[i] = (byte) (key.bytes().get(ValueLayout.JAVA_BYTE, i) ^ MASK);
      }
      return masked;
    }
  }

  /** In all objects that are reachable. */
  private int occurrences(byte[] masked) throws IOException {
    Path dump = folder.resolve("heap.hprof");
    ManagementFactory.getPlatformMXBean(HotSpotDiagnosticMXBean.class)
        .dumpHeap(dump.toString(), true);
    int found = 0;
    byte[] window = new byte[masked.length];
    try (InputStream in = new BufferedInputStream(Files.newInputStream(dump), 1 << 16)) {
      int at = 0;
      for (int next = in.read(); next >= 0; next = in.read()) {
        window[at] = (byte) (next ^ MASK);
        at = (at + 1) % window.length;
        if (window[at] == masked[0] && isKey(window, at, masked)) {
          found++;
        }
      }
    }
    return found;
  }

  private static boolean isKey(byte[] window, int start, byte[] masked) {
    for (int i = 0; i < masked.length; i++) {
      if (window[(start + i) % window.length] != masked[i]) {
        return false;
      }
    }
    return true;
  }
}
