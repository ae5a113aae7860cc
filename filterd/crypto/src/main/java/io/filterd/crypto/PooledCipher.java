package io.filterd.crypto;

import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ReadOnlyBufferException;
import org.jspecify.annotations.Nullable;

/**
 * A cipher over a pool of contexts: one for each call that runs at the same time, made when first
 * needed and kept for the next call.
 */
final class PooledCipher implements SectorCipher {
  private static final int AES_BLOCK_BYTES = 16;

  private final XtsContext.Maker maker;
  private final SecretBytes dek;
  private final int unitBytes;
  private final Bag<XtsContext> idle = new Bag<>(Runtime.getRuntime().availableProcessors());

  // Set under the lock of this, so that nobody expands a key that is being wiped.
  private volatile boolean closed;

  /** A cipher under a copy of {@code dek}. */
  PooledCipher(XtsContext.Maker maker, SecretBytes dek, int unitBytes) {
    if (unitBytes != 512 && unitBytes != 4096) {
      throw new IllegalArgumentException("unitBytes: " + unitBytes + " (expected: 512 or 4096)");
    }
    checkDek(dek);
    this.maker = maker;
    this.unitBytes = unitBytes;
    this.dek = dek.copy();
    try {
      release(maker.make(this.dek));
    } catch (RuntimeException failure) {
      this.dek.close();
      throw failure;
    }
  }

  private static void checkDek(SecretBytes dek) {
    if (dek.lengthBytes() != XtsEngine.DEK_BYTES) {
      throw new IllegalArgumentException(
          "dek: " + dek.lengthBytes() + " bytes (expected: " + XtsEngine.DEK_BYTES + ")");
    }
    MemorySegment key = dek.segment();
    int half = XtsEngine.DEK_BYTES / 2;
    // FIPS 140-3 Implementation Guidance C.I: with equal halves XTS leaks (Rogaway, 2004).
    if (key.asSlice(0, half).mismatch(key.asSlice(half)) < 0) {
      throw new IllegalArgumentException("dek: its halves are equal (expected: two AES keys)");
    }
  }

  @Override
  public int unitBytes() {
    return unitBytes;
  }

  @Override
  public void encipher(long firstUnit, ByteBuffer source, ByteBuffer target) {
    check(firstUnit, source);
    check(firstUnit, target);
    if (target.isReadOnly()) {
      throw new ReadOnlyBufferException();
    }
    if (source.remaining() != target.remaining()) {
      throw new IllegalArgumentException(
          "target: " + target.remaining() + " bytes (expected: " + source.remaining() + ")");
    }
    XtsContext context = claim();
    try {
      context.encipher(firstUnit, 0, source, target, unitBytes);
    } finally {
      release(context);
    }
  }

  @Override
  public void decipher(long firstUnit, ByteBuffer buffer) {
    check(firstUnit, buffer);
    if (buffer.isReadOnly()) {
      throw new ReadOnlyBufferException();
    }
    XtsContext context = claim();
    try {
      context.decipher(firstUnit, 0, buffer, unitBytes);
    } finally {
      release(context);
    }
  }

  private static void check(long firstUnit, ByteBuffer buffer) {
    if (firstUnit < 0) {
      throw new IllegalArgumentException("firstUnit: " + firstUnit + " (expected: >= 0)");
    }
    if (!buffer.isDirect()) {
      throw new IllegalArgumentException("buffer: on the heap (expected: direct)");
    }
    if (buffer.remaining() % AES_BLOCK_BYTES != 0) {
      throw new IllegalArgumentException(
          "buffer: " + buffer.remaining() + " bytes (expected: a multiple of 16)");
    }
  }

  private XtsContext claim() {
    XtsContext context = closed ? null : idle.take();
    return context == null ? make() : context;
  }

  private synchronized XtsContext make() {
    if (closed) {
      throw new IllegalStateException("cipher: closed (expected: open)");
    }
    return maker.make(dek);
  }

  private void release(XtsContext context) {
    if (!idle.put(context)) {
      context.close();
    } else if (closed) {
      // Whoever closed the cipher may have looked before this context was back.
      wipeIdle();
    }
  }

  @Override
  public void close() {
    synchronized (this) {
      if (!closed) {
        closed = true;
        dek.close();
      }
    }
    wipeIdle();
  }

  private void wipeIdle() {
    for (@Nullable XtsContext context = idle.take(); context != null; context = idle.take()) {
      context.close();
    }
  }

  @Override
  public String toString() {
    return "SectorCipher[" + unitBytes + "-byte units]";
  }
}
