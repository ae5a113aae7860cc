package io.filterd.nbd;

import static io.filterd.nbd.wire.Protocol.NBD_FLAG_FIXED_NEWSTYLE;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_NO_ZEROES;
import static io.filterd.nbd.wire.Protocol.NBD_INFO_BLOCK_SIZE;
import static io.filterd.nbd.wire.Protocol.NBD_INFO_DESCRIPTION;
import static io.filterd.nbd.wire.Protocol.NBD_INFO_NAME;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_ABORT;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_EXPORT_NAME;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_EXTENDED_HEADERS;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_GO;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_INFO;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_LIST;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_LIST_META_CONTEXT;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_SET_META_CONTEXT;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_STARTTLS;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_STRUCTURED_REPLY;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_EXT_HEADER_REQD;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_INVALID;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_PLATFORM;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_POLICY;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_SHUTDOWN;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_TLS_REQD;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_TOO_BIG;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_UNKNOWN;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_UNSUP;

import io.filterd.block.BlockException;
import io.filterd.block.Capability;
import io.filterd.block.DeviceInfo;
import io.filterd.nbd.Sessions.Opening;
import io.filterd.nbd.wire.ContextRequest;
import io.filterd.nbd.wire.InfoRequest;
import io.filterd.nbd.wire.OptionHeader;
import io.filterd.nbd.wire.OptionReplies;
import io.filterd.nbd.wire.ProtocolException;
import io.filterd.nbd.wire.ReplyMode;
import io.filterd.nbd.wire.Strings;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.ChannelFutureListener;
import io.netty.channel.ChannelHandler;
import io.netty.channel.ChannelHandlerContext;
import io.netty.handler.codec.ByteToMessageDecoder;
import io.netty.util.concurrent.ScheduledFuture;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The handshake: fixed newstyle negotiation (proto.md, "Fixed newstyle negotiation"). Cuts the byte
 * stream into client flags and options, answers each, and puts a {@link Transmission} in its own
 * place when the client has chosen an export. Event-loop thread only.
 *
 * <p>An option's length is checked before its data is waited for: data that is too long is skipped
 * and refused, never stored. A client that does not read the answers is not listened to.
 */
// A failed write comes back through the void promise, as an exceptionCaught.
@SuppressWarnings("FutureReturnValueIgnored")
final class Negotiation extends ByteToMessageDecoder {
  private static final Logger LOG = LoggerFactory.getLogger(Negotiation.class);

  /** Skipping more than this for a client is not worth it. */
  private static final long MAX_SKIPPED_BYTES = 16L << 20;

  private static final int ALL_ZEROES_BYTES = 124;

  /** Stands for the data of an option that takes none, when that was skipped. */
  private static final ByteBuf TOO_MUCH =
      Unpooled.unreleasableBuffer(Unpooled.wrappedBuffer(new byte[1]).asReadOnly());

  private enum State {
    CLIENT_FLAGS,
    OPTION,
    SKIP,
    /** Another thread opens or lists exports; what the client sends meanwhile waits. */
    ASKING,
    ENDED
  }

  /** What was chosen for an export: names of contexts, numbered from 1 on. */
  private record Chosen(String export, List<String> contexts) {}

  private final Sessions sessions;
  private final Client client;
  private State state = State.CLIENT_FLAGS;
  private boolean fixedNewstyle;
  private boolean noZeroes;
  private ReplyMode mode = ReplyMode.SIMPLE;
  private @Nullable Chosen chosen;
  private int options;
  private @Nullable OptionHeader option;
  private long skip;
  private @Nullable ScheduledFuture<?> timeout;

  /** A handshake with a client on behalf of these sessions' server. */
  Negotiation(Sessions sessions, Client client) {
    this.sessions = sessions;
    this.client = client;
  }

  /**
   * Goes on with a client that has begun TLS.
   *
   * @param noZeroes what its client flags said before
   */
  Negotiation(Sessions sessions, Client client, boolean noZeroes) {
    this(sessions, client);
    this.fixedNewstyle = true; // Without it there is no TLS.
    this.noZeroes = noZeroes;
    this.state = State.OPTION;
  }

  @Override
  public void handlerAdded(ChannelHandlerContext ctx) {
    waitForNextOption(ctx);
  }

  /** Ends a client that takes too long over its next option. */
  private void waitForNextOption(ChannelHandlerContext ctx) {
    if (timeout != null) {
      timeout.cancel(false);
    }
    timeout =
        ctx.executor()
            .schedule(
                () -> {
                  if (state != State.ENDED) {
                    LOG.debug("peer={} handshake timed out", client);
                    ctx.close();
                  }
                },
                sessions.config().handshakeTimeout().toMillis(),
                TimeUnit.MILLISECONDS);
  }

  @Override
  protected void handlerRemoved0(ChannelHandlerContext ctx) {
    if (timeout != null) {
      timeout.cancel(false);
    }
  }

  @Override
  public void channelActive(ChannelHandlerContext ctx) {
    ctx.writeAndFlush(
        OptionReplies.greeting(ctx.alloc(), NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES),
        ctx.voidPromise());
    ctx.fireChannelActive();
  }

  @Override
  public void exceptionCaught(ChannelHandlerContext ctx, Throwable cause) {
    LOG.debug("peer={} connection lost: {}", client, cause.toString());
    ctx.close();
  }

  @Override
  public void channelWritabilityChanged(ChannelHandlerContext ctx) {
    if (ctx.channel().isWritable() && state != State.ASKING) {
      goOn(ctx);
    }
  }

  @Override
  protected void decode(ChannelHandlerContext ctx, ByteBuf in, List<Object> out) {
    if (state == State.ENDED) {
      in.skipBytes(in.readableBytes());
      return;
    }
    if (state == State.ASKING || !ctx.channel().isWritable()) {
      ctx.channel().config().setAutoRead(false);
      return;
    }
    try {
      switch (state) {
        case CLIENT_FLAGS -> clientFlags(in);
        case OPTION -> option(ctx, in);
        case SKIP -> skip(ctx, in);
        case ASKING, ENDED -> {}
      }
    } catch (ProtocolException broken) {
      drop(ctx, String.valueOf(broken.getMessage()));
    }
  }

  private void clientFlags(ByteBuf in) throws ProtocolException {
    if (in.readableBytes() < Integer.BYTES) {
      return;
    }
    int flags = in.readInt();
    if ((flags & ~(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES)) != 0) {
      throw new ProtocolException(
          "client flags: 0x" + Integer.toHexString(flags) + " (proto.md, \"Client flags\")");
    }
    fixedNewstyle = (flags & NBD_FLAG_FIXED_NEWSTYLE) != 0;
    noZeroes = (flags & NBD_FLAG_NO_ZEROES) != 0;
    state = State.OPTION;
  }

  private void option(ChannelHandlerContext ctx, ByteBuf in) throws ProtocolException {
    OptionHeader header = option;
    if (header == null) {
      if (in.readableBytes() < OptionHeader.BYTES) {
        return;
      }
      header = OptionHeader.read(in);
      if (++options > sessions.config().maxOptions()) {
        throw new ProtocolException(
            "options: " + options + " (expected: <= " + sessions.config().maxOptions() + ")");
      }
      option = header;
      if (header.lengthBytes() > sessions.config().maxOptionBytes()) {
        if (header.option() == NBD_OPT_EXPORT_NAME || header.lengthBytes() > MAX_SKIPPED_BYTES) {
          throw new ProtocolException(
              "option " + header.option() + ": " + header.lengthBytes() + " bytes of data");
        }
        skip = header.lengthBytes();
        state = State.SKIP;
        return;
      }
    }
    if (in.readableBytes() >= header.lengthBytes()) {
      option = null;
      waitForNextOption(ctx);
      answer(ctx, header.option(), in.readSlice((int) header.lengthBytes()));
      ctx.flush();
    }
  }

  private void skip(ChannelHandlerContext ctx, ByteBuf in) throws ProtocolException {
    int skipped = (int) Math.min(skip, in.readableBytes());
    in.skipBytes(skipped);
    skip -= skipped;
    OptionHeader skippedOption = option;
    if (skip == 0 && skippedOption != null) {
      state = State.OPTION;
      option = null;
      waitForNextOption(ctx);
      answer(ctx, skippedOption.option(), null);
      ctx.flush();
    }
  }

  /**
   * Answers an option.
   *
   * @param data null if it was too much, and has been skipped; not for EXPORT_NAME
   */
  private void answer(ChannelHandlerContext ctx, int number, @Nullable ByteBuf data)
      throws ProtocolException {
    if (sessions.stopping() && number != NBD_OPT_ABORT) {
      if (number == NBD_OPT_EXPORT_NAME) {
        throw new ProtocolException("the server is stopping");
      }
      refuse(ctx, number, NBD_REP_ERR_SHUTDOWN, "the server is stopping");
      return;
    }
    if (sessions.needsTls(client) && number != NBD_OPT_STARTTLS && number != NBD_OPT_ABORT) {
      if (number == NBD_OPT_EXPORT_NAME) {
        throw new ProtocolException("NBD_OPT_EXPORT_NAME without TLS, which is required");
      }
      if (fixedNewstyle) {
        refuse(ctx, number, NBD_REP_ERR_TLS_REQD, "TLS is required");
      } else {
        refuse(ctx, number, NBD_REP_ERR_POLICY, "TLS is required, which needs fixed newstyle");
      }
      return;
    }
    if (data == null && takesData(number)) {
      if (number == NBD_OPT_SET_META_CONTEXT) {
        chosen = null;
      }
      refuse(ctx, number, NBD_REP_ERR_TOO_BIG, "too much data");
      return;
    }
    answerNow(ctx, number, data == null ? TOO_MUCH : data);
  }

  private static boolean takesData(int number) {
    return switch (number) {
      case NBD_OPT_INFO, NBD_OPT_GO, NBD_OPT_LIST_META_CONTEXT, NBD_OPT_SET_META_CONTEXT -> true;
      default -> false;
    };
  }

  private void answerNow(ChannelHandlerContext ctx, int number, ByteBuf data)
      throws ProtocolException {
    if (number == NBD_OPT_EXPORT_NAME) {
      if (mode == ReplyMode.EXTENDED) {
        throw new ProtocolException(
            "NBD_OPT_EXPORT_NAME with extended headers (expected: NBD_OPT_GO)");
      }
      // There is no way to answer it with an error (proto.md, "NBD_OPT_EXPORT_NAME").
      exportName(ctx, Strings.read(data, data.readableBytes(), "export name"));
      return;
    }
    try {
      switch (number) {
        case NBD_OPT_ABORT -> abort(ctx);
        case NBD_OPT_STARTTLS -> startTls(ctx, data);
        case NBD_OPT_LIST -> list(ctx, data);
        case NBD_OPT_INFO, NBD_OPT_GO -> infoOrGo(ctx, number, InfoRequest.read(data));
        case NBD_OPT_STRUCTURED_REPLY -> structuredReply(ctx, data);
        case NBD_OPT_EXTENDED_HEADERS -> extendedHeaders(ctx, data);
        case NBD_OPT_LIST_META_CONTEXT -> listContexts(ctx, ContextRequest.read(data));
        case NBD_OPT_SET_META_CONTEXT -> setContexts(ctx, data);
        default -> refuse(ctx, number, NBD_REP_ERR_UNSUP, "option " + number + " is unknown");
      }
    } catch (ProtocolException broken) {
      sessions
          .clientLog()
          .broke(ctx.channel(), "peer=" + client + " option=" + number + " " + broken.getMessage());
      refuse(ctx, number, NBD_REP_ERR_INVALID, String.valueOf(broken.getMessage()));
    }
  }

  private void exportName(ChannelHandlerContext ctx, String name) {
    open(
        ctx,
        name,
        true,
        opening -> {
          if (opening instanceof Opening.Opened(Hold hold)) {
            Terms terms = terms(name, hold);
            ctx.writeAndFlush(
                OptionReplies.exportName(
                    ctx.alloc(), terms.sizeBytes(), terms.flags(), noZeroes ? 0 : ALL_ZEROES_BYTES),
                ctx.voidPromise());
            begin(ctx, hold, terms);
          } else {
            drop(
                ctx,
                switch (opening) {
                  case Opening.Refused(var _, String message) -> message;
                  case Opening.NeedsTls(String message) -> message;
                  case Opening.Denied denied -> text(denied);
                  default -> "export " + Strings.printable(name) + ": there is none of this name";
                });
          }
        });
  }

  private void abort(ChannelHandlerContext ctx) {
    state = State.ENDED;
    // The client may close without reading this.
    ctx.writeAndFlush(OptionReplies.ack(ctx.alloc(), NBD_OPT_ABORT))
        .addListener(ChannelFutureListener.CLOSE);
  }

  private void startTls(ChannelHandlerContext ctx, ByteBuf data) throws ProtocolException {
    if (!sessions.offersTls() || !fixedNewstyle) {
      // "The server MUST operate in NOTLS mode unless ..." (proto.md, "Server-side requirements").
      refuse(
          ctx,
          NBD_OPT_STARTTLS,
          NBD_REP_ERR_POLICY,
          fixedNewstyle ? "TLS is not configured" : "TLS needs fixed newstyle");
      return;
    }
    if (client.inTls()) {
      throw new ProtocolException("NBD_OPT_STARTTLS inside TLS");
    }
    empty(data, "NBD_OPT_STARTTLS");
    ask(ctx, sessions::tlsHandler, handler -> startTls(ctx, handler));
  }

  private void startTls(ChannelHandlerContext ctx, Optional<ChannelHandler> handler) {
    if (handler.isEmpty()) {
      refuse(ctx, NBD_OPT_STARTTLS, NBD_REP_ERR_PLATFORM, "see the server's log");
      return;
    }
    if (actualReadableBytes() > 0) {
      // Who knows who has put it there (CVE-2021-3716).
      drop(ctx, "sent plaintext behind NBD_OPT_STARTTLS");
      return;
    }
    ctx.writeAndFlush(OptionReplies.ack(ctx.alloc(), NBD_OPT_STARTTLS), ctx.voidPromise());
    state = State.ENDED;
    ctx.pipeline().addFirst(handler.get());
    ctx.pipeline().replace(this, null, new TlsLayer(sessions, client, noZeroes));
    ctx.channel().config().setAutoRead(true);
  }

  private void list(ChannelHandlerContext ctx, ByteBuf data) throws ProtocolException {
    empty(data, "NBD_OPT_LIST");
    ask(
        ctx,
        (Consumer<Optional<List<Sessions.Listed>>> answer) -> sessions.list(client, answer),
        exports -> {
          if (exports.isEmpty()) {
            refuse(
                ctx,
                NBD_OPT_LIST,
                NBD_REP_ERR_PLATFORM,
                "the exports could not be listed: see the server's log");
            return;
          }
          for (Sessions.Listed each : exports.get()) {
            ctx.write(
                OptionReplies.server(ctx.alloc(), NBD_OPT_LIST, each.name(), each.description()),
                ctx.voidPromise());
          }
          ctx.write(OptionReplies.ack(ctx.alloc(), NBD_OPT_LIST), ctx.voidPromise());
        });
  }

  private void structuredReply(ChannelHandlerContext ctx, ByteBuf data) throws ProtocolException {
    empty(data, "NBD_OPT_STRUCTURED_REPLY");
    if (mode == ReplyMode.EXTENDED) {
      refuse(
          ctx,
          NBD_OPT_STRUCTURED_REPLY,
          NBD_REP_ERR_EXT_HEADER_REQD,
          "extended headers are negotiated, which replace structured replies");
      return;
    }
    mode = ReplyMode.STRUCTURED;
    ctx.write(OptionReplies.ack(ctx.alloc(), NBD_OPT_STRUCTURED_REPLY), ctx.voidPromise());
  }

  private void extendedHeaders(ChannelHandlerContext ctx, ByteBuf data) throws ProtocolException {
    empty(data, "NBD_OPT_EXTENDED_HEADERS");
    mode = ReplyMode.EXTENDED;
    ctx.write(OptionReplies.ack(ctx.alloc(), NBD_OPT_EXTENDED_HEADERS), ctx.voidPromise());
  }

  private static void empty(ByteBuf data, String what) throws ProtocolException {
    if (data.isReadable()) {
      throw new ProtocolException(what + ": has data (expected: none)");
    }
  }

  private void infoOrGo(ChannelHandlerContext ctx, int number, InfoRequest request) {
    open(
        ctx,
        request.name(),
        true,
        opening -> {
          if (!(opening instanceof Opening.Opened(Hold hold))) {
            refuse(ctx, number, opening);
            return;
          }
          Terms terms = terms(request.name(), hold);
          sendInfo(ctx, number, request, hold.lease(), terms);
          ctx.writeAndFlush(OptionReplies.ack(ctx.alloc(), number), ctx.voidPromise());
          if (number == NBD_OPT_GO) {
            begin(ctx, hold, terms);
          } else {
            sessions.close(hold);
          }
        });
  }

  private static void sendInfo(
      ChannelHandlerContext ctx,
      int number,
      InfoRequest request,
      Exports.Lease lease,
      Terms terms) {
    ctx.write(
        OptionReplies.infoExport(ctx.alloc(), number, terms.sizeBytes(), terms.flags()),
        ctx.voidPromise());
    if (request.asksFor(NBD_INFO_NAME)) {
      ctx.write(
          OptionReplies.infoText(ctx.alloc(), number, NBD_INFO_NAME, lease.name()),
          ctx.voidPromise());
    }
    if (request.asksFor(NBD_INFO_DESCRIPTION) && !lease.description().isEmpty()) {
      ctx.write(
          OptionReplies.infoText(ctx.alloc(), number, NBD_INFO_DESCRIPTION, lease.description()),
          ctx.voidPromise());
    }
    if (request.asksFor(NBD_INFO_BLOCK_SIZE)) {
      ctx.write(
          OptionReplies.infoBlockSize(
              ctx.alloc(),
              number,
              terms.minimumBlockBytes(),
              terms.preferredBlockBytes(),
              terms.maximumBlockBytes()),
          ctx.voidPromise());
    }
  }

  private void listContexts(ChannelHandlerContext ctx, ContextRequest request) {
    contexts(
        ctx,
        NBD_OPT_LIST_META_CONTEXT,
        request.export(),
        each -> request.lists(each) ? OptionalInt.of(0) : OptionalInt.empty());
  }

  private void setContexts(ChannelHandlerContext ctx, ByteBuf data) throws ProtocolException {
    // The old set is gone, whatever becomes of the new (proto.md, "NBD_OPT_SET_META_CONTEXT").
    chosen = null;
    if (!mode.chunks()) {
      throw new ProtocolException("NBD_OPT_SET_META_CONTEXT before NBD_OPT_STRUCTURED_REPLY");
    }
    ContextRequest request = ContextRequest.read(data);
    List<String> names = new ArrayList<>();
    contexts(
        ctx,
        NBD_OPT_SET_META_CONTEXT,
        request.export(),
        each -> {
          if (!request.names(each)) {
            return OptionalInt.empty();
          }
          chosen = new Chosen(request.export(), names);
          names.add(each);
          return OptionalInt.of(names.size());
        });
  }

  /** Answers with those contexts of an export that {@code id} gives a number. */
  private void contexts(
      ChannelHandlerContext ctx, int number, String export, Function<String, OptionalInt> id) {
    open(
        ctx,
        export,
        false,
        opening -> {
          if (!(opening instanceof Opening.Opened(Hold hold))) {
            refuse(ctx, number, opening);
            return;
          }
          for (MetaContext each : hold.contexts()) {
            OptionalInt told = id.apply(each.name());
            if (told.isPresent()) {
              ctx.write(
                  OptionReplies.context(ctx.alloc(), number, told.getAsInt(), each.name()),
                  ctx.voidPromise());
            }
          }
          sessions.close(hold);
          ctx.write(OptionReplies.ack(ctx.alloc(), number), ctx.voidPromise());
        });
  }

  private void open(ChannelHandlerContext ctx, String name, boolean toUse, Consumer<Opening> then) {
    this.<Opening>ask(
        ctx,
        answer -> sessions.open(name, client, toUse, answer),
        opening -> {
          boolean done = false;
          try {
            then.accept(opening);
            done = true;
          } finally {
            // What the owner of the exports says of one may fail.
            if (!done && state != State.ENDED && opening instanceof Opening.Opened(Hold hold)) {
              sessions.close(hold);
            }
          }
        });
  }

  /** Has another thread find something out, and goes on with its answer when that is here. */
  private <T> void ask(
      ChannelHandlerContext ctx, Consumer<Consumer<T>> question, Consumer<T> then) {
    state = State.ASKING;
    question.accept(
        answer -> {
          try {
            ctx.executor().execute(() -> answered(ctx, answer, then));
          } catch (RejectedExecutionException stopped) {
            giveBack(answer);
          }
        });
  }

  private <T> void answered(ChannelHandlerContext ctx, T answer, Consumer<T> then) {
    if (!ctx.channel().isActive() || ctx.isRemoved()) {
      giveBack(answer);
      return;
    }
    state = State.OPTION;
    then.accept(answer);
    if (!ctx.isRemoved()) {
      ctx.flush();
      goOn(ctx);
    }
  }

  /** Nobody needs an export any more that was opened for a client. */
  private void giveBack(Object answer) {
    if (answer instanceof Opening.Opened(Hold hold)) {
      sessions.close(hold);
    }
  }

  /** Reads on, with what came behind the last option and waits in the decoder. */
  private void goOn(ChannelHandlerContext ctx) {
    ctx.channel().config().setAutoRead(true);
    try {
      channelRead(ctx, Unpooled.EMPTY_BUFFER);
    } catch (Exception failure) {
      exceptionCaught(ctx, failure);
    }
  }

  private Terms terms(String asked, Hold hold) {
    List<ChosenContext> contexts = new ArrayList<>();
    Chosen before = chosen;
    if (before != null && before.export().equals(asked)) {
      for (MetaContext each : hold.contexts()) {
        int at = before.contexts().indexOf(each.name());
        if (at >= 0) {
          contexts.add(new ChosenContext(at + 1, each));
        }
      }
    }
    DeviceInfo info = hold.lease().device().info();
    return new Terms(
        hold.lease().maxClients() > 1 ? info : info.without(Capability.MULTIPLE_CONNECTIONS),
        hold.lease().readOnly(),
        mode,
        contexts,
        sessions.config().longestPayloadBytes());
  }

  /** Hands the connection over, with whatever the client has sent behind its last option. */
  private void begin(ChannelHandlerContext ctx, Hold hold, Terms terms) {
    state = State.ENDED;
    ctx.channel().config().setAutoRead(true);
    ctx.pipeline().addLast(new Transmission(sessions, hold, client.toString(), terms));
    ctx.pipeline().remove(this);
  }

  private void refuse(ChannelHandlerContext ctx, int number, Opening why) {
    switch (why) {
      case Opening.Unknown() ->
          refuse(ctx, number, NBD_REP_ERR_UNKNOWN, "there is no export of this name");
      case Opening.Refused(BlockException.Reason reason, String message) ->
          refuse(
              ctx,
              number,
              reason == BlockException.Reason.SHUTTING_DOWN
                  ? NBD_REP_ERR_SHUTDOWN
                  : NBD_REP_ERR_POLICY,
              message);
      case Opening.Denied denied -> {
        sessions.clientLog().broke(ctx.channel(), "peer=" + client + " refused: " + text(denied));
        switch (denied.why().told()) {
          case SENTENCE ->
              refuse(ctx, number, NBD_REP_ERR_POLICY, String.valueOf(denied.why().getMessage()));
          case UNKNOWN -> refuse(ctx, number, new Opening.Unknown());
        }
      }
      case Opening.NeedsTls(String message) ->
          // Not where there is no TLS to be had (proto.md, "TLS support").
          refuse(
              ctx,
              number,
              sessions.offersTls() && fixedNewstyle && !client.inTls()
                  ? NBD_REP_ERR_TLS_REQD
                  : NBD_REP_ERR_POLICY,
              message);
      case Opening.Opened _ -> throw new IllegalStateException("not refused");
    }
  }

  private static String text(Opening.Denied denied) {
    return "export " + Strings.printable(denied.export()) + ": " + denied.why().getMessage();
  }

  private static void refuse(ChannelHandlerContext ctx, int number, int error, String why) {
    ctx.write(OptionReplies.error(ctx.alloc(), number, error, why), ctx.voidPromise());
  }

  private void drop(ChannelHandlerContext ctx, String broken) {
    sessions
        .clientLog()
        .broke(ctx.channel(), "peer=" + client + " dropped in the handshake: " + broken);
    state = State.ENDED;
    ctx.close();
  }
}
