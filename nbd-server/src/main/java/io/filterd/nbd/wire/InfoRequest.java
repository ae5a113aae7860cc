package io.filterd.nbd.wire;

import io.netty.buffer.ByteBuf;

/**
 * The data of NBD_OPT_INFO and NBD_OPT_GO.
 *
 * @param name the export's name; empty for the default export
 * @param types the types of information that are asked for, as bits; those from 64 on are left out,
 *     so that many of them take no memory
 */
public record InfoRequest(String name, long types) {
  /**
   * Reads all of {@code data}.
   *
   * @throws ProtocolException if that is no such request
   */
  public static InfoRequest read(ByteBuf data) throws ProtocolException {
    String name = Strings.read(data, Fields.u32(data, "name length"), "export name");
    int count = Fields.u16(data, "number of information requests");
    if (data.readableBytes() != count * Short.BYTES) {
      throw new ProtocolException(
          "information requests: " + data.readableBytes() + " bytes (expected: 2 x " + count + ")");
    }
    long types = 0;
    for (int i = 0; i < count; i++) {
      int type = data.readUnsignedShort();
      types |= type < Long.SIZE ? 1L << type : 0;
    }
    return new InfoRequest(name, types);
  }

  /** Whether information of this type, one below 64, is asked for. */
  public boolean asksFor(int type) {
    return (types >>> type & 1) != 0;
  }
}
