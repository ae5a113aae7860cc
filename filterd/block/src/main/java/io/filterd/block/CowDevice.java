package io.filterd.block;

import io.filterd.block.BlockException.Reason;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.Set;
import java.util.concurrent.ConcurrentNavigableMap;
import java.util.concurrent.ConcurrentSkipListMap;
import org.jspecify.annotations.Nullable;

/**
 * Copy on write: takes changes of a device that itself is never changed. They are kept in memory
 * outside the Java heap, and vanish when this device is closed; that memory is wiped. The device
 * below may be read-only, and nobody else may change it meanwhile.
 *
 * <p>Works on units of at least 4 KiB, and takes whole ones only: {@link AlignmentFilter} in front
 * of it takes the rest. Memory is limited: a change for which there is none left fails with {@link
 * Reason#NO_SPACE}. That includes a trim, if it is the first change of its part of the device,
 * because what was trimmed has to be remembered; zeroing and trimming what was written before gives
 * memory back. Flush has nothing to do.
 *
 * <p>Locks whole leaves, across calls of the device below, since a read must not mix what is there
 * with what is being written. One that must not block waits for nothing but that device's memory.
 */
public final class CowDevice extends IoFilter {
  private static final int LEAST_UNIT_BYTES = 4096;
  private static final int UNITS_PER_LEAF = 256;

  /** What a leaf takes besides its numbers: with its place in the map, rounded up. */
  private static final int LEAF_BYTES = 128;

  /** An answer that describes more parts would cost too much. */
  private static final int MAX_EXTENTS = 1024;

  /** The state of a unit that was never changed. Any other is {@link #ZERO}, or a slot. */
  private static final int BELOW = 0;

  /** The state of a unit that reads as zeros and takes no memory. */
  private static final int ZERO = -1;

  /** A leaf that was zeroed whole. Never changed. */
  private static final int[] ZEROED = new int[UNITS_PER_LEAF];

  static {
    Arrays.fill(ZEROED, ZERO);
  }

  private final DeviceInfo info;
  private final long sizeBytes;
  private final int unitBytes;
  private final long leafBytes;
  private final CowMemory memory;

  /** The states of units that were changed, by leaf. A leaf is changed under its exclusive lock. */
  private final ConcurrentNavigableMap<Long, int[]> leaves = new ConcurrentSkipListMap<>();

  private final RangeLock lock;

  /**
   * Takes over {@code below}, whose contents it starts with.
   *
   * @param maxMemoryBytes the most that changes may take
   */
  public CowDevice(BlockDevice below, long maxMemoryBytes) {
    super(below);
    DeviceInfo belowInfo = below.info();
    this.sizeBytes = belowInfo.sizeBytes();
    this.unitBytes = Math.max(LEAST_UNIT_BYTES, belowInfo.blockSizes().minimum());
    this.leafBytes = (long) UNITS_PER_LEAF * unitBytes;
    this.memory = new CowMemory(unitBytes, maxMemoryBytes);
    this.lock = new RangeLock((int) leafBytes);
    Set<Capability> capabilities =
        EnumSet.of(
            Capability.WRITE,
            Capability.FLUSH,
            Capability.DURABLE_WRITE,
            Capability.TRIM,
            Capability.ZERO,
            Capability.FAST_ZERO,
            Capability.PARTIAL_ALLOCATION,
            Capability.MULTIPLE_CONNECTIONS);
    if (belowInfo.can(Capability.TRACKS_ZEROS)) {
      capabilities.addAll(Set.of(Capability.TRACKS_ZEROS, Capability.MARKS_ZEROS));
    }
    if (belowInfo.can(Capability.ROTATIONAL)) {
      capabilities.add(Capability.ROTATIONAL);
    }
    BlockSizes sizes = belowInfo.blockSizes().atLeast(unitBytes);
    this.info =
        new DeviceInfo(
            sizeBytes,
            // What is read from below is read in one piece.
            new BlockSizes(
                sizes.minimum(),
                sizes.preferred(),
                Math.max(unitBytes, belowInfo.blockSizes().maximum() / unitBytes * unitBytes)),
            Math.max(unitBytes, belowInfo.allocationUnitBytes()),
            capabilities);
  }

  @Override
  public DeviceInfo info() {
    return info;
  }

  /** The memory that changes take now, in bytes. */
  public long memoryBytes() {
    return memory.usedBytes();
  }

  /** The most that changes may take, in bytes. */
  public long maxMemoryBytes() {
    return memory.maxBytes();
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
    int length = target.remaining();
    if (!lock.lockShared(offset, length, blocking)) {
      return Extents.WOULD_BLOCK;
    }
    int start = target.position();
    int limit = target.limit();
    boolean done = false;
    try {
      long end = offset + length;
      if (endOfUnchanged(offset, end) == end) {
        Extents extents = below.read(offset, target, blocking);
        done = extents != Extents.WOULD_BLOCK;
        return extents;
      }
      Extents.Builder parts = new Extents.Builder();
      for (long at = offset; at < end; ) {
        int state = state(at);
        long next = state == BELOW ? endOfUnchanged(at, end) : endOfUnit(at, end);
        int count = (int) (next - at);
        target.limit(limit).position(start + (int) (at - offset));
        if (state == BELOW) {
          target.limit(target.position() + count);
          Extents extents = below.read(at, target, blocking);
          if (extents == Extents.WOULD_BLOCK) {
            return extents;
          }
          parts.add(extents, count, 0, count);
        } else if (state == ZERO) {
          memory.zeros(target, count);
          parts.add(count, ExtentKind.ZERO);
        } else {
          memory.load(state, target, count);
          parts.add(count, ExtentKind.DATA);
        }
        at = next;
      }
      done = true;
      return parts.build();
    } finally {
      target.limit(limit).position(done ? limit : start);
      lock.unlockShared(offset, length);
    }
  }

  @Override
  public Completion write(long offset, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    int length = source.remaining();
    if (!lock.lockExclusive(offset, length, blocking)) {
      return Completion.WOULD_BLOCK;
    }
    try {
      int start = source.position();
      long end = offset + length;
      for (long at = offset; at < end; ) {
        long next = endOfUnit(at, end);
        memory.store(slot(at), source, start + (int) (at - offset), (int) (next - at));
        at = next;
      }
      source.position(source.limit());
      return Completion.DONE;
    } finally {
      lock.unlockExclusive(offset, length);
    }
  }

  @Override
  public Completion zero(
      long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
      throws BlockException {
    if (takesLong(length, blocking) || !lock.lockExclusive(offset, length, blocking)) {
      return Completion.WOULD_BLOCK;
    }
    try {
      if (mode.allocates()) {
        long end = offset + length;
        for (long at = offset; at < end; at = endOfUnit(at, end)) {
          memory.clear(slot(at));
        }
      } else {
        clear(offset, length);
      }
      return Completion.DONE;
    } finally {
      lock.unlockExclusive(offset, length);
    }
  }

  @Override
  public Completion trim(long offset, long length, Durability durability, Blocking blocking)
      throws BlockException {
    if (takesLong(length, blocking) || !lock.lockExclusive(offset, length, blocking)) {
      return Completion.WOULD_BLOCK;
    }
    try {
      clear(offset, length);
      return Completion.DONE;
    } finally {
      lock.unlockExclusive(offset, length);
    }
  }

  /** What must not block must not take long either, and a range may be of any length. */
  private boolean takesLong(long length, Blocking blocking) {
    return blocking == Blocking.FORBIDDEN && length > leafBytes;
  }

  /** Nothing outlives this device, so there is nothing to do. */
  @Override
  public Completion flush(Blocking blocking) {
    return Completion.DONE;
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
    if (!lock.lockShared(offset, length, blocking)) {
      return Extents.WOULD_BLOCK;
    }
    try {
      long end = offset + length;
      Extents.Builder parts = new Extents.Builder();
      for (long at = offset; at < end && parts.count() < MAX_EXTENTS; ) {
        int state = state(at);
        if (state != BELOW) {
          long next = endOfUnit(at, end);
          parts.add(next - at, state == ZERO ? ExtentKind.ZERO : ExtentKind.DATA);
          at = next;
          continue;
        }
        long asked = endOfUnchanged(at, end) - at;
        Extents extents = below.extents(at, asked, blocking);
        if (extents == Extents.WOULD_BLOCK) {
          return extents;
        }
        long told = extents.totalBytes(asked);
        parts.add(extents, asked, 0, told);
        if (told < asked) {
          break;
        }
        at += asked;
      }
      return parts.build();
    } finally {
      lock.unlockShared(offset, length);
    }
  }

  /** Forgets and wipes all changes. */
  @Override
  public void close() throws BlockException {
    leaves.clear();
    memory.close();
    below.close();
  }

  /** The state of the unit at an offset. */
  private int state(long offset) {
    int[] leaf = leaves.get(offset / leafBytes);
    return leaf == null ? BELOW : leaf[index(offset)];
  }

  private int index(long offset) {
    return (int) (offset % leafBytes) / unitBytes;
  }

  private long endOfUnit(long at, long end) {
    return Math.min(end, (at / unitBytes + 1) * unitBytes);
  }

  /** Where what was never changed ends, from an offset on. */
  private long endOfUnchanged(long offset, long end) {
    long at = offset;
    while (at < end) {
      Long number = at / leafBytes;
      int[] leaf = leaves.get(number);
      if (leaf == null) {
        Long next = leaves.higherKey(number);
        if (next == null || next > (end - 1) / leafBytes) {
          return end;
        }
        at = next * leafBytes;
        continue;
      }
      if (leaf[index(at)] != BELOW) {
        return at;
      }
      at = endOfUnit(at, end);
    }
    return end;
  }

  /** The leaf with an offset, to be changed: made if there is none, copied if it is shared. */
  private int[] leaf(long offset) throws BlockException {
    Long number = offset / leafBytes;
    int @Nullable [] leaf = leaves.get(number);
    if (leaf == null) {
      memory.charge(LEAF_BYTES + (long) UNITS_PER_LEAF * Integer.BYTES);
      leaf = new int[UNITS_PER_LEAF];
      leaves.put(number, leaf);
    } else if (isShared(leaf)) {
      memory.charge((long) UNITS_PER_LEAF * Integer.BYTES);
      leaf = ZEROED.clone();
      leaves.put(number, leaf);
    }
    return leaf;
  }

  @SuppressWarnings("ReferenceEquality") // There is one such array, and it may not be changed.
  private static boolean isShared(int[] leaf) {
    return leaf == ZEROED;
  }

  /** The slot of the unit at an offset; a new one holds anything. */
  private int slot(long offset) throws BlockException {
    int[] leaf = leaf(offset);
    int index = index(offset);
    if (leaf[index] <= BELOW) {
      leaf[index] = memory.take();
    }
    return leaf[index];
  }

  /** Makes a range zeros that take no memory. */
  private void clear(long offset, long length) throws BlockException {
    long end = offset + length;
    for (long at = offset; at < end; ) {
      long leafStart = at / leafBytes * leafBytes;
      long next = Math.min(end, leafStart + leafBytes);
      if (at == leafStart && (next == leafStart + leafBytes || next == sizeBytes)) {
        clearLeaf(at / leafBytes);
      } else {
        int[] leaf = leaf(at);
        clear(leaf, index(at), index(next - 1) + 1);
      }
      at = next;
    }
  }

  private void clearLeaf(Long number) throws BlockException {
    int[] leaf = leaves.get(number);
    if (leaf == null) {
      memory.charge(LEAF_BYTES);
    } else if (!isShared(leaf)) {
      clear(leaf, 0, UNITS_PER_LEAF);
      memory.giveBack((long) UNITS_PER_LEAF * Integer.BYTES);
    }
    leaves.put(number, ZEROED);
  }

  private void clear(int[] leaf, int from, int to) {
    for (int i = from; i < to; i++) {
      if (leaf[i] > BELOW) {
        memory.give(leaf[i]);
      }
      leaf[i] = ZERO;
    }
  }
}
