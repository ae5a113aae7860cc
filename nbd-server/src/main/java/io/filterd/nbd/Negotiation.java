package io.filterd.nbd;

import static io.filterd.nbd.wire.Protocol.IHAVEOPT;
import static io.filterd.nbd.wire.Protocol.NBDMAGIC;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_FIXED_NEWSTYLE;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_NO_ZEROES;
import static io.filterd.nbd.wire.Protocol.NBD_INFO_BLOCK_SIZE;
import static io.filterd.nbd.wire.Protocol.NBD_INFO_DESCRIPTION;
import static io.filterd.nbd.wire.Protocol.NBD_INFO_EXPORT;
import static io.filterd.nbd.wire.Protocol.NBD_INFO_NAME;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_ABORT;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_EXPORT_NAME;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_GO;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_INFO;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_LIST;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_LIST_META_CONTEXT;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_SET_META_CONTEXT;
import static io.filterd.nbd.wire.Protocol.NBD_OPT_STRUCTURED_REPLY;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ACK;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_INVALID;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_POLICY;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_SHUTDOWN;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_TOO_BIG;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_UNKNOWN;
import static io.filterd.nbd.wire.Protocol.NBD_REP_ERR_UNSUP;
import static io.filterd.nbd.wire.Protocol.NBD_REP_INFO;
import static io.filterd.nbd.wire.Protocol.NBD_REP_META_CONTEXT;
import static io.filterd.nbd.wire.Protocol.NBD_REP_SERVER;
import static io.filterd.nbd.wire.Protocol.OPTION_REPLY_MAGIC;

import io.filterd.block.BlockException;
import io.filterd.block.BlockSizes;
import io.filterd.nbd.wire.Protocol;
import io.filterd.nbd.wire.ProtocolException;
import io.filterd.nbd.wire.Strings;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.ChannelFutureListener;
import io.netty.channel.ChannelHandlerContext;
import io.netty.handler.codec.ByteToMessageDecoder;
import io.netty.util.concurrent.ScheduledFuture;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.function.BiConsumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The handshake: fixed newstyle negotiation (proto.md, "Fixed newstyle negotiation"). Cuts the byte
 * stream into client flags and options, answers each, and puts a {@link Transmission} in its own
 * place when the client has chosen an export. Event-loop thread only.
 *
 * <p>An option's length is checked before its data is waited for: data that is too long is skipped
 * and refused, never stored.
 */
// A failed write comes back through the void promise, as an exceptionCaught.
@SuppressWarnings("FutureReturnValueIgnored")
final class Negotiation extends ByteToMessageDecoder {
  private static final Logger LOG = LoggerFactory.getLogger(Negotiation.class);
  private static final String BASE_ALLOCATION = "base:allocation";
  private static final int OPTION_HEADER_BYTES = 16;

  /** Skipping more than this for a client is not worth it. */
  private static final long MAX_SKIPPED_BYTES = 16L << 20;

  private enum State {
    CLIENT_FLAGS,
    OPTION,
    SKIP,
    /** An export is being opened by a worker; what the client sends meanwhile waits. */
    OPENING,
    ENDED
  }

  private record Context(String export, boolean allocation) {}

  private final Sessions sessions;
  private State state = State.CLIENT_FLAGS;
  private boolean noZeroes;
  private boolean structuredReplies;
  private @Nullable Context context;
  private int options;
  private long skip;
  private int skippedOption;
  private @Nullable ScheduledFuture<?> timeout;

  /** A handshake on behalf of these sessions' server. */
  Negotiation(Sessions sessions) {
    this.sessions = sessions;
  }

  @Override
  public void handlerAdded(ChannelHandlerContext ctx) {
    timeout =
        ctx.executor()
            .schedule(
                () -> {
                  if (state != State.ENDED) {
                    LOG.debug("peer={} handshake timed out", ctx.channel().remoteAddress());
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
    ByteBuf greeting = ctx.alloc().buffer(18);
    greeting.writeLong(NBDMAGIC);
    greeting.writeLong(IHAVEOPT);
    greeting.writeShort(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
    ctx.writeAndFlush(greeting, ctx.voidPromise());
    ctx.fireChannelActive();
  }

  @Override
  public void exceptionCaught(ChannelHandlerContext ctx, Throwable cause) {
    LOG.debug("peer={} connection lost: {}", ctx.channel().remoteAddress(), cause.toString());
    ctx.close();
  }

  @Override
  protected void decode(ChannelHandlerContext ctx, ByteBuf in, List<Object> out) {
    switch (state) {
      case CLIENT_FLAGS -> clientFlags(ctx, in);
      case OPTION -> option(ctx, in);
      case SKIP -> skip(ctx, in);
      case OPENING -> {}
      case ENDED -> in.skipBytes(in.readableBytes());
    }
  }

  private void clientFlags(ChannelHandlerContext ctx, ByteBuf in) {
    if (in.readableBytes() < Integer.BYTES) {
      return;
    }
    int flags = in.readInt();
    if ((flags & ~(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES)) != 0) {
      drop(ctx, "client flags: 0x" + Integer.toHexString(flags) + " (proto.md, \"Client flags\")");
      return;
    }
    noZeroes = (flags & NBD_FLAG_NO_ZEROES) != 0;
    state = State.OPTION;
  }

  private void option(ChannelHandlerContext ctx, ByteBuf in) {
    if (in.readableBytes() < OPTION_HEADER_BYTES) {
      return;
    }
    int start = in.readerIndex();
    if (in.getLong(start) != IHAVEOPT) {
      drop(ctx, "option magic (proto.md, \"Newstyle negotiation\")");
      return;
    }
    int option = in.getInt(start + 8);
    long length = in.getUnsignedInt(start + 12);
    if (length > sessions.config().maxOptionBytes()) {
      if (option == NBD_OPT_EXPORT_NAME || length > MAX_SKIPPED_BYTES) {
        drop(ctx, "option " + option + " with " + length + " bytes of data");
        return;
      }
      in.skipBytes(OPTION_HEADER_BYTES);
      skip = length;
      skippedOption = option;
      state = State.SKIP;
      return;
    }
    if (in.readableBytes() < OPTION_HEADER_BYTES + length) {
      return;
    }
    if (++options > sessions.config().maxOptions()) {
      drop(ctx, "more than " + sessions.config().maxOptions() + " options");
      return;
    }
    in.skipBytes(OPTION_HEADER_BYTES);
    answer(ctx, option, in.readSlice((int) length));
  }

  private void skip(ChannelHandlerContext ctx, ByteBuf in) {
    int skipped = (int) Math.min(skip, in.readableBytes());
    in.skipBytes(skipped);
    skip -= skipped;
    if (skip == 0) {
      state = State.OPTION;
      if (++options > sessions.config().maxOptions()) {
        drop(ctx, "more than " + sessions.config().maxOptions() + " options");
        return;
      }
      if (skippedOption == NBD_OPT_SET_META_CONTEXT) {
        context = null;
      }
      refuse(ctx, skippedOption, NBD_REP_ERR_TOO_BIG, "too much data");
      ctx.flush();
    }
  }

  private void answer(ChannelHandlerContext ctx, int option, ByteBuf data) {
    if (sessions.stopping() && option != NBD_OPT_ABORT) {
      if (option == NBD_OPT_EXPORT_NAME) {
        drop(ctx, "the server is stopping");
      } else {
        refuse(ctx, option, NBD_REP_ERR_SHUTDOWN, "the server is stopping");
      }
    } else {
      try {
        switch (option) {
          case NBD_OPT_EXPORT_NAME -> exportName(ctx, data);
          case NBD_OPT_ABORT -> abort(ctx);
          case NBD_OPT_LIST -> list(ctx, data);
          case NBD_OPT_INFO, NBD_OPT_GO -> infoOrGo(ctx, option, data);
          case NBD_OPT_STRUCTURED_REPLY -> structuredReply(ctx, data);
          case NBD_OPT_LIST_META_CONTEXT -> metaContext(ctx, option, data);
          case NBD_OPT_SET_META_CONTEXT -> metaContext(ctx, option, data);
          default -> refuse(ctx, option, NBD_REP_ERR_UNSUP, "option " + option + " is unknown");
        }
      } catch (ProtocolException broken) {
        LOG.debug(
            "peer={} option={} {}", ctx.channel().remoteAddress(), option, broken.getMessage());
        if (option == NBD_OPT_EXPORT_NAME) {
          drop(ctx, String.valueOf(broken.getMessage()));
        } else {
          refuse(ctx, option, NBD_REP_ERR_INVALID, String.valueOf(broken.getMessage()));
        }
      }
    }
    ctx.flush();
  }

  private void exportName(ChannelHandlerContext ctx, ByteBuf data) throws ProtocolException {
    String name = Strings.read(data, data.readableBytes(), "export name");
    open(
        ctx,
        name,
        (lease, refusal) -> {
          if (lease == null) {
            // There is no way to answer this option with an error (proto.md,
            // "NBD_OPT_EXPORT_NAME").
            LOG.info("peer={} export={} refused: {}", ctx.channel().remoteAddress(), name, refusal);
            state = State.ENDED;
            ctx.close();
            return;
          }
          Transmission transmission = transmission(ctx, name, lease);
          ByteBuf reply = ctx.alloc().buffer(134);
          reply.writeLong(lease.device().info().sizeBytes());
          reply.writeShort(transmission.flags());
          if (!noZeroes) {
            reply.writeZero(124);
          }
          ctx.writeAndFlush(reply, ctx.voidPromise());
          begin(ctx, transmission);
        });
  }

  private void abort(ChannelHandlerContext ctx) {
    state = State.ENDED;
    // The client may close without reading this.
    ctx.writeAndFlush(reply(ctx, NBD_OPT_ABORT, NBD_REP_ACK, 0))
        .addListener(ChannelFutureListener.CLOSE);
  }

  private void list(ChannelHandlerContext ctx, ByteBuf data) throws ProtocolException {
    empty(data, "NBD_OPT_LIST");
    for (String name : sessions.exports().names()) {
      byte[] bytes = name.getBytes(StandardCharsets.UTF_8);
      ByteBuf reply = reply(ctx, NBD_OPT_LIST, NBD_REP_SERVER, Integer.BYTES + bytes.length);
      reply.writeInt(bytes.length);
      reply.writeBytes(bytes);
      ctx.write(reply, ctx.voidPromise());
    }
    ctx.write(reply(ctx, NBD_OPT_LIST, NBD_REP_ACK, 0), ctx.voidPromise());
  }

  private void structuredReply(ChannelHandlerContext ctx, ByteBuf data) throws ProtocolException {
    empty(data, "NBD_OPT_STRUCTURED_REPLY");
    structuredReplies = true;
    ctx.write(reply(ctx, NBD_OPT_STRUCTURED_REPLY, NBD_REP_ACK, 0), ctx.voidPromise());
  }

  private static void empty(ByteBuf data, String option) throws ProtocolException {
    if (data.isReadable()) {
      throw new ProtocolException(option + ": has data (expected: none)");
    }
  }

  private static void atEnd(ByteBuf data) throws ProtocolException {
    if (data.isReadable()) {
      throw new ProtocolException("option: " + data.readableBytes() + " bytes too many");
    }
  }

  private static long u32(ByteBuf data, String what) throws ProtocolException {
    if (data.readableBytes() < Integer.BYTES) {
      throw new ProtocolException(what + ": cut off");
    }
    return data.readUnsignedInt();
  }

  private void infoOrGo(ChannelHandlerContext ctx, int option, ByteBuf data)
      throws ProtocolException {
    String name = Strings.read(data, u32(data, "name length"), "export name");
    if (data.readableBytes() < Short.BYTES) {
      throw new ProtocolException("number of information requests: cut off");
    }
    int count = data.readUnsignedShort();
    if (data.readableBytes() != count * Short.BYTES) {
      throw new ProtocolException(
          "information requests: " + data.readableBytes() + " bytes (expected: 2 x " + count + ")");
    }
    boolean wantsName = false;
    boolean wantsDescription = false;
    boolean wantsBlockSize = false;
    for (int i = 0; i < count; i++) {
      switch (data.readUnsignedShort()) {
        case NBD_INFO_NAME -> wantsName = true;
        case NBD_INFO_DESCRIPTION -> wantsDescription = true;
        case NBD_INFO_BLOCK_SIZE -> wantsBlockSize = true;
        default -> {} // Unknown requests are ignored (proto.md, "NBD_OPT_GO").
      }
    }
    boolean sendName = wantsName;
    boolean sendDescription = wantsDescription;
    boolean sendBlockSize = wantsBlockSize;
    open(
        ctx,
        name,
        (lease, refusal) -> {
          if (lease == null) {
            boolean unknown = refusal == null;
            refuse(
                ctx,
                option,
                unknown ? NBD_REP_ERR_UNKNOWN : NBD_REP_ERR_POLICY,
                unknown ? "there is no export of this name" : refusal);
            ctx.flush();
            return;
          }
          Transmission transmission = transmission(ctx, name, lease);
          ByteBuf export = info(ctx, option, NBD_INFO_EXPORT, 10);
          export.writeLong(lease.device().info().sizeBytes());
          export.writeShort(transmission.flags());
          ctx.write(export, ctx.voidPromise());
          if (sendName) {
            text(ctx, option, NBD_INFO_NAME, lease.name());
          }
          if (sendDescription && !lease.description().isEmpty()) {
            text(ctx, option, NBD_INFO_DESCRIPTION, lease.description());
          }
          if (sendBlockSize) {
            BlockSizes sizes = lease.device().info().blockSizes();
            ByteBuf block = info(ctx, option, NBD_INFO_BLOCK_SIZE, 12);
            block.writeInt(sizes.minimum());
            block.writeInt(sizes.preferred());
            block.writeInt(Math.min(sizes.maximum(), sessions.config().maxPayloadBytes()));
            ctx.write(block, ctx.voidPromise());
          }
          ctx.writeAndFlush(reply(ctx, option, NBD_REP_ACK, 0), ctx.voidPromise());
          if (option == NBD_OPT_GO) {
            begin(ctx, transmission);
          } else {
            sessions.workers().execute(lease::close);
          }
        });
  }

  private static ByteBuf info(ChannelHandlerContext ctx, int option, int type, int bytes) {
    ByteBuf reply = reply(ctx, option, NBD_REP_INFO, Short.BYTES + bytes);
    reply.writeShort(type);
    return reply;
  }

  private static void text(ChannelHandlerContext ctx, int option, int type, String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    ctx.write(info(ctx, option, type, bytes.length).writeBytes(bytes), ctx.voidPromise());
  }

  private void metaContext(ChannelHandlerContext ctx, int option, ByteBuf data)
      throws ProtocolException {
    boolean set = option == NBD_OPT_SET_META_CONTEXT;
    if (set) {
      // The old set is gone, whatever becomes of the new (proto.md, "NBD_OPT_SET_META_CONTEXT").
      context = null;
      if (!structuredReplies) {
        throw new ProtocolException("NBD_OPT_SET_META_CONTEXT before NBD_OPT_STRUCTURED_REPLY");
      }
    }
    String name = Strings.read(data, u32(data, "name length"), "export name");
    long count = u32(data, "number of queries");
    List<String> queries = new ArrayList<>();
    for (long i = 0; i < count; i++) {
      // Each query takes four bytes at least, so that the data bounds the count.
      String query = Strings.read(data, u32(data, "query length"), "query");
      if (query.indexOf(':') < 0) {
        throw new ProtocolException("query: " + query + " (expected: NAMESPACE:LEAF)");
      }
      queries.add(query);
    }
    atEnd(data);
    boolean wanted =
        queries.contains(BASE_ALLOCATION)
            || (!set && (queries.isEmpty() || queries.contains("base:")));
    open(
        ctx,
        name,
        (lease, refusal) -> {
          if (lease == null && refusal == null) {
            refuse(ctx, option, NBD_REP_ERR_UNKNOWN, "there is no export of this name");
            ctx.flush();
            return;
          }
          if (lease != null) {
            sessions.workers().execute(lease::close);
          }
          if (wanted) {
            byte[] bytes = BASE_ALLOCATION.getBytes(StandardCharsets.UTF_8);
            ByteBuf reply = reply(ctx, option, NBD_REP_META_CONTEXT, Integer.BYTES + bytes.length);
            reply.writeInt(set ? Transmission.BASE_ALLOCATION_ID : 0);
            reply.writeBytes(bytes);
            ctx.write(reply, ctx.voidPromise());
          }
          if (set) {
            context = new Context(name, wanted);
          }
          ctx.writeAndFlush(reply(ctx, option, NBD_REP_ACK, 0), ctx.voidPromise());
        });
  }

  /**
   * Opens an export by a worker, since it may block, and goes on with the lease; or with null and
   * why it was refused, or null and null if it is unknown.
   */
  private void open(
      ChannelHandlerContext ctx,
      String name,
      BiConsumer<Exports.@Nullable Lease, @Nullable String> then) {
    state = State.OPENING;
    ctx.channel().config().setAutoRead(false);
    sessions
        .workers()
        .execute(
            () -> {
              Exports.@Nullable Lease lease = null;
              String refusal = null;
              try {
                Optional<Exports.Lease> opened = sessions.exports().open(name);
                lease = opened.orElse(null);
              } catch (BlockException known) {
                refusal = String.valueOf(known.getMessage());
              } catch (RuntimeException bug) {
                LOG.error("export={} could not be opened", name, bug);
                refusal = "the export could not be opened: see the server's log";
              }
              Exports.@Nullable Lease result = lease;
              String why = refusal;
              ctx.executor().execute(() -> opened(ctx, result, why, then));
            });
  }

  private void opened(
      ChannelHandlerContext ctx,
      Exports.@Nullable Lease lease,
      @Nullable String refusal,
      BiConsumer<Exports.@Nullable Lease, @Nullable String> then) {
    if (!ctx.channel().isActive() || ctx.isRemoved()) {
      if (lease != null) {
        sessions.workers().execute(lease::close);
      }
      return;
    }
    state = State.OPTION;
    then.accept(lease, refusal);
    ctx.channel().config().setAutoRead(true);
    if (!ctx.isRemoved()) {
      // What came behind the option waits in the decoder.
      decodeWaiting(ctx);
    }
  }

  private void decodeWaiting(ChannelHandlerContext ctx) {
    try {
      channelRead(ctx, Unpooled.EMPTY_BUFFER);
    } catch (Exception failure) {
      exceptionCaught(ctx, failure);
    }
  }

  private Transmission transmission(ChannelHandlerContext ctx, String name, Exports.Lease lease) {
    Context chosen = context;
    boolean allocation = chosen != null && chosen.allocation() && chosen.export().equals(name);
    return new Transmission(
        sessions,
        lease,
        String.valueOf(ctx.channel().remoteAddress()),
        structuredReplies,
        allocation);
  }

  /** Hands the connection over, with whatever the client has sent behind its last option. */
  private void begin(ChannelHandlerContext ctx, Transmission transmission) {
    state = State.ENDED;
    ctx.pipeline().addLast(transmission);
    ctx.pipeline().remove(this);
  }

  private static ByteBuf reply(ChannelHandlerContext ctx, int option, int type, int bytes) {
    ByteBuf reply = ctx.alloc().buffer(20 + bytes);
    reply.writeLong(OPTION_REPLY_MAGIC);
    reply.writeInt(option);
    reply.writeInt(type);
    reply.writeInt(bytes);
    return reply;
  }

  private static void refuse(ChannelHandlerContext ctx, int option, int error, String why) {
    byte[] bytes = why.getBytes(StandardCharsets.UTF_8);
    int length = Math.min(bytes.length, Protocol.MAX_STRING_BYTES);
    ctx.write(reply(ctx, option, error, length).writeBytes(bytes, 0, length), ctx.voidPromise());
  }

  private void drop(ChannelHandlerContext ctx, String broken) {
    LOG.warn("peer={} dropped in the handshake: {}", ctx.channel().remoteAddress(), broken);
    state = State.ENDED;
    ctx.close();
  }
}
