package io.filterd.kmip.net;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.Socket;
import java.time.Duration;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;

/**
 * Ends whatever blocks on a socket when its time is over, by closing the socket.
 *
 * <p>A socket's own read timeout begins anew with each byte and there is none for writing, so
 * neither stops a peer that trickles or reads nothing.
 */
final class Watchdog implements AutoCloseable {
  /** One thread for all; what it runs never blocks. */
  private static final ScheduledThreadPoolExecutor TIMER = timer();

  private enum State {
    ARMED,
    DONE,
    EXPIRED
  }

  private final AtomicReference<State> state = new AtomicReference<>(State.ARMED);
  private final Future<?> alarm;

  private Watchdog(Socket socket, Duration limit) {
    this.alarm = after(limit, () -> expire(socket));
  }

  /** Closes {@code socket} unless the watchdog is closed within {@code limit}. */
  static Watchdog over(Socket socket, Duration limit) {
    return new Watchdog(socket, limit);
  }

  /** Runs {@code task}, which must not block, after {@code delay}. */
  static Future<?> after(Duration delay, Runnable task) {
    return TIMER.schedule(task, delay.toNanos(), TimeUnit.NANOSECONDS);
  }

  private static ScheduledThreadPoolExecutor timer() {
    ScheduledThreadPoolExecutor timer =
        new ScheduledThreadPoolExecutor(
            1, Thread.ofPlatform().name("kmip-timer").daemon().factory());
    timer.setRemoveOnCancelPolicy(true);
    return timer;
  }

  private void expire(Socket socket) {
    if (state.compareAndSet(State.ARMED, State.EXPIRED)) {
      try {
        socket.close();
      } catch (IOException e) {
        throw new UncheckedIOException("socket: not closable after its time", e);
      }
    }
  }

  /** Calls the alarm off; returns whether it came in time. */
  boolean inTime() {
    state.compareAndSet(State.ARMED, State.DONE);
    alarm.cancel(false);
    return state.get() == State.DONE;
  }

  @Override
  public void close() {
    inTime();
  }
}
