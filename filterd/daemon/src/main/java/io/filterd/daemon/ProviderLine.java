package io.filterd.daemon;

import io.filterd.inventory.DiskName;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The disks that need a key provider to be opened. A few at a time have their turn. If the provider
 * does not answer, all others wait, and one is tried now and then, with pauses that grow to some
 * seconds; once it can be had, all have their turn again. Safe for many threads.
 */
final class ProviderLine implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(ProviderLine.class);

  /** How many disks have their turn at a time. */
  static final int AT_ONCE = 4;

  private static final Duration FIRST_PAUSE = Duration.ofMillis(500);

  /** With what is added at random, and the try itself, well below ten seconds. */
  private static final Duration LONGEST_PAUSE = Duration.ofSeconds(4);

  /** For what only an operator can change. */
  static final Duration LONG_PAUSE = Duration.ofMinutes(2);

  private static final SecureRandom RANDOM = new SecureRandom();

  /** Tries to open disks, and hears what came of it. */
  interface Opener {
    /** Tries to open a disk. Never throws. */
    Outcome open(DiskName disk);

    /** A disk could not be opened for want of a provider; it waits. */
    void waits(DiskName disk, Outcome why);

    /** A disk could not be opened, for a reason of its own. */
    void failed(DiskName disk, Outcome why);

    /** The line of another provider. */
    ProviderLine line(String provider);
  }

  /** What came of trying to open a disk. */
  enum Result {
    ATTACHED,
    /** It was detached, or locked by command. */
    GONE,
    /** The provider does not answer: so it is for all disks that need it. */
    PROVIDER_AWAY,
    /** The provider can't be opened, and only an operator can change that. */
    PROVIDER_REFUSED,
    /** The key can't be had, or is another one. */
    KEY,
    /** Something else, mostly with files. */
    OTHER
  }

  /**
   * What came of trying to open a disk.
   *
   * @param provider the provider that it is about; empty if it is about none
   * @param reason why it could not be opened; empty if it could
   */
  record Outcome(Result result, String provider, String reason) {
    static Outcome of(Result result) {
      return new Outcome(result, "", "");
    }

    boolean isAboutProvider() {
      return result == Result.PROVIDER_AWAY || result == Result.PROVIDER_REFUSED;
    }
  }

  /**
   * One disk's turn.
   *
   * @param forced whether it is tried even if the provider did not answer before it was asked for
   */
  record Turn(DiskName disk, boolean forced, long askedNanos, CompletableFuture<Void> tried) {
    static Turn of(DiskName disk, boolean forced) {
      return new Turn(disk, forced, System.nanoTime(), new CompletableFuture<>());
    }
  }

  private final String provider;
  private final Opener opener;
  private final ScheduledExecutorService timer;
  private final ExecutorService workers;

  // All guarded by this.
  private final LinkedHashSet<DiskName> waiting = new LinkedHashSet<>();
  private @Nullable Outcome away;
  private long awayNanos;
  private Duration pause = FIRST_PAUSE;
  private boolean retryIsSet;

  ProviderLine(String provider, Opener opener, ScheduledExecutorService timer) {
    this.provider = provider;
    this.opener = opener;
    this.timer = timer;
    this.workers =
        Executors.newFixedThreadPool(
            AT_ONCE, Thread.ofPlatform().daemon().name("attach-", 0).factory());
  }

  /** How many disks wait for the provider. */
  synchronized int waiting() {
    return waiting.size();
  }

  /** Why the provider can't be asked, if it can't. */
  synchronized Optional<Outcome> away() {
    return Optional.ofNullable(away);
  }

  /** Lets a disk have its turn. */
  void add(Turn turn) {
    try {
      workers.execute(() -> run(turn));
    } catch (RejectedExecutionException closed) {
      turn.tried().complete(null);
    }
  }

  private void run(Turn turn) {
    try {
      Outcome known = knownFor(turn);
      if (known != null) {
        park(turn.disk(), known, false);
      } else {
        settle(turn.disk(), opener.open(turn.disk()));
      }
    } finally {
      turn.tried().complete(null);
    }
  }

  private synchronized @Nullable Outcome knownFor(Turn turn) {
    boolean known = away != null && (!turn.forced() || awayNanos - turn.askedNanos() > 0);
    return known ? away : null;
  }

  private void settle(DiskName disk, Outcome outcome) {
    if (outcome.isAboutProvider()) {
      opener.line(outcome.provider()).park(disk, outcome, true);
      if (!outcome.provider().equals(provider)) {
        back();
      }
      return;
    }
    if (outcome.result() == Result.KEY || outcome.result() == Result.OTHER) {
      opener.failed(disk, outcome);
    }
    if (outcome.result() != Result.GONE && outcome.result() != Result.OTHER) {
      back(); // It gave a key, or said that it has none.
    }
  }

  /** Lets a disk wait for the provider. */
  private void park(DiskName disk, Outcome why, boolean asked) {
    boolean changed;
    synchronized (this) {
      if (!asked && away == null) { // It has come back meanwhile.
        add(Turn.of(disk, false));
        return;
      }
      waiting.remove(disk);
      waiting.add(disk); // Behind those that were not tried for longer.
      changed = !why.equals(away);
      if (asked) {
        away = why;
        awayNanos = System.nanoTime();
      }
      if (!retryIsSet) {
        setRetry(why);
      }
    }
    if (changed && asked) {
      LOG.error("provider={} can't be asked, its disks wait: {}", provider, why.reason());
    }
    opener.waits(disk, why);
  }

  // Guarded by this.
  private void setRetry(Outcome why) {
    long millis;
    if (why.result() == Result.PROVIDER_REFUSED) {
      millis = LONG_PAUSE.toMillis();
    } else {
      millis = pause.toMillis();
      pause =
          pause.multipliedBy(2).compareTo(LONGEST_PAUSE) < 0
              ? pause.multipliedBy(2)
              : LONGEST_PAUSE;
    }
    // Not all hosts at once.
    long spread = RANDOM.nextLong(millis / 4 + 1);
    try {
      var _ = timer.schedule(this::retry, millis + spread, TimeUnit.MILLISECONDS);
      retryIsSet = true;
    } catch (RejectedExecutionException closed) {
      LOG.debug("provider={}: no more tries", provider);
    }
  }

  private void retry() {
    try {
      workers.execute(this::tryOne);
    } catch (RejectedExecutionException closed) {
      LOG.debug("provider={}: no more tries", provider);
    }
  }

  private void tryOne() {
    DiskName disk;
    synchronized (this) {
      retryIsSet = false;
      if (waiting.isEmpty()) {
        away = null;
        return;
      }
      disk = waiting.removeFirst();
    }
    Outcome outcome = opener.open(disk);
    settle(disk, outcome);
    synchronized (this) {
      // It said nothing of the provider: the next one may.
      if (away != null && !retryIsSet && !waiting.isEmpty()) {
        setRetry(away);
      }
    }
  }

  /** The provider answers: all who wait have their turn. */
  private void back() {
    List<DiskName> all;
    synchronized (this) {
      if (away == null) {
        return;
      }
      away = null;
      pause = FIRST_PAUSE;
      all = List.copyOf(waiting);
      waiting.clear();
    }
    LOG.info("provider={} answers again: disks={} have their turn", provider, all.size());
    OpeningReport report = new OpeningReport(all.size());
    for (DiskName disk : all) {
      Turn turn = Turn.of(disk, false);
      var _ = turn.tried().thenRun(report::done);
      add(turn);
    }
  }

  /** Ends: who has not had its turn gets none. */
  @Override
  public void close() {
    workers.shutdownNow();
  }

  /** Waits for those whose turn it is; whether they are done in time. */
  boolean awaitEnd(Duration patience) throws InterruptedException {
    return workers.awaitTermination(patience.toMillis(), TimeUnit.MILLISECONDS);
  }
}
