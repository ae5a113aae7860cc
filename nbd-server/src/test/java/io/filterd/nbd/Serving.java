package io.filterd.nbd;

import static org.awaitility.Awaitility.await;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.List;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.extension.AfterEachCallback;
import org.junit.jupiter.api.extension.ExtensionContext;

/**
 * A server on the loopback address for the time of one test. When the test has ended, every lease
 * must come back.
 */
final class Serving implements AfterEachCallback {
  private final CountedExports exports;
  private final NbdServer server;

  /** Serves with the usual limits. */
  Serving(CountedExports exports) {
    this(exports, settings -> settings);
  }

  /** Serves with other limits. */
  Serving(CountedExports exports, UnaryOperator<NbdServerConfig.Builder> settings) {
    this.exports = exports;
    InetSocketAddress address = new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);
    try {
      this.server =
          NbdServer.start(
              settings.apply(NbdServerConfig.on(List.of(address)).toBuilder()).build(), exports);
    } catch (IOException failure) {
      throw new IllegalStateException(failure);
    }
  }

  NbdServer server() {
    return server;
  }

  /** A client that has not said anything. */
  RawClient connect() throws IOException {
    return new RawClient(server.addresses().getFirst());
  }

  /** A client that uses this export. */
  RawClient connect(String export, boolean structured) throws IOException {
    return connect().go(export, structured);
  }

  @Override
  public void afterEach(ExtensionContext context) {
    server.close();
    await().until(() -> exports.openLeases() == 0);
  }
}
