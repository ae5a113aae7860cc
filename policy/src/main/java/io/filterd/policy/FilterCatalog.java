package io.filterd.policy;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.Collectors;

/** The filters that a policy may name. Immutable. */
public final class FilterCatalog {
  private final Map<String, FilterDescription> byName;

  /** A catalogue of these filters; their names differ. */
  public FilterCatalog(List<FilterDescription> filters) {
    byName =
        filters.stream()
            .collect(Collectors.toUnmodifiableMap(FilterDescription::name, Function.identity()));
  }

  /** The filter of this name. */
  public Optional<FilterDescription> find(String name) {
    return Optional.ofNullable(byName.get(name));
  }

  /** The names that a policy's list of filters may hold, sorted. */
  public List<String> names() {
    return byName.values().stream()
        .filter(filter -> !filter.filterClass().equals(FilterDescription.ENCRYPTION))
        .map(FilterDescription::name)
        .sorted()
        .toList();
  }
}
