package io.filterd.daemon;

import java.time.Duration;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Tells how far the opening of many disks is, now and then. Safe for many threads. */
final class OpeningReport {
  private static final Logger LOG = LoggerFactory.getLogger(OpeningReport.class);
  private static final Duration EVERY = Duration.ofSeconds(2);

  private final int total;
  private final long begunNanos = System.nanoTime();

  // Guarded by this.
  private int done;
  private long toldNanos = begunNanos;

  /** Of so many disks, from now on. */
  OpeningReport(int total) {
    this.total = total;
  }

  /** One more was tried. */
  synchronized void done() {
    done++;
    long nanos = System.nanoTime();
    if (done == total) {
      LOG.info("disks={} attached or locked after {} ms", total, (nanos - begunNanos) / 1_000_000);
    } else if (nanos - toldNanos > EVERY.toNanos()) {
      toldNanos = nanos;
      LOG.info("disks={} of {} attached or locked", done, total);
    }
  }
}
