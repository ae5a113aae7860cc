package io.filterd.nbd.wire;

import io.netty.buffer.ByteBuf;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;

/** Strings of the protocol: UTF-8, no NUL, at most 4096 bytes (proto.md, "Conventions"). */
public final class Strings {
  private Strings() {}

  /**
   * Reads {@code lengthBytes} bytes of {@code in} as a string.
   *
   * @param what the field, for messages
   * @throws ProtocolException if it is too long, cut off, or no valid string
   */
  public static String read(ByteBuf in, long lengthBytes, String what) throws ProtocolException {
    if (lengthBytes > in.readableBytes()) {
      throw new ProtocolException(
          what + ": " + lengthBytes + " bytes (expected: <= " + in.readableBytes() + " left)");
    }
    if (lengthBytes > Protocol.MAX_STRING_BYTES) {
      throw new ProtocolException(
          what + ": " + lengthBytes + " bytes (expected: <= " + Protocol.MAX_STRING_BYTES + ")");
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

  /** A text as a string of the protocol, without what does not fit: half characters and NULs. */
  public static byte[] bytes(String text) {
    ByteBuffer out =
        ByteBuffer.allocate(
            (int)
                Math.min(text.length() * 3L, Protocol.MAX_STRING_BYTES)); // 3 bytes a char at most
    // On overflow the encoder stops at the last whole character.
    StandardCharsets.UTF_8
        .newEncoder()
        .onMalformedInput(CodingErrorAction.REPLACE)
        .onUnmappableCharacter(CodingErrorAction.REPLACE)
        .encode(CharBuffer.wrap(text.replace("\0", "")), out, true);
    byte[] bytes = new byte[out.position()];
    out.flip().get(bytes);
    return bytes;
  }

  /** A client's text for a log line: what is not printable is escaped, and it is not long. */
  public static String printable(String text) {
    StringBuilder line = new StringBuilder();
    text.codePoints()
        .limit(256)
        .forEach(
            each -> {
              if (isPrintable(each)) {
                line.appendCodePoint(each);
              } else {
                line.append(String.format("\\u%04x", each));
              }
            });
    return line.toString();
  }

  private static boolean isPrintable(int codePoint) {
    return switch (Character.getType(codePoint)) {
      case Character.CONTROL,
          Character.FORMAT,
          Character.LINE_SEPARATOR,
          Character.PARAGRAPH_SEPARATOR ->
          false;
      default -> true;
    };
  }
}
