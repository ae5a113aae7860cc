package io.filterd.filter.inspection;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.atomic.LongAdder;

/** What is counted of one kind of operation. No lock and no garbage; safe for many threads. */
final class OperationFigures {
  /** How a call ended. */
  enum Outcome {
    DONE,
    WOULD_BLOCK,
    FAILED
  }

  private final LongAdder started = new LongAdder();
  private final LongAdder bytes = new LongAdder();
  private final LongAdder failures = new LongAdder();
  private final LongAdder tries = new LongAdder();
  private final LatencyHistogram latency = new LatencyHistogram();

  void started() {
    started.increment();
  }

  void ended(Outcome outcome, long lengthBytes, long nanos) {
    switch (outcome) {
      case DONE -> {
        bytes.add(lengthBytes);
        latency.record(nanos);
      }
      case WOULD_BLOCK -> tries.increment();
      case FAILED -> failures.increment();
    }
  }

  Map<String, Object> report() {
    LatencyHistogram.Snapshot times = latency.snapshot();
    long failed = failures.sum();
    // What started is counted last: a call that ends meanwhile is in flight, never less than none.
    long ended = times.count() + failed + tries.sum();
    Map<String, Object> report = new LinkedHashMap<>();
    report.put("count", times.count());
    report.put("bytes", bytes.sum());
    report.put("failures", failed);
    report.put("inFlight", started.sum() - ended);
    report.put("latencyP50Nanos", times.percentileNanos(500));
    report.put("latencyP90Nanos", times.percentileNanos(900));
    report.put("latencyP99Nanos", times.percentileNanos(990));
    report.put("latencyP999Nanos", times.percentileNanos(999));
    report.put("latencyMaxNanos", times.maximumNanos());
    return report;
  }
}
