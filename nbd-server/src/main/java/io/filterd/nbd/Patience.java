package io.filterd.nbd;

import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * Finds out whether a client has stopped: in the middle of a request, or reading its replies. While
 * others wait for memory, a client that holds some of it has to take or send its data fast.
 * Event-loop thread only.
 */
final class Patience {
  /** How long a client may owe us something while others wait for the memory it holds. */
  static final long CONTENDED_STALL_NANOS = TimeUnit.SECONDS.toNanos(5);

  /** What it has to move in that time, so that dripping is no way to hold memory. */
  private static final long CONTENDED_LEAST_BYTES = 8 << 20;

  private final long stallNanos;
  private long lastProgressNanos = System.nanoTime();
  private long lastUnsentBytes;
  private long receivedBytes;
  private long queuedBytes;

  /** Since when others wait for memory while this client holds some; what it had moved then. */
  private long contendedSinceNanos;

  private long movedBefore;
  private boolean contended;

  /** Patience for so long. */
  Patience(long stallNanos) {
    this.stallNanos = stallNanos;
  }

  /** How often to look. */
  long periodNanos() {
    return Math.max(1, Math.min(stallNanos, CONTENDED_STALL_NANOS) / 2);
  }

  /** The client has sent something. */
  void received(int bytes) {
    receivedBytes += bytes;
    progress();
  }

  /** A reply was given to the socket. */
  void queued(int bytes) {
    queuedBytes += bytes;
  }

  /** The client does something. */
  void progress() {
    lastProgressNanos = System.nanoTime();
  }

  /** How long nothing has happened. */
  long idleNanos() {
    return System.nanoTime() - lastProgressNanos;
  }

  /**
   * Looks how the client does.
   *
   * @param owes whether it has begun a request and not sent all of it
   * @param busy whether requests are being worked on: then it may just wait
   * @param holds whether it holds some of the memory that all share
   * @param othersWait whether others wait for memory
   * @param unsentBytes what it has not read yet
   * @return what is wrong, if the client is not to be waited for any longer
   */
  @Nullable String look(
      boolean owes, boolean busy, boolean holds, boolean othersWait, long unsentBytes) {
    if (unsentBytes < lastUnsentBytes) {
      progress();
    }
    lastUnsentBytes = unsentBytes;
    long now = System.nanoTime();
    long limit = othersWait ? Math.min(stallNanos, CONTENDED_STALL_NANOS) : stallNanos;
    if ((owes || unsentBytes > 0) && !busy && now - lastProgressNanos > limit) {
      return unsentBytes > 0 ? "does not read its replies" : "stopped in the middle of a request";
    }
    return drips(holds && othersWait, receivedBytes + queuedBytes - unsentBytes, now)
        ? "holds memory that others wait for, and takes or sends its data too slowly"
        : null;
  }

  private boolean drips(boolean inTheWay, long movedBytes, long now) {
    if (!inTheWay) {
      contended = false;
      return false;
    }
    if (!contended || movedBytes - movedBefore >= CONTENDED_LEAST_BYTES) {
      contended = true;
      contendedSinceNanos = now;
      movedBefore = movedBytes;
      return false;
    }
    return now - contendedSinceNanos > CONTENDED_STALL_NANOS;
  }
}
