package io.filterd.block;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.fail;

import io.filterd.block.BlockException.Reason;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.random.RandomGenerator;

/**
 * A device and what it must contain. Every operation is made on the device, and its answer, its
 * effect and what it did to the buffer are checked against the model. For one thread.
 */
final class ModelledDevice {
  /** What is known of an allocation unit, besides its bytes. */
  private enum Unit {
    /** Never written: not data, if the device tracks that. */
    UNWRITTEN,
    /** Zeroed or trimmed as a whole: as above, and not absent, if the device marks that. */
    CLEARED,
    /** Anything may be reported that is true. */
    ANY
  }

  /** Bytes round the ones in use of a buffer, which nobody may touch. */
  private static final int MARGIN_BYTES = 3;

  private static final byte CANARY = (byte) 0xA5;

  private final BlockDevice device;
  private final DeviceInfo info;
  private final byte[] contents;
  private final Unit[] units;
  private final int unitBytes;
  private final int minimumBytes;
  private final RandomGenerator random;
  private int steps;
  private String operation = "open";

  ModelledDevice(BlockDevice device, byte[] contents, boolean unwritten, RandomGenerator random) {
    this.device = device;
    this.info = device.info();
    this.contents = contents;
    this.unitBytes = info.allocationUnitBytes();
    this.minimumBytes = info.blockSizes().minimum();
    this.units = new Unit[Math.ceilDiv(contents.length, unitBytes)];
    Arrays.fill(units, unwritten ? Unit.UNWRITTEN : Unit.ANY);
    this.random = random;
  }

  /** The number of the last operation and what it was, for messages. */
  String progress() {
    return "step " + steps + ": " + operation;
  }

  private void begin(String name, int offset, int length, Object... details) {
    steps++;
    operation = "%s %d+%d %s".formatted(name, offset, length, Arrays.toString(details));
  }

  RandomGenerator random() {
    return random;
  }

  DeviceInfo info() {
    return info;
  }

  int sizeBytes() {
    return contents.length;
  }

  /** Reads and compares; false if it would block. */
  boolean read(int offset, int length, Blocking blocking) throws BlockException {
    begin("read", offset, length, blocking);
    ByteBuffer target = buffer(length);
    Extents extents;
    try {
      extents = device.read(offset, target, blocking);
    } catch (BlockException failure) {
      checkUnmoved(target, length);
      throw failure;
    }
    checkMargins(target, length);
    if (extents == Extents.WOULD_BLOCK) {
      checkMayBlock(blocking);
      checkUnmoved(target, length);
      return false;
    }
    checkDone(target, length);
    byte[] actual = bytes(target, length);
    checkSame(offset, actual);
    assertThat(extents.totalBytes(length)).as("bytes described by a read").isEqualTo(length);
    byte[] kinds = kinds(offset, length, extents);
    if (info.can(Capability.TRACKS_ZEROS)) {
      assertThat(allKinds(offset, length)).as("extents, against those of a read").isEqualTo(kinds);
    }
    return true;
  }

  /** Reads everything and compares. */
  void verify() throws BlockException {
    verify(0, contents.length);
  }

  /** Reads a range and compares. */
  void verify(int offset, int length) throws BlockException {
    int maximum = info.blockSizes().maximum();
    for (int at = offset; at < offset + length; at += maximum) {
      assertThat(read(at, Math.min(maximum, offset + length - at), Blocking.ALLOWED)).isTrue();
    }
  }

  /** Writes random bytes; false if it would block. */
  boolean write(int offset, int length, Durability durability, Blocking blocking)
      throws BlockException {
    byte[] data = new byte[length];
    // Zeros too: they may be stored in another way, but must not be mistaken.
    if (random.nextInt(8) != 0) {
      random.nextBytes(data);
    }
    return write(offset, data, durability, blocking);
  }

  boolean write(int offset, byte[] data, Durability durability, Blocking blocking)
      throws BlockException {
    begin("write", offset, data.length, durability, blocking);
    ByteBuffer source = buffer(data.length);
    source.duplicate().put(data);
    ByteBuffer given = random.nextBoolean() ? source : source.asReadOnlyBuffer();
    Completion completion;
    try {
      completion = device.write(offset, given, durability, blocking);
    } catch (BlockException failure) {
      checkUnmoved(given, data.length);
      checkSource(source, data);
      adopt(offset, data.length, data, failure);
      throw failure;
    }
    checkMargins(source, data.length);
    checkSource(source, data);
    if (completion == Completion.WOULD_BLOCK) {
      checkMayBlock(blocking);
      checkUnmoved(given, data.length);
      return false;
    }
    checkDone(given, data.length);
    System.arraycopy(data, 0, contents, offset, data.length);
    mark(offset, data.length, Unit.ANY);
    return true;
  }

  /** Zeroes; false if it would block. A fast zero that is refused changes nothing, and is true. */
  boolean zero(int offset, int length, ZeroMode mode, Durability durability, Blocking blocking)
      throws BlockException {
    begin("zero", offset, length, mode, durability, blocking);
    Completion completion;
    try {
      completion = device.zero(offset, length, mode, durability, blocking);
    } catch (BlockException failure) {
      if (failure.reason() == Reason.NOT_SUPPORTED) {
        assertThat(mode.fast()).as("only fast zeroing may be refused").isTrue();
        assertThat(info.can(Capability.FAST_ZERO)).as("FAST_ZERO is never refused").isFalse();
        return true;
      }
      adopt(offset, length, new byte[length], failure);
      throw failure;
    }
    if (completion == Completion.WOULD_BLOCK) {
      checkMayBlock(blocking);
      return false;
    }
    Arrays.fill(contents, offset, offset + length, (byte) 0);
    mark(offset, length, mode.allocates() ? Unit.ANY : Unit.CLEARED);
    return true;
  }

  /** Trims; false if it would block. */
  boolean trim(int offset, int length, Durability durability, Blocking blocking)
      throws BlockException {
    begin("trim", offset, length, durability, blocking);
    boolean zeroes = info.can(Capability.TRIM);
    Completion completion;
    try {
      completion = device.trim(offset, length, durability, blocking);
    } catch (BlockException failure) {
      byte[] trimmed =
          zeroes ? new byte[length] : Arrays.copyOfRange(contents, offset, offset + length);
      adopt(offset, length, trimmed, failure);
      throw failure;
    }
    if (completion == Completion.WOULD_BLOCK) {
      checkMayBlock(blocking);
      return false;
    }
    if (zeroes) {
      Arrays.fill(contents, offset, offset + length, (byte) 0);
      mark(offset, length, Unit.CLEARED);
    }
    return true;
  }

  /** Flushes; false if it would block. */
  boolean flush(Blocking blocking) throws BlockException {
    begin("flush", 0, 0, blocking);
    if (device.flush(blocking) == Completion.WOULD_BLOCK) {
      checkMayBlock(blocking);
      return false;
    }
    return true;
  }

  /** Asks for extents and checks that they are true; false if it would block. */
  boolean extents(int offset, int length, Blocking blocking) throws BlockException {
    begin("extents", offset, length, blocking);
    Extents extents = device.extents(offset, length, blocking);
    if (extents == Extents.WOULD_BLOCK) {
      checkMayBlock(blocking);
      return false;
    }
    long total = extents.totalBytes(length);
    assertThat(total).as("bytes described by extents").isBetween(1L, (long) length);
    return kinds(offset, (int) total, extents).length == total;
  }

  /** What a range is made of, byte by byte, from as many answers as it takes. */
  private byte[] allKinds(int offset, int length) throws BlockException {
    byte[] all = new byte[length];
    int done = 0;
    while (done < length) {
      Extents extents = device.extents(offset + done, length - done, Blocking.ALLOWED);
      int total = (int) extents.totalBytes(length - done);
      assertThat(total).as("bytes described by extents").isBetween(1, length - done);
      System.arraycopy(kinds(offset + done, total, extents), 0, all, done, total);
      done += total;
    }
    return all;
  }

  /** The kind of every byte described, as its first letter; checks that none is wrong. */
  private byte[] kinds(int offset, int length, Extents extents) {
    byte[] kinds = new byte[length];
    int at = 0;
    for (int i = 0; i < extents.count(); i++) {
      ExtentKind kind = extents.kind(i);
      int end = at + (int) extents.lengthBytes(i, length);
      assertThat(end).as("end of an extent").isGreaterThan(at).isLessThanOrEqualTo(length);
      assertThat((offset + end) % minimumBytes == 0 || end == length)
          .as("extents end at minimum blocks: %s + %s", offset, end)
          .isTrue();
      if (i > 0) {
        assertThat(extents.kind(i - 1)).as("kind of a neighbour").isNotEqualTo(kind);
      }
      if (kind != ExtentKind.DATA) {
        checkZeros(offset + at, end - at, kind);
      } else if (info.can(Capability.TRACKS_ZEROS)) {
        checkNotIn(Unit.UNWRITTEN, offset + at, end - at, kind);
        checkNotIn(Unit.CLEARED, offset + at, end - at, kind);
      }
      if (kind == ExtentKind.ABSENT && info.can(Capability.MARKS_ZEROS)) {
        checkNotIn(Unit.CLEARED, offset + at, end - at, kind);
      }
      Arrays.fill(kinds, at, end, (byte) kind.name().charAt(0));
      at = end;
    }
    assertThat(at).as("bytes described").isEqualTo(length);
    return kinds;
  }

  private void checkZeros(int offset, int length, ExtentKind kind) {
    for (int i = offset; i < offset + length; i++) {
      if (contents[i] != 0) {
        fail("byte %d: %s, in a range that is %s", i, contents[i], kind);
      }
    }
  }

  private void checkNotIn(Unit state, int offset, int length, ExtentKind kind) {
    for (int unit = offset / unitBytes; unit <= (offset + length - 1) / unitBytes; unit++) {
      if (units[unit] == state) {
        fail("unit %d (%d bytes each): reported as %s, but %s", unit, unitBytes, kind, state);
      }
    }
  }

  /** Marks what a change makes of the units: one that is only partly unwritten may be anything. */
  private void mark(int offset, int length, Unit state) {
    int end = offset + length;
    for (int unit = offset / unitBytes; unit <= (end - 1) / unitBytes; unit++) {
      int unitStart = unit * unitBytes;
      int unitEnd = Math.min(unitStart + unitBytes, contents.length);
      boolean whole = offset <= unitStart && unitEnd <= end;
      units[unit] = whole ? state : Unit.ANY;
    }
  }

  /** After a failed change: each minimum block must be old or new; the model takes what it is. */
  private void adopt(int offset, int length, byte[] data, BlockException failure)
      throws BlockException {
    if (failure.reason() == Reason.READ_ONLY || failure.reason() == Reason.INVALID_REQUEST) {
      return;
    }
    mark(offset, length, Unit.ANY);
    int end = offset + length;
    int maximum = info.blockSizes().maximum();
    for (int at = offset; at < end; ) {
      int count = Math.min(maximum, end - at);
      ByteBuffer target = buffer(count);
      device.read(at, target, Blocking.ALLOWED);
      byte[] actual = bytes(target, count);
      for (int block = 0; block < count; block += minimumBytes) {
        int blockEnd = Math.min(block + minimumBytes, count);
        int into = at - offset;
        if (!Arrays.equals(actual, block, blockEnd, contents, at + block, at + blockEnd)
            && !Arrays.equals(actual, block, blockEnd, data, into + block, into + blockEnd)) {
          fail("block at %d: neither old nor new after %s", at + block, failure);
        }
      }
      System.arraycopy(actual, 0, contents, at, count);
      at += count;
    }
  }

  private void checkSame(int offset, byte[] actual) {
    int different =
        Arrays.mismatch(actual, Arrays.copyOfRange(contents, offset, offset + actual.length));
    if (different >= 0) {
      fail(
          "byte %d, read from %d+%d: %d (expected: %d)",
          offset + different,
          offset,
          actual.length,
          actual[different],
          contents[offset + different]);
    }
  }

  private ByteBuffer buffer(int length) {
    ByteBuffer buffer = ByteBuffer.allocateDirect(length + 2 * MARGIN_BYTES);
    while (buffer.hasRemaining()) {
      buffer.put(CANARY);
    }
    return buffer.position(MARGIN_BYTES).limit(MARGIN_BYTES + length);
  }

  private static byte[] bytes(ByteBuffer buffer, int length) {
    byte[] bytes = new byte[length];
    buffer.get(MARGIN_BYTES, bytes);
    return bytes;
  }

  private static void checkSource(ByteBuffer source, byte[] data) {
    assertThat(bytes(source, data.length)).as("bytes of a write's source").isEqualTo(data);
  }

  private static void checkMargins(ByteBuffer buffer, int length) {
    ByteBuffer all = buffer.duplicate().clear();
    for (int i = 0; i < MARGIN_BYTES; i++) {
      assertThat(all.get(i)).as("byte before the position").isEqualTo(CANARY);
      assertThat(all.get(MARGIN_BYTES + length + i)).as("byte after the limit").isEqualTo(CANARY);
    }
  }

  private static void checkUnmoved(ByteBuffer buffer, int length) {
    assertThat(buffer.position()).as("position when nothing was done").isEqualTo(MARGIN_BYTES);
    assertThat(buffer.limit()).as("limit when nothing was done").isEqualTo(MARGIN_BYTES + length);
  }

  private static void checkDone(ByteBuffer buffer, int length) {
    assertThat(buffer.position()).as("position when done").isEqualTo(MARGIN_BYTES + length);
    assertThat(buffer.limit()).as("limit when done").isEqualTo(MARGIN_BYTES + length);
  }

  private static void checkMayBlock(Blocking blocking) {
    assertThat(blocking).as("blocking, of what would block").isEqualTo(Blocking.FORBIDDEN);
  }
}
