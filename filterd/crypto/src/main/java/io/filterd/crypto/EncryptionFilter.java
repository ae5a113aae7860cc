package io.filterd.crypto;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.BlockSizes;
import io.filterd.block.Blocking;
import io.filterd.block.Capability;
import io.filterd.block.Completion;
import io.filterd.block.DeviceInfo;
import io.filterd.block.Durability;
import io.filterd.block.ExtentKind;
import io.filterd.block.Extents;
import io.filterd.block.IoFilter;
import io.filterd.block.Pool;
import io.filterd.block.ZeroMode;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/**
 * Stores every data unit enciphered under its number: its offset on this device divided by the
 * unit. The last unit is shorter if the device does not end with a whole one.
 *
 * <p><b>Zeros.</b> A sector (512 bytes) that is all zeros below is not ciphertext but nothing that
 * was ever enciphered: it reads as zeros. (No key makes a sector of zeros with a probability worth
 * naming: 2^-4096.) So holes survive, and so does whatever a crash, a failure or a half-written
 * allocation unit leaves as zeros: none of it reads as noise. Zeros and trims of whole allocation
 * units pass through. Of the units at the ends of a range, which it covers only in part, those that
 * hold data get enciphered zeros, so that a unit is all ciphertext or nothing; those that read as
 * zeros anyway are left alone. For part of a unit that is {@link ExtentKind#ABSENT} nothing that
 * could be stored here would be right, because the rest of the unit is the parent's: {@code
 * NOT_SUPPORTED}; a chain copies such a unit up first.
 *
 * <p><b>What the caller should do</b>, as a chain does: this device has no {@link
 * Capability#PARTIAL_ALLOCATION}, so the first write to an allocation unit that holds no data
 * covers all of it, and meanwhile nobody else changes a part of it.
 *
 * <p><b>Torn units.</b> Where the device below takes smaller blocks than a data unit, a crash, a
 * failure or overlapping writes may leave a unit of old and new blocks. Each still reads as what
 * was written there, because the AES blocks of a unit don't depend on each other in XTS.
 *
 * <p>The cipher stays its maker's, who closes it after this device.
 */
public final class EncryptionFilter extends IoFilter {
  /**
   * How much is enciphered at a time, at least: enough for one call to the disk to be cheap, small
   * enough for scratch buffers to stay few megabytes.
   */
  private static final int CHUNK_BYTES = 256 * 1024;

  private static final int AES_BLOCK_BYTES = 16;
  private static final int SECTOR_BYTES = 512;

  /** For ciphertext that is on its way down; shared by all disks. */
  private static final Pool<ByteBuffer> SCRATCH =
      new Pool<>(() -> ByteBuffer.allocateDirect(CHUNK_BYTES));

  private static final ByteBuffer ZEROS = ByteBuffer.allocateDirect(64 * 1024).asReadOnlyBuffer();

  private final SectorCipher cipher;
  private final DeviceInfo info;
  private final int unitBytes;
  private final int allocationUnitBytes;

  // A multiple of the allocation unit, so that no unit is ever written half, not even for a moment.
  private final int chunkBytes;

  /**
   * Enciphers what goes to {@code below}, which it takes over if this does not throw.
   *
   * @throws BlockException with {@code NOT_SUPPORTED} if the device can't be enciphered: its size
   *     is no multiple of an AES block, or it takes no whole data unit at once
   */
  public EncryptionFilter(BlockDevice below, SectorCipher cipher) throws BlockException {
    super(below);
    this.cipher = cipher;
    this.unitBytes = cipher.unitBytes();
    this.info = info(below.info(), unitBytes);
    this.allocationUnitBytes = info.allocationUnitBytes();
    this.chunkBytes = Math.max(CHUNK_BYTES, allocationUnitBytes);
  }

  private static DeviceInfo info(DeviceInfo below, int unitBytes) throws BlockException {
    if (below.sizeBytes() % AES_BLOCK_BYTES != 0) {
      throw new BlockException(
          Reason.NOT_SUPPORTED,
          "encryption: size " + below.sizeBytes() + " bytes (expected: a multiple of 16)");
    }
    BlockSizes sizes = below.blockSizes();
    if (sizes.maximum() < unitBytes) {
      throw new BlockException(
          Reason.NOT_SUPPORTED,
          "encryption: maximum block "
              + sizes.maximum()
              + " bytes (expected: >= "
              + unitBytes
              + ")");
    }
    // Not FAST_ZERO: zeroing that keeps the space is a write here.
    return below
        .withBlockSizes(sizes.atLeast(unitBytes))
        .without(Capability.PARTIAL_ALLOCATION, Capability.FAST_ZERO);
  }

  @Override
  public DeviceInfo info() {
    return info;
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
    int start = target.position();
    int end = target.limit();
    boolean read = false;
    try {
      Extents extents = below.read(offset, target, blocking);
      if (extents != Extents.WOULD_BLOCK
          && !extents.isAll(ExtentKind.ZERO)
          && !extents.isAll(ExtentKind.ABSENT)) {
        decipher(offset, target, start, end);
      }
      read = true;
      return extents;
    } finally {
      if (!read) {
        // Nobody must take ciphertext for the disk's content.
        target.limit(end).position(start);
        MemorySegment.ofBuffer(target).fill((byte) 0);
      }
    }
  }

  /** Deciphers what is not zeros, and leaves the position at the limit. */
  private void decipher(long offset, ByteBuffer target, int start, int end) {
    int first = start; // The first of the units that are deciphered in one go.
    for (int at = start; at < end; at += unitBytes) {
      int unitEnd = Math.min(end, at + unitBytes);
      long zeroSectors = zeroSectors(target, at, unitEnd);
      if (zeroSectors != 0) {
        decipherUnits(offset + (first - start), target, first, at);
        first = unitEnd;
        if (zeroSectors != allSectors(unitEnd - at)) {
          decipherUnits(offset + (at - start), target, at, unitEnd);
          zeroSectors(target, at, unitEnd, zeroSectors);
        }
      }
    }
    decipherUnits(offset + (first - start), target, first, end);
    target.limit(end).position(end);
  }

  private void decipherUnits(long offset, ByteBuffer target, int from, int to) {
    if (from < to) {
      target.limit(to).position(from);
      cipher.decipher(offset / unitBytes, target);
      target.limit(target.capacity());
    }
  }

  /** Which sectors of a unit are zeros, as a bit set. */
  private static long zeroSectors(ByteBuffer unit, int from, int to) {
    long found = 0;
    for (int at = from, bit = 0; at < to; at += SECTOR_BYTES, bit++) {
      // Nearly always this is all there is to it.
      if (unit.getLong(at) == 0 && isZero(unit, at, Math.min(to, at + SECTOR_BYTES))) {
        found |= 1L << bit;
      }
    }
    return found;
  }

  private static boolean isZero(ByteBuffer buffer, int from, int to) {
    for (int at = from; at < to; at += Long.BYTES) {
      if (buffer.getLong(at) != 0) {
        return false;
      }
    }
    return true;
  }

  private static long allSectors(int unitBytes) {
    return (1L << Math.ceilDiv(unitBytes, SECTOR_BYTES)) - 1;
  }

  private static void zeroSectors(ByteBuffer unit, int from, int to, long sectors) {
    for (int at = from, bit = 0; at < to; at += SECTOR_BYTES, bit++) {
      if ((sectors >> bit & 1) != 0) {
        unit.put(at, ZEROS, 0, Math.min(SECTOR_BYTES, to - at));
      }
    }
  }

  @Override
  public Completion write(long offset, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    int start = source.position();
    int end = source.limit();
    if (!mayTry(offset, end - start, blocking)) {
      return Completion.WOULD_BLOCK;
    }
    boolean written = false;
    try {
      int at = start;
      while (at < end) {
        int length = chunkLength(offset + (at - start), end - at);
        source.limit(at + length).position(at);
        if (writeChunk(offset + (at - start), length, source, durability, blocking)
            == Completion.WOULD_BLOCK) {
          return Completion.WOULD_BLOCK;
        }
        at += length;
      }
      written = true;
      return Completion.DONE;
    } finally {
      source.limit(end).position(written ? end : start);
    }
  }

  /** Whether the range is one chunk, or may block: a second chunk can't take back the first. */
  private boolean mayTry(long offset, long length, Blocking blocking) {
    return blocking == Blocking.ALLOWED || chunkLength(offset, length) == length;
  }

  private int chunkLength(long offset, long length) {
    long chunk = Math.min(chunkBytes - offset % chunkBytes, info.blockSizes().maximum());
    return (int) Math.min(length, chunk);
  }

  private Completion writeChunk(
      long offset,
      int length,
      @Nullable ByteBuffer source,
      Durability durability,
      Blocking blocking)
      throws BlockException {
    if (length > CHUNK_BYTES) {
      // An allocation unit as large as that is rare.
      try (Arena arena = Arena.ofShared()) {
        ByteBuffer scratch = arena.allocate(length).asByteBuffer();
        encipher(offset, source, scratch);
        return below.write(offset, scratch, durability, blocking);
      }
    }
    ByteBuffer scratch = SCRATCH.take();
    try {
      scratch.limit(length).position(0);
      encipher(offset, source, scratch);
      return below.write(offset, scratch, durability, blocking);
    } finally {
      SCRATCH.giveBack(scratch);
    }
  }

  /** Fills {@code target} with {@code source}, or with zeros if that is null, enciphered. */
  private void encipher(long offset, @Nullable ByteBuffer source, ByteBuffer target) {
    if (source != null) {
      cipher.encipher(offset / unitBytes, source, target);
      return;
    }
    int end = target.limit();
    for (int at = 0; at < end; at += ZEROS.capacity()) {
      int length = Math.min(ZEROS.capacity(), end - at);
      target.limit(at + length).position(at);
      cipher.encipher((offset + at) / unitBytes, ZEROS.slice(0, length), target);
    }
    target.limit(end).position(0);
  }

  /** Writes enciphered zeros. */
  private Completion writeZeros(long offset, long end, Durability durability, Blocking blocking)
      throws BlockException {
    if (!mayTry(offset, end - offset, blocking)) {
      return Completion.WOULD_BLOCK;
    }
    long at = offset;
    while (at < end) {
      int length = chunkLength(at, end - at);
      if (writeChunk(at, length, null, durability, blocking) == Completion.WOULD_BLOCK) {
        return Completion.WOULD_BLOCK;
      }
      at += length;
    }
    return Completion.DONE;
  }

  @Override
  public Completion zero(
      long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
      throws BlockException {
    if (mode == ZeroMode.FAST_ALLOCATE) {
      throw slow(offset, length);
    }
    return clear(offset, offset + length, mode, durability, blocking);
  }

  @Override
  public Completion trim(long offset, long length, Durability durability, Blocking blocking)
      throws BlockException {
    return info.can(Capability.TRIM)
        ? clear(offset, offset + length, null, durability, blocking)
        : Completion.DONE;
  }

  /**
   * Zeros a range, or trims it if there is no mode: whole allocation units below, and of the units
   * at its ends, which are only covered in part, those that hold data by enciphered zeros.
   */
  private Completion clear(
      long offset, long end, @Nullable ZeroMode mode, Durability durability, Blocking blocking)
      throws BlockException {
    long firstUnit = offset - offset % allocationUnitBytes;
    long lastUnit = end - end % allocationUnitBytes;
    // The device's end cuts its last unit short, but not in two.
    long lastUnitEnd = Math.min(info.sizeBytes(), lastUnit + allocationUnitBytes);
    long bodyOffset = firstUnit == offset ? offset : Math.min(end, firstUnit + allocationUnitBytes);
    long bodyEnd = end == info.sizeBytes() ? end : Math.max(bodyOffset, lastUnit);

    @Nullable ExtentKind head = unitKind(firstUnit, offset < bodyOffset, blocking);
    @Nullable ExtentKind tail = unitKind(lastUnit, bodyEnd < end, blocking);
    if (head == null || tail == null) {
      return Completion.WOULD_BLOCK;
    }
    boolean writesHead = head == ExtentKind.DATA;
    boolean writesTail = tail == ExtentKind.DATA;
    boolean leavesHead = offset < bodyOffset && !writesHead;
    boolean leavesTail = bodyEnd < end && !writesTail;
    if (mode == ZeroMode.ALLOCATE) {
      // A unit that holds no data is written whole; its rest reads as zeros, too.
      boolean wholeLastUnit = leavesTail || (leavesHead && firstUnit == lastUnit);
      return writeZeros(
          leavesHead ? firstUnit : offset, wholeLastUnit ? lastUnitEnd : end, durability, blocking);
    }
    if (mode != null && mode.fast() && (writesHead || writesTail)) {
      throw slow(offset, end - offset);
    }

    boolean hasBody = bodyOffset < bodyEnd;
    // What is left alone may read as zeros only since a change that is not durable yet.
    boolean flushes = durability == Durability.DURABLE && (leavesHead || leavesTail);
    int steps = count(writesHead) + count(hasBody) + count(writesTail) + count(flushes);
    if (steps > 1 && blocking == Blocking.FORBIDDEN) {
      return Completion.WOULD_BLOCK; // A second step can't take back the first.
    }
    Completion completion = Completion.DONE;
    if (writesHead) {
      completion = writeZeros(offset, bodyOffset, durability, blocking);
    }
    if (hasBody) {
      long length = bodyEnd - bodyOffset;
      completion =
          mode == null
              ? below.trim(bodyOffset, length, durability, blocking)
              : below.zero(bodyOffset, length, mode, durability, blocking);
    }
    if (writesTail) {
      completion = writeZeros(bodyEnd, end, durability, blocking);
    }
    return flushes ? below.flush(blocking) : completion;
  }

  private static int count(boolean step) {
    return step ? 1 : 0;
  }

  /**
   * What the allocation unit at {@code offset} holds, if a part of it is to be cleared: data if any
   * of it is. Null if finding out would block.
   */
  private @Nullable ExtentKind unitKind(long offset, boolean partly, Blocking blocking)
      throws BlockException {
    if (!partly) {
      return ExtentKind.ZERO;
    }
    long end = Math.min(info.sizeBytes(), offset + allocationUnitBytes);
    boolean absent = false;
    long at = offset;
    while (at < end) {
      Extents extents = below.extents(at, end - at, blocking);
      if (extents == Extents.WOULD_BLOCK) {
        return null;
      }
      for (int i = 0; i < extents.count(); i++) {
        if (extents.kind(i) == ExtentKind.DATA) {
          return ExtentKind.DATA;
        }
        absent |= extents.kind(i) == ExtentKind.ABSENT;
      }
      at += extents.totalBytes(end - at);
    }
    if (absent) {
      throw new BlockException(
          Reason.NOT_SUPPORTED,
          "clearing a part of the allocation unit at "
              + offset
              + ", which is absent here (expected: a whole unit, or one that was written)");
    }
    return ExtentKind.ZERO;
  }

  private static BlockException slow(long offset, long length) {
    return new BlockException(
        Reason.NOT_SUPPORTED,
        "zeroing "
            + offset
            + "+"
            + length
            + " means writing enciphered zeros (expected: whole allocation units that may be"
            + " deallocated)");
  }

  @Override
  public Completion flush(Blocking blocking) throws BlockException {
    return below.flush(blocking);
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
    return below.extents(offset, length, blocking);
  }
}
