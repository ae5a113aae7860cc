package io.filterd.nbd.tls;

import io.netty.channel.ChannelHandler;
import java.io.IOException;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.Executor;
import org.bouncycastle.tls.crypto.TlsCrypto;
import org.bouncycastle.tls.crypto.impl.jcajce.JcaTlsCryptoProvider;

/** TLS 1.2 and 1.3 with pre-shared keys: Bouncy Castle's protocol over the JDK's ciphers. */
final class PreSharedKeys implements TlsKeys {
  private final TlsCrypto crypto = new JcaTlsCryptoProvider().create(new SecureRandom());
  private final Reloaded<PreSharedKeyFile> keys;

  /** Reads the file for the first time. */
  PreSharedKeys(Path file) throws IOException {
    this.keys = new Reloaded<>(List.of(file), () -> new PreSharedKeyFile(file));
  }

  @Override
  public ChannelHandler newHandler(Duration handshakeTimeout, Executor tasks) {
    return new PreSharedKeyHandler(
        new PreSharedKeyServer(crypto, keys.current()), handshakeTimeout);
  }
}
