package io.filterd.block;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import com.sun.management.ThreadMXBean;
import io.filterd.block.BlockException.Reason;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;

class AlignmentFilterTest {
  abstract static class Stack extends BlockDeviceContract {
    private final int minimum;
    private final BlockSizes belowSizes;
    private final int unitBytes;

    Stack(int minimum, BlockSizes belowSizes, int unitBytes) {
      this.minimum = minimum;
      this.belowSizes = belowSizes;
      this.unitBytes = unitBytes;
    }

    @Override
    protected BlockDevice create(long sizeBytes, UnaryOperator<BlockDevice> below) {
      BlockDevice memory = below.apply(new MemoryDevice(sizeBytes, belowSizes, unitBytes));
      return new AlignmentFilter(new CheckedDevice(memory), minimum);
    }
  }

  @Nested
  class OfBytesOnPages extends Stack {
    OfBytesOnPages() {
      super(1, new BlockSizes(4096, 4096, 1 << 20), 4096);
    }
  }

  @Nested
  class OfSectorsOnPagesInLargeUnits extends Stack {
    OfSectorsOnPagesInLargeUnits() {
      super(512, new BlockSizes(4096, 4096, 1 << 20), 1 << 15);
    }
  }

  @Nested
  class OnADeviceThatTakesOnlyOneBlock extends Stack {
    OnADeviceThatTakesOnlyOneBlock() {
      super(1, new BlockSizes(512, 512, 512), 2048);
    }

    @Override
    protected int sizeBytes() {
      return 20000;
    }
  }

  @Nested
  class OnADeviceWhoseLastBlockIsCutShort extends Stack {
    OnADeviceWhoseLastBlockIsCutShort() {
      super(1, new BlockSizes(8, 512, 512), 8);
    }

    @Override
    protected int sizeBytes() {
      return 8 * 500 + 3;
    }
  }

  @Nested
  class OnADeviceWithoutTrim extends BlockDeviceContract {
    @Override
    protected BlockDevice create(long sizeBytes, UnaryOperator<BlockDevice> below) {
      return new AlignmentFilter(below.apply(new PlainDevice(sizeBytes)), 1);
    }
  }

  @Nested
  class OnADeviceThatNeedsNoHelp extends Stack {
    OnADeviceThatNeedsNoHelp() {
      super(512, new BlockSizes(1, 512, 4096), 4096);
    }
  }

  /** Can do no more than it must: nothing fast, nothing native, no trim. */
  private static final class PlainDevice extends IoFilter {
    PlainDevice(long sizeBytes) {
      super(new MemoryDevice(sizeBytes, new BlockSizes(512, 512, 4096), 4096));
    }

    @Override
    public DeviceInfo info() {
      return below
          .info()
          .without(
              Capability.TRIM,
              Capability.ZERO,
              Capability.FAST_ZERO,
              Capability.DURABLE_WRITE,
              Capability.TRACKS_ZEROS,
              Capability.MARKS_ZEROS);
    }

    @Override
    public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
      Extents extents = below.read(offset, target, blocking);
      return extents == Extents.WOULD_BLOCK ? extents : Extents.ALL_DATA;
    }

    @Override
    public Completion write(
        long offset, ByteBuffer source, Durability durability, Blocking blocking)
        throws BlockException {
      return below.write(offset, source, durability, blocking);
    }

    @Override
    public Completion zero(
        long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
        throws BlockException {
      if (mode.fast()) {
        throw new BlockException(Reason.NOT_SUPPORTED, "zeroing is never fast");
      }
      return below.zero(offset, length, mode, durability, blocking);
    }

    @Override
    public Completion trim(long offset, long length, Durability durability, Blocking blocking) {
      return Completion.DONE;
    }

    @Override
    public Completion flush(Blocking blocking) throws BlockException {
      return below.flush(blocking);
    }

    @Override
    public Extents extents(long offset, long length, Blocking blocking) {
      return Extents.ALL_DATA;
    }
  }

  private final RecordingDevice below =
      new RecordingDevice(new MemoryDevice(1 << 20, new BlockSizes(4096, 4096, 1 << 17), 4096));
  private final AlignmentFilter filter = new AlignmentFilter(below, 1);

  @Test
  void namesWhatItTakes() {
    DeviceInfo info = filter.info();

    assertThat(info.blockSizes()).isEqualTo(new BlockSizes(1, 4096, 1 << 25));
    assertThat(info.sizeBytes()).isEqualTo(1 << 20);
    assertThat(info.allocationUnitBytes()).isEqualTo(4096);
    assertThat(info.capabilities())
        .contains(Capability.WRITE, Capability.TRIM, Capability.TRACKS_ZEROS)
        .doesNotContain(Capability.FAST_ZERO);
  }

  @Test
  void passesOnWhatIsAligned() throws BlockException {
    write(4096, 8192, Durability.DURABLE, Blocking.FORBIDDEN);
    filter.read(0, ByteBuffer.allocateDirect(4096), Blocking.FORBIDDEN);
    filter.zero(0, 8192, ZeroMode.ALLOCATE, Durability.BUFFERED, Blocking.FORBIDDEN);
    filter.trim(0, 1 << 20, Durability.BUFFERED, Blocking.FORBIDDEN);
    filter.extents(4096, 4096, Blocking.FORBIDDEN);
    filter.flush(Blocking.FORBIDDEN);

    assertThat(below.takeOperations())
        .containsExactly(
            "write 4096+8192 durable nonblocking",
            "read 0+4096 nonblocking",
            "zero 0+8192 ALLOCATE nonblocking",
            "trim 0+1048576 nonblocking",
            "extents 4096+4096 nonblocking",
            "flush nonblocking");
  }

  @Test
  void readsSmallRangesInOneGo() throws BlockException {
    Extents extents = filter.read(4000, ByteBuffer.allocateDirect(1000), Blocking.FORBIDDEN);

    assertThat(below.takeOperations()).containsExactly("read 0+8192 nonblocking");
    assertThat(extents.totalBytes(1000)).isEqualTo(1000);
  }

  @Test
  void readsLongRangesWithoutACopyOfTheirMiddle() throws BlockException {
    filter.read(100, ByteBuffer.allocateDirect(300_000), Blocking.ALLOWED);

    assertThat(below.takeOperations())
        .containsExactly(
            "read 0+4096", "read 4096+131072", "read 135168+131072", "read 266240+36864");
  }

  @Test
  void readsOnlyWhatItDoesNotWriteWhole() throws BlockException {
    write(4096 + 100, 4096, Durability.DURABLE, Blocking.ALLOWED);
    write(4096, 100, Durability.BUFFERED, Blocking.ALLOWED);
    write(100, 4 * 4096 - 100, Durability.BUFFERED, Blocking.ALLOWED);
    write(0, 4 * 4096 - 100, Durability.BUFFERED, Blocking.ALLOWED);
    write(100, 4 * 4096, Durability.BUFFERED, Blocking.ALLOWED);

    assertThat(below.takeOperations())
        .containsExactly(
            "read 4096+8192",
            "write 4096+8192 durable",
            "read 4096+4096",
            "write 4096+4096",
            "read 0+4096",
            "write 0+16384",
            "read 12288+4096",
            "write 0+16384",
            "read 0+4096",
            "read 16384+4096",
            "write 0+20480");
  }

  @Test
  void writesLongRangesWithoutACopyOfTheirMiddle() throws BlockException {
    write(100, 200_000, Durability.BUFFERED, Blocking.ALLOWED);

    assertThat(below.takeOperations())
        .containsExactly(
            "read 0+4096",
            "write 0+4096",
            "write 4096+131072",
            "read 196608+4096",
            "write 135168+65536");
  }

  @Test
  void splitsWhatIsTooLong() throws BlockException {
    write(0, 300 * 1024, Durability.BUFFERED, Blocking.ALLOWED);

    assertThat(below.takeOperations())
        .containsExactly("write 0+131072", "write 131072+131072", "write 262144+45056");
  }

  @Test
  void wouldBlockWhereItHasToReadFirst() throws BlockException {
    ByteBuffer source = ByteBuffer.allocateDirect(100);

    assertThat(filter.write(0, source, Durability.BUFFERED, Blocking.FORBIDDEN))
        .isEqualTo(Completion.WOULD_BLOCK);
    assertThat(
            filter.zero(0, 100, ZeroMode.MAY_DEALLOCATE, Durability.BUFFERED, Blocking.FORBIDDEN))
        .isEqualTo(Completion.WOULD_BLOCK);
    assertThat(filter.trim(0, 100, Durability.BUFFERED, Blocking.FORBIDDEN))
        .isEqualTo(Completion.WOULD_BLOCK);

    assertThat(source.remaining()).isEqualTo(100);
    assertThat(below.takeOperations()).isEmpty();
  }

  @Test
  void zeroesWholeBlocksFirst() throws BlockException {
    write(0, 16384, Durability.BUFFERED, Blocking.ALLOWED);
    below.takeOperations();

    filter.zero(100, 12288, ZeroMode.ALLOCATE, Durability.DURABLE, Blocking.ALLOWED);

    assertThat(below.takeOperations())
        .containsExactly(
            "zero 4096+8192 ALLOCATE durable",
            "read 0+4096",
            "write 0+4096 durable",
            "read 12288+4096",
            "write 12288+4096 durable");
  }

  @Test
  void takesNoSpaceForZerosWhereThereAreZeros() throws BlockException {
    filter.trim(100, 4096, Durability.BUFFERED, Blocking.ALLOWED);
    filter.zero(100, 50, ZeroMode.MAY_DEALLOCATE, Durability.DURABLE, Blocking.ALLOWED);

    assertThat(below.takeOperations())
        .containsExactly("read 0+4096", "read 4096+4096", "read 0+4096", "flush");
    assertThat(filter.extents(0, 8192, Blocking.ALLOWED)).isSameAs(Extents.ALL_ZERO);
  }

  @Test
  void refusesToZeroLessThanABlockFast() {
    BlockException refusal =
        catchThrowableOfType(
            BlockException.class,
            () ->
                filter.zero(
                    100,
                    4096,
                    ZeroMode.FAST_MAY_DEALLOCATE,
                    Durability.BUFFERED,
                    Blocking.ALLOWED));

    assertThat(refusal.reason()).isEqualTo(Reason.NOT_SUPPORTED);
    assertThat(below.takeOperations()).isEmpty();
  }

  @Test
  void describesPartsOfBlocks() throws BlockException {
    write(4096, 4096, Durability.BUFFERED, Blocking.ALLOWED);

    Extents extents = filter.extents(4000, 5000, Blocking.ALLOWED);

    assertThat(extents).hasToString("[96, 4096, 808][ZERO, DATA, ZERO]");
  }

  @Test
  void allocatesNothingForWhatIsAligned() throws BlockException {
    AlignmentFilter quiet = new AlignmentFilter(new NullDevice(), 1);
    ByteBuffer buffer = ByteBuffer.allocateDirect(8192);
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    long least = Long.MAX_VALUE;
    for (int round = 0; round < 5; round++) {
      long before = threads.getCurrentThreadAllocatedBytes();
      for (int i = 0; i < 1000; i++) {
        quiet.read(4096, buffer.clear(), Blocking.FORBIDDEN);
        quiet.write(4096, buffer.clear(), Durability.BUFFERED, Blocking.FORBIDDEN);
        quiet.zero(0, 4096, ZeroMode.ALLOCATE, Durability.BUFFERED, Blocking.FORBIDDEN);
        quiet.trim(0, 4096, Durability.BUFFERED, Blocking.FORBIDDEN);
        quiet.extents(0, 4096, Blocking.FORBIDDEN);
      }
      least = Math.min(least, threads.getCurrentThreadAllocatedBytes() - before);
    }

    assertThat(least).isZero();
  }

  /** Does nothing, and allocates nothing for it. */
  private static final class NullDevice implements BlockDevice {
    private final DeviceInfo info =
        new MemoryDevice(1 << 20, new BlockSizes(4096, 4096, 1 << 17), 4096).info();

    @Override
    public DeviceInfo info() {
      return info;
    }

    @Override
    public Extents read(long offset, ByteBuffer target, Blocking blocking) {
      target.position(target.limit());
      return Extents.ALL_DATA;
    }

    @Override
    public Completion write(
        long offset, ByteBuffer source, Durability durability, Blocking blocking) {
      source.position(source.limit());
      return Completion.DONE;
    }

    @Override
    public Completion zero(
        long offset, long length, ZeroMode mode, Durability durability, Blocking blocking) {
      return Completion.DONE;
    }

    @Override
    public Completion trim(long offset, long length, Durability durability, Blocking blocking) {
      return Completion.DONE;
    }

    @Override
    public Completion flush(Blocking blocking) {
      return Completion.DONE;
    }

    @Override
    public Extents extents(long offset, long length, Blocking blocking) {
      return Extents.ALL_DATA;
    }

    @Override
    public void close() {}
  }

  private void write(long offset, int length, Durability durability, Blocking blocking)
      throws BlockException {
    ByteBuffer source = ByteBuffer.allocateDirect(length);
    assertThat(filter.write(offset, source, durability, blocking)).isEqualTo(Completion.DONE);
    assertThat(source.remaining()).isZero();
  }
}
