package io.filterd.nbd.wire;

import io.netty.buffer.ByteBuf;

/**
 * Writes the server's answers in the transmission phase, at the writer index of a buffer, in the
 * way that a client has negotiated. Immutable.
 */
public final class Replies {
  private static final int ERROR_FIELDS_BYTES = Integer.BYTES + Short.BYTES;

  private final ReplyMode mode;
  private final boolean extended;

  /** Answers of this kind. */
  public Replies(ReplyMode mode) {
    this.mode = mode;
    this.extended = mode == ReplyMode.EXTENDED;
  }

  /** A success without data; what a simple read returns follows it. */
  public void done(ByteBuf out, RequestHeader request) {
    if (extended) {
      none(out, request);
    } else {
      simple(out, Protocol.NBD_OK, request);
    }
  }

  private static void simple(ByteBuf out, int error, RequestHeader request) {
    out.writeInt(Protocol.SIMPLE_REPLY_MAGIC);
    out.writeInt(error);
    out.writeLong(request.cookie);
  }

  /** A success without data, as a chunk. */
  public void none(ByteBuf out, RequestHeader request) {
    chunk(out, true, Protocol.NBD_REPLY_TYPE_NONE, request, 0);
  }

  /** What comes before a chunk's data: {@link ReplyMode#readHeaderBytes} bytes. */
  public void dataHeader(
      ByteBuf out, boolean last, RequestHeader request, long offset, int dataBytes) {
    chunk(out, last, Protocol.NBD_REPLY_TYPE_OFFSET_DATA, request, Long.BYTES + dataBytes);
    out.writeLong(offset);
  }

  /** A chunk that says that a range is zeros. */
  public void hole(ByteBuf out, boolean last, RequestHeader request, long offset, int holeBytes) {
    chunk(out, last, Protocol.NBD_REPLY_TYPE_OFFSET_HOLE, request, Long.BYTES + Integer.BYTES);
    out.writeLong(offset);
    out.writeInt(holeBytes);
  }

  /** The most that a block status of so many parts takes, for one context. */
  public static int statusBytes(ReplyMode mode, int parts) {
    return mode == ReplyMode.EXTENDED
        ? 32 + 2 * Integer.BYTES + parts * 2 * Long.BYTES
        : 20 + Integer.BYTES + parts * 2 * Integer.BYTES;
  }

  /** The start of a block status of one context; {@link #statusPart}s follow. */
  public void statusHeader(ByteBuf out, boolean last, RequestHeader request, int context) {
    // The lengths are filled in at the end.
    if (extended) {
      chunk(out, last, Protocol.NBD_REPLY_TYPE_BLOCK_STATUS_EXT, request, 0);
      out.writeInt(context);
      out.writeInt(0);
    } else {
      chunk(out, last, Protocol.NBD_REPLY_TYPE_BLOCK_STATUS, request, 0);
      out.writeInt(context);
    }
  }

  /** One part of a range. Without extended headers it is less than 4 GiB long. */
  public void statusPart(ByteBuf out, long lengthBytes, int flags) {
    if (extended) {
      out.writeLong(lengthBytes);
      out.writeLong(Integer.toUnsignedLong(flags));
    } else {
      out.writeInt((int) lengthBytes);
      out.writeInt(flags);
    }
  }

  /** Ends a block status whose header was written at {@code start}. */
  public void statusEnd(ByteBuf out, int start, int parts) {
    int bytes = out.writerIndex() - start;
    if (extended) {
      out.setLong(start + 24, bytes - 32);
      out.setInt(start + 36, parts);
    } else {
      out.setInt(start + 16, bytes - 20);
    }
  }

  /** An error; with a sentence for people where there is room for it. */
  public void error(ByteBuf out, int error, RequestHeader request, String message) {
    if (!mode.chunks()) {
      simple(out, error, request);
      return;
    }
    byte[] text = Strings.bytes(message);
    chunk(out, true, Protocol.NBD_REPLY_TYPE_ERROR, request, ERROR_FIELDS_BYTES + text.length);
    out.writeInt(error);
    out.writeShort(text.length);
    out.writeBytes(text);
  }

  private void chunk(ByteBuf out, boolean last, int type, RequestHeader request, int payloadBytes) {
    out.writeInt(extended ? Protocol.EXTENDED_REPLY_MAGIC : Protocol.STRUCTURED_REPLY_MAGIC);
    out.writeShort(last ? Protocol.NBD_REPLY_FLAG_DONE : 0);
    out.writeShort(type);
    out.writeLong(request.cookie);
    if (extended) {
      out.writeLong(request.offset);
      out.writeLong(payloadBytes);
    } else {
      out.writeInt(payloadBytes);
    }
  }
}
