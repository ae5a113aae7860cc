package io.filterd.block;

import java.util.EnumSet;
import java.util.Set;

/**
 * What a device is and can do.
 *
 * @param sizeBytes the size in bytes, at least 0
 * @param blockSizes the request sizes it takes
 * @param allocationUnitBytes the unit in which space is taken and given back, in bytes: a power of
 *     two, at least the minimum block
 * @param capabilities what it can do
 */
public record DeviceInfo(
    long sizeBytes, BlockSizes blockSizes, int allocationUnitBytes, Set<Capability> capabilities) {
  /** Checks the rules of the parameters. */
  public DeviceInfo {
    if (sizeBytes < 0) {
      throw new IllegalArgumentException("sizeBytes: " + sizeBytes + " (expected: >= 0)");
    }
    if (Integer.bitCount(allocationUnitBytes) != 1 || allocationUnitBytes < blockSizes.minimum()) {
      throw new IllegalArgumentException(
          "allocationUnitBytes: "
              + allocationUnitBytes
              + " (expected: a power of two >= "
              + blockSizes.minimum()
              + ")");
    }
    capabilities = Set.copyOf(capabilities);
  }

  /** Whether the device has the capability. */
  public boolean can(Capability capability) {
    return capabilities.contains(capability);
  }

  /** The same device with the capabilities added. */
  public DeviceInfo with(Capability... added) {
    Set<Capability> all = EnumSet.noneOf(Capability.class);
    all.addAll(capabilities);
    all.addAll(Set.of(added));
    return new DeviceInfo(sizeBytes, blockSizes, allocationUnitBytes, all);
  }

  /** The same device with the capabilities taken away. */
  public DeviceInfo without(Capability... removed) {
    Set<Capability> rest = EnumSet.noneOf(Capability.class);
    rest.addAll(capabilities);
    rest.removeAll(Set.of(removed));
    return new DeviceInfo(sizeBytes, blockSizes, allocationUnitBytes, rest);
  }

  /** The same device with these request sizes. */
  public DeviceInfo withBlockSizes(BlockSizes sizes) {
    return new DeviceInfo(
        sizeBytes, sizes, Math.max(allocationUnitBytes, sizes.minimum()), capabilities);
  }
}
