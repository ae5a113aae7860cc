package io.filterd.vmdk;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockDeviceContract;
import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.Capability;
import io.filterd.block.CheckedDevice;
import io.filterd.block.Completion;
import io.filterd.block.DeviceInfo;
import io.filterd.block.Durability;
import io.filterd.block.ExtentKind;
import io.filterd.block.Extents;
import io.filterd.block.IoFilter;
import io.filterd.block.RecordingDevice;
import io.filterd.block.ZeroMode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ChainTest {
  private static final int UNIT = 1 << 16;
  private static final int SIZE_BYTES = 6 * UNIT;

  @TempDir Path folder;

  /** A link that says of itself that it does not pad new units, as one under a cipher does. */
  private static final class WholeUnits extends IoFilter {
    WholeUnits(BlockDevice below) {
      super(below);
    }

    @Override
    public DeviceInfo info() {
      return below.info().without(Capability.PARTIAL_ALLOCATION);
    }

    @Override
    public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
      return below.read(offset, target, blocking);
    }

    @Override
    public Completion write(
        long offset, ByteBuffer source, Durability durability, Blocking blocking)
        throws BlockException {
      boolean stored =
          below.extents(offset, source.remaining(), Blocking.ALLOWED).isAll(ExtentKind.DATA);
      long end = offset + source.remaining();
      boolean whole = offset % UNIT == 0 && (end % UNIT == 0 || end == info().sizeBytes());
      assertThat(stored || whole).as("write %d..%d", offset, end).isTrue();
      return below.write(offset, source, durability, blocking);
    }

    @Override
    public Completion zero(
        long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
        throws BlockException {
      return below.zero(offset, length, mode, durability, blocking);
    }

    @Override
    public Completion trim(long offset, long length, Durability durability, Blocking blocking)
        throws BlockException {
      return below.trim(offset, length, durability, blocking);
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

  private BlockDevice link(byte[] content) throws IOException, BlockException {
    Path file = Files.createTempDirectory(folder, "link").resolve("link.vmdk");
    VmdkDisk.create(file, CreateOptions.ofSize(content.length));
    BlockDevice link = VmdkDisk.open(file, Access.READ_WRITE).link();
    for (int at = 0; at < content.length; at += UNIT) {
      byte[] unit = Arrays.copyOfRange(content, at, Math.min(content.length, at + UNIT));
      if (!Arrays.equals(unit, new byte[unit.length])) {
        link.write(at, TestDisks.direct(unit), Durability.BUFFERED, Blocking.ALLOWED);
      }
    }
    return link;
  }

  @Test
  void tellsHowDeepInItAPartLies() throws Exception {
    byte[] base = new byte[4 * UNIT + 512]; // Shorter than its child.
    Arrays.fill(base, (byte) 3);
    byte[] middle = new byte[SIZE_BYTES];
    Arrays.fill(middle, UNIT, 2 * UNIT, (byte) 2);
    byte[] top = new byte[SIZE_BYTES];
    Arrays.fill(top, 2 * UNIT, 3 * UNIT, (byte) 1);
    try (Chain chain = new Chain(List.of(link(top), link(middle), link(base)))) {
      StringBuilder told = new StringBuilder();
      long at = 512;
      while (at < SIZE_BYTES) {
        long[] sum = {0};
        assertThat(
                chain.depths(
                    at,
                    SIZE_BYTES - at,
                    (bytes, depth) -> {
                      told.append(depth).append('x').append(bytes / 512).append(' ');
                      sum[0] += bytes;
                      return true;
                    },
                    Blocking.ALLOWED))
            .isTrue();
        assertThat(sum[0]).isPositive();
        at += sum[0];
      }
      assertThat(told.toString()).isEqualTo("3x127 2x128 1x128 3x129 0x255 ");
    }
  }

  /** A chain's model is the bytes it must read as. */
  @Test
  void readsOfItsLinksWhatTheNearestHolds() throws Exception {
    SplittableRandom random = new SplittableRandom(1);
    byte[] base = TestDisks.content(4 * UNIT + 512, random); // Shorter than its child.
    byte[] middle = TestDisks.content(SIZE_BYTES, random);
    byte[] top = TestDisks.content(SIZE_BYTES, random);
    byte[] expected = new byte[SIZE_BYTES];
    System.arraycopy(base, 0, expected, 0, base.length);
    for (byte[] over : List.of(middle, top)) {
      for (int at = 0; at < SIZE_BYTES; at += UNIT) {
        byte[] unit = Arrays.copyOfRange(over, at, at + UNIT);
        if (!Arrays.equals(unit, new byte[UNIT])) {
          System.arraycopy(unit, 0, expected, at, UNIT);
        }
      }
    }
    try (BlockDevice chain =
        new CheckedDevice(new Chain(List.of(link(top), link(middle), link(base))))) {
      assertThat(TestDisks.contentOf(chain)).isEqualTo(expected);
      for (long at = 0; at < SIZE_BYTES; ) {
        Extents extents = chain.extents(at, SIZE_BYTES - at, Blocking.ALLOWED);
        for (int i = 0; i < extents.count(); i++) {
          long length = extents.lengthBytes(i, SIZE_BYTES - at);
          assertThat(extents.kind(i)).isNotEqualTo(ExtentKind.ABSENT);
          if (extents.kind(i) == ExtentKind.ZERO) {
            byte[] part = Arrays.copyOfRange(expected, (int) at, (int) (at + length));
            assertThat(part).containsOnly(0);
          }
          at += length;
        }
      }
    }
  }

  @Test
  void neverShowsAParentThroughAZeroOrALostUnit() throws Exception {
    byte[] base = new byte[SIZE_BYTES];
    Arrays.fill(base, (byte) 7);
    try (BlockDevice chain =
        new CheckedDevice(new Chain(List.of(link(new byte[SIZE_BYTES]), link(base))))) {
      assertThat(chain.info().can(Capability.TRIM)).isFalse();
      byte[] expected = base.clone();
      chain.write(512, padded(1), Durability.BUFFERED, Blocking.ALLOWED);
      Arrays.fill(expected, 512, 1024, (byte) 1);
      chain.zero(
          UNIT + 512, 3 * UNIT, ZeroMode.MAY_DEALLOCATE, Durability.BUFFERED, Blocking.ALLOWED);
      Arrays.fill(expected, UNIT + 512, 4 * UNIT + 512, (byte) 0);
      chain.trim(0, SIZE_BYTES, Durability.BUFFERED, Blocking.ALLOWED);

      assertThat(TestDisks.contentOf(chain)).isEqualTo(expected);
      assertThatThrownBy(
              () ->
                  chain.zero(
                      0, UNIT, ZeroMode.FAST_MAY_DEALLOCATE, Durability.BUFFERED, Blocking.ALLOWED))
          .isInstanceOf(BlockException.class);
    }
  }

  private static ByteBuffer padded(int value) {
    byte[] bytes = new byte[512];
    Arrays.fill(bytes, (byte) value);
    return TestDisks.direct(bytes);
  }

  @Test
  void padsANewUnitOnceAndThenLeavesItAlone() throws Exception {
    RecordingDevice recorded = new RecordingDevice(link(new byte[SIZE_BYTES]));
    try (BlockDevice chain = new Chain(List.of(new WholeUnits(recorded)))) {
      chain.write(UNIT + 512, padded(1), Durability.BUFFERED, Blocking.ALLOWED);
      assertThat(recorded.takeOperations()).contains("write " + UNIT + "+" + UNIT);
      assertThat(chain.extents(UNIT, UNIT, Blocking.ALLOWED)).isEqualTo(Extents.ALL_DATA);

      chain.write(UNIT + 1024, padded(2), Durability.BUFFERED, Blocking.ALLOWED);
      assertThat(recorded.takeOperations())
          .noneSatisfy(line -> assertThat(line).startsWith("read"));
    }
  }

  @Nested
  class OfOneLinkThatTakesWholeUnits extends BlockDeviceContract {
    private Path file = Path.of("");

    @Override
    protected BlockDevice create(long sizeBytes, UnaryOperator<BlockDevice> below)
        throws Exception {
      file = Files.createTempDirectory(folder, "disk").resolve("disk.vmdk");
      VmdkDisk.create(file, CreateOptions.ofSize(sizeBytes));
      BlockDevice link = below.apply(VmdkDisk.open(file, Access.READ_WRITE).link());
      return new Chain(List.of(new WholeUnits(link)));
    }

    @Override
    protected BlockDevice reopen() throws Exception {
      return new Chain(List.of(new WholeUnits(VmdkDisk.open(file, Access.READ_WRITE).link())));
    }

    @Override
    protected boolean tearsReads() {
      return true;
    }

    @Override
    protected int modelSteps() {
      return 600;
    }
  }
}
