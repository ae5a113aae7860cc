package io.filterd.nbd.wire;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufAllocator;

/** Makes the server's answers in the handshake (proto.md, "Option reply types"). */
public final class OptionReplies {
  private static final int HEADER_BYTES = 20;

  private OptionReplies() {}

  /** What the server says first. */
  public static ByteBuf greeting(ByteBufAllocator allocator, int handshakeFlags) {
    ByteBuf greeting = allocator.buffer(18);
    greeting.writeLong(Protocol.NBDMAGIC);
    greeting.writeLong(Protocol.IHAVEOPT);
    greeting.writeShort(handshakeFlags);
    return greeting;
  }

  /** The answer to NBD_OPT_EXPORT_NAME, the only one without a header. */
  public static ByteBuf exportName(
      ByteBufAllocator allocator, long sizeBytes, int transmissionFlags, int zeroBytes) {
    return allocator
        .buffer(Long.BYTES + Short.BYTES + zeroBytes)
        .writeLong(sizeBytes)
        .writeShort(transmissionFlags)
        .writeZero(zeroBytes);
  }

  /** NBD_REP_ACK. */
  public static ByteBuf ack(ByteBufAllocator allocator, int option) {
    return reply(allocator, option, Protocol.NBD_REP_ACK, 0);
  }

  /** An error, NBD_REP_ERR_..., with a sentence for people. */
  public static ByteBuf error(ByteBufAllocator allocator, int option, int error, String message) {
    byte[] text = Strings.bytes(message);
    return reply(allocator, option, error, text.length).writeBytes(text);
  }

  /** NBD_REP_SERVER: one export of a list, and what there is to say of it. */
  public static ByteBuf server(
      ByteBufAllocator allocator, int option, String name, String description) {
    byte[] text = Strings.bytes(name);
    byte[] more = Strings.bytes(description);
    return reply(
            allocator, option, Protocol.NBD_REP_SERVER, Integer.BYTES + text.length + more.length)
        .writeInt(text.length)
        .writeBytes(text)
        .writeBytes(more);
  }

  /** NBD_INFO_EXPORT. */
  public static ByteBuf infoExport(
      ByteBufAllocator allocator, int option, long sizeBytes, int transmissionFlags) {
    return info(allocator, option, Protocol.NBD_INFO_EXPORT, Long.BYTES + Short.BYTES)
        .writeLong(sizeBytes)
        .writeShort(transmissionFlags);
  }

  /** NBD_INFO_NAME or NBD_INFO_DESCRIPTION. */
  public static ByteBuf infoText(ByteBufAllocator allocator, int option, int type, String text) {
    byte[] bytes = Strings.bytes(text);
    return info(allocator, option, type, bytes.length).writeBytes(bytes);
  }

  /** NBD_INFO_BLOCK_SIZE. */
  public static ByteBuf infoBlockSize(
      ByteBufAllocator allocator, int option, int minimum, int preferred, int maximum) {
    return info(allocator, option, Protocol.NBD_INFO_BLOCK_SIZE, 3 * Integer.BYTES)
        .writeInt(minimum)
        .writeInt(preferred)
        .writeInt(maximum);
  }

  /** NBD_REP_META_CONTEXT. */
  public static ByteBuf context(ByteBufAllocator allocator, int option, int id, String name) {
    byte[] text = Strings.bytes(name);
    return reply(allocator, option, Protocol.NBD_REP_META_CONTEXT, Integer.BYTES + text.length)
        .writeInt(id)
        .writeBytes(text);
  }

  private static ByteBuf info(ByteBufAllocator allocator, int option, int type, int bytes) {
    return reply(allocator, option, Protocol.NBD_REP_INFO, Short.BYTES + bytes).writeShort(type);
  }

  private static ByteBuf reply(ByteBufAllocator allocator, int option, int type, int bytes) {
    return allocator
        .buffer(HEADER_BYTES + bytes)
        .writeLong(Protocol.OPTION_REPLY_MAGIC)
        .writeInt(option)
        .writeInt(type)
        .writeInt(bytes);
  }
}
