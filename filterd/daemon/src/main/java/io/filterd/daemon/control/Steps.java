package io.filterd.daemon.control;

import java.io.IOException;
import org.jspecify.annotations.Nullable;

/**
 * Tells a client how far its call is, by a thread of its own: one that does not read must not keep
 * the work from going on, nor whoever waits for that. Of steps that come faster than they can be
 * sent the last one counts. Used by one thread.
 */
final class Steps implements Progress, AutoCloseable {
  /** Sends a step; may block for as long as the client does not read. */
  @FunctionalInterface
  interface Sender {
    void send(Requests.Step step) throws IOException;
  }

  private final Sender sender;
  private @Nullable Thread thread;

  // The rest is shared with that thread.
  private volatile boolean gone;
  private Requests.@Nullable Step next;
  private boolean ended;

  Steps(Sender sender) {
    this.sender = sender;
  }

  @Override
  public boolean at(long doneBytes, long totalBytes) {
    if (thread == null) { // Most calls have no steps.
      thread = Thread.ofPlatform().daemon().name("control-steps").start(this::send);
    }
    synchronized (this) {
      next = new Requests.Step(doneBytes, totalBytes);
      notifyAll();
    }
    return !gone;
  }

  private void send() {
    try {
      for (Requests.Step step = take(); step != null; step = take()) {
        sender.send(step);
      }
    } catch (IOException nobodyListens) {
      gone = true;
    } catch (InterruptedException never) {
      Thread.currentThread().interrupt();
    }
  }

  /** The next step to send; null after the last. */
  private synchronized Requests.@Nullable Step take() throws InterruptedException {
    while (next == null && !ended) {
      wait();
    }
    Requests.Step step = next;
    next = null;
    return step;
  }

  /** Waits until the last step is sent, or the client is gone. */
  @Override
  public void close() {
    synchronized (this) {
      ended = true;
      notifyAll();
    }
    if (thread == null) {
      return;
    }
    try {
      thread.join();
    } catch (InterruptedException stop) {
      Thread.currentThread().interrupt();
    }
  }
}
