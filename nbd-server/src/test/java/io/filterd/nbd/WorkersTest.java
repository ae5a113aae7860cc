package io.filterd.nbd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

final class WorkersTest {
  private static final int THREADS = 8;

  private final Workers workers = new Workers(THREADS);
  private final CountDownLatch latch = new CountDownLatch(1);

  @AfterEach
  void ends() throws InterruptedException {
    latch.countDown();
    workers.stop();
    assertThat(workers.awaitEnd(TimeUnit.SECONDS.toNanos(10))).isTrue();
  }

  private static Workers.Task task(Runnable work) {
    return new Workers.Task() {
      @Override
      void run() {
        work.run();
      }
    };
  }

  private void hold(AtomicInteger held) {
    held.incrementAndGet();
    try {
      assertThat(latch.await(20, TimeUnit.SECONDS)).isTrue();
    } catch (InterruptedException stop) {
      Thread.currentThread().interrupt();
    }
  }

  @Test
  void givesAHeldLaneHalfOfTheThreads() {
    Workers.Lane held = workers.lane("held");
    AtomicInteger running = new AtomicInteger();
    for (int i = 0; i < 100; i++) {
      workers.submit(held, task(() -> hold(running)));
    }

    await().until(() -> running.get() == THREADS / 2);
    AtomicInteger done = new AtomicInteger();
    Workers.Lane other = workers.lane("other");
    for (int i = 0; i < 1000; i++) {
      workers.submit(other, task(done::incrementAndGet));
    }
    await().until(() -> done.get() == 1000);
    assertThat(running).hasValue(THREADS / 2);
  }

  @Test
  void leavesThreadsForOneMoreLaneHoweverManyAreHeld() {
    List<AtomicInteger> running = new ArrayList<>();
    for (int lane = 0; lane < 50; lane++) {
      AtomicInteger held = new AtomicInteger();
      running.add(held);
      Workers.Lane each = workers.lane("held" + lane);
      for (int i = 0; i < 50; i++) {
        workers.submit(each, task(() -> hold(held)));
      }
    }
    await().until(() -> running.stream().allMatch(held -> held.get() >= 2));
    AtomicInteger done = new AtomicInteger();
    Workers.Lane other = workers.lane("other");
    for (int i = 0; i < 100; i++) {
      workers.submit(other, task(done::incrementAndGet));
    }

    await().until(() -> done.get() == 100);
  }

  @Test
  void runsEverythingWhenTheHeldLaneGoesOn() {
    Workers.Lane lane = workers.lane("a");
    AtomicInteger running = new AtomicInteger();
    for (int i = 0; i < 100; i++) {
      workers.submit(lane, task(() -> hold(running)));
    }
    latch.countDown();

    await().until(() -> running.get() == 100);
  }

  @Test
  void losesNoThreadToAnError() {
    Workers.Lane lane = workers.lane("a");
    for (int i = 0; i < 10 * THREADS; i++) {
      workers.submit(
          lane,
          task(
              () -> {
                throw new StackOverflowError("injected");
              }));
    }
    AtomicInteger running = new AtomicInteger();
    for (int i = 0; i < THREADS; i++) {
      workers.submit(lane, task(() -> hold(running)));
    }

    // The injected ones are seen to by the JVM.
    await().dontCatchUncaughtExceptions().until(() -> running.get() >= THREADS / 2);
  }
}
