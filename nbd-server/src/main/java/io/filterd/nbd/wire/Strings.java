package io.filterd.nbd.wire;

import io.netty.buffer.ByteBuf;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;

/** Strings of the protocol: UTF-8, no NUL, at most 4096 bytes (proto.md, "Conventions"). */
public final class Strings {
  private Strings() {}

  /**
   * Reads {@code lengthBytes} bytes of {@code in} as a string.
   *
   * @throws ProtocolException if it is too long, cut off, or no valid string
   */
  public static String read(ByteBuf in, long lengthBytes, String what) throws ProtocolException {
    if (lengthBytes > Protocol.MAX_STRING_BYTES) {
      throw new ProtocolException(
          what + ": " + lengthBytes + " bytes (expected: <= " + Protocol.MAX_STRING_BYTES + ")");
    }
    if (lengthBytes < 0 || lengthBytes > in.readableBytes()) {
      throw new ProtocolException(
          what + ": " + lengthBytes + " bytes (expected: <= " + in.readableBytes() + " left)");
    }
    byte[] bytes = new byte[(int) lengthBytes];
    in.readBytes(bytes);
    String text;
    try {
      text =
          StandardCharsets.UTF_8
              .newDecoder()
              .onMalformedInput(CodingErrorAction.REPORT)
              .onUnmappableCharacter(CodingErrorAction.REPORT)
              .decode(ByteBuffer.wrap(bytes))
              .toString();
    } catch (CharacterCodingException malformed) {
      throw new ProtocolException(what + ": not UTF-8");
    }
    if (text.indexOf('\0') >= 0) {
      throw new ProtocolException(what + ": holds a NUL");
    }
    return text;
  }
}
