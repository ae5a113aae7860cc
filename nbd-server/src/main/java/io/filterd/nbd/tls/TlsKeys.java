package io.filterd.nbd.tls;

import io.netty.channel.ChannelHandler;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.Executor;

/**
 * What a server proves itself with. Made of files, which are looked at again for each connection:
 * what has changed in them counts at once, and if they can't be used any more, what was in them
 * before stays. Safe for many threads.
 */
public interface TlsKeys {
  /**
   * The TLS of one connection, to be put first in its pipeline. It fires an {@link
   * io.netty.handler.ssl.SslHandshakeCompletionEvent}, and closes the connection if the handshake
   * fails or takes too long. May block, to read the files.
   *
   * @param tasks where the handshake's longer computations may be done
   */
  ChannelHandler newHandler(Duration handshakeTimeout, Executor tasks);

  /** Keys of a server that shows a certificate. */
  static TlsKeys of(CertificateFiles files) throws IOException {
    return new CertificateKeys(files);
  }

  /** Keys that clients know too: lines {@code identity:key} of this file. */
  static TlsKeys of(Path preSharedKeys) throws IOException {
    return new PreSharedKeys(preSharedKeys);
  }
}
