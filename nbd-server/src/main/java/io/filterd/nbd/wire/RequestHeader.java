package io.filterd.nbd.wire;

import io.netty.buffer.ByteBuf;

/**
 * A request without its payload (proto.md, "Request message"; "Extended request message" in
 * extension-ext-header). Changed by reading the next one, so that a request costs no garbage.
 */
public final class RequestHeader {
  /** The longest header of a request, in bytes. */
  public static final int MAX_BYTES = 32;

  /** The command's flags, known or not. */
  public int flags;

  /** The command, known or not. */
  public int command;

  /** What the client knows the request by. */
  public long cookie;

  /** Unsigned: negative is beyond every export. */
  public long offset;

  /**
   * In bytes: what the command is about, or how long its payload is ({@link #payloadBytes}).
   * Unsigned: negative, which only extended headers have, is beyond every export.
   */
  public long length;

  /**
   * Reads {@link ReplyMode#requestBytes} bytes, which {@code in} has.
   *
   * @throws ProtocolException if this is no request
   */
  public void read(ByteBuf in, ReplyMode mode) throws ProtocolException {
    boolean extended = mode == ReplyMode.EXTENDED;
    int expected = extended ? Protocol.EXTENDED_REQUEST_MAGIC : Protocol.REQUEST_MAGIC;
    int magic = in.readInt();
    if (magic != expected) {
      throw new ProtocolException(
          "request magic: 0x"
              + Integer.toHexString(magic)
              + " (expected: 0x"
              + Integer.toHexString(expected)
              + ", proto.md, \"Request message\")");
    }
    flags = in.readUnsignedShort();
    command = in.readUnsignedShort();
    cookie = in.readLong();
    offset = in.readLong();
    length = extended ? in.readLong() : in.readUnsignedInt();
  }

  /** Whether the flag is set. */
  public boolean has(int flag) {
    return (flags & flag) != 0;
  }

  /** The bytes that the client sends behind this header; unsigned. */
  public long payloadBytes(ReplyMode mode) {
    // A write without the flag breaks the extension's rules; qemu takes it for a write, too.
    boolean sent =
        command == Protocol.NBD_CMD_WRITE
            || (mode == ReplyMode.EXTENDED && has(Protocol.NBD_CMD_FLAG_PAYLOAD_LEN));
    return sent ? length : 0;
  }
}
