package io.filterd.nbd.tls;

import io.netty.buffer.ByteBuf;
import io.netty.channel.ChannelDuplexHandler;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelPromise;
import io.netty.handler.codec.DecoderException;
import io.netty.handler.ssl.SslCloseCompletionEvent;
import io.netty.handler.ssl.SslHandshakeCompletionEvent;
import io.netty.util.concurrent.ScheduledFuture;
import java.io.IOException;
import java.nio.channels.ClosedChannelException;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLException;
import org.bouncycastle.tls.AlertDescription;
import org.bouncycastle.tls.TlsFatalAlert;
import org.bouncycastle.tls.TlsServerProtocol;
import org.jspecify.annotations.Nullable;

/**
 * TLS with a pre-shared key, by Bouncy Castle: neither the JDK nor BoringSSL as Netty has it can do
 * that. Fires the same events as Netty's own handler. What is written is enciphered at once, so the
 * channel's outbound buffer always holds all that is unsent. Event-loop thread only.
 */
// A failed write comes back through the void promise, as an exceptionCaught.
@SuppressWarnings("FutureReturnValueIgnored")
public final class PreSharedKeyHandler extends ChannelDuplexHandler {
  /** The most that a record carries (RFC 8446, 5.1). */
  private static final int RECORD_BYTES = 16 << 10;

  /** The most that a record adds to that. */
  private static final int RECORD_OVERHEAD_BYTES = 64;

  private final TlsServerProtocol protocol =
      new TlsServerProtocol() {
        // With the end: a warning for each attempt would pile up for who does not read them.
        @Override
        protected void refuseRenegotiation() throws IOException {
          throw new TlsFatalAlert(AlertDescription.no_renegotiation);
        }
      };

  private final PreSharedKeyServer server;
  private final Duration handshakeTimeout;
  private final byte[] chunk = new byte[RECORD_BYTES];
  private @Nullable ScheduledFuture<?> timeout;
  private boolean handshakeEnded;

  PreSharedKeyHandler(PreSharedKeyServer server, Duration handshakeTimeout) {
    this.server = server;
    this.handshakeTimeout = handshakeTimeout;
  }

  /** Whose key the client has; once the handshake is complete. */
  public String identity() {
    return server.identity();
  }

  @Override
  public void handlerAdded(ChannelHandlerContext ctx) throws IOException {
    protocol.accept(server);
    timeout =
        ctx.executor()
            .schedule(
                () -> handshakeFailed(ctx, new SSLException("the handshake took too long")),
                handshakeTimeout.toMillis(),
                TimeUnit.MILLISECONDS);
  }

  @Override
  public void channelRead(ChannelHandlerContext ctx, Object message) {
    ByteBuf in = (ByteBuf) message;
    try {
      while (in.isReadable() && !protocol.isClosed()) {
        int length = Math.min(in.readableBytes(), chunk.length);
        in.readBytes(chunk, 0, length);
        protocol.offerInput(chunk, 0, length);
        if (server.complete() && !handshakeEnded) {
          endHandshake();
          sendOutput(ctx);
          ctx.fireUserEventTriggered(SslHandshakeCompletionEvent.SUCCESS);
        }
        forwardInput(ctx);
      }
      sendOutput(ctx);
      if (protocol.isClosed()) {
        ctx.fireUserEventTriggered(SslCloseCompletionEvent.SUCCESS);
      }
    } catch (IOException broken) {
      // The alert for the client.
      sendOutput(ctx);
      if (handshakeEnded) {
        ctx.fireExceptionCaught(new DecoderException(broken));
      } else {
        handshakeFailed(ctx, broken);
      }
    } finally {
      in.release();
    }
  }

  private void handshakeFailed(ChannelHandlerContext ctx, IOException why) {
    if (!handshakeEnded) {
      endHandshake();
      ctx.fireUserEventTriggered(new SslHandshakeCompletionEvent(why));
    }
  }

  private void endHandshake() {
    handshakeEnded = true;
    if (timeout != null) {
      timeout.cancel(false);
    }
  }

  private void forwardInput(ChannelHandlerContext ctx) {
    int length = protocol.getAvailableInputBytes();
    if (length > 0) {
      ByteBuf plain = ctx.alloc().directBuffer(length, length);
      protocol.readInput(plain.internalNioBuffer(0, length), length);
      ctx.fireChannelRead(plain.writerIndex(length));
    }
  }

  private void sendOutput(ChannelHandlerContext ctx) {
    int length = protocol.getAvailableOutputBytes();
    if (length > 0) {
      ByteBuf out = ctx.alloc().directBuffer(length, length);
      takeOutput(out);
      ctx.writeAndFlush(out, ctx.voidPromise());
    }
  }

  private void takeOutput(ByteBuf out) {
    int length = protocol.getAvailableOutputBytes();
    out.ensureWritable(length);
    protocol.readOutput(out.internalNioBuffer(out.writerIndex(), length), length);
    out.writerIndex(out.writerIndex() + length);
  }

  @Override
  public void write(ChannelHandlerContext ctx, Object message, ChannelPromise promise)
      throws IOException {
    ByteBuf plain = (ByteBuf) message;
    if (!plain.isReadable()) {
      ctx.write(plain, promise);
      return;
    }
    int records = plain.readableBytes() / RECORD_BYTES + 1;
    ByteBuf out = ctx.alloc().directBuffer(plain.readableBytes() + records * RECORD_OVERHEAD_BYTES);
    try {
      while (plain.isReadable()) {
        int length = Math.min(plain.readableBytes(), chunk.length);
        plain.readBytes(chunk, 0, length);
        protocol.writeApplicationData(chunk, 0, length);
        takeOutput(out);
      }
      ctx.write(out.retain(), promise);
    } finally {
      out.release();
      plain.release();
    }
  }

  /** Says goodbye inside TLS first (RFC 8446, 6.1). */
  @Override
  public void close(ChannelHandlerContext ctx, ChannelPromise promise) throws IOException {
    if (!protocol.isClosed()) {
      protocol.close();
      sendOutput(ctx);
    }
    ctx.close(promise);
  }

  @Override
  public void channelInactive(ChannelHandlerContext ctx) {
    handshakeFailed(ctx, new ClosedChannelException());
    ctx.fireChannelInactive();
  }
}
