package io.filterd.nbd;

import static io.filterd.nbd.wire.Protocol.NBD_CMD_BLOCK_STATUS;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_READ;
import static io.filterd.nbd.wire.Protocol.NBD_CMD_WRITE;
import static io.filterd.nbd.wire.Protocol.NBD_OK;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLongArray;

/**
 * What one connection has asked for. Written by its event loop alone, without a lock, a fence or
 * garbage; read by anyone, each figure at about that moment.
 */
final class Figures {
  /** The last bucket has what takes longer than 16 s. */
  static final int BUCKETS = 26;

  private static final String[] NAMES = {
    "read", "write", "disc", "flush", "trim", "cache", "write-zeroes", "block-status"
  };

  // Places of the connection's own figures; those of its commands follow.
  private static final int REQUESTS = 0;
  private static final int ERRORS = 1;
  private static final int BYTES_READ = 2;
  private static final int BYTES_WRITTEN = 3;
  private static final int IN_FLIGHT = 4;
  private static final int LAST_NANOS = 5;
  private static final int COMMANDS = 8;

  /** What a command has: the sum of its times, then its buckets. */
  private static final int STRIDE = BUCKETS + 1;

  private final AtomicLongArray figures = new AtomicLongArray(COMMANDS + NAMES.length * STRIDE);
  private final long sinceNanos = System.nanoTime();

  Figures() {
    figures.setOpaque(LAST_NANOS, sinceNanos);
  }

  /** Counts a request that is answered now, and began at {@code beganNanos}. */
  void answered(int command, int error, long lengthBytes, long beganNanos) {
    long now = System.nanoTime();
    figures.setOpaque(LAST_NANOS, now);
    add(REQUESTS, 1);
    if (error != NBD_OK) {
      add(ERRORS, 1);
    } else if (command == NBD_CMD_READ) {
      add(BYTES_READ, lengthBytes);
    } else if (command == NBD_CMD_WRITE) {
      add(BYTES_WRITTEN, lengthBytes);
    }
    if (command <= NBD_CMD_BLOCK_STATUS) {
      int place = COMMANDS + command * STRIDE;
      long nanos = now - beganNanos;
      add(place, nanos);
      add(place + 1 + bucket(nanos), 1);
    }
  }

  /** The number of requests that the workers have now. */
  void inFlight(int count) {
    figures.setOpaque(IN_FLIGHT, count);
  }

  private void add(int place, long count) {
    // There is one writer: nothing comes in between.
    figures.setOpaque(place, figures.getPlain(place) + count);
  }

  /** Less than 1, 2, 4 ... microseconds of 1000 ns. */
  static int bucket(long nanos) {
    return Math.min(Long.SIZE - Long.numberOfLeadingZeros(nanos / 1000), BUCKETS - 1);
  }

  long requests() {
    return figures.getOpaque(REQUESTS);
  }

  long errors() {
    return figures.getOpaque(ERRORS);
  }

  long bytesRead() {
    return figures.getOpaque(BYTES_READ);
  }

  long bytesWritten() {
    return figures.getOpaque(BYTES_WRITTEN);
  }

  int inFlight() {
    return (int) figures.getOpaque(IN_FLIGHT);
  }

  long ageMillis() {
    return TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - sinceNanos);
  }

  /** Since when nothing was answered. */
  long idleMillis() {
    return TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - figures.getOpaque(LAST_NANOS));
  }

  /** The commands that there were, in the order of their numbers. */
  List<CommandFigures> commands() {
    List<CommandFigures> commands = new ArrayList<>();
    for (int command = 0; command < NAMES.length; command++) {
      int place = COMMANDS + command * STRIDE;
      List<Long> buckets = new ArrayList<>(BUCKETS);
      long requests = 0;
      for (int i = 0; i < BUCKETS; i++) {
        long count = figures.getOpaque(place + 1 + i);
        requests += count;
        buckets.add(count);
      }
      if (requests > 0) {
        commands.add(
            new CommandFigures(NAMES[command], requests, figures.getOpaque(place), buckets));
      }
    }
    return commands;
  }
}
