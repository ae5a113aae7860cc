package io.filterd.daemon.cli;

import io.filterd.daemon.control.Results;
import java.util.List;

/** How long the requests of one kind took, as bars of text. */
final class Histogram {
  private static final int BAR_CHARACTERS = 40;

  private final Results.Latencies latencies;

  Histogram(Results.Latencies latencies) {
    this.latencies = latencies;
  }

  /** A line of figures, then one line for each bucket from the first that is used to the last. */
  @Override
  public String toString() {
    String end = System.lineSeparator();
    StringBuilder out = new StringBuilder(end);
    out.append(latencies.command())
        .append(": ")
        .append(latencies.requests())
        .append(" requests, mean ")
        .append(Times.ofMicros(latencies.meanMicros()))
        .append(", half of them up to ")
        .append(Times.ofMicros(latencies.medianMicros()))
        .append(", 99% up to ")
        .append(Times.ofMicros(latencies.p99Micros()))
        .append(end);
    List<Results.Bucket> buckets = latencies.histogram();
    long largest = 1;
    int first = buckets.size();
    int last = -1;
    for (int i = 0; i < buckets.size(); i++) {
      long count = buckets.get(i).requests();
      if (count > 0) {
        first = Math.min(first, i);
        last = i;
        largest = Math.max(largest, count);
      }
    }
    for (int i = first; i <= last; i++) {
      Results.Bucket bucket = buckets.get(i);
      Long limit = bucket.lessThanMicros();
      // What there is at all shows.
      int bar = (int) Math.ceilDiv(bucket.requests() * BAR_CHARACTERS, largest);
      out.append(
          "  %10s %10d %s"
              .formatted(
                  limit == null ? "longer" : "< " + Times.ofMicros(limit),
                  bucket.requests(),
                  "#".repeat(bar))
              .stripTrailing());
      out.append(end);
    }
    return out.toString();
  }
}
