package io.filterd.kmip.net;

import io.filterd.kmip.net.ConnectionPool.Repeat;
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

  /** Does an exchange; the answer's bytes. */
  static byte[] exchange(ConnectionPool pool, byte[] request, Repeat repeat)
      throws TransportException {
    return pool.exchange(
        ByteBuffer.wrap(request),
        repeat,
        answer -> {
          byte[] bytes = new byte[answer.remaining()];
          answer.get(bytes);
          return bytes;
        });
  }

  private static byte[] frame(int start, int bodyBytes, int fill) {
    ByteBuffer frame = ByteBuffer.allocate(8 + bodyBytes).putInt(start).putInt(bodyBytes);
    while (frame.hasRemaining()) {
      frame.put((byte) fill);
    }
    return frame.array();
  }
}
