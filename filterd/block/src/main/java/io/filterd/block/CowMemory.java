package io.filterd.block;

import io.filterd.block.BlockException.Reason;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.ByteBuffer;
import java.util.Arrays;

/**
 * Equal pieces of native memory, the slots, up to a limit. Slots are numbered from 1 on; who has
 * one may use its bytes without a lock. Safe for many threads, but for {@link #close}.
 *
 * <p>The memory is the C library's, not the JVM's: it has a limit of its own, and must not take
 * what the JVM may use for buffers ({@code -XX:MaxDirectMemorySize}).
 */
final class CowMemory implements AutoCloseable {
  /** Memory is asked of the system in pieces of this size, or of one slot. */
  private static final int SLAB_BYTES = 1 << 20;

  private static final int MOST_SLABS = 1 << 20;

  private static final Linker LINKER = Linker.nativeLinker();

  private static final MethodHandle CALLOC =
      LINKER.downcallHandle(
          LINKER.defaultLookup().findOrThrow("calloc"),
          FunctionDescriptor.of(ValueLayout.ADDRESS, ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG));
  private static final MethodHandle FREE =
      LINKER.downcallHandle(
          LINKER.defaultLookup().findOrThrow("free"),
          FunctionDescriptor.ofVoid(ValueLayout.ADDRESS));

  private static final ByteBuffer ZEROS =
      ByteBuffer.allocateDirect(SLAB_BYTES >> 4).asReadOnlyBuffer();

  private final int slotBytes;
  private final int slotsPerSlab;
  private final long maxBytes;

  // Guarded by this; slabs may be read by all, in place.
  private volatile ByteBuffer[] slabs = new ByteBuffer[0];
  private int slotCount;
  private int[] free = new int[16];
  private int freeCount;
  private long usedBytes;

  /** Slots of {@code slotBytes}, a power of two, which with everything charged fit the limit. */
  CowMemory(int slotBytes, long maxBytes) {
    if (maxBytes < 0) {
      throw new IllegalArgumentException("maxBytes: " + maxBytes + " (expected: >= 0)");
    }
    this.slotBytes = slotBytes;
    this.slotsPerSlab = Math.max(1, SLAB_BYTES / slotBytes);
    this.maxBytes = maxBytes;
  }

  long maxBytes() {
    return maxBytes;
  }

  /** What is taken or charged now. */
  synchronized long usedBytes() {
    return usedBytes;
  }

  /** Counts memory that is the caller's own against the limit. */
  synchronized void charge(long bytes) throws BlockException {
    if (usedBytes > maxBytes - bytes) {
      throw new BlockException(
          Reason.NO_SPACE,
          "copy-on-write memory: "
              + usedBytes
              + " of "
              + maxBytes
              + " bytes used (expected: "
              + bytes
              + " free)");
    }
    usedBytes += bytes;
  }

  /** Takes {@link #charge} back. */
  synchronized void giveBack(long bytes) {
    usedBytes -= bytes;
  }

  /** Takes a slot, which holds anything. */
  synchronized int take() throws BlockException {
    charge(slotBytes);
    if (freeCount > 0) {
      return free[--freeCount];
    }
    if (slotCount == slabs.length * slotsPerSlab) {
      boolean grown = false;
      try {
        grow();
        grown = true;
      } finally {
        if (!grown) {
          usedBytes -= slotBytes;
        }
      }
    }
    return ++slotCount;
  }

  private void grow() throws BlockException {
    int count = slabs.length;
    if (count == MOST_SLABS) {
      throw new BlockException(Reason.NO_SPACE, "copy-on-write memory: no more can be counted");
    }
    ByteBuffer[] more = Arrays.copyOf(slabs, count + 1);
    more[count] = allocate((long) slotsPerSlab * slotBytes).asByteBuffer();
    slabs = more;
  }

  private static MemorySegment allocate(long bytes) throws BlockException {
    MemorySegment memory;
    try {
      memory = (MemorySegment) CALLOC.invokeExact(1L, bytes);
    } catch (RuntimeException | Error broken) {
      throw broken;
    } catch (Throwable impossible) { // What invokeExact declares; C functions throw nothing.
      throw new IllegalStateException(impossible);
    }
    if (memory.address() == 0) {
      throw new BlockException(
          Reason.NO_SPACE, "copy-on-write memory: the system has no more memory");
    }
    return memory.reinterpret(bytes);
  }

  private static void release(MemorySegment memory) {
    try {
      FREE.invokeExact(memory);
    } catch (RuntimeException | Error broken) {
      throw broken;
    } catch (Throwable impossible) { // What invokeExact declares; C functions throw nothing.
      throw new IllegalStateException(impossible);
    }
  }

  /** Gives a slot back. */
  synchronized void give(int slot) {
    if (freeCount == free.length) {
      free = Arrays.copyOf(free, 2 * freeCount);
    }
    free[freeCount++] = slot;
    usedBytes -= slotBytes;
  }

  /** Copies so many bytes from a buffer's index to the start of a slot. */
  void store(int slot, ByteBuffer source, int from, int bytes) {
    slab(slot).put(at(slot), source, from, bytes);
  }

  /** Copies so many bytes from the start of a slot to a buffer's position. */
  void load(int slot, ByteBuffer target, int bytes) {
    target.put(target.position(), slab(slot), at(slot), bytes);
  }

  /** Fills a slot with zeros. */
  void clear(int slot) {
    ByteBuffer slab = slab(slot);
    for (int done = 0; done < slotBytes; ) {
      int count = Math.min(slotBytes - done, ZEROS.capacity());
      slab.put(at(slot) + done, ZEROS, 0, count);
      done += count;
    }
  }

  /** Puts so many zeros at a buffer's position: no more than a slot has bytes. */
  void zeros(ByteBuffer target, int bytes) {
    target.put(target.position(), ZEROS, 0, bytes);
  }

  private ByteBuffer slab(int slot) {
    return slabs[(slot - 1) / slotsPerSlab];
  }

  private int at(int slot) {
    return (slot - 1) % slotsPerSlab * slotBytes;
  }

  /** Wipes everything and gives it back to the system. No slot may be used any more. */
  @Override
  public void close() {
    ByteBuffer[] all = slabs;
    slabs = new ByteBuffer[0];
    for (ByteBuffer slab : all) {
      MemorySegment memory = MemorySegment.ofBuffer(slab);
      memory.fill((byte) 0);
      release(memory);
    }
  }
}
