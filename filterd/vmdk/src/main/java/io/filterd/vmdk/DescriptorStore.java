package io.filterd.vmdk;

import io.filterd.block.BlockException;
import java.util.function.UnaryOperator;

/**
 * Where a disk's descriptor is kept, and how it is changed so that a crash leaves one of the two.
 */
sealed interface DescriptorStore permits EmbeddedDescriptor, TextDescriptor, ReadOnlyDescriptor {
  /** The descriptor as it is on the disk. */
  Descriptor current();

  /** Replaces the descriptor; when this returns the new one is durable. */
  void rewrite(UnaryOperator<Descriptor> change) throws BlockException;

  /** From now on changes of the content leave the content id as it is. */
  void keepContentId();

  /** Refuses a change of what the descriptor says of files: a mapping is open on them. */
  static Descriptor checked(Descriptor before, Descriptor after) {
    if (!after.describesSameExtents(before)) {
      throw new IllegalArgumentException("descriptor: other extents (expected: the same)");
    }
    return after;
  }
}
