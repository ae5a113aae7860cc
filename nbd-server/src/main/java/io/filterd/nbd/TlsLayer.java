package io.filterd.nbd;

import io.filterd.nbd.tls.PreSharedKeyHandler;
import io.filterd.nbd.wire.Strings;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.handler.codec.DecoderException;
import io.netty.handler.ssl.SslCloseCompletionEvent;
import io.netty.handler.ssl.SslHandler;
import io.netty.handler.ssl.SslHandshakeCompletionEvent;
import java.nio.channels.ClosedChannelException;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.security.cert.X509Certificate;
import java.util.HexFormat;
import javax.net.ssl.SSLPeerUnverifiedException;
import javax.net.ssl.SSLSession;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Stands between TLS and what is inside it. When the handshake is done it finds out who the client
 * is, and begins the negotiation anew: nothing the client has said before counts, as somebody else
 * may have said it. When TLS ends or fails, it ends the connection. Event-loop thread only.
 */
final class TlsLayer extends ChannelInboundHandlerAdapter {
  private static final Logger LOG = LoggerFactory.getLogger(TlsLayer.class);

  private final Sessions sessions;
  private final Client outside;
  private final boolean noZeroes;
  private boolean begun;

  /**
   * TLS for a client that has asked for it.
   *
   * @param noZeroes what its client flags said, which it won't send again
   */
  TlsLayer(Sessions sessions, Client outside, boolean noZeroes) {
    this.sessions = sessions;
    this.outside = outside;
    this.noZeroes = noZeroes;
  }

  @Override
  public void userEventTriggered(ChannelHandlerContext ctx, Object event) {
    switch (event) {
      case SslHandshakeCompletionEvent handshake when handshake.isSuccess() -> begin(ctx);
      case SslHandshakeCompletionEvent handshake -> {
        if (handshake.cause() instanceof ClosedChannelException) {
          LOG.debug("peer={} left during the TLS handshake", outside);
        } else {
          // What the client has sent may be in that text, and be long.
          sessions
              .clientLog()
              .broke(
                  ctx.channel(),
                  "peer="
                      + outside
                      + " TLS handshake failed: "
                      + Strings.printable(handshake.cause().toString()));
        }
        close(ctx);
      }
      case SslCloseCompletionEvent _ -> close(ctx);
      default -> ctx.fireUserEventTriggered(event);
    }
  }

  private void begin(ChannelHandlerContext ctx) {
    begun = true;
    Client client = outside.inTls(identity(ctx));
    LOG.debug("peer={} uses TLS", client);
    ctx.pipeline().addLast(new Negotiation(sessions, client, noZeroes));
  }

  private static Client.Identity identity(ChannelHandlerContext ctx) {
    PreSharedKeyHandler preShared = ctx.pipeline().get(PreSharedKeyHandler.class);
    if (preShared != null) {
      return new Client.Identity.PreSharedKey(preShared.identity());
    }
    SSLSession session = ctx.pipeline().get(SslHandler.class).engine().getSession();
    try {
      X509Certificate certificate = (X509Certificate) session.getPeerCertificates()[0];
      byte[] digest = MessageDigest.getInstance("SHA-256").digest(certificate.getEncoded());
      return new Client.Identity.Certificate(
          certificate.getSubjectX500Principal().getName(), HexFormat.of().formatHex(digest));
    } catch (SSLPeerUnverifiedException withoutCertificate) {
      return new Client.Identity.Unproven();
    } catch (GeneralSecurityException impossible) {
      throw new IllegalStateException(impossible);
    }
  }

  @Override
  public void exceptionCaught(ChannelHandlerContext ctx, Throwable cause) {
    if (cause instanceof DecoderException || !begun) {
      // What came was no TLS, or not from this client.
      LOG.debug("peer={} TLS failed: {}", outside, cause.toString());
      close(ctx);
    } else {
      ctx.fireExceptionCaught(cause);
    }
  }

  @SuppressWarnings("FutureReturnValueIgnored") // Nobody waits for a client to be gone.
  private static void close(ChannelHandlerContext ctx) {
    ctx.close();
  }
}
