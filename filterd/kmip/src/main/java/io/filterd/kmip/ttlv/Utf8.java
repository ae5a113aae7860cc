package io.filterd.kmip.ttlv;

import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CoderResult;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** Checks texts without making Strings of them: a text may be a password. */
final class Utf8 {
  private static final int CHUNK_CHARS = 256;

  private Utf8() {}

  /** The first byte of what is not UTF-8 (overlong forms and surrogates neither), or -1. */
  static int invalidAt(MemorySegment bytes) {
    CharsetDecoder decoder = StandardCharsets.UTF_8.newDecoder();
    ByteBuffer in = bytes.asByteBuffer();
    char[] chunk = new char[(int) Math.min(CHUNK_CHARS, bytes.byteSize() + 1)];
    CharBuffer out = CharBuffer.wrap(chunk);
    CoderResult result;
    do {
      out.clear();
      result = decoder.decode(in, out, true);
    } while (result.isOverflow());
    Arrays.fill(chunk, '\0');
    return result.isError() ? in.position() : -1;
  }
}
