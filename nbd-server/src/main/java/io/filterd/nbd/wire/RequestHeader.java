package io.filterd.nbd.wire;

import io.netty.buffer.ByteBuf;

/**
 * A request without its payload (proto.md, "Request message"). Changed by reading the next one, so
 * that a request costs no garbage.
 */
public final class RequestHeader {
  public static final int BYTES = 28;

  /** The command's flags, known or not. */
  public int flags;

  /** The command, known or not. */
  public int command;

  /** What the client knows the request by. */
  public long cookie;

  /** Unsigned: negative is beyond every export. */
  public long offset;

  /** In bytes, 0..2^32-1. */
  public long length;

  /**
   * Reads {@link #BYTES} bytes, which {@code in} has.
   *
   * @throws ProtocolException if this is no request
   */
  public void read(ByteBuf in) throws ProtocolException {
    int magic = in.readInt();
    if (magic != Protocol.REQUEST_MAGIC) {
      throw new ProtocolException(
          "request magic: 0x"
              + Integer.toHexString(magic)
              + " (expected: 0x"
              + Integer.toHexString(Protocol.REQUEST_MAGIC)
              + ", proto.md, \"Request message\")");
    }
    flags = in.readUnsignedShort();
    command = in.readUnsignedShort();
    cookie = in.readLong();
    offset = in.readLong();
    length = in.readUnsignedInt();
  }

  /** Whether the flag is set. */
  public boolean has(int flag) {
    return (flags & flag) != 0;
  }
}
