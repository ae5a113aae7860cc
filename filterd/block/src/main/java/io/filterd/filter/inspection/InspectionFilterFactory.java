package io.filterd.filter.inspection;

import io.filterd.block.BlockDevice;
import io.filterd.filter.FilterClass;
import io.filterd.filter.FilterContext;
import io.filterd.filter.FilterFactory;
import io.filterd.filter.FilterParameter;
import java.util.List;

/** Makes inspection filters. */
public final class InspectionFilterFactory implements FilterFactory {
  @Override
  public String name() {
    return "inspection";
  }

  @Override
  public FilterClass filterClass() {
    return FilterClass.INSPECTION;
  }

  @Override
  public String description() {
    return "Counts and times every operation.";
  }

  @Override
  public List<FilterParameter> parameters() {
    return List.of();
  }

  @Override
  public BlockDevice create(FilterContext context, BlockDevice below) {
    return new InspectionFilter(below, System::nanoTime);
  }
}
