package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import java.nio.ByteBuffer;

/** Zeros, read and written without a buffer of their own each time. */
final class Zeros {
  private static final int CHUNK_BYTES = 1 << 20;
  private static final ByteBuffer CHUNK = ByteBuffer.allocateDirect(CHUNK_BYTES).asReadOnlyBuffer();

  private Zeros() {}

  /** Fills the rest of {@code target}. */
  static void fill(ByteBuffer target) {
    int at = target.position();
    int limit = target.limit();
    for (; at <= limit - Long.BYTES; at += Long.BYTES) {
      target.putLong(at, 0);
    }
    for (; at < limit; at++) {
      target.put(at, (byte) 0);
    }
    target.position(limit);
  }

  /** Writes zeros to a range of {@code file}. */
  static void write(ExtentFile file, long position, long length) throws BlockException {
    for (long at = 0; at < length; at += CHUNK_BYTES) {
      int chunk = (int) Math.min(CHUNK_BYTES, length - at);
      file.write(position + at, CHUNK.slice(0, chunk), Blocking.ALLOWED);
    }
  }

  /** Whether every byte of {@code bytes} from position to limit is zero. */
  static boolean isAll(ByteBuffer bytes) {
    int at = bytes.position();
    int limit = bytes.limit();
    for (; at <= limit - Long.BYTES; at += Long.BYTES) {
      if (bytes.getLong(at) != 0) {
        return false;
      }
    }
    for (; at < limit; at++) {
      if (bytes.get(at) != 0) {
        return false;
      }
    }
    return true;
  }
}
