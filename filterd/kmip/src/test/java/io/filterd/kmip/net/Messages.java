package io.filterd.kmip.net;

import java.nio.ByteBuffer;

/** Frames of messages, with nothing in them that anybody looks at. */
final class Messages {
  private Messages() {}

  /** A request message with a body of {@code bodyBytes}, each {@code fill}. */
  static byte[] request(int bodyBytes, int fill) {
    return frame(0x42007801, bodyBytes, fill);
  }

  /** An answer. */
  static byte[] answer(int bodyBytes, int fill) {
    return frame(0x42007b01, bodyBytes, fill);
  }

  /** An answer with the body of {@code request}. */
  static byte[] echo(byte[] request) {
    return ByteBuffer.wrap(request.clone()).putInt(0x42007b01).array();
  }

  private static byte[] frame(int start, int bodyBytes, int fill) {
    ByteBuffer frame = ByteBuffer.allocate(8 + bodyBytes).putInt(start).putInt(bodyBytes);
    while (frame.hasRemaining()) {
      frame.put((byte) fill);
    }
    return frame.array();
  }
}
