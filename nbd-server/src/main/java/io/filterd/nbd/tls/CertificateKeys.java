package io.filterd.nbd.tls;

import io.netty.buffer.ByteBufAllocator;
import io.netty.channel.ChannelHandler;
import io.netty.handler.ssl.ClientAuth;
import io.netty.handler.ssl.OpenSsl;
import io.netty.handler.ssl.SslContext;
import io.netty.handler.ssl.SslContextBuilder;
import io.netty.handler.ssl.SslHandler;
import io.netty.handler.ssl.SslProvider;
import java.io.IOException;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.Signature;
import java.security.cert.X509Certificate;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.Executor;

/** TLS 1.2 and 1.3 with certificates, by BoringSSL. */
final class CertificateKeys implements TlsKeys {
  private final Reloaded<SslContext> context;

  /** Reads the files for the first time. */
  CertificateKeys(CertificateFiles files) throws IOException {
    if (!OpenSsl.isAvailable()) {
      throw new IOException("no BoringSSL for this machine", OpenSsl.unavailabilityCause());
    }
    this.context = new Reloaded<>(files.all(), () -> load(files));
  }

  @Override
  public ChannelHandler newHandler(Duration handshakeTimeout, Executor tasks) {
    SslHandler handler = context.current().newHandler(ByteBufAllocator.DEFAULT, tasks);
    handler.setHandshakeTimeoutMillis(handshakeTimeout.toMillis());
    return handler;
  }

  private static SslContext load(CertificateFiles files) throws IOException {
    List<X509Certificate> chain = Pem.certificates(files.certificate());
    PublicKey publicKey = chain.getFirst().getPublicKey();
    PrivateKey privateKey = Pem.privateKey(files.privateKey(), publicKey.getAlgorithm());
    checkPair(files.privateKey(), privateKey, publicKey);
    SslContextBuilder builder =
        SslContextBuilder.forServer(privateKey, chain)
            .sslProvider(SslProvider.OPENSSL)
            .protocols("TLSv1.3", "TLSv1.2")
            // Each connection shows its certificate, so that one that isn't trusted any more is
            // out.
            .sessionCacheSize(1)
            .sessionTimeout(1);
    Path authorities = files.clientAuthorities();
    if (authorities != null) {
      builder.trustManager(Pem.certificates(authorities)).clientAuth(ClientAuth.REQUIRE);
    }
    return builder.build();
  }

  private static void checkPair(Path file, PrivateKey privateKey, PublicKey publicKey)
      throws IOException {
    boolean pair;
    try {
      Signature signature =
          Signature.getInstance(
              switch (publicKey.getAlgorithm()) {
                case "RSA" -> "SHA256withRSA";
                case "EC" -> "SHA256withECDSA";
                default -> publicKey.getAlgorithm();
              });
      signature.initSign(privateKey);
      signature.update(new byte[32]);
      byte[] signed = signature.sign();
      signature.initVerify(publicKey);
      signature.update(new byte[32]);
      pair = signature.verify(signed);
    } catch (GeneralSecurityException unusable) {
      throw new IOException(file + ": can't be used to sign: " + unusable.getMessage(), unusable);
    }
    if (!pair) {
      throw new IOException(file + ": not the key of the certificate");
    }
  }
}
