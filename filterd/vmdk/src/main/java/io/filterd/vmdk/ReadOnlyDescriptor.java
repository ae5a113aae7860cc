package io.filterd.vmdk;

import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import java.util.function.UnaryOperator;

/** The descriptor of a disk that is open for reading only. */
record ReadOnlyDescriptor(Descriptor current) implements DescriptorStore {
  @Override
  public void rewrite(UnaryOperator<Descriptor> change) throws BlockException {
    throw new BlockException(Reason.READ_ONLY, current.file() + ": open read-only");
  }

  @Override
  public void keepContentId() {} // Nothing changes here.
}
