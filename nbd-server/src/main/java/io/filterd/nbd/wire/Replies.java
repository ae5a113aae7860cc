package io.filterd.nbd.wire;

import io.netty.buffer.ByteBuf;

/** Writes the server's answers in the transmission phase, at the writer index of a buffer. */
public final class Replies {
  private static final int ERROR_FIELDS_BYTES = Integer.BYTES + Short.BYTES;

  private Replies() {}

  /** A simple reply's header; a read's data follows it. */
  public static void simple(ByteBuf out, int error, long cookie) {
    out.writeInt(Protocol.SIMPLE_REPLY_MAGIC);
    out.writeInt(error);
    out.writeLong(cookie);
  }

  /** A structured reply that is only a success. */
  public static void none(ByteBuf out, long cookie) {
    chunk(out, Protocol.NBD_REPLY_FLAG_DONE, Protocol.NBD_REPLY_TYPE_NONE, cookie, 0);
  }

  /** What comes before a chunk's data: {@link Protocol#DATA_CHUNK_HEADER_BYTES} bytes. */
  public static void dataHeader(
      ByteBuf out, boolean last, long cookie, long offset, int dataBytes) {
    chunk(out, done(last), Protocol.NBD_REPLY_TYPE_OFFSET_DATA, cookie, Long.BYTES + dataBytes);
    out.writeLong(offset);
  }

  /** A chunk that says that a range is zeros: {@link Protocol#HOLE_CHUNK_BYTES} bytes. */
  public static void hole(ByteBuf out, boolean last, long cookie, long offset, int holeBytes) {
    chunk(out, done(last), Protocol.NBD_REPLY_TYPE_OFFSET_HOLE, cookie, Long.BYTES + Integer.BYTES);
    out.writeLong(offset);
    out.writeInt(holeBytes);
  }

  /** The start of a block status of one context; two numbers follow for each extent. */
  public static void statusHeader(ByteBuf out, long cookie, int context, int extents) {
    chunk(
        out,
        Protocol.NBD_REPLY_FLAG_DONE,
        Protocol.NBD_REPLY_TYPE_BLOCK_STATUS,
        cookie,
        Integer.BYTES + extents * 2 * Integer.BYTES);
    out.writeInt(context);
  }

  /** A structured reply that is only an error, with a sentence for people. */
  public static void error(ByteBuf out, int error, long cookie, String message) {
    byte[] text = Strings.bytes(message);
    chunk(
        out,
        Protocol.NBD_REPLY_FLAG_DONE,
        Protocol.NBD_REPLY_TYPE_ERROR,
        cookie,
        ERROR_FIELDS_BYTES + text.length);
    out.writeInt(error);
    out.writeShort(text.length);
    out.writeBytes(text);
  }

  private static int done(boolean last) {
    return last ? Protocol.NBD_REPLY_FLAG_DONE : 0;
  }

  private static void chunk(ByteBuf out, int flags, int type, long cookie, int payloadBytes) {
    out.writeInt(Protocol.STRUCTURED_REPLY_MAGIC);
    out.writeShort(flags);
    out.writeShort(type);
    out.writeLong(cookie);
    out.writeInt(payloadBytes);
  }
}
