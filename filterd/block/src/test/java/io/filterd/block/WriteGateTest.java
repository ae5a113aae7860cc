package io.filterd.block;

import java.util.function.UnaryOperator;

/** An open gate is the device below; what a shut one does is tried where clients are. */
class WriteGateTest extends BlockDeviceContract {
  @Override
  protected BlockDevice create(long sizeBytes, UnaryOperator<BlockDevice> below) {
    return new WriteGate(
        below.apply(new MemoryDevice(sizeBytes, new BlockSizes(512, 4096, 1 << 20), 4096)));
  }
}
