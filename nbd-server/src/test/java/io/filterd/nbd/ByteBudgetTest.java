package io.filterd.nbd;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

final class ByteBudgetTest {
  private final ByteBudget budget = new ByteBudget(100);
  private final List<String> granted = new ArrayList<>();

  private ByteBudget.Claim claim(String name) {
    return new ByteBudget.Claim(() -> granted.add(name));
  }

  @Test
  void givesWhatIsThere() {
    assertThat(budget.take(claim("a"), 60)).isTrue();
    assertThat(budget.take(claim("b"), 40)).isTrue();
    assertThat(budget.leftBytes()).isZero();
    assertThat(budget.contended()).isFalse();
    assertThat(granted).isEmpty();
  }

  @Test
  void servesThoseWhoWaitInOrder() {
    assertThat(budget.take(claim("a"), 90)).isTrue();
    assertThat(budget.take(claim("b"), 50)).isFalse();
    // Though there is enough for this one: or the other would wait forever.
    assertThat(budget.take(claim("c"), 5)).isFalse();
    assertThat(budget.contended()).isTrue();

    budget.give(30);
    assertThat(granted).isEmpty();
    budget.give(60);

    assertThat(granted).containsExactly("b", "c");
    assertThat(budget.leftBytes()).isEqualTo(45);
    assertThat(budget.contended()).isFalse();
  }

  @Test
  void letsAClaimBeTakenBack() {
    ByteBudget.Claim b = claim("b");
    assertThat(budget.take(claim("a"), 90)).isTrue();
    assertThat(budget.take(b, 50)).isFalse();
    assertThat(budget.take(claim("c"), 10)).isFalse();

    assertThat(budget.cancel(b)).isTrue();

    assertThat(granted).containsExactly("c");
    assertThat(budget.cancel(b)).isFalse();
  }

  @Test
  void losesNothingAmongManyThreads() throws InterruptedException {
    ByteBudget shared = new ByteBudget(1000);
    List<Thread> threads = new ArrayList<>();
    for (int i = 0; i < 8; i++) {
      long seed = i;
      threads.add(Thread.ofPlatform().start(() -> takeAndGive(shared, seed)));
    }
    for (Thread thread : threads) {
      thread.join(TimeUnit.SECONDS.toMillis(30));
      assertThat(thread.isAlive()).isFalse();
    }

    assertThat(shared.leftBytes()).isEqualTo(1000);
    assertThat(shared.contended()).isFalse();
  }

  private static void takeAndGive(ByteBudget shared, long seed) {
    SplittableRandom random = new SplittableRandom(seed);
    Semaphore grants = new Semaphore(0);
    ByteBudget.Claim claim = new ByteBudget.Claim(grants::release);
    for (int i = 0; i < 5000; i++) {
      int bytes = 1 + random.nextInt(600);
      if (!shared.take(claim, bytes)) {
        if (random.nextBoolean() && shared.cancel(claim)) {
          continue;
        }
        grants.acquireUninterruptibly();
      }
      Thread.onSpinWait();
      shared.give(bytes);
    }
  }
}
