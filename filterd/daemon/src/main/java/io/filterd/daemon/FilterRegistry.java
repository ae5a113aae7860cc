package io.filterd.daemon;

import io.filterd.filter.FilterFactory;
import io.filterd.filter.FilterParameter;
import io.filterd.policy.FilterCatalog;
import io.filterd.policy.FilterDescription;
import io.filterd.policy.ParameterDescription;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.ServiceLoader;

/** The filters there are: those that come with filterd, and others on the class path. */
final class FilterRegistry {
  static final String ENCRYPTION = "encryption";
  private static final String OWN_PACKAGES = "io.filterd.";

  private final Map<String, FilterFactory> byName = new LinkedHashMap<>();

  /** Finds them. */
  static FilterRegistry load() {
    FilterRegistry registry = new FilterRegistry();
    for (FilterFactory factory : ServiceLoader.load(FilterFactory.class)) {
      FilterFactory other = registry.byName.putIfAbsent(factory.name(), factory);
      if (other != null) {
        throw new IllegalStateException(
            "filter "
                + factory.name()
                + ": stands twice on the class path ("
                + other.getClass().getName()
                + ", "
                + factory.getClass().getName()
                + ")");
      }
    }
    return registry;
  }

  FilterFactory get(String name) {
    FilterFactory factory = byName.get(name);
    if (factory == null) {
      throw new IllegalStateException("filter " + name + ": not on the class path");
    }
    return factory;
  }

  /** What policies are checked against. */
  FilterCatalog catalog() {
    return new FilterCatalog(byName.values().stream().map(FilterRegistry::description).toList());
  }

  @SuppressWarnings("EnumOrdinal") // The order of the constants is the order of the pipeline.
  private static FilterDescription description(FilterFactory factory) {
    List<ParameterDescription> parameters =
        factory.parameters().stream().map(FilterRegistry::description).toList();
    return new FilterDescription(
        factory.name(),
        factory.filterClass().name(),
        factory.filterClass().ordinal(),
        factory.filterClass().seesPlaintext(),
        factory.getClass().getName().startsWith(OWN_PACKAGES),
        parameters);
  }

  private static ParameterDescription description(FilterParameter parameter) {
    ParameterDescription.Type type =
        switch (parameter.type()) {
          case COUNT -> ParameterDescription.Type.COUNT;
          case BYTES -> ParameterDescription.Type.BYTES;
          case BYTES_PER_SECOND -> ParameterDescription.Type.BYTES_PER_SECOND;
          case OPERATIONS_PER_SECOND -> ParameterDescription.Type.OPERATIONS_PER_SECOND;
          case DURATION -> ParameterDescription.Type.DURATION;
          case SWITCH -> ParameterDescription.Type.SWITCH;
          case TEXT -> ParameterDescription.Type.TEXT;
        };
    return new ParameterDescription(
        parameter.name(), type, parameter.defaultText(), parameter.minimum(), parameter.maximum());
  }
}
