package io.filterd.crypto;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * Secret bytes in native memory outside the Java heap: never swapped, never in a heap or core dump
 * (see {@link SecretMemoryStatus}), zeroed on close. Whoever makes one closes it; there is no
 * finalizer to rely on. Has no {@code equals} or {@code hashCode} on purpose, and its text says
 * only how long it is.
 *
 * <p>Safe for many threads, except that {@link #close} fails while a call into native code uses the
 * bytes. Every method but {@code close} throws {@link IllegalStateException} after it.
 *
 * <p>Making one throws {@link SecretMemoryException} when there is no memory for it.
 */
public final class SecretBytes implements AutoCloseable {
  /** The longest secret there can be, in bytes. */
  public static final int MAX_LENGTH_BYTES = SecretMemory.REGION_BYTES;

  private final SecretMemory memory;
  private final SecretMemory.Piece piece;
  // Its only purpose is to cut off everyone who kept the segment, before the memory is reused.
  private final Arena scope = Arena.ofShared();
  private final MemorySegment segment;
  private boolean closed;

  SecretBytes(SecretMemory memory, int lengthBytes) {
    this.memory = memory;
    this.piece = memory.take(lengthBytes);
    this.segment = piece.memory().asSlice(0, lengthBytes).reinterpret(scope, null);
  }

  /** Zeros, to be filled in through {@link #segment}. */
  public static SecretBytes allocate(int lengthBytes) {
    return new SecretBytes(SecretMemory.PROCESS, lengthBytes);
  }

  /** Random bytes, from the kernel straight into the secret's memory. */
  public static SecretBytes random(int lengthBytes) {
    SecretBytes secret = allocate(lengthBytes);
    Libc.random(secret.segment);
    return secret;
  }

  /** A copy of {@code bytes}, which the caller wipes. */
  public static SecretBytes copyOf(byte[] bytes) {
    return copyOf(MemorySegment.ofArray(bytes));
  }

  /** A copy of {@code bytes}, which stay the caller's. */
  public static SecretBytes copyOf(MemorySegment bytes) {
    SecretBytes secret = allocate(Math.toIntExact(bytes.byteSize()));
    secret.segment.copyFrom(bytes);
    return secret;
  }

  /**
   * The content of a file, read straight into the secret's memory.
   *
   * @throws IOException if the file can't be read, is empty, or is longer than {@code
   *     maximumLengthBytes}
   */
  public static SecretBytes read(Path file, int maximumLengthBytes) throws IOException {
    if (maximumLengthBytes < 1 || maximumLengthBytes >= MAX_LENGTH_BYTES) {
      throw new IllegalArgumentException(
          "maximumLengthBytes: "
              + maximumLengthBytes
              + " (expected: 1.."
              + (MAX_LENGTH_BYTES - 1)
              + ")");
    }
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ);
        // One byte more than is allowed, to notice that there is more.
        SecretBytes content = allocate(maximumLengthBytes + 1)) {
      ByteBuffer target = content.segment.asByteBuffer();
      while (target.hasRemaining() && channel.read(target) >= 0) {
        // Until the end of the file.
      }
      if (target.position() == 0 || target.position() > maximumLengthBytes) {
        throw new IOException(
            file
                + ": "
                + (target.position() == 0 ? "empty" : "longer")
                + " (expected: 1.."
                + maximumLengthBytes
                + " bytes)");
      }
      return copyOf(content.segment.asSlice(0, target.position()));
    }
  }

  /** How this process keeps its secrets. */
  public static SecretMemoryStatus memoryStatus() {
    return SecretMemory.PROCESS.status();
  }

  /** The bytes themselves. The segment can't be used after {@link #close}. */
  public MemorySegment segment() {
    checkOpen();
    return segment;
  }

  /** How many bytes there are. */
  public int lengthBytes() {
    return (int) segment.byteSize();
  }

  /** Another secret with the same bytes, which the caller closes. */
  public SecretBytes copy() {
    return copyOf(segment());
  }

  /**
   * Copies the bytes to the Java heap, to {@code target} from index {@code at} on. The one door by
   * which a secret leaves native memory: whoever calls this wipes {@code target}.
   */
  public void copySecretTo(byte[] target, int at) {
    checkOpen();
    MemorySegment.copy(segment, ValueLayout.JAVA_BYTE, 0, target, at, lengthBytes());
  }

  /** Whether both have the same bytes, in time that depends only on the length. */
  public boolean sameAs(SecretBytes other) {
    checkOpen();
    other.checkOpen();
    if (lengthBytes() != other.lengthBytes()) {
      return false;
    }
    int difference = 0;
    for (long i = 0; i < segment.byteSize(); i++) {
      difference |=
          segment.get(ValueLayout.JAVA_BYTE, i) ^ other.segment.get(ValueLayout.JAVA_BYTE, i);
    }
    return difference == 0;
  }

  /**
   * Wipes the bytes and gives the memory back. Does nothing the second time.
   *
   * @throws IllegalStateException if a call into native code uses the bytes right now; then they
   *     stay open
   */
  @Override
  public void close() {
    synchronized (piece) {
      if (closed) {
        return;
      }
      scope.close();
      closed = true;
    }
    memory.release(piece);
  }

  private void checkOpen() {
    if (!segment.scope().isAlive()) {
      throw new IllegalStateException("secret: closed (expected: open)");
    }
  }

  @Override
  public String toString() {
    return "SecretBytes[" + lengthBytes() + " bytes]";
  }
}
