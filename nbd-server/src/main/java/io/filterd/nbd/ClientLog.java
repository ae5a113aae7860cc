package io.filterd.nbd;

import io.netty.channel.Channel;
import io.netty.util.AttributeKey;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.LongSupplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The log lines about bad clients of one listener: each connection is named once, and no more than
 * so many a minute, so that nobody fills the log by being bad often. How many were left out is said
 * at the end of that minute. Safe for many threads.
 */
final class ClientLog {
  private static final Logger LOG = LoggerFactory.getLogger(ClientLog.class);
  private static final long MINUTE_NANOS = TimeUnit.MINUTES.toNanos(1);
  private static final AttributeKey<Boolean> NAMED = AttributeKey.valueOf(ClientLog.class, "named");

  private final int linesPerMinute;
  private final LongSupplier nanoTime;
  private final Consumer<String> out;

  // Guarded by this.
  private long minuteBeganNanos;
  private int lines;
  private int leftOut;

  ClientLog(int linesPerMinute) {
    this(linesPerMinute, System::nanoTime, LOG::warn);
  }

  /** With another clock and another place for the lines. */
  ClientLog(int linesPerMinute, LongSupplier nanoTime, Consumer<String> out) {
    this.linesPerMinute = linesPerMinute;
    this.nanoTime = nanoTime;
    this.out = out;
    this.minuteBeganNanos = nanoTime.getAsLong();
  }

  /** Names a client, and what it broke, unless that was done for this connection before. */
  void broke(Channel connection, String line) {
    if (connection.attr(NAMED).setIfAbsent(Boolean.TRUE) == null) {
      write(connection, line);
    } else {
      LOG.debug("{}", line);
    }
  }

  @SuppressWarnings("FutureReturnValueIgnored") // It only writes a line.
  private void write(Channel connection, String line) {
    long restNanos;
    synchronized (this) {
      tellIfOver();
      if (lines < linesPerMinute) {
        lines++;
        out.accept(line);
        return;
      }
      if (leftOut++ > 0) {
        return; // Somebody tells already.
      }
      restNanos = MINUTE_NANOS - (nanoTime.getAsLong() - minuteBeganNanos);
    }
    try {
      connection
          .eventLoop()
          .schedule(this::tellIfOver, Math.max(1, restNanos), TimeUnit.NANOSECONDS);
    } catch (RejectedExecutionException stopped) {
      LOG.debug("server stopped");
    }
  }

  // Lines are written under the lock, so that they come in their order.
  private synchronized void tellIfOver() {
    long now = nanoTime.getAsLong();
    if (now - minuteBeganNanos < MINUTE_NANOS) {
      return;
    }
    if (leftOut > 0) {
      out.accept(leftOut + " more lines about bad clients were left out");
    }
    minuteBeganNanos = now;
    lines = 0;
    leftOut = 0;
  }
}
