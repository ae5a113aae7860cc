package io.filterd.crypto;

import static java.nio.charset.StandardCharsets.US_ASCII;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;

/** Looks for secrets in all of this process's memory that can be written to. */
final class ProcessMemory {
  /** As much of a key as is looked for at a time: an AES round key. */
  private static final int PART_BYTES = 16;

  /** Kept masked, so that the search does not find what it looks for in its own pocket. */
  private static final long MASK = 0x5aa55aa55aa55aa5L;

  private static final int WINDOW_BYTES = 4 << 20;
  private static final int PAGE_BYTES = 4096;

  private final long[] masked;
  private final ByteBuffer window = ByteBuffer.allocateDirect(WINDOW_BYTES);

  private ProcessMemory(long[] masked) {
    this.masked = masked;
  }

  /** A search for each 16 bytes of {@code secret}. */
  static ProcessMemory searchFor(SecretBytes secret) {
    MemorySegment bytes = secret.segment();
    long[] masked = new long[secret.lengthBytes() / Long.BYTES];
    for (int i = 0; i < masked.length; i++) {
      masked[i] = bytes.get(ValueLayout.JAVA_LONG_UNALIGNED, (long) i * Long.BYTES) ^ MASK;
    }
    return new ProcessMemory(masked);
  }

  /** Where the parts are: mapping, address and part. */
  List<String> hits() throws IOException {
    List<String> hits = new ArrayList<>();
    try (FileChannel memory =
        FileChannel.open(Path.of("/proc/self/mem"), StandardOpenOption.READ)) {
      for (String line : Files.readAllLines(Path.of("/proc/self/maps"), US_ASCII)) {
        String[] fields = line.split("\\s+", 6);
        String[] range = fields[0].split("-", 2);
        if (fields[1].startsWith("rw")) {
          search(
              memory,
              Long.parseUnsignedLong(range[0], 16),
              Long.parseUnsignedLong(range[1], 16),
              fields[0] + " " + fields[5],
              hits);
        }
      }
    } finally {
      MemorySegment.ofBuffer(window.clear()).fill((byte) 0);
    }
    return hits;
  }

  private void search(FileChannel memory, long from, long to, String mapping, List<String> hits) {
    long at = from;
    while (at < to) {
      window.clear().limit((int) Math.min(WINDOW_BYTES, to - at));
      int length;
      try {
        length = memory.read(window, at);
      } catch (IOException unreadable) {
        length = -1; // Secret memory, which the kernel does not even read for ourselves.
      }
      if (length <= 0) {
        at += PAGE_BYTES;
        continue;
      }
      search(length, at, mapping, hits);
      // What lies across two windows is seen in the next one.
      at += at + length < to && length > PART_BYTES ? length - PART_BYTES : length;
    }
  }

  private void search(int length, long address, String mapping, List<String> hits) {
    MemorySegment bytes = MemorySegment.ofBuffer(window.clear());
    // Neither allocators nor compilers put keys at odd places, and there is much to search.
    for (int i = 0; i + PART_BYTES <= length; i += Long.BYTES) {
      long low = bytes.get(ValueLayout.JAVA_LONG_UNALIGNED, i) ^ MASK;
      for (int part = 0; part < masked.length; part += 2) {
        if (low == masked[part]
            && (bytes.get(ValueLayout.JAVA_LONG_UNALIGNED, i + Long.BYTES) ^ MASK)
                == masked[part + 1]
            && !isWindow(address + i)) {
          hits.add("%s: part %d at %x".formatted(mapping, part / 2, address + i));
        }
      }
    }
  }

  private boolean isWindow(long address) {
    long start = MemorySegment.ofBuffer(window.clear()).address();
    return address >= start && address < start + WINDOW_BYTES;
  }
}
