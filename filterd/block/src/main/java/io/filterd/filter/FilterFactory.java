package io.filterd.filter;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import java.util.List;

/** Makes filters of one kind. Found by {@link java.util.ServiceLoader}. Safe for many threads. */
public interface FilterFactory {
  /** The name used in storage policies: lower case letters, digits and hyphens. */
  String name();

  /** The filter's place in the pipeline. */
  FilterClass filterClass();

  /** One sentence for people: what the filter does. */
  String description();

  /** The parameters a policy may give. */
  List<FilterParameter> parameters();

  /**
   * Puts a filter in front of {@code below}. The filter owns {@code below} once this returns, not
   * if it throws.
   */
  BlockDevice create(FilterContext context, BlockDevice below) throws BlockException;
}
