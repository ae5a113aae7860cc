package io.filterd.crypto;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** Walks over the units of a call for a native library, which gets plain addresses. */
abstract class NativeContext implements XtsContext {
  private static final int TWEAK_BYTES = 16;
  private static final ValueLayout.OfLong LITTLE_ENDIAN_LONG =
      JAVA_LONG.withOrder(ByteOrder.LITTLE_ENDIAN);

  /** The tweak, and behind it 8 bytes for whatever the library wants written somewhere. */
  private final MemorySegment scratch =
      Arena.ofAuto().allocate(TWEAK_BYTES + Long.BYTES, Long.BYTES);

  @Override
  public final void encipher(
      long tweakLow, long tweakHigh, ByteBuffer source, ByteBuffer target, int unitBytes) {
    try {
      long from = MemorySegment.ofBuffer(source).address();
      long to = MemorySegment.ofBuffer(target).address();
      int length = source.remaining();
      for (int at = 0; at < length; at += unitBytes) {
        long tweak = tweak(tweakLow++, tweakHigh);
        encipherUnit(tweak, from + at, to + at, Math.min(unitBytes, length - at));
      }
    } finally {
      Reference.reachabilityFence(source);
      Reference.reachabilityFence(target);
    }
  }

  @Override
  public final void decipher(long tweakLow, long tweakHigh, ByteBuffer buffer, int unitBytes) {
    try {
      long from = MemorySegment.ofBuffer(buffer).address();
      int length = buffer.remaining();
      for (int at = 0; at < length; at += unitBytes) {
        long tweak = tweak(tweakLow++, tweakHigh);
        decipherUnit(tweak, from + at, Math.min(unitBytes, length - at));
      }
    } finally {
      Reference.reachabilityFence(buffer);
    }
  }

  private long tweak(long low, long high) {
    scratch.set(LITTLE_ENDIAN_LONG, 0, low);
    scratch.set(LITTLE_ENDIAN_LONG, Long.BYTES, high);
    return scratch.address();
  }

  /** The address of 8 bytes that the library may write to. */
  final long spareAddress() {
    return scratch.address() + TWEAK_BYTES;
  }

  /** Enciphers one unit; all but the length are addresses. */
  abstract void encipherUnit(long tweak, long source, long target, int lengthBytes);

  /** Deciphers one unit in place; all but the length are addresses. */
  abstract void decipherUnit(long tweak, long buffer, int lengthBytes);
}
