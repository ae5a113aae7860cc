package io.filterd.nbd;

import static io.filterd.nbd.wire.Protocol.NBD_CMD_BLOCK_STATUS;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_CACHE;
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
import static io.filterd.nbd.wire.Protocol.NBD_EIO;
import static io.filterd.nbd.wire.Protocol.NBD_ENOMEM;
import static io.filterd.nbd.wire.Protocol.NBD_ENOSPC;
import static io.filterd.nbd.wire.Protocol.NBD_ENOTSUP;
import static io.filterd.nbd.wire.Protocol.NBD_EPERM;
import static io.filterd.nbd.wire.Protocol.NBD_ESHUTDOWN;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Completion;
import io.filterd.block.Durability;
import io.filterd.block.ExtentKind;
import io.filterd.block.Extents;
import io.filterd.block.ZeroMode;
import io.filterd.nbd.wire.Replies;
import io.filterd.nbd.wire.ReplyMode;
import io.filterd.nbd.wire.RequestHeader;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One request of a client, from its header to its reply. Used again for later requests of the same
 * connection, so that a request costs no garbage. Owned by the event loop, or by one worker between
 * {@link #run} and the hand-over of its reply. Its buffers are {@link Transmission}'s to give and
 * take.
 */
final class Request extends Workers.Task {
  private static final Logger LOG = LoggerFactory.getLogger(Request.class);

  /** The most that one request has read ahead; the rest of a longer range is left alone. */
  static final int MAX_CACHED_BYTES = 32 << 20;

  /** Reading ahead goes through a buffer of this size. */
  static final int CACHE_STEP_BYTES = 1 << 20;

  /** A longer description of a range is cut; the client asks again from there. */
  private static final int MAX_STATUS_EXTENTS = 1 << 10;

  /** Room for a reply that is only a header. */
  private static final int SHORT_REPLY_BYTES = 64;

  /**
   * Shorter runs of zeros are sent as data: chunks should be multiples of this (proto.md,
   * "NBD_CMD_READ"), and headers of two chunks fit into it.
   */
  private static final int LEAST_HOLE_BYTES = 512;

  final RequestHeader header = new RequestHeader();

  /** What makes the request invalid, found at its header; a payload is still to be skipped. */
  @Nullable Refusal refusal;

  /** The data of a write, or what a block status is about, in a buffer of its own. */
  @Nullable ByteBuf payload;

  /** The chosen contexts that a block status is about, as bits. */
  long asked;

  /** The buffer for the reply; whole after {@link #execute} was true. */
  @Nullable ByteBuf reply;

  /** When its last byte was here, by {@code System.nanoTime()}. */
  long beganNanos;

  /** Bytes of memory that the connection is charged for this request. */
  int heldBytes;

  /** Whether they were taken from what all connections share. */
  boolean heldFromBudget;

  /** The error in the reply. */
  int error;

  /** The next one that a worker has finished, for the event loop. */
  @Nullable Request nextFinished;

  private final Transmission transmission;
  private final BlockDevice device;
  private final Terms terms;
  private final ReplyMode mode;
  private final Replies replies;
  private final StatusParts parts;

  /** A request of a client that was told {@code terms}. */
  Request(Transmission transmission, BlockDevice device, Terms terms) {
    this.transmission = transmission;
    this.device = device;
    this.terms = terms;
    this.mode = terms.mode();
    this.replies = new Replies(mode);
    this.parts = new StatusParts(replies);
  }

  /** The most that a description of a range takes, of so many contexts. */
  static int maxStatusBytes(Terms terms) {
    return terms.contexts().size() * Replies.statusBytes(terms.mode(), MAX_STATUS_EXTENTS);
  }

  /** On a worker: carries the request out, blocking, and goes back to the event loop. */
  @Override
  void run() {
    boolean answered = false;
    try {
      ByteBuf data = payload;
      answered =
          execute(
              Blocking.ALLOWED,
              data == null ? null : data.internalNioBuffer(0, data.readableBytes()));
    } finally {
      if (!answered) {
        // An Error, or a device that would block though it may: a bug, but the client must not
        // wait forever.
        fail(NBD_EIO, "the server failed: see its log");
      }
      transmission.finished(this);
    }
  }

  /**
   * Carries the request out and makes its reply; false if it would block and nothing was done.
   *
   * @param data the data of a write
   */
  boolean execute(Blocking blocking, @Nullable ByteBuffer data) {
    Refusal refused = refusal;
    if (refused != null) {
      fail(refused.error(), refused.message());
      return true;
    }
    try {
      boolean empty = header.length == 0;
      return switch (header.command) {
        case NBD_CMD_READ -> empty ? emptyRead() : read(blocking);
        case NBD_CMD_WRITE -> data == null ? done() : write(data, blocking);
        case NBD_CMD_FLUSH -> done(device.flush(blocking));
        case NBD_CMD_TRIM -> empty ? done() : trim(blocking);
        case NBD_CMD_WRITE_ZEROES -> empty ? done() : zero(blocking);
        case NBD_CMD_CACHE -> empty ? done() : cache(blocking);
        case NBD_CMD_BLOCK_STATUS -> status(blocking);
        default -> throw new IllegalStateException("command: " + header.command);
      };
    } catch (BlockException failure) {
      if (failure.reason() == BlockException.Reason.IO_ERROR) {
        // What went wrong is in its sentence; where, for those who look closer.
        LOG.error("{} failed: {}", this, failure.getMessage());
        LOG.debug("{} failed", this, failure);
      }
      fail(errorOf(failure), String.valueOf(failure.getMessage()));
    } catch (OutOfMemoryError full) {
      LOG.error("{} failed: {}", this, full.getMessage());
      fail(NBD_ENOMEM, "the server is out of memory");
    } catch (RuntimeException bug) {
      LOG.error("{} failed", this, bug);
      fail(NBD_EIO, "the server failed: see its log");
    }
    return true;
  }

  /** The error number for a failure: the only such place. */
  private int errorOf(BlockException failure) {
    return switch (failure.reason()) {
      case INVALID_REQUEST -> NBD_EINVAL;
      case READ_ONLY -> NBD_EPERM;
      case NO_SPACE -> NBD_ENOSPC;
      case NOT_SUPPORTED ->
          // Only a fast zero may be answered so (proto.md, "Error values").
          header.has(NBD_CMD_FLAG_FAST_ZERO) ? NBD_ENOTSUP : NBD_EINVAL;
      case SHUTTING_DOWN -> NBD_ESHUTDOWN;
      case IO_ERROR -> NBD_EIO;
    };
  }

  private Durability durability() {
    return header.has(NBD_CMD_FLAG_FUA) ? Durability.DURABLE : Durability.BUFFERED;
  }

  /** An empty buffer for the reply, with room for so many bytes; always the same one. */
  private ByteBuf replyBuffer(int bytes) {
    ByteBuf buffer = reply;
    if (buffer == null) {
      buffer = transmission.newReply(bytes);
      reply = buffer;
    }
    return buffer.clear();
  }

  private boolean done(Completion completion) {
    return completion == Completion.DONE && done();
  }

  private boolean done() {
    replies.done(replyBuffer(SHORT_REPLY_BYTES), header);
    return true;
  }

  /**
   * Answers with an error: with its text where the client can take that. On the heap, since that
   * native memory has run out may be the error.
   */
  private void fail(int errorNumber, String message) {
    error = errorNumber;
    if (reply != null) {
      reply.release();
    }
    ByteBuf answer = Unpooled.buffer(SHORT_REPLY_BYTES);
    reply = answer;
    replies.error(answer, errorNumber, header, message);
  }

  private boolean emptyRead() {
    ByteBuf answer = replyBuffer(SHORT_REPLY_BYTES);
    if (mode.chunks()) {
      replies.none(answer, header);
    } else {
      replies.done(answer, header);
    }
    return true;
  }

  private boolean read(Blocking blocking) throws BlockException {
    int length = (int) header.length;
    int start = mode.readHeaderBytes();
    boolean whole = length <= terms.deviceMaximumBytes();
    if (!whole && blocking == Blocking.FORBIDDEN) {
      return false;
    }
    ByteBuf answer = replyBuffer(start + length);
    Extents extents =
        whole
            ? device.read(header.offset, answer.internalNioBuffer(start, length), blocking)
            : readInPieces(answer, start, length);
    if (extents == Extents.WOULD_BLOCK) {
      return false;
    }
    if (!mode.chunks()) {
      replies.done(answer, header);
      answer.writerIndex(start + length);
    } else if (extents.isAll(ExtentKind.DATA) || (header.has(NBD_CMD_FLAG_DF) && !empty(extents))) {
      replies.dataHeader(answer, true, header, header.offset, length);
      answer.writerIndex(start + length);
    } else {
      chunks(answer, extents);
    }
    return true;
  }

  /** Reads what is longer than the device takes at once; nothing is answered before all is here. */
  private Extents readInPieces(ByteBuf answer, int start, int length) throws BlockException {
    Extents.Builder all = new Extents.Builder();
    int at = 0;
    while (at < length) {
      int bytes = Math.min(terms.deviceMaximumBytes(), length - at);
      Extents piece =
          device.read(
              header.offset + at, answer.internalNioBuffer(start + at, bytes), Blocking.ALLOWED);
      if (piece == Extents.WOULD_BLOCK) {
        return piece;
      }
      all.add(piece, bytes, 0, bytes);
      at += bytes;
    }
    return all.build();
  }

  private static boolean empty(Extents extents) {
    for (int i = 0; i < extents.count(); i++) {
      if (extents.kind(i) == ExtentKind.DATA) {
        return false;
      }
    }
    return true;
  }

  /**
   * Turns the bytes of the range, which lie in the buffer after room for one header, into chunks of
   * data and holes. Every hole makes more room than the headers of its own chunk and of the data
   * behind it take, so that data only moves to the front.
   */
  private void chunks(ByteBuf answer, Extents extents) {
    long length = header.length;
    int count = extents.count();
    long at = 0;
    int i = 0;
    while (i < count) {
      long data = 0;
      long hole = 0;
      while (i < count && hole == 0) {
        if (extents.kind(i) == ExtentKind.DATA) {
          data += extents.lengthBytes(i, length);
          i++;
          continue;
        }
        long zeros = 0;
        while (i < count && extents.kind(i) != ExtentKind.DATA) {
          zeros += extents.lengthBytes(i, length);
          i++;
        }
        if (zeros >= LEAST_HOLE_BYTES) {
          hole = zeros;
        } else {
          data += zeros;
        }
      }
      if (data > 0) {
        replies.dataHeader(answer, at + data == length, header, header.offset + at, (int) data);
        moveUp(answer, mode.readHeaderBytes() + (int) at, (int) data);
        at += data;
      }
      if (hole > 0) {
        replies.hole(answer, at + hole == length, header, header.offset + at, (int) hole);
        at += hole;
      }
    }
  }

  /** Moves bytes that lie further back in the buffer to its end. */
  private static void moveUp(ByteBuf answer, int from, int bytes) {
    int to = answer.writerIndex();
    if (to != from) {
      ByteBuffer whole = answer.internalNioBuffer(0, from + bytes);
      whole.put(whole.position() + to, whole, whole.position() + from, bytes);
    }
    answer.writerIndex(to + bytes);
  }

  private boolean write(ByteBuffer data, Blocking blocking) throws BlockException {
    int most = terms.deviceMaximumBytes();
    if (data.remaining() <= most) {
      return done(device.write(header.offset, data, durability(), blocking));
    }
    // What the device takes in pieces only must not end after the first one.
    return blocking == Blocking.ALLOWED && done(writeInPieces(data, most));
  }

  private Completion writeInPieces(ByteBuffer data, int most) throws BlockException {
    int start = data.position();
    int length = data.remaining();
    Completion completion = Completion.DONE;
    int at = 0;
    while (at < length && completion == Completion.DONE) {
      int bytes = Math.min(most, length - at);
      ByteBuffer piece = data.slice(start + at, bytes);
      completion = device.write(header.offset + at, piece, durability(), Blocking.ALLOWED);
      at += bytes;
    }
    return completion;
  }

  private boolean trim(Blocking blocking) throws BlockException {
    return done(device.trim(header.offset, header.length, durability(), blocking));
  }

  private boolean zero(Blocking blocking) throws BlockException {
    ZeroMode mode;
    if (header.has(NBD_CMD_FLAG_NO_HOLE)) {
      mode = header.has(NBD_CMD_FLAG_FAST_ZERO) ? ZeroMode.FAST_ALLOCATE : ZeroMode.ALLOCATE;
    } else {
      mode =
          header.has(NBD_CMD_FLAG_FAST_ZERO)
              ? ZeroMode.FAST_MAY_DEALLOCATE
              : ZeroMode.MAY_DEALLOCATE;
    }
    return done(device.zero(header.offset, header.length, mode, durability(), blocking));
  }

  /** Reads the range and throws it away: the caches below have it then. */
  private boolean cache(Blocking blocking) throws BlockException {
    if (blocking == Blocking.FORBIDDEN) {
      return false;
    }
    long end = header.offset + Math.min(header.length, MAX_CACHED_BYTES);
    int step = Math.min(CACHE_STEP_BYTES, terms.deviceMaximumBytes());
    ByteBuf scratch = replyBuffer((int) Math.min(header.length, step));
    for (long at = header.offset; at < end; at += step) {
      int bytes = (int) Math.min(step, end - at);
      device.read(at, scratch.internalNioBuffer(0, bytes), blocking);
    }
    return done();
  }

  private boolean status(Blocking blocking) throws BlockException {
    int most = header.has(NBD_CMD_FLAG_REQ_ONE) ? 1 : MAX_STATUS_EXTENTS;
    ByteBuf answer =
        replyBuffer(Long.bitCount(asked) * Replies.statusBytes(mode, Math.min(most, 16)));
    for (long rest = asked; rest != 0; rest &= rest - 1) {
      ChosenContext chosen = terms.contexts().get(Long.numberOfTrailingZeros(rest));
      parts.begin(answer, (rest & (rest - 1)) == 0, header, chosen.id(), most);
      if (!chosen.context().describe(header.offset, header.length, parts, blocking)) {
        return false;
      }
      parts.end();
    }
    return true;
  }

  @Override
  public String toString() {
    return "export="
        + transmission.exportText()
        + " command="
        + header.command
        + " offset="
        + header.offset
        + " length="
        + header.length;
  }
}
