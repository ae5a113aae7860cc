package io.filterd.crypto;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.filter.FilterClass;
import io.filterd.filter.FilterContext;
import io.filterd.filter.FilterFactory;
import io.filterd.filter.FilterParameter;
import java.util.List;

/**
 * Makes {@link EncryptionFilter}s. Key and data unit belong to the disk and not to the policy's
 * filter parameters: they come as the {@link SectorCipher} of the context.
 */
public final class EncryptionFilterFactory implements FilterFactory {
  @Override
  public String name() {
    return "encryption";
  }

  @Override
  public FilterClass filterClass() {
    return FilterClass.ENCRYPTION;
  }

  @Override
  public String description() {
    return "Stores every data unit enciphered by AES-256-XTS under the disk's own key.";
  }

  @Override
  public List<FilterParameter> parameters() {
    return List.of();
  }

  @Override
  public BlockDevice create(FilterContext context, BlockDevice below) throws BlockException {
    return new EncryptionFilter(below, context.service(SectorCipher.class));
  }
}
