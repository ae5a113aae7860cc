package io.filterd.block;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.filterd.block.BlockException.Reason;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;

class CowDeviceTest {
  private static final long PLENTY = 64 << 20;
  private static final int UNIT = 4096;

  @Nested
  class OnNothing extends BlockDeviceContract {
    @Override
    protected BlockDevice create(long sizeBytes, UnaryOperator<BlockDevice> below) {
      return new CowDevice(
          below.apply(new MemoryDevice(sizeBytes, new BlockSizes(512, 4096, 1 << 20), UNIT)),
          PLENTY);
    }
  }

  /** With a read-only device below, of several leaves, whose last unit is cut short. */
  @Nested
  class OnAReadOnlyDisk extends BlockDeviceContract {
    @Override
    protected int sizeBytes() {
      return (2 << 20) + 5 * UNIT + 512;
    }

    @Override
    protected List<Integer> internalBoundaries() {
      return List.of(256 * UNIT);
    }

    @Override
    protected byte[] initialContents() {
      byte[] contents = new byte[sizeBytes()];
      new Random(7).nextBytes(contents);
      Arrays.fill(contents, 10 * UNIT, 20 * UNIT, (byte) 0);
      return contents;
    }

    @Override
    protected boolean startsUnwritten() {
      return false;
    }

    @Override
    protected long largeSizeBytes() {
      return 0;
    }

    @Override
    protected int modelSteps() {
      return 600;
    }

    @Override
    protected BlockDevice create(long sizeBytes, UnaryOperator<BlockDevice> below)
        throws BlockException {
      BlockDevice disk = new MemoryDevice(sizeBytes, new BlockSizes(512, 4096, 1 << 20), UNIT);
      byte[] contents = initialContents();
      for (int at = 0; at < sizeBytes; at += 512) {
        if (at < 10 * UNIT || at >= 20 * UNIT) {
          ByteBuffer piece = ByteBuffer.allocateDirect(512).put(contents, at, 512).flip();
          disk.write(at, piece, Durability.BUFFERED, Blocking.ALLOWED);
        }
      }
      return new CowDevice(below.apply(new UnchangingDevice(disk)), PLENTY);
    }
  }

  /** Fails a test in which anything is changed. */
  private static final class UnchangingDevice extends IoFilter {
    UnchangingDevice(BlockDevice below) {
      super(below);
    }

    @Override
    public DeviceInfo info() {
      return below.info().without(Capability.WRITE, Capability.TRIM, Capability.FLUSH);
    }

    @Override
    public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
      return below.read(offset, target, blocking);
    }

    @Override
    public Completion write(
        long offset, ByteBuffer source, Durability durability, Blocking blocking) {
      throw new AssertionError("write");
    }

    @Override
    public Completion zero(
        long offset, long length, ZeroMode mode, Durability durability, Blocking blocking) {
      throw new AssertionError("zero");
    }

    @Override
    public Completion trim(long offset, long length, Durability durability, Blocking blocking) {
      throw new AssertionError("trim");
    }

    @Override
    public Completion flush(Blocking blocking) {
      throw new AssertionError("flush");
    }

    @Override
    public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
      return below.extents(offset, length, blocking);
    }
  }

  private static ByteBuffer filled(int length, int value) {
    ByteBuffer buffer = ByteBuffer.allocateDirect(length);
    while (buffer.hasRemaining()) {
      buffer.put((byte) value);
    }
    return buffer.flip();
  }

  private static void write(BlockDevice device, long offset, int length, int value)
      throws BlockException {
    device.write(offset, filled(length, value), Durability.BUFFERED, Blocking.ALLOWED);
  }

  private static byte[] read(BlockDevice device, long offset, int length) throws BlockException {
    ByteBuffer target = ByteBuffer.allocateDirect(length);
    device.read(offset, target, Blocking.ALLOWED);
    byte[] bytes = new byte[length];
    target.get(0, bytes);
    return bytes;
  }

  @Test
  void leavesTheDeviceBelowAsItWas() throws BlockException {
    MemoryDevice disk = new MemoryDevice(1 << 20);
    write(disk, 0, 1 << 20, 1);
    CowDevice cow = new CowDevice(new OpenDevice(disk), PLENTY);

    write(cow, UNIT, 2 * UNIT, 2);
    cow.trim(8 * UNIT, UNIT, Durability.DURABLE, Blocking.ALLOWED);
    assertThat(read(cow, UNIT, 2 * UNIT)).containsOnly(2);
    assertThat(read(cow, 8 * UNIT, UNIT)).containsOnly(0);
    cow.close();

    assertThat(read(disk, 0, 1 << 20)).containsOnly(1);
    assertThat(read(new CowDevice(disk, PLENTY), 0, 1 << 20)).containsOnly(1);
  }

  @Test
  void refusesWhatDoesNotFitItsMemory() throws BlockException {
    try (CowDevice cow = new CowDevice(new MemoryDevice(1 << 20), 16L * UNIT)) {
      BlockException full =
          catchThrowableOfType(BlockException.class, () -> write(cow, 0, 32 * UNIT, 3));

      assertThat(full.reason()).isEqualTo(Reason.NO_SPACE);
      assertThat(full).hasMessageContaining("of 65536 bytes used (expected: 4096 free)");
      assertThat(cow.memoryBytes()).isLessThanOrEqualTo(cow.maxMemoryBytes());
      // Each unit is old or new.
      assertThat(read(cow, 0, UNIT)).containsOnly(3);
      assertThat(read(cow, 31 * UNIT, UNIT)).containsOnly(0);
    }
  }

  @Test
  void hasRoomAgainForWhatIsTrimmedOrZeroed() throws BlockException {
    try (CowDevice cow = new CowDevice(new MemoryDevice(1 << 20), 16L * UNIT)) {
      for (int round = 0; round < 100; round++) {
        write(cow, round % 2 * 128L * UNIT, 14 * UNIT, round);
        if (round % 3 == 0) {
          cow.trim(0, 1 << 20, Durability.BUFFERED, Blocking.ALLOWED);
        } else {
          cow.zero(0, 200 * UNIT, ZeroMode.MAY_DEALLOCATE, Durability.BUFFERED, Blocking.ALLOWED);
        }
        assertThat(cow.memoryBytes()).isLessThan(UNIT);
      }
    }
  }

  @Test
  void keepsTheRoomOfWhatWasZeroedSo() throws BlockException {
    try (CowDevice cow = new CowDevice(new MemoryDevice(1 << 20), 16L * UNIT)) {
      cow.zero(0, 8 * UNIT, ZeroMode.ALLOCATE, Durability.BUFFERED, Blocking.ALLOWED);
      assertThatThrownBy(() -> write(cow, 8 * UNIT, 100 * UNIT, 4))
          .isInstanceOf(BlockException.class);

      write(cow, 0, 8 * UNIT, 5);

      assertThat(read(cow, 0, 8 * UNIT)).containsOnly(5);
    }
  }

  @Test
  void trimsALargeDeviceAtLittleCost() throws BlockException {
    long size = 1L << 40;
    try (CowDevice cow = new CowDevice(new MemoryDevice(size), 1 << 30)) {
      assertThat(cow.trim(0, 1L << 32, Durability.BUFFERED, Blocking.FORBIDDEN))
          .isEqualTo(Completion.WOULD_BLOCK);

      cow.trim(0, 1L << 32, Durability.BUFFERED, Blocking.ALLOWED);

      assertThat(cow.memoryBytes()).isEqualTo(4096 * 128);
      assertThat(cow.extents(0, size, Blocking.ALLOWED).isAll(ExtentKind.ZERO)).isTrue();
    }
  }

  /** Is not closed with what stands on it. */
  private static final class OpenDevice extends IoFilter {
    OpenDevice(BlockDevice below) {
      super(below);
    }

    @Override
    public DeviceInfo info() {
      return below.info();
    }

    @Override
    public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
      return below.read(offset, target, blocking);
    }

    @Override
    public Completion write(long offset, ByteBuffer source, Durability durability, Blocking b) {
      throw new AssertionError("write");
    }

    @Override
    public Completion zero(long offset, long length, ZeroMode mode, Durability d, Blocking b) {
      throw new AssertionError("zero");
    }

    @Override
    public Completion trim(long offset, long length, Durability durability, Blocking blocking) {
      throw new AssertionError("trim");
    }

    @Override
    public Completion flush(Blocking blocking) {
      throw new AssertionError("flush");
    }

    @Override
    public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
      return below.extents(offset, length, blocking);
    }

    @Override
    public void close() {}
  }
}
