package io.filterd.crypto;

import io.filterd.crypto.SecretMemoryStatus.Kind;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;

/**
 * The memory that all secrets of this process share: regions from the kernel, dealt out in chunks
 * of 64 bytes, so that a disk's key costs a cache line or two and not a locked page. Regions are
 * never given back, so the process holds as many as it once needed at the same time. Safe for many
 * threads.
 */
final class SecretMemory {
  /** The longest secret. */
  static final int REGION_BYTES = 64 * 1024;

  static final int CHUNK_BYTES = 64;

  /** The memory of this process, of the best kind that the kernel has. */
  static final SecretMemory PROCESS =
      new SecretMemory(hasMemfdSecret() ? Kind.MEMFD_SECRET : Kind.LOCKED);

  private final Kind kind;
  // Guarded by this.
  private final List<Region> regions = new ArrayList<>();
  private long usedBytes;

  SecretMemory(Kind kind) {
    this.kind = kind;
  }

  /** A piece of a region. */
  record Piece(Region region, int firstChunk, int chunkCount) {
    /** The piece's memory, for as long as it is not released. */
    MemorySegment memory() {
      return region.memory.asSlice(
          (long) firstChunk * CHUNK_BYTES, (long) chunkCount * CHUNK_BYTES);
    }
  }

  /** Consecutive pages from the kernel and which of their chunks are in use. */
  static final class Region {
    private final MemorySegment memory;
    private final BitSet used = new BitSet(REGION_BYTES / CHUNK_BYTES);

    Region(MemorySegment memory) {
      this.memory = memory;
    }

    /** The first of {@code count} free chunks in a row, or -1. */
    private int find(int count) {
      int at = used.nextClearBit(0);
      while (at + count <= REGION_BYTES / CHUNK_BYTES) {
        int end = used.nextSetBit(at);
        if (end < 0 || end - at >= count) {
          return at;
        }
        at = used.nextClearBit(end);
      }
      return -1;
    }
  }

  /** Finds room for a secret; all zeros. */
  synchronized Piece take(int lengthBytes) {
    if (lengthBytes < 1 || lengthBytes > REGION_BYTES) {
      throw new IllegalArgumentException(
          "secret: " + lengthBytes + " bytes (expected: 1.." + REGION_BYTES + ")");
    }
    int count = (lengthBytes + CHUNK_BYTES - 1) / CHUNK_BYTES;
    for (Region region : regions) {
      int at = region.find(count);
      if (at >= 0) {
        return take(region, at, count);
      }
    }
    Region region = new Region(kind == Kind.MEMFD_SECRET ? mapSecret() : mapLocked());
    regions.add(region);
    return take(region, 0, count);
  }

  private Piece take(Region region, int at, int count) {
    region.used.set(at, at + count);
    usedBytes += (long) count * CHUNK_BYTES;
    return new Piece(region, at, count);
  }

  /** Wipes a piece and gives it back. */
  synchronized void release(Piece piece) {
    piece.memory().fill((byte) 0);
    piece.region.used.clear(piece.firstChunk, piece.firstChunk + piece.chunkCount);
    usedBytes -= (long) piece.chunkCount * CHUNK_BYTES;
  }

  synchronized SecretMemoryStatus status() {
    return new SecretMemoryStatus(kind, (long) regions.size() * REGION_BYTES, usedBytes);
  }

  private static boolean hasMemfdSecret() {
    int descriptor = Libc.memfdSecret();
    if (descriptor >= 0) {
      Libc.close(descriptor);
    }
    return descriptor >= 0;
  }

  private static MemorySegment mapSecret() {
    int descriptor = Libc.memfdSecret();
    if (descriptor < 0) {
      throw failed("memfd_secret", descriptor);
    }
    try {
      int sized = Libc.ftruncate(descriptor, REGION_BYTES);
      if (sized < 0) {
        throw failed("ftruncate", sized);
      }
      return dontFork(map(descriptor));
    } finally {
      Libc.close(descriptor);
    }
  }

  private static MemorySegment mapLocked() {
    MemorySegment memory = map(-1);
    int locked = Libc.mlock(memory);
    if (locked < 0) {
      Libc.munmap(memory);
      throw failed("mlock", locked);
    }
    int undumpable = Libc.madvise(memory, Libc.MADV_DONTDUMP);
    if (undumpable < 0) {
      Libc.munmap(memory);
      throw failed("madvise(MADV_DONTDUMP)", undumpable);
    }
    return dontFork(memory);
  }

  private static MemorySegment dontFork(MemorySegment memory) {
    int unforked = Libc.madvise(memory, Libc.MADV_DONTFORK);
    if (unforked < 0) {
      Libc.munmap(memory);
      throw failed("madvise(MADV_DONTFORK)", unforked);
    }
    return memory;
  }

  private static MemorySegment map(int descriptor) {
    long address = Libc.mmap(descriptor, REGION_BYTES);
    // The kernel's own convention: the last page of addresses stands for errors.
    if (address < 0 && address > -4096) {
      throw failed("mmap", address);
    }
    return MemorySegment.ofAddress(address).reinterpret(REGION_BYTES);
  }

  private static SecretMemoryException failed(String call, long negativeErrno) {
    return new SecretMemoryException(
        "secret memory: "
            + call
            + " of "
            + REGION_BYTES
            + " bytes failed with errno "
            + -negativeErrno
            + " (expected: room below RLIMIT_MEMLOCK; see ulimit -l, or LimitMEMLOCK= of systemd)");
  }
}
