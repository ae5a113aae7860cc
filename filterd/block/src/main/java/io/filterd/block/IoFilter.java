package io.filterd.block;

/**
 * A device that stands in front of another, which it owns. It passes nothing through unless it says
 * so: every operation of {@link BlockDevice} is the subclass's to write.
 */
public abstract class IoFilter implements BlockDevice {
  /** The device this one stands in front of. */
  protected final BlockDevice below;

  /** Takes over {@code below}: closing this device closes it. */
  protected IoFilter(BlockDevice below) {
    this.below = below;
  }

  /** Every filter states what the device looks like from above it. */
  @Override
  public abstract DeviceInfo info();

  @Override
  public void close() throws BlockException {
    below.close();
  }
}
