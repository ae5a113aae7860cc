package io.filterd.kmip.net;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;

/**
 * The bytes of one message in native memory, outside the Java heap, wiped on close: messages carry
 * keys. The memory is not locked; a message is there for milliseconds. Whoever has one closes it.
 *
 * <p>Safe for many threads as far as its bytes are only read. A buffer of {@link #bytes} throws
 * {@link IllegalStateException} after close.
 */
public final class MessageBuffer implements AutoCloseable {
  private final Arena arena = Arena.ofShared();
  private final MemorySegment memory;

  private MessageBuffer(int lengthBytes) {
    this.memory = arena.allocate(lengthBytes);
  }

  /** Zeros, to be filled in through {@link #bytes}. */
  public static MessageBuffer allocate(int lengthBytes) {
    return new MessageBuffer(lengthBytes);
  }

  /** All the bytes, big endian; a view of its own each time. */
  public ByteBuffer bytes() {
    return memory.asByteBuffer();
  }

  /** How many bytes there are. */
  public int lengthBytes() {
    return (int) memory.byteSize();
  }

  /** Wipes the bytes and gives the memory back. Does nothing the second time. */
  @Override
  public void close() {
    if (memory.scope().isAlive()) {
      memory.fill((byte) 0);
      arena.close();
    }
  }

  @Override
  public String toString() {
    return "MessageBuffer[" + memory.byteSize() + " bytes]";
  }
}
