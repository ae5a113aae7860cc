package io.filterd.block;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.ByteBuffer;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;

class MemoryDeviceTest {
  abstract static class Geometry extends BlockDeviceContract {
    private final BlockSizes sizes;
    private final int unitBytes;

    Geometry(int minimum, int preferred, int maximum, int unitBytes) {
      this.sizes = new BlockSizes(minimum, preferred, maximum);
      this.unitBytes = unitBytes;
    }

    @Override
    protected BlockDevice create(long sizeBytes, UnaryOperator<BlockDevice> below) {
      return new MemoryDevice(sizeBytes, sizes, unitBytes);
    }

    @Override
    protected boolean hasBelow() {
      return false;
    }
  }

  @Nested
  class OfSectors extends Geometry {
    OfSectors() {
      super(512, 4096, 1 << 20, 4096);
    }
  }

  @Nested
  class OfBytes extends Geometry {
    OfBytes() {
      super(1, 512, 4096, 8);
    }

    @Override
    protected int sizeBytes() {
      return (1 << 16) + 12345;
    }
  }

  @Nested
  class OfLargeUnits extends Geometry {
    OfLargeUnits() {
      super(4096, 4096, 1 << 17, 1 << 17);
    }

    @Override
    protected int sizeBytes() {
      return (1 << 18) + 4096 + 512;
    }
  }

  @Test
  void describesAnEmptyDeviceOfAnySizeAtOnce() {
    MemoryDevice device = new MemoryDevice(MemoryDevice.MAX_SIZE_BYTES);

    assertThat(device.extents(0, MemoryDevice.MAX_SIZE_BYTES, Blocking.FORBIDDEN))
        .isSameAs(Extents.ALL_ZERO);
    assertThat(device.trim(0, MemoryDevice.MAX_SIZE_BYTES, Durability.BUFFERED, Blocking.FORBIDDEN))
        .isEqualTo(Completion.DONE);
  }

  @Test
  void describesManyPartsInSeveralAnswers() throws BlockException {
    MemoryDevice device = new MemoryDevice(1 << 20, new BlockSizes(1, 512, 512), 1);
    for (int at = 0; at < 4096; at += 2) {
      device.write(at, ByteBuffer.allocateDirect(1), Durability.BUFFERED, Blocking.ALLOWED);
    }

    Extents first = device.extents(0, 1 << 20, Blocking.ALLOWED);

    assertThat(first.count()).isEqualTo(1024);
    assertThat(first.totalBytes(1 << 20)).isEqualTo(1024);
  }

  @Test
  void refusesToBeTooLarge() {
    assertThatThrownBy(() -> new MemoryDevice(MemoryDevice.MAX_SIZE_BYTES + 1))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith("sizeBytes: 4611686018427387905 (expected: <=");
  }
}
