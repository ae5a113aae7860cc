package io.filterd.nbd.wire;

import io.netty.buffer.ByteBuf;

/** Reads numbers that may be cut off. */
final class Fields {
  private Fields() {}

  static long u32(ByteBuf data, String what) throws ProtocolException {
    need(data, Integer.BYTES, what);
    return data.readUnsignedInt();
  }

  static int u16(ByteBuf data, String what) throws ProtocolException {
    need(data, Short.BYTES, what);
    return data.readUnsignedShort();
  }

  private static void need(ByteBuf data, int bytes, String what) throws ProtocolException {
    if (data.readableBytes() < bytes) {
      throw new ProtocolException(
          what + ": cut off after " + data.readableBytes() + " bytes (expected: " + bytes + ")");
    }
  }
}
