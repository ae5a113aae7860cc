package io.filterd.nbd.wire;

import io.netty.buffer.ByteBuf;

/**
 * What comes before an option's data (proto.md, "Newstyle negotiation").
 *
 * @param option the option's number, known or not
 * @param lengthBytes the length of its data, 0..2^32-1
 */
public record OptionHeader(int option, long lengthBytes) {
  public static final int BYTES = 16;

  private static final int OPTION_AT = 8;
  private static final int LENGTH_AT = 12;

  /**
   * Reads the header at the reader index of {@code in}, which has {@link #BYTES} bytes at least.
   *
   * @throws ProtocolException if this is no option
   */
  public static OptionHeader read(ByteBuf in) throws ProtocolException {
    int start = in.readerIndex();
    long magic = in.getLong(start);
    if (magic != Protocol.IHAVEOPT) {
      throw new ProtocolException(
          "option magic: 0x"
              + Long.toHexString(magic)
              + " (expected: 0x"
              + Long.toHexString(Protocol.IHAVEOPT)
              + ", proto.md, \"Newstyle negotiation\")");
    }
    OptionHeader header =
        new OptionHeader(in.getInt(start + OPTION_AT), in.getUnsignedInt(start + LENGTH_AT));
    in.skipBytes(BYTES);
    return header;
  }
}
