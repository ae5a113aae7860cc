package io.filterd.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.daemon.ProviderLine.Outcome;
import io.filterd.daemon.ProviderLine.Result;
import io.filterd.daemon.ProviderLine.Turn;
import io.filterd.inventory.DiskName;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.atomic.AtomicInteger;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class ProviderLineTest {
  private static final int DISKS = 50;

  private final ScheduledExecutorService timer = Executors.newSingleThreadScheduledExecutor();

  /** Says of every disk what it was told to. */
  private final class Told implements ProviderLine.Opener {
    private final AtomicInteger asked = new AtomicInteger();
    private final AtomicInteger atOnce = new AtomicInteger();
    private final AtomicInteger mostAtOnce = new AtomicInteger();
    private final Set<DiskName> attached = ConcurrentHashMap.newKeySet();
    private final Set<DiskName> waiting = ConcurrentHashMap.newKeySet();
    private final Set<DiskName> failed = ConcurrentHashMap.newKeySet();
    private final Map<String, ProviderLine> lines = new ConcurrentHashMap<>();
    private volatile Outcome outcome;

    Told(Outcome outcome) {
      this.outcome = outcome;
    }

    @Override
    public Outcome open(DiskName disk) {
      mostAtOnce.accumulateAndGet(atOnce.incrementAndGet(), Math::max);
      asked.incrementAndGet();
      Outcome said = outcome;
      if (said.result() == Result.ATTACHED) {
        attached.add(disk);
      }
      atOnce.decrementAndGet();
      return said;
    }

    @Override
    public void waits(DiskName disk, Outcome why) {
      waiting.add(disk);
    }

    @Override
    public void failed(DiskName disk, Outcome why) {
      failed.add(disk);
    }

    @Override
    public ProviderLine line(String provider) {
      return lines.computeIfAbsent(provider, name -> new ProviderLine(name, this, timer));
    }
  }

  @AfterEach
  void stop() {
    timer.shutdownNow();
  }

  private static Outcome away(String provider) {
    return new Outcome(Result.PROVIDER_AWAY, provider, "told to fail");
  }

  private static void tryAll(ProviderLine line) {
    List<CompletableFuture<Void>> tries = new ArrayList<>();
    for (int i = 0; i < DISKS; i++) {
      Turn turn = Turn.of(new DiskName("vm", "disk" + i), false);
      line.add(turn);
      tries.add(turn.tried());
    }
    CompletableFuture.allOf(tries.toArray(CompletableFuture[]::new)).join();
  }

  @Test
  void asksAProviderThatIsAwayForOneDiskAndThenForAll() {
    Told told = new Told(away("kms"));
    try (ProviderLine line = told.line("kms")) {
      tryAll(line);
      assertThat(told.asked.get()).isLessThanOrEqualTo(2 * ProviderLine.AT_ONCE);
      assertThat(told.waiting).hasSize(DISKS);
      assertThat(line.away()).isPresent();

      told.outcome = Outcome.of(Result.ATTACHED);

      Awaitility.await()
          .atMost(Duration.ofSeconds(10))
          .untilAsserted(() -> assertThat(told.attached).hasSize(DISKS));
      assertThat(line.waiting()).isZero();
      assertThat(line.away()).isEmpty();
      assertThat(told.mostAtOnce.get()).isLessThanOrEqualTo(ProviderLine.AT_ONCE);
    }
  }

  @Test
  void asksAtOnceWhenItIsForcedTo() {
    Told told = new Told(new Outcome(Result.PROVIDER_REFUSED, "kms", "a wrong passphrase"));
    try (ProviderLine line = told.line("kms")) {
      tryAll(line);
      told.outcome = Outcome.of(Result.ATTACHED);

      Turn turn = Turn.of(new DiskName("vm", "disk7"), true);
      line.add(turn);
      turn.tried().join();

      assertThat(told.attached).contains(turn.disk());
      Awaitility.await()
          .atMost(Duration.ofSeconds(10))
          .untilAsserted(() -> assertThat(told.attached).hasSize(DISKS));
    }
  }

  @Test
  void letsADiskWaitForTheProviderThatItIsAbout() {
    Told told = new Told(away("other"));
    try (ProviderLine line = told.line("kms");
        ProviderLine other = told.line("other")) {
      tryAll(line);

      assertThat(line.waiting()).isZero();
      assertThat(line.away()).isEmpty();
      assertThat(other.waiting() + told.asked.get()).isGreaterThanOrEqualTo(DISKS);
      told.outcome = Outcome.of(Result.ATTACHED);
      Awaitility.await()
          .atMost(Duration.ofSeconds(10))
          .untilAsserted(() -> assertThat(told.attached).hasSize(DISKS));
    }
  }

  @Test
  void leavesAKeyThatIsMissingToItsDisk() {
    Told told = new Told(new Outcome(Result.KEY, "kms", "no such key"));
    try (ProviderLine line = told.line("kms")) {
      tryAll(line);

      assertThat(told.failed).hasSize(DISKS);
      assertThat(told.asked.get()).isEqualTo(DISKS);
      assertThat(line.waiting()).isZero();
      assertThat(line.away()).isEmpty();
    }
  }
}
