package io.filterd.nbd;

import static io.filterd.nbd.wire.Protocol.CHUNK_HEADER_BYTES;
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
import static io.filterd.nbd.wire.Protocol.NBD_OK;
import static io.filterd.nbd.wire.Protocol.NBD_REPLY_FLAG_DONE;
import static io.filterd.nbd.wire.Protocol.NBD_REPLY_TYPE_BLOCK_STATUS;
import static io.filterd.nbd.wire.Protocol.NBD_REPLY_TYPE_ERROR;
import static io.filterd.nbd.wire.Protocol.NBD_REPLY_TYPE_NONE;
import static io.filterd.nbd.wire.Protocol.NBD_REPLY_TYPE_OFFSET_DATA;
import static io.filterd.nbd.wire.Protocol.NBD_REPLY_TYPE_OFFSET_HOLE;
import static io.filterd.nbd.wire.Protocol.NBD_STATE_HOLE;
import static io.filterd.nbd.wire.Protocol.NBD_STATE_ZERO;
import static io.filterd.nbd.wire.Protocol.SIMPLE_REPLY_BYTES;
import static io.filterd.nbd.wire.Protocol.SIMPLE_REPLY_MAGIC;
import static io.filterd.nbd.wire.Protocol.STRUCTURED_REPLY_MAGIC;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Completion;
import io.filterd.block.Durability;
import io.filterd.block.ExtentKind;
import io.filterd.block.Extents;
import io.filterd.block.ZeroMode;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufAllocator;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One request of a client, from its header to its reply. Used again for later requests of the same
 * connection, so that a request costs no garbage. Owned by the event loop, or by one worker between
 * {@link #run} and the completion it posts.
 */
final class Request implements Runnable {
  private static final Logger LOG = LoggerFactory.getLogger(Request.class);

  /** A longer description of a range is cut; the client asks again from there. */
  private static final int MAX_STATUS_EXTENTS = 1024;

  /** A read of more parts than this is sent as one: chunk headers would outgrow the zeros saved. */
  private static final int MAX_READ_CHUNKS = 64;

  /** Prefetching reads through a buffer of this size. */
  private static final int CACHE_STEP_BYTES = 1 << 20;

  private final Transmission transmission;
  private final BlockDevice device;
  private final boolean structured;

  int command;
  int flags;
  long cookie;
  long offset;
  long length;

  /** What makes the request invalid, found at its header; the payload is still to be skipped. */
  int refusal;

  @Nullable String refusalText;

  /** The data of a write, until it is done. */
  @Nullable ByteBuf payload;

  /** The whole reply, once there is one. */
  @Nullable ByteBuf reply;

  /** Data that a successful read returns, for the statistics. */
  long bytesRead;

  Request(Transmission transmission, BlockDevice device, boolean structured) {
    this.transmission = transmission;
    this.device = device;
    this.structured = structured;
  }

  /** On a worker: carries the request out, blocking, and goes back to the event loop. */
  @Override
  public void run() {
    try {
      execute(Blocking.ALLOWED);
    } finally {
      transmission.post(this);
    }
  }

  /**
   * Carries the request out and makes its reply; false if it would block and nothing was done.
   * Whatever happens, an answer of true comes with exactly one reply.
   */
  boolean execute(Blocking blocking) {
    try {
      if (refusal != NBD_OK) {
        fail(refusal, refusalText);
        return true;
      }
      return switch (command) {
        case NBD_CMD_READ -> read(blocking);
        case NBD_CMD_WRITE -> write(blocking);
        case NBD_CMD_FLUSH -> done(device.flush(blocking));
        case NBD_CMD_TRIM -> length == 0 ? done(Completion.DONE) : trim(blocking);
        case NBD_CMD_WRITE_ZEROES -> length == 0 ? done(Completion.DONE) : zero(blocking);
        case NBD_CMD_CACHE -> cache(blocking);
        case NBD_CMD_BLOCK_STATUS -> status(blocking);
        default -> throw new IllegalStateException("command: " + command);
      };
    } catch (BlockException failure) {
      if (failure.reason() == BlockException.Reason.IO_ERROR) {
        LOG.error("export={} offset={} length={}", transmission.export(), offset, length, failure);
      }
      fail(error(failure), failure.getMessage());
    } catch (OutOfMemoryError full) {
      LOG.error("export={} length={} no memory for a request", transmission.export(), length);
      fail(NBD_ENOMEM, "the server is out of memory");
    } catch (RuntimeException bug) {
      LOG.error("export={} offset={} length={}", transmission.export(), offset, length, bug);
      fail(NBD_EIO, "the server failed: see its log");
    }
    return true;
  }

  /** The error number for a failure: the only such place. */
  private int error(BlockException failure) {
    return switch (failure.reason()) {
      case INVALID_REQUEST -> NBD_EINVAL;
      case READ_ONLY -> NBD_EPERM;
      case NO_SPACE -> NBD_ENOSPC;
      case NOT_SUPPORTED ->
          // Allowed for fast zeroing only (proto.md, "NBD_CMD_WRITE_ZEROES").
          (flags & NBD_CMD_FLAG_FAST_ZERO) != 0 ? NBD_ENOTSUP : NBD_EINVAL;
      case SHUTTING_DOWN -> NBD_ESHUTDOWN;
      case IO_ERROR -> NBD_EIO;
    };
  }

  private Durability durability() {
    return (flags & NBD_CMD_FLAG_FUA) != 0 ? Durability.DURABLE : Durability.BUFFERED;
  }

  private boolean done(Completion completion) {
    if (completion == Completion.WOULD_BLOCK) {
      return false;
    }
    ByteBuf answer = allocator().directBuffer(SIMPLE_REPLY_BYTES);
    simpleHeader(answer, NBD_OK);
    reply = answer;
    return true;
  }

  private ByteBufAllocator allocator() {
    return transmission.allocator();
  }

  private boolean read(Blocking blocking) throws BlockException {
    int bytes = (int) length;
    int header = structured ? CHUNK_HEADER_BYTES + Long.BYTES : SIMPLE_REPLY_BYTES;
    if (bytes == 0) {
      return emptyRead();
    }
    ByteBuf answer = allocator().directBuffer(header + bytes);
    boolean kept = false;
    try {
      ByteBuffer target = answer.internalNioBuffer(header, bytes);
      Extents extents = device.read(offset, target, blocking);
      if (extents == Extents.WOULD_BLOCK) {
        return false;
      }
      bytesRead = length;
      if (!structured) {
        simpleHeader(answer, NBD_OK);
      } else if (extents.isAll(ExtentKind.ZERO)) {
        reply = hole();
        return true;
      } else if (sendsParts(extents)) {
        reply = parts(extents, answer, header);
        return true;
      } else {
        chunkHeader(answer, NBD_REPLY_FLAG_DONE, NBD_REPLY_TYPE_OFFSET_DATA, Long.BYTES + bytes);
        answer.writeLong(offset);
      }
      answer.writerIndex(header + bytes);
      reply = answer;
      kept = true;
      return true;
    } finally {
      if (!kept) {
        answer.release();
      }
    }
  }

  private boolean emptyRead() {
    ByteBuf answer = allocator().directBuffer(CHUNK_HEADER_BYTES);
    if (structured) {
      chunkHeader(answer, NBD_REPLY_FLAG_DONE, NBD_REPLY_TYPE_NONE, 0);
    } else {
      simpleHeader(answer, NBD_OK);
    }
    reply = answer;
    return true;
  }

  private boolean sendsParts(Extents extents) {
    return extents.count() > 1
        && extents.count() <= MAX_READ_CHUNKS
        && (flags & NBD_CMD_FLAG_DF) == 0;
  }

  private ByteBuf hole() {
    ByteBuf answer = allocator().directBuffer(CHUNK_HEADER_BYTES + 12);
    chunkHeader(answer, NBD_REPLY_FLAG_DONE, NBD_REPLY_TYPE_OFFSET_HOLE, 12);
    answer.writeLong(offset);
    answer.writeInt((int) length);
    return answer;
  }

  /**
   * A chunk for each part: data with its bytes, zeros as holes (proto.md, "Structured replies").
   */
  private ByteBuf parts(Extents extents, ByteBuf data, int dataStart) {
    int count = extents.count();
    ByteBuf answer = allocator().directBuffer((int) length + count * (CHUNK_HEADER_BYTES + 12));
    long at = 0;
    for (int i = 0; i < count; i++) {
      int bytes = (int) extents.lengthBytes(i, length);
      int last = i == count - 1 ? NBD_REPLY_FLAG_DONE : 0;
      if (extents.kind(i) == ExtentKind.DATA) {
        chunkHeader(answer, last, NBD_REPLY_TYPE_OFFSET_DATA, Long.BYTES + bytes);
        answer.writeLong(offset + at);
        answer.writeBytes(data, dataStart + (int) at, bytes);
      } else {
        chunkHeader(answer, last, NBD_REPLY_TYPE_OFFSET_HOLE, 12);
        answer.writeLong(offset + at);
        answer.writeInt(bytes);
      }
      at += bytes;
    }
    return answer;
  }

  private boolean write(Blocking blocking) throws BlockException {
    ByteBuf data = payload;
    if (data == null) {
      return done(Completion.DONE); // Zero bytes.
    }
    ByteBuffer source = data.internalNioBuffer(0, (int) length);
    return done(device.write(offset, source, durability(), blocking));
  }

  private boolean trim(Blocking blocking) throws BlockException {
    return done(device.trim(offset, length, durability(), blocking));
  }

  private boolean zero(Blocking blocking) throws BlockException {
    boolean allocate = (flags & NBD_CMD_FLAG_NO_HOLE) != 0;
    boolean fast = (flags & NBD_CMD_FLAG_FAST_ZERO) != 0;
    ZeroMode mode;
    if (fast) {
      mode = allocate ? ZeroMode.FAST_ALLOCATE : ZeroMode.FAST_MAY_DEALLOCATE;
    } else {
      mode = allocate ? ZeroMode.ALLOCATE : ZeroMode.MAY_DEALLOCATE;
    }
    return done(device.zero(offset, length, mode, durability(), blocking));
  }

  /** Reads the range and throws it away: the page cache below has it then. */
  private boolean cache(Blocking blocking) throws BlockException {
    if (length == 0) {
      return done(Completion.DONE);
    }
    if (blocking == Blocking.FORBIDDEN) {
      return false;
    }
    int step = (int) Math.min(length, CACHE_STEP_BYTES);
    ByteBuf scratch = allocator().directBuffer(step);
    try {
      for (long at = 0; at < length; at += step) {
        int bytes = (int) Math.min(step, length - at);
        device.read(offset + at, scratch.internalNioBuffer(0, bytes), Blocking.ALLOWED);
      }
    } finally {
      scratch.release();
    }
    return done(Completion.DONE);
  }

  private boolean status(Blocking blocking) throws BlockException {
    Extents extents = device.extents(offset, length, blocking);
    if (extents == Extents.WOULD_BLOCK) {
      return false;
    }
    boolean one = (flags & NBD_CMD_FLAG_REQ_ONE) != 0;
    int count = one ? 1 : Math.min(extents.count(), MAX_STATUS_EXTENTS);
    int bytes = Integer.BYTES + count * 2 * Integer.BYTES;
    ByteBuf answer = allocator().directBuffer(CHUNK_HEADER_BYTES + bytes);
    chunkHeader(answer, NBD_REPLY_FLAG_DONE, NBD_REPLY_TYPE_BLOCK_STATUS, bytes);
    answer.writeInt(Transmission.BASE_ALLOCATION_ID);
    for (int i = 0; i < count; i++) {
      answer.writeInt((int) extents.lengthBytes(i, length));
      answer.writeInt(extents.kind(i) == ExtentKind.DATA ? 0 : NBD_STATE_HOLE | NBD_STATE_ZERO);
    }
    reply = answer;
    return true;
  }

  /** Answers with an error: structured where the client was promised that. */
  private void fail(int error, @Nullable String text) {
    if (structured && (command == NBD_CMD_READ || command == NBD_CMD_BLOCK_STATUS)) {
      byte[] message = String.valueOf(text).getBytes(StandardCharsets.UTF_8);
      int messageBytes = Math.min(message.length, 1024);
      ByteBuf answer = allocator().directBuffer(CHUNK_HEADER_BYTES + 6 + messageBytes);
      chunkHeader(answer, NBD_REPLY_FLAG_DONE, NBD_REPLY_TYPE_ERROR, 6 + messageBytes);
      answer.writeInt(error);
      answer.writeShort(messageBytes);
      answer.writeBytes(message, 0, messageBytes);
      reply = answer;
    } else {
      ByteBuf answer = allocator().directBuffer(SIMPLE_REPLY_BYTES);
      simpleHeader(answer, error);
      reply = answer;
    }
  }

  private void simpleHeader(ByteBuf answer, int error) {
    answer.writeInt(SIMPLE_REPLY_MAGIC);
    answer.writeInt(error);
    answer.writeLong(cookie);
  }

  private void chunkHeader(ByteBuf answer, int chunkFlags, int type, int bytes) {
    answer.writeInt(STRUCTURED_REPLY_MAGIC);
    answer.writeShort(chunkFlags);
    answer.writeShort(type);
    answer.writeLong(cookie);
    answer.writeInt(bytes);
  }
}
