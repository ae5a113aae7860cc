package io.filterd.nbd;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * Platform threads for requests that block or are long, made when they are first needed.
 *
 * <p>Every export has a lane, and every lane may use two threads, whatever the others do. Of those
 * that all share, a lane may use as many as are free: one slow device gets half of them, two get a
 * third each. Within a lane, tasks start in the order in which they came. Safe for many threads.
 */
final class Workers {
  /** Something to do, in one lane at a time. Linked into its lane, so that it costs no garbage. */
  abstract static class Task {
    private @Nullable Task next;

    /** Does it. An Error that comes out of it costs the thread, nothing else. */
    abstract void run();
  }

  /** The tasks of one export. */
  static final class Lane {
    private final String name;
    private int users;
    private @Nullable Task first;
    private @Nullable Task last;
    private int running;

    private Lane(String name) {
      this.name = name;
    }
  }

  /** What a lane has, however slow the others are. */
  private static final int OWN_THREADS = 2;

  private final int sharedThreads;

  /** Guards everything below, and what is in the lanes. No other lock is taken under it. */
  private final ReentrantLock lock = new ReentrantLock();

  private final Condition work = lock.newCondition();
  private final Map<String, Lane> lanes = new HashMap<>();

  /** Lanes with tasks that have not started, the one that was served last at the end. */
  private final ArrayDeque<Lane> waiting = new ArrayDeque<>();

  private final List<Thread> threads = new ArrayList<>();
  private int started;
  private int busy;
  private int idle;
  private boolean stopped;

  Workers(int sharedThreads) {
    this.sharedThreads = sharedThreads;
  }

  /** The lane of this name, for as long as the caller does not {@link #leave} it. */
  Lane lane(String name) {
    lock.lock();
    try {
      Lane lane = lanes.computeIfAbsent(name, Lane::new);
      lane.users++;
      return lane;
    } finally {
      lock.unlock();
    }
  }

  /** Gives up the use of a lane; its tasks have been run by then. */
  void leave(Lane lane) {
    lock.lock();
    try {
      if (--lane.users == 0) {
        lanes.remove(lane.name);
        work.signalAll(); // There may be too many threads now.
      }
    } finally {
      lock.unlock();
    }
  }

  /** Has a task run by one of the threads, some time. */
  void submit(Lane lane, Task task) {
    lock.lock();
    try {
      Task last = lane.last;
      if (last == null) {
        lane.first = task;
        waiting.addLast(lane);
      } else {
        last.next = task;
      }
      lane.last = task;
      if (mayStart(lane)) {
        wakeOne();
      }
    } finally {
      lock.unlock();
    }
  }

  /** What this thread leaves behind may be able to start, now or since the last task ended. */
  private void wakeForTheRest() {
    for (Lane lane : waiting) {
      if (mayStart(lane)) {
        wakeOne();
        return;
      }
    }
  }

  private boolean mayStart(Lane lane) {
    return lane.running < OWN_THREADS || lane.running < sharedThreads - busy;
  }

  private int mostThreads() {
    return sharedThreads + OWN_THREADS * lanes.size();
  }

  /** Has one more thread look for work. */
  private void wakeOne() {
    if (idle > 0) {
      work.signal();
    } else if (threads.size() < mostThreads() && !stopped) {
      Thread thread =
          Thread.ofPlatform().daemon().name("nbd-worker-" + ++started).unstarted(this::serve);
      threads.add(thread);
      thread.start();
    }
  }

  private void serve() {
    Lane lane = null;
    while (true) {
      Task task;
      lock.lock();
      try {
        if (lane != null) {
          lane.running--;
          busy--;
        }
        lane = nextLane();
        while (lane == null) {
          if (stopped || threads.size() > mostThreads()) {
            threads.remove(Thread.currentThread());
            return;
          }
          idle++;
          work.awaitUninterruptibly();
          idle--;
          lane = nextLane();
        }
        task = takeFrom(lane);
        wakeForTheRest();
      } finally {
        lock.unlock();
      }
      boolean survived = false;
      try {
        task.run();
        survived = true;
      } finally {
        if (!survived) {
          lose(lane);
        }
      }
    }
  }

  /** This thread ends with an Error: what it held is free for another one. */
  private void lose(Lane lane) {
    lock.lock();
    try {
      lane.running--;
      busy--;
      threads.remove(Thread.currentThread());
      wakeForTheRest();
    } finally {
      lock.unlock();
    }
  }

  /** The lane that waits longest of those that may use one more thread. */
  private @Nullable Lane nextLane() {
    for (int i = waiting.size(); i > 0; i--) {
      Lane lane = waiting.removeFirst();
      if (mayStart(lane)) {
        return lane;
      }
      waiting.addLast(lane);
    }
    return null;
  }

  private Task takeFrom(Lane lane) {
    Task task = lane.first;
    if (task == null) {
      throw new IllegalStateException("lane " + lane.name + ": waits without a task");
    }
    lane.first = task.next;
    task.next = null;
    if (lane.first == null) {
      lane.last = null;
    } else {
      waiting.addLast(lane);
    }
    lane.running++;
    busy++;
    return task;
  }

  /** Lets the threads end when there is no more work. */
  void stop() {
    lock.lock();
    try {
      stopped = true;
      work.signalAll();
    } finally {
      lock.unlock();
    }
  }

  /** Waits for the threads to end, after {@link #stop}; false if that took too long. */
  boolean awaitEnd(long timeoutNanos) throws InterruptedException {
    List<Thread> ending;
    lock.lock();
    try {
      ending = List.copyOf(threads);
    } finally {
      lock.unlock();
    }
    long deadline = System.nanoTime() + timeoutNanos;
    for (Thread thread : ending) {
      TimeUnit.NANOSECONDS.timedJoin(thread, Math.max(1, deadline - System.nanoTime()));
      if (thread.isAlive()) {
        return false;
      }
    }
    return true;
  }
}
