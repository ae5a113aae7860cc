package io.filterd.nbd;

import static io.filterd.nbd.wire.Protocol.NBD_CMD_BLOCK_STATUS;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_CACHE;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_DISC;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_READ;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_WRITE;
import static io.filterd.nbd.wire.Protocol.NBD_EINVAL;
import static io.filterd.nbd.wire.Protocol.NBD_ENOMEM;
import static io.filterd.nbd.wire.Protocol.NBD_ESHUTDOWN;
import static io.filterd.nbd.wire.Protocol.NBD_OK;

import io.filterd.block.BlockDevice;
import io.filterd.block.Blocking;
import io.filterd.nbd.wire.ProtocolException;
import io.filterd.nbd.wire.RequestHeader;
import io.filterd.nbd.wire.Strings;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.ChannelFutureListener;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.ChannelOutboundBuffer;
import io.netty.channel.socket.DuplexChannel;
import io.netty.util.concurrent.ScheduledFuture;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The transmission phase (proto.md, "Transmission phase"): cuts the byte stream into requests, has
 * each carried out, and sends exactly one reply for it.
 *
 * <p>A request is tried on the event loop first, forbidden to block; what would block, and what is
 * long, goes to the workers, so replies may overtake each other. A request is judged before any of
 * its payload is waited for; the payload of a refused write is skipped, not stored. When the client
 * has too much in flight, or does not read its replies, nothing more is read from it.
 *
 * <p>The data that is in hand for this client, and what was made for it and it has not read, is
 * charged to its {@link ClientMemory}. A request that finds no memory waits, and all behind it. How
 * long the client is waited for is {@link Patience}'s to say.
 *
 * <p>Event-loop thread only, where nothing else is said. The only class that counts references of
 * buffers.
 */
// A failed write comes back through the void promise, as an exceptionCaught.
@SuppressWarnings("FutureReturnValueIgnored")
final class Transmission extends ChannelInboundHandlerAdapter {
  private static final Logger LOG = LoggerFactory.getLogger(Transmission.class);

  /** The payload of a refused write is skipped up to this length, a longer one ends the session. */
  private static final long MAX_SKIPPED_BYTES = 256L << 20;

  private static final int MAX_SPARE_REQUESTS = 256;

  /** How long a client has to read the last replies and close its end. */
  static final long LEAVING_MILLIS = 1000;

  private enum State {
    HEADER,
    PAYLOAD,
    SKIP,
    /** The current request waits for the budget. */
    BUDGET,
    ENDED
  }

  private final Sessions sessions;
  private final Hold hold;
  private final String peer;
  private final String export;

  /** For logs: an export's name may be what a client has asked for. */
  private final String exportText;

  private final Terms terms;
  private final BlockDevice device;
  private final Workers.Lane lane;
  private final long idleNanos;
  private final ArrayDeque<Request> spare = new ArrayDeque<>();
  private final ByteBuf header;
  private final Runnable flusher = this::flushNow;
  private final Runnable collector = this::collect;
  private final ClientMemory memory;
  private final Patience patience;

  /** Requests that the workers have finished and the loop has not collected, the last one first. */
  private final AtomicReference<@Nullable Request> finished = new AtomicReference<>();

  private @Nullable ChannelHandlerContext context;
  private State state = State.HEADER;
  private @Nullable Request current;
  private long skip;

  /** What was read from the socket and not parsed yet, while nothing more may be begun. */
  private @Nullable ByteBuf waiting;

  /** Requests that the workers have. */
  private int inFlight;

  /** Replies that were given to the socket and have not left yet. */
  private int unsentReplies;

  private boolean flushPosted;
  private boolean sentWatched;

  /** The session has ended, but the budget has granted a claim, and will say so. */
  private boolean grantUnderWay;

  private boolean closing;

  /** The client has said goodbye, or what it deserves no answer to. */
  private boolean goodbye;

  /** Every answer was given, and the client is about to find out that no more will come. */
  private boolean leaving;

  private boolean released;
  private @Nullable ScheduledFuture<?> stallCheck;

  private final long id;
  private final Figures figures = new Figures();

  Transmission(Sessions sessions, Hold hold, String peer, Terms terms) {
    this.sessions = sessions;
    this.id = sessions.nextConnection();
    this.hold = hold;
    this.peer = peer;
    this.export = hold.lease().name();
    this.exportText = Strings.printable(export);
    this.terms = terms;
    this.device = hold.lease().device();
    this.lane = sessions.workers().lane(export);
    int headerBytes = terms.mode().requestBytes();
    this.header = Unpooled.buffer(headerBytes, headerBytes);
    this.memory = new ClientMemory(sessions.budget(), this::grantedElsewhere);
    this.patience = new Patience(sessions.config().stallTimeout().toNanos());
    this.idleNanos = sessions.config().idleTimeout().toNanos();
  }

  /** What the client was told. For any thread. */
  Terms terms() {
    return terms;
  }

  /** The export's name, for logs. For any thread. */
  String exportText() {
    return exportText;
  }

  /** An empty buffer for a reply. For any thread. */
  ByteBuf newReply(int bytes) {
    return context().alloc().directBuffer(bytes);
  }

  /** What operators are shown. For any thread; the figures are of about this moment. */
  ConnectionInfo connection() {
    return new ConnectionInfo(
        id,
        peer,
        export,
        terms.readOnly() || hold.lease().readOnly(),
        terms.mode().chunks(),
        !terms.contexts().isEmpty(),
        figures.requests(),
        figures.errors(),
        figures.bytesRead(),
        figures.bytesWritten(),
        figures.inFlight(),
        figures.ageMillis(),
        figures.idleMillis(),
        figures.commands());
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
    LOG.debug("peer={} export={} opened", peer, exportText);
    long periodNanos = patience.periodNanos();
    if (idleNanos > 0) {
      periodNanos = Math.max(1, Math.min(periodNanos, idleNanos / 2));
    }
    stallCheck =
        ctx.executor()
            .scheduleWithFixedDelay(
                this::checkStall, periodNanos, periodNanos, TimeUnit.NANOSECONDS);
    hold.usedBy(this);
  }

  /** Ends a client that has stopped in the middle of a request, or leaves its replies unread. */
  private void checkStall() {
    long unsent = unsentBytes();
    boolean owes = state == State.PAYLOAD || state == State.SKIP || header.isReadable();
    boolean holds =
        (state == State.PAYLOAD && current().heldFromBudget)
            || (unsent > 0 && memory.unsentHoldsBudget());
    String broken = patience.look(owes, inFlight > 0, holds, sessions.budget().contended(), unsent);
    if (broken != null) {
      warn(broken);
      context().close();
    } else if (idleNanos > 0
        && inFlight + unsentReplies == 0
        && state != State.BUDGET
        && patience.idleNanos() > idleNanos) {
      LOG.debug("peer={} export={} was idle for too long", peer, exportText);
      context().close();
    }
  }

  /** What was given to the socket and has not left yet. */
  private long unsentBytes() {
    ChannelOutboundBuffer unsent = context().channel().unsafe().outboundBuffer();
    return unsent == null ? 0 : unsent.totalPendingWriteBytes();
  }

  @Override
  public void channelRead(ChannelHandlerContext ctx, Object message) {
    ByteBuf in = (ByteBuf) message;
    patience.received(in.readableBytes());
    ByteBuf before = waiting;
    if (before != null) {
      waiting = Unpooled.wrappedBuffer(before, in);
      return;
    }
    parse(ctx, in);
  }

  @Override
  public void channelReadComplete(ChannelHandlerContext ctx) {
    flush(ctx);
  }

  /** Parses as much as may be parsed now; keeps the rest. Takes over {@code in}. */
  private void parse(ChannelHandlerContext ctx, ByteBuf in) {
    boolean keep = false;
    try {
      while (in.isReadable() && state != State.ENDED) {
        if (state == State.BUDGET || (state == State.HEADER && full(ctx))) {
          keep = true;
          break;
        }
        switch (state) {
          case HEADER -> header(ctx, in);
          case PAYLOAD -> payload(ctx, in);
          case SKIP -> skip(ctx, in);
          case BUDGET, ENDED -> {}
        }
      }
    } finally {
      if (keep) {
        waiting = in;
      } else {
        in.release();
      }
      // Also without a rest: what would come is not wanted now.
      ctx.channel()
          .config()
          .setAutoRead(leaving || (!keep && state != State.BUDGET && state != State.ENDED));
    }
  }

  private boolean full(ChannelHandlerContext ctx) {
    // Replies are small, but what carries them is not: their number counts too.
    return inFlight + unsentReplies >= sessions.config().maxRequestsInFlight()
        || memory.inFlightBytes() >= sessions.config().maxBytesInFlight()
        || !ctx.channel().isWritable();
  }

  /** Goes on with what waits, if there is room again. */
  private void resume(ChannelHandlerContext ctx) {
    if (state == State.BUDGET) {
      takeFromAllowance(ctx);
    }
    if (state == State.BUDGET || state == State.ENDED || full(ctx)) {
      return;
    }
    ByteBuf rest = waiting;
    if (rest != null) {
      waiting = null;
      parse(ctx, rest);
      postFlush(ctx);
    } else {
      ctx.channel().config().setAutoRead(true);
    }
  }

  @Override
  public void channelWritabilityChanged(ChannelHandlerContext ctx) {
    patience.progress();
    resume(ctx);
  }

  private void header(ChannelHandlerContext ctx, ByteBuf in) {
    if (!header.isReadable() && in.readableBytes() >= header.capacity()) {
      begin(ctx, in, in);
      return;
    }
    in.readBytes(header, Math.min(in.readableBytes(), header.writableBytes()));
    if (!header.isWritable()) {
      begin(ctx, header, in);
      header.clear();
    }
  }

  /** Begins the request whose header is in {@code from}, and whose payload begins in {@code in}. */
  private void begin(ChannelHandlerContext ctx, ByteBuf from, ByteBuf in) {
    Request request = spare.poll();
    if (request == null) {
      request = new Request(this, device, terms);
    }
    try {
      request.header.read(from, terms.mode());
    } catch (ProtocolException broken) {
      warn(String.valueOf(broken.getMessage()));
      recycle(request);
      end(ctx);
      return;
    }
    request.beganNanos = System.nanoTime();
    if (request.header.command == NBD_CMD_DISC) {
      recycle(request);
      end(ctx);
      return;
    }
    request.refusal =
        closing || sessions.stopping()
            ? new Refusal(NBD_ESHUTDOWN, "the export is being detached or the server is stopping")
            : refusal(request.header);
    request.asked = ContextFilter.all(terms.contexts().size());
    long payloadBytes = request.header.payloadBytes(terms.mode());
    if (payloadBytes != 0) {
      beginPayload(ctx, request, payloadBytes, in);
    } else if (request.refusal != null) {
      answer(ctx, request);
    } else {
      charge(ctx, request);
    }
  }

  /** The export may have become read-only since the client was told its terms. */
  private @Nullable Refusal refusal(RequestHeader request) {
    return Terms.changes(request.command) && hold.lease().readOnly()
        ? Terms.READ_ONLY
        : terms.refusal(request);
  }

  private void beginPayload(
      ChannelHandlerContext ctx, Request request, long payloadBytes, ByteBuf in) {
    if (request.refusal != null) {
      if (Long.compareUnsigned(payloadBytes, MAX_SKIPPED_BYTES) > 0) {
        warn("sent a payload of " + Long.toUnsignedString(payloadBytes) + " bytes");
        recycle(request);
        end(ctx);
        return;
      }
      current = request;
      state = State.SKIP;
      skip = payloadBytes;
      return;
    }
    int length = (int) payloadBytes;
    // Without a copy, where all of it has come already.
    if (request.header.command == NBD_CMD_WRITE
        && in.readableBytes() >= length
        && in.nioBufferCount() == 1
        && in.isDirect()) {
      ByteBuffer data = in.internalNioBuffer(in.readerIndex(), length);
      if (tryHere(request, data)) {
        in.skipBytes(length);
        answer(ctx, request);
        return;
      }
    }
    charge(ctx, request);
  }

  /** Tries a short request on this thread; false if that is not for here, and nothing was done. */
  private boolean tryHere(Request request, @Nullable ByteBuffer data) {
    int command = request.header.command;
    boolean brief =
        !Terms.transfers(command) || request.header.length <= sessions.config().inlineBytes();
    boolean survived = false;
    try {
      boolean done = brief && request.execute(Blocking.FORBIDDEN, data);
      survived = true;
      return done;
    } finally {
      if (!survived) {
        // An Error. Not all who call are within the pipeline, which ends the connection then.
        memory.release(request);
        recycle(request);
        context().close();
      }
    }
  }

  private void answer(ChannelHandlerContext ctx, Request request) {
    if (request.refusal != null) {
      request.execute(Blocking.FORBIDDEN, null);
    }
    send(ctx, request);
  }

  /** Has a request carried out as soon as there is memory for it. */
  private void charge(ChannelHandlerContext ctx, Request request) {
    current = request;
    if (!memory.take(request, memoryFor(request.header))) {
      state = State.BUDGET;
      return;
    }
    granted(ctx);
  }

  /** A request that waits for the budget need not, if the connection's own is enough by now. */
  private void takeFromAllowance(ChannelHandlerContext ctx) {
    if (memory.retry(current())) {
      granted(ctx);
      postFlush(ctx);
    }
  }

  private int memoryFor(RequestHeader header) {
    return switch (header.command) {
      case NBD_CMD_READ, NBD_CMD_WRITE -> (int) header.length;
      case NBD_CMD_CACHE -> (int) Math.min(header.length, Request.CACHE_STEP_BYTES);
      case NBD_CMD_BLOCK_STATUS -> Request.maxStatusBytes(terms);
      default -> 0;
    };
  }

  /** The budget has given what the current request waits for. On any thread, under its lock. */
  private void grantedElsewhere() {
    ChannelHandlerContext ctx = context();
    try {
      ctx.executor()
          .execute(
              () -> {
                if (state == State.BUDGET) {
                  memory.granted(current());
                  granted(ctx);
                  postFlush(ctx);
                  resume(ctx);
                } else if (grantUnderWay) {
                  Request request = current();
                  current = null;
                  memory.giveBack(request);
                  recycle(request);
                }
              });
    } catch (RejectedExecutionException stopped) {
      LOG.debug("peer={} export={} server stopped", peer, exportText);
    }
  }

  private void granted(ChannelHandlerContext ctx) {
    Request request = current();
    state = State.HEADER;
    patience.progress(); // Until now the client was waiting, not we.
    int length = (int) request.header.payloadBytes(terms.mode());
    if (length != 0) {
      try {
        request.payload = ctx.alloc().directBuffer(length, length);
        state = State.PAYLOAD;
      } catch (OutOfMemoryError full) {
        LOG.error(
            "peer={} export={} no memory for a payload of {} bytes", peer, exportText, length);
        request.refusal = new Refusal(NBD_ENOMEM, "the server is out of memory");
        memory.release(request);
        state = State.SKIP;
        skip = length;
      }
      return;
    }
    current = null;
    if (tryHere(request, null)) {
      memory.holdUntilSent(request);
      answer(ctx, request);
    } else {
      submit(request);
    }
  }

  private void payload(ChannelHandlerContext ctx, ByteBuf in) {
    Request request = current();
    ByteBuf payload = request.payload;
    if (payload == null) {
      throw new IllegalStateException("no payload buffer");
    }
    in.readBytes(payload, Math.min(in.readableBytes(), payload.writableBytes()));
    if (payload.isWritable()) {
      return;
    }
    request.beganNanos = System.nanoTime();
    state = State.HEADER;
    current = null;
    if (request.header.command == NBD_CMD_BLOCK_STATUS) {
      ContextFilter filter = ContextFilter.read(payload, terms.contexts());
      request.header.length = filter.lengthBytes();
      request.asked = filter.asked();
      request.refusal =
          filter.asked() == 0
              ? new Refusal(NBD_EINVAL, "context ids: unknown or repeated (expected: chosen ones)")
              : terms.statusRefusal(request.header);
    }
    if (tryHere(request, payload.internalNioBuffer(0, payload.readableBytes()))) {
      memory.holdUntilSent(request);
      answer(ctx, request);
    } else {
      submit(request);
    }
  }

  private void skip(ChannelHandlerContext ctx, ByteBuf in) {
    int skipped = (int) Math.min(skip, in.readableBytes());
    in.skipBytes(skipped);
    skip -= skipped;
    if (skip == 0) {
      Request request = current();
      request.beganNanos = System.nanoTime();
      state = State.HEADER;
      current = null;
      answer(ctx, request);
    }
  }

  private Request current() {
    Request request = current;
    if (request == null) {
      throw new IllegalStateException("no request");
    }
    return request;
  }

  private void submit(Request request) {
    inFlight++;
    figures.inFlight(inFlight);
    sessions.workers().submit(lane, request);
  }

  /** A worker has made a request's reply. On the worker's thread. */
  void finished(Request request) {
    Request before;
    do {
      before = finished.get();
      request.nextFinished = before;
    } while (!finished.compareAndSet(before, request));
    if (before == null) {
      try {
        context().executor().execute(collector);
      } catch (RejectedExecutionException stopped) {
        LOG.warn("peer={} export={} server stopped before an answer", peer, exportText);
      }
    }
  }

  private void collect() {
    ChannelHandlerContext ctx = context();
    // In the order in which they were finished.
    Request next = null;
    Request last = finished.getAndSet(null);
    while (last != null) {
      Request before = last.nextFinished;
      last.nextFinished = next;
      next = last;
      last = before;
    }
    while (next != null) {
      Request request = next;
      next = request.nextFinished;
      request.nextFinished = null;
      completed(ctx, request);
    }
    flush(ctx);
    resume(ctx);
    endIfDrained(ctx);
  }

  private void completed(ChannelHandlerContext ctx, Request request) {
    inFlight--;
    figures.inFlight(inFlight);
    patience.progress(); // Who waited for this was not idle.
    memory.holdUntilSent(request);
    send(ctx, request);
  }

  private void send(ChannelHandlerContext ctx, Request request) {
    ByteBuf reply = request.reply;
    if (reply == null) {
      throw new IllegalStateException("no reply");
    }
    figures.answered(
        request.header.command, request.error, request.header.length, request.beganNanos);
    request.reply = null;
    recycle(request);
    unsentReplies++;
    patience.queued(reply.readableBytes());
    ctx.write(reply, ctx.voidPromise());
  }

  private void recycle(Request request) {
    if (request.payload != null) {
      request.payload.release();
      request.payload = null;
    }
    if (request.reply != null) {
      request.reply.release();
      request.reply = null;
    }
    request.refusal = null;
    request.error = NBD_OK;
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
    flush(context());
  }

  private void flush(ChannelHandlerContext ctx) {
    ctx.flush();
    if (unsentReplies == 0) {
      return;
    }
    if (unsentBytes() == 0) {
      allSent();
      resume(ctx);
    } else if (!sentWatched) {
      sentWatched = true;
      ctx.writeAndFlush(Unpooled.EMPTY_BUFFER)
          // Not from within the write, which still counts what it has just written.
          .addListener(sent -> ctx.executor().execute(() -> watched(ctx)));
    }
  }

  private void watched(ChannelHandlerContext ctx) {
    sentWatched = false;
    flush(ctx);
    resume(ctx);
  }

  private void allSent() {
    memory.allSent();
    unsentReplies = 0;
  }

  /** The client is done, or is to be: finish what is in flight, then close. */
  private void end(ChannelHandlerContext ctx) {
    state = State.ENDED;
    closing = true;
    goodbye = true;
    endIfDrained(ctx);
  }

  private void endIfDrained(ChannelHandlerContext ctx) {
    if (!closing || inFlight > 0) {
      return;
    }
    abandon();
    if (!ctx.channel().isActive()) {
      closeHold();
    } else if (leaving) {
      return;
    } else if (!goodbye
        && ctx.channel() instanceof DuplexChannel channel
        && ctx.pipeline().first() == this) { // Not within TLS, which has an end of its own.
      leave(ctx, channel);
    } else {
      ctx.writeAndFlush(Unpooled.EMPTY_BUFFER).addListener(ChannelFutureListener.CLOSE);
    }
  }

  /**
   * Ends a connection whose client may still be sending. If it were just closed with requests
   * unread, TCP would throw away the replies that the client has not read. So only our direction is
   * closed, and what still comes is thrown away for a while.
   */
  private void leave(ChannelHandlerContext ctx, DuplexChannel channel) {
    leaving = true;
    channel.config().setAutoRead(true);
    ctx.writeAndFlush(Unpooled.EMPTY_BUFFER)
        .addListener(
            sent -> {
              closeHold();
              channel.shutdownOutput();
            });
    ctx.executor().schedule((Runnable) ctx::close, LEAVING_MILLIS, TimeUnit.MILLISECONDS);
  }

  /** Waits until the connection is gone, if it is about to be. Not on the event loop. */
  void awaitGone(long nanos) {
    context().channel().closeFuture().awaitUninterruptibly(nanos, TimeUnit.NANOSECONDS);
  }

  /** Lets go of a request that has not been begun, and of what was read behind it. */
  private void abandon() {
    Request unfinished = current;
    if (unfinished != null && !grantUnderWay) {
      if (state == State.BUDGET && !memory.cancel(unfinished)) {
        grantUnderWay = true;
      } else {
        current = null;
        memory.release(unfinished);
        recycle(unfinished);
      }
    }
    state = State.ENDED;
    if (waiting != null) {
      waiting.release();
      waiting = null;
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

  /** Ends the connection without waiting for the client; requests in flight still finish. */
  void kill() {
    context().close();
  }

  @Override
  public void channelInactive(ChannelHandlerContext ctx) {
    closing = true;
    abandon();
    if (stallCheck != null) {
      stallCheck.cancel(false);
    }
    allSent();
    endIfDrained(ctx);
    ctx.fireChannelInactive();
  }

  private void closeHold() {
    if (!released) {
      released = true;
      allSent();
      LOG.debug("peer={} export={} closed after {} requests", peer, exportText, figures.requests());
      sessions.workers().leave(lane);
      sessions.close(hold);
    }
  }

  private void warn(String broken) {
    sessions
        .clientLog()
        .broke(context().channel(), "peer=" + peer + " export=" + exportText + " " + broken);
  }

  @Override
  public void exceptionCaught(ChannelHandlerContext ctx, Throwable cause) {
    if (cause instanceof IOException) {
      LOG.debug("peer={} export={} connection lost: {}", peer, exportText, cause.toString());
    } else {
      LOG.error("peer={} export={} session failed", peer, exportText, cause);
    }
    ctx.close();
  }
}
