package io.filterd.nbd;

import static io.filterd.nbd.wire.Protocol.NBD_CMD_BLOCK_STATUS;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_CACHE;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_DISC;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLAG_DF;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLAG_FAST_ZERO;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLAG_FUA;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLAG_NO_HOLE;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLAG_REQ_ONE;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_FLUSH;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_READ;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_TRIM;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_WRITE;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_WRITE_ZEROES;
import static io.filterd.nbd.wire.Protocol.NBD_EINVAL;
import static io.filterd.nbd.wire.Protocol.NBD_ENOSPC;
import static io.filterd.nbd.wire.Protocol.NBD_EOVERFLOW;
import static io.filterd.nbd.wire.Protocol.NBD_EPERM;
import static io.filterd.nbd.wire.Protocol.NBD_ESHUTDOWN;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_CAN_MULTI_CONN;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_HAS_FLAGS;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_READ_ONLY;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_ROTATIONAL;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_SEND_CACHE;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_SEND_DF;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_SEND_FAST_ZERO;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_SEND_FLUSH;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_SEND_FUA;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_SEND_TRIM;
import static io.filterd.nbd.wire.Protocol.NBD_FLAG_SEND_WRITE_ZEROES;
import static io.filterd.nbd.wire.Protocol.NBD_OK;
import static io.filterd.nbd.wire.Protocol.REQUEST_BYTES;
import static io.filterd.nbd.wire.Protocol.REQUEST_MAGIC;

import io.filterd.block.BlockDevice;
import io.filterd.block.Blocking;
import io.filterd.block.Capability;
import io.filterd.block.DeviceInfo;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufAllocator;
import io.netty.buffer.Unpooled;
import io.netty.channel.ChannelFutureListener;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.util.concurrent.ScheduledFuture;
import java.util.ArrayDeque;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The transmission phase (proto.md, "Transmission phase"): cuts the byte stream into requests, has
 * each carried out, and sends exactly one reply for it.
 *
 * <p>A request is tried on the event loop first, forbidden to block; what would block, and what is
 * long, goes to the workers, so replies may overtake each other. A length is checked before any of
 * the payload is waited for; the payload of a refused write is skipped, not stored. When the client
 * has too much in flight, or does not read its replies, nothing more is read from it.
 *
 * <p>Event-loop thread only, where nothing else is said. The only class that counts references of
 * buffers.
 */
// A failed write comes back through the void promise, as an exceptionCaught.
@SuppressWarnings("FutureReturnValueIgnored")
final class Transmission extends ChannelInboundHandlerAdapter {
  static final int BASE_ALLOCATION_ID = 1;

  private static final Logger LOG = LoggerFactory.getLogger(Transmission.class);

  /**
   * The payload of a refused write is skipped up to this length; beyond it the client is dropped.
   */
  private static final long MAX_SKIPPED_BYTES = 256L << 20;

  private static final int MAX_SPARE_REQUESTS = 256;

  private enum State {
    HEADER,
    PAYLOAD,
    SKIP,
    ENDED
  }

  private final Sessions sessions;
  private final Exports.Lease lease;
  private final String peer;
  private final boolean structured;
  private final boolean allocation;
  private final int flags;
  private final DeviceInfo info;
  private final long alignmentMask;
  private final BlockDevice device;
  private final CountDownLatch ended = new CountDownLatch(1);
  private final ArrayDeque<Request> spare = new ArrayDeque<>();
  private final ByteBuf header = Unpooled.buffer(REQUEST_BYTES, REQUEST_BYTES);
  private final Runnable flusher = this::flushNow;

  private @Nullable ChannelHandlerContext context;
  private State state = State.HEADER;
  private @Nullable Request current;
  private long skip;

  /** What was read from the socket and not parsed yet, while there is too much in flight. */
  private @Nullable ByteBuf waiting;

  private int inFlight;
  private long bytesInFlight;
  private boolean flushPosted;
  private boolean closing;
  private boolean warned;
  private boolean leaseClosed;
  private @Nullable ScheduledFuture<?> stallCheck;
  private long lastProgressNanos;

  // Written by the event loop, read by anyone who asks for figures.
  private volatile long requests;
  private volatile long bytesRead;
  private volatile long bytesWritten;

  Transmission(
      Sessions sessions, Exports.Lease lease, String peer, boolean structured, boolean allocation) {
    this.sessions = sessions;
    this.lease = lease;
    this.peer = peer;
    this.structured = structured;
    this.allocation = allocation;
    this.device = lease.device();
    this.info = device.info();
    this.alignmentMask = info.blockSizes().minimum() - 1L;
    this.flags = transmissionFlags(info, lease.readOnly(), structured);
  }

  private static int transmissionFlags(DeviceInfo info, boolean readOnly, boolean structured) {
    boolean writable = !readOnly && info.can(Capability.WRITE);
    int flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_CACHE;
    flags |= writable ? NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_FUA : NBD_FLAG_READ_ONLY;
    flags |= info.can(Capability.FLUSH) ? NBD_FLAG_SEND_FLUSH : 0;
    flags |= writable && info.can(Capability.TRIM) ? NBD_FLAG_SEND_TRIM : 0;
    flags |= writable ? NBD_FLAG_SEND_FAST_ZERO : 0;
    flags |= structured ? NBD_FLAG_SEND_DF : 0;
    flags |= info.can(Capability.MULTIPLE_CONNECTIONS) ? NBD_FLAG_CAN_MULTI_CONN : 0;
    flags |= info.can(Capability.ROTATIONAL) ? NBD_FLAG_ROTATIONAL : 0;
    return flags;
  }

  /** The transmission flags the client is told. */
  int flags() {
    return flags;
  }

  /** The export's name. For any thread. */
  String export() {
    return lease.name();
  }

  ByteBufAllocator allocator() {
    return context().alloc();
  }

  /** What operators are shown. For any thread; the figures are of about this moment. */
  ConnectionInfo connection() {
    return new ConnectionInfo(
        peer,
        export(),
        (flags & NBD_FLAG_READ_ONLY) != 0,
        structured,
        requests,
        bytesRead,
        bytesWritten,
        inFlight);
  }

  private ChannelHandlerContext context() {
    ChannelHandlerContext ctx = context;
    if (ctx == null) {
      throw new IllegalStateException("not in a pipeline");
    }
    return ctx;
  }

  @Override
  public void handlerAdded(ChannelHandlerContext ctx) {
    context = ctx;
    sessions.transmissions().add(this);
    LOG.debug("peer={} export={} opened", peer, export());
    long stallMillis = sessions.config().stallTimeout().toMillis();
    stallCheck =
        ctx.executor()
            .scheduleWithFixedDelay(
                this::checkStall, stallMillis, Math.max(1, stallMillis / 2), TimeUnit.MILLISECONDS);
    lastProgressNanos = System.nanoTime();
  }

  /** Ends a client that has stopped in the middle of a request, or leaves its replies unread. */
  private void checkStall() {
    boolean owes = state == State.PAYLOAD || state == State.SKIP || header.isReadable();
    boolean unread = !context().channel().isWritable();
    if ((owes || unread)
        && inFlight == 0
        && System.nanoTime() - lastProgressNanos > sessions.config().stallTimeout().toNanos()) {
      warn(unread ? "does not read its replies" : "stopped in the middle of a request");
      context().close();
    }
  }

  @Override
  public void channelRead(ChannelHandlerContext ctx, Object message) {
    ByteBuf in = (ByteBuf) message;
    lastProgressNanos = System.nanoTime();
    ByteBuf before = waiting;
    if (before != null) {
      waiting = Unpooled.wrappedBuffer(before, in);
      return;
    }
    parse(ctx, in);
  }

  @Override
  public void channelReadComplete(ChannelHandlerContext ctx) {
    ctx.flush();
  }

  /** Parses as much as may be parsed now; keeps the rest. Takes over {@code in}. */
  private void parse(ChannelHandlerContext ctx, ByteBuf in) {
    boolean keep = false;
    try {
      while (in.isReadable() && state != State.ENDED) {
        if (state == State.HEADER && full(ctx)) {
          keep = true;
          break;
        }
        switch (state) {
          case HEADER -> header(ctx, in);
          case PAYLOAD -> payload(ctx, in);
          case SKIP -> skip(ctx, in);
          case ENDED -> {}
        }
      }
    } finally {
      if (keep) {
        waiting = in;
        ctx.channel().config().setAutoRead(false);
      } else {
        in.release();
      }
    }
  }

  private boolean full(ChannelHandlerContext ctx) {
    return inFlight >= sessions.config().maxRequestsInFlight()
        || bytesInFlight >= sessions.config().maxBytesInFlight()
        || !ctx.channel().isWritable();
  }

  /** Goes on with what waits, if there is room again. */
  private void resume(ChannelHandlerContext ctx) {
    ByteBuf rest = waiting;
    if (rest != null && !full(ctx)) {
      waiting = null;
      parse(ctx, rest);
      if (waiting == null) {
        ctx.channel().config().setAutoRead(true);
      }
      postFlush(ctx);
    }
  }

  @Override
  public void channelWritabilityChanged(ChannelHandlerContext ctx) {
    lastProgressNanos = System.nanoTime();
    resume(ctx);
  }

  private void header(ChannelHandlerContext ctx, ByteBuf in) {
    if (!header.isReadable() && in.readableBytes() >= REQUEST_BYTES) {
      begin(ctx, in);
      return;
    }
    in.readBytes(header, Math.min(in.readableBytes(), header.writableBytes()));
    if (!header.isWritable()) {
      begin(ctx, header);
      header.clear();
    }
  }

  private void begin(ChannelHandlerContext ctx, ByteBuf from) {
    if (from.readInt() != REQUEST_MAGIC) {
      warn("sent a wrong request magic (proto.md, \"Request message\")");
      end(ctx);
      return;
    }
    Request request = spare.poll();
    if (request == null) {
      request = new Request(this, device, structured);
    }
    request.flags = from.readUnsignedShort();
    request.command = from.readUnsignedShort();
    request.cookie = from.readLong();
    request.offset = from.readLong();
    request.length = from.readUnsignedInt();
    request.bytesRead = 0;
    request.refusal = NBD_OK;
    request.refusalText = null;
    if (request.command == NBD_CMD_DISC) {
      recycle(request);
      end(ctx);
      return;
    }
    validate(request);
    if (request.command == NBD_CMD_WRITE && request.length > 0) {
      current = request;
      if (request.refusal == NBD_OK) {
        state = State.PAYLOAD;
        request.payload = ctx.alloc().directBuffer((int) request.length, (int) request.length);
      } else if (request.length <= MAX_SKIPPED_BYTES) {
        state = State.SKIP;
        skip = request.length;
      } else {
        current = null;
        warn("sent a write of " + request.length + " bytes");
        recycle(request);
        end(ctx);
      }
      return;
    }
    submit(ctx, request);
  }

  private void payload(ChannelHandlerContext ctx, ByteBuf in) {
    Request request = current();
    ByteBuf payload = request.payload;
    if (payload == null) {
      throw new IllegalStateException("no payload buffer");
    }
    in.readBytes(payload, Math.min(in.readableBytes(), payload.writableBytes()));
    if (!payload.isWritable()) {
      state = State.HEADER;
      current = null;
      submit(ctx, request);
    }
  }

  private void skip(ChannelHandlerContext ctx, ByteBuf in) {
    int skipped = (int) Math.min(skip, in.readableBytes());
    in.skipBytes(skipped);
    skip -= skipped;
    if (skip == 0) {
      Request request = current();
      state = State.HEADER;
      current = null;
      submit(ctx, request);
    }
  }

  private Request current() {
    Request request = current;
    if (request == null) {
      throw new IllegalStateException("no request");
    }
    return request;
  }

  /** Finds what makes a request invalid: the only place that looks at a client's numbers. */
  private void validate(Request request) {
    int allowed =
        switch (request.command) {
          case NBD_CMD_READ -> structured ? NBD_CMD_FLAG_DF : 0;
          case NBD_CMD_WRITE, NBD_CMD_FLUSH, NBD_CMD_TRIM, NBD_CMD_CACHE -> 0;
          case NBD_CMD_WRITE_ZEROES -> NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO;
          case NBD_CMD_BLOCK_STATUS -> NBD_CMD_FLAG_REQ_ONE;
          default -> -1;
        };
    if (allowed < 0) {
      refuse(request, NBD_EINVAL, "command " + request.command + " is unknown");
      return;
    }
    if ((flags & NBD_FLAG_SEND_FUA) != 0) {
      allowed |= NBD_CMD_FLAG_FUA;
    }
    if ((request.flags & ~allowed) != 0) {
      refuse(request, NBD_EINVAL, "command flags: 0x" + Integer.toHexString(request.flags));
      return;
    }
    if (request.command == NBD_CMD_FLUSH) {
      return; // Offset and length are reserved.
    }
    boolean changes =
        request.command == NBD_CMD_WRITE
            || request.command == NBD_CMD_WRITE_ZEROES
            || request.command == NBD_CMD_TRIM;
    if (changes && (flags & NBD_FLAG_READ_ONLY) != 0) {
      refuse(request, NBD_EPERM, "the export is read-only");
      return;
    }
    if (request.command == NBD_CMD_TRIM && (flags & NBD_FLAG_SEND_TRIM) == 0) {
      refuse(request, NBD_EINVAL, "the export can't trim");
      return;
    }
    if (request.command == NBD_CMD_BLOCK_STATUS && (!allocation || request.length == 0)) {
      refuse(request, NBD_EINVAL, "block status without a context, or of nothing");
      return;
    }
    validateRange(request);
  }

  private void validateRange(Request request) {
    if (request.offset < 0 || request.offset > info.sizeBytes() - request.length) {
      boolean needsSpace =
          request.command == NBD_CMD_WRITE || request.command == NBD_CMD_WRITE_ZEROES;
      refuse(
          request,
          needsSpace ? NBD_ENOSPC : NBD_EINVAL,
          "range: beyond the end of the export, " + info.sizeBytes() + " bytes");
      return;
    }
    long end = request.offset + request.length;
    if ((request.offset & alignmentMask) != 0
        || ((end & alignmentMask) != 0 && end != info.sizeBytes())) {
      refuse(request, NBD_EINVAL, "range: not in blocks of " + (alignmentMask + 1) + " bytes");
      return;
    }
    boolean transfers = request.command == NBD_CMD_READ || request.command == NBD_CMD_WRITE;
    int most = Math.min(sessions.config().maxPayloadBytes(), info.blockSizes().maximum());
    if (transfers && request.length > most) {
      refuse(
          request,
          request.command == NBD_CMD_READ ? NBD_EOVERFLOW : NBD_EINVAL,
          "length: " + request.length + " (expected: <= " + most + ")");
    }
  }

  private static void refuse(Request request, int error, String text) {
    request.refusal = error;
    request.refusalText = text;
  }

  /** Carries out a complete request: here if it is short and need not block, else by a worker. */
  private void submit(ChannelHandlerContext ctx, Request request) {
    if (request.refusal == NBD_OK && (closing || sessions.stopping())) {
      refuse(request, NBD_ESHUTDOWN, "the export is being detached or the server is stopping");
    }
    if (request.refusal != NBD_OK) {
      request.execute(Blocking.FORBIDDEN);
      send(ctx, request);
      return;
    }
    boolean transfers = request.command == NBD_CMD_READ || request.command == NBD_CMD_WRITE;
    if ((!transfers || request.length <= sessions.config().inlineBytes())
        && request.execute(Blocking.FORBIDDEN)) {
      send(ctx, request);
      return;
    }
    inFlight++;
    bytesInFlight += transfers ? request.length : 0;
    sessions.workers().execute(request);
  }

  /** A worker has made a request's reply. On the worker's thread. */
  void post(Request request) {
    context().executor().execute(() -> completed(request));
  }

  private void completed(Request request) {
    ChannelHandlerContext ctx = context();
    inFlight--;
    if (request.command == NBD_CMD_READ || request.command == NBD_CMD_WRITE) {
      bytesInFlight -= request.length;
    }
    send(ctx, request);
    postFlush(ctx);
    resume(ctx);
    endIfDrained(ctx);
  }

  @SuppressWarnings("NonAtomicVolatileUpdate") // Only the event loop writes them.
  private void send(ChannelHandlerContext ctx, Request request) {
    ByteBuf reply = request.reply;
    if (reply == null) {
      throw new IllegalStateException("no reply");
    }
    requests = requests + 1;
    bytesRead = bytesRead + request.bytesRead;
    if (request.command == NBD_CMD_WRITE && request.refusal == NBD_OK) {
      bytesWritten = bytesWritten + request.length;
    }
    recycle(request);
    ctx.write(reply, ctx.voidPromise());
  }

  private void recycle(Request request) {
    if (request.payload != null) {
      request.payload.release();
      request.payload = null;
    }
    request.reply = null;
    if (spare.size() < MAX_SPARE_REQUESTS) {
      spare.push(request);
    }
  }

  /** One flush for all replies that are ready by then. */
  private void postFlush(ChannelHandlerContext ctx) {
    if (!flushPosted) {
      flushPosted = true;
      ctx.executor().execute(flusher);
    }
  }

  private void flushNow() {
    flushPosted = false;
    context().flush();
  }

  /** The client is done, or is to be: finish what is in flight, then close. */
  private void end(ChannelHandlerContext ctx) {
    state = State.ENDED;
    closing = true;
    ctx.channel().config().setAutoRead(false);
    endIfDrained(ctx);
  }

  private void endIfDrained(ChannelHandlerContext ctx) {
    if (closing && inFlight == 0) {
      state = State.ENDED;
      ctx.writeAndFlush(Unpooled.EMPTY_BUFFER).addListener(ChannelFutureListener.CLOSE);
      if (!ctx.channel().isActive()) {
        closeLease();
      }
    }
  }

  /**
   * Ends the session from the server's side: new requests are refused, those in flight are finished
   * and answered. For any thread.
   */
  void shutDown() {
    ChannelHandlerContext ctx = context();
    ctx.executor()
        .execute(
            () -> {
              closing = true;
              endIfDrained(ctx);
            });
  }

  /** Waits until the session has given back its export; false if it took longer. For any thread. */
  boolean awaitEnd(long timeoutNanos) throws InterruptedException {
    return ended.await(timeoutNanos, TimeUnit.NANOSECONDS);
  }

  /** Ends the connection without waiting for the client; requests in flight still finish. */
  void kill() {
    context().close();
  }

  @Override
  public void channelInactive(ChannelHandlerContext ctx) {
    closing = true;
    state = State.ENDED;
    if (stallCheck != null) {
      stallCheck.cancel(false);
    }
    Request incomplete = current;
    if (incomplete != null) {
      current = null;
      recycle(incomplete);
    }
    if (waiting != null) {
      waiting.release();
      waiting = null;
    }
    if (inFlight == 0) {
      closeLease();
    }
    ctx.fireChannelInactive();
  }

  private void closeLease() {
    if (!leaseClosed) {
      leaseClosed = true;
      LOG.debug("peer={} export={} closed after {} requests", peer, export(), requests);
      sessions.transmissions().remove(this);
      sessions
          .workers()
          .execute(
              () -> {
                try {
                  lease.close();
                } finally {
                  ended.countDown();
                }
              });
    }
  }

  private void warn(String broken) {
    if (!warned) {
      warned = true;
      LOG.warn("peer={} export={} {}", peer, export(), broken);
    }
  }

  @Override
  public void exceptionCaught(ChannelHandlerContext ctx, Throwable cause) {
    if (cause instanceof java.io.IOException) {
      LOG.debug("peer={} export={} connection lost: {}", peer, export(), cause.toString());
    } else {
      LOG.error("peer={} export={} session failed", peer, export(), cause);
    }
    ctx.close();
  }
}
