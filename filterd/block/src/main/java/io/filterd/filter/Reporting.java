package io.filterd.filter;

import java.util.Map;

/** A filter that has something to tell operators. */
public interface Reporting {
  /**
   * Figures of this moment, in the order they should be shown: numbers, texts, and maps of the
   * same. Names carry units ({@code latencyP99Nanos}). Safe for many threads; never a secret.
   */
  Map<String, Object> report();
}
