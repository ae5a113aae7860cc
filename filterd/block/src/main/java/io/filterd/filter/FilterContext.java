package io.filterd.filter;

/** What the house gives a filter when it is put into a pipeline. */
public interface FilterContext {
  /** The disk the pipeline belongs to, for messages: {@code vm1/disk0}. */
  String disk();

  /** The values that the storage policy gives. */
  FilterSettings settings();

  /**
   * A service of the house for this place in the pipeline, for example the cipher of a link.
   *
   * @throws IllegalArgumentException if there is none of this type here
   */
  <T> T service(Class<T> type);
}
