package io.filterd.daemon;

import io.filterd.block.BlockException;
import io.filterd.crypto.SecretMemoryException;
import io.filterd.daemon.DiskOpener.FetchException;
import io.filterd.daemon.ProviderLine.Outcome;
import io.filterd.daemon.ProviderLine.Result;
import io.filterd.daemon.ProviderLine.Turn;
import io.filterd.daemon.control.OperationException;
import io.filterd.inventory.DiskName;
import io.filterd.inventory.DiskRecord;
import io.filterd.inventory.Inventory;
import io.filterd.keys.KeyException;
import io.filterd.keys.KeyException.Reason;
import io.filterd.vmdk.EncryptionMetadata;
import io.filterd.vmdk.Locker;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Opens the disks that are to be served and are not: all of them when the daemon starts, and later
 * those that are <em>locked</em>, since something of theirs can't be had; and locks disks by
 * command. Safe for many threads.
 */
final class LockedDisks implements ProviderLine.Opener, AutoCloseable {
  /** Why a disk is locked that was locked by command. */
  static final String BY_COMMAND = "locked by command: `filterd key unlock` unlocks it";

  private static final Logger LOG = LoggerFactory.getLogger(LockedDisks.class);

  /** For a file that somebody else has open, or that is not there yet: at first, then doubled. */
  private static final Duration FIRST_PAUSE = Duration.ofSeconds(2);

  /** How long a command waits for the disks that it unlocks. */
  private static final Duration UNLOCK_PATIENCE = Duration.ofSeconds(60);

  /** For who changes disks at the moment in which some are locked. */
  private static final Duration CLOSE_PATIENCE = Duration.ofSeconds(5);

  private final Inventory inventory;
  private final KeyAccess keys;
  private final DiskOpener opener;
  private final DiskServing serving;
  private final Attachments attachments;
  private final ScheduledExecutorService timer =
      Executors.newSingleThreadScheduledExecutor(
          Thread.ofPlatform().daemon().name("locked-disks").factory());

  /** Finds out which providers disks need. */
  private final ExecutorService readers =
      Executors.newFixedThreadPool(
          ProviderLine.AT_ONCE, Thread.ofPlatform().daemon().name("look-", 0).factory());

  /** By provider; the empty name is for disks that need none. */
  private final Map<String, ProviderLine> lines = new ConcurrentHashMap<>();

  /** The next try of a disk that could not be opened for a reason of its own. */
  private final Map<DiskName, Retry> retries = new ConcurrentHashMap<>();

  private record Retry(Future<?> next, Duration pause) {}

  private volatile boolean closed;

  LockedDisks(
      Inventory inventory,
      KeyAccess keys,
      DiskOpener opener,
      DiskServing serving,
      Attachments attachments) {
    this.inventory = inventory;
    this.keys = keys;
    this.opener = opener;
    this.serving = serving;
    this.attachments = attachments;
  }

  /** How many disks wait for a provider. */
  int waitingFor(String provider) {
    ProviderLine line = lines.get(provider);
    return line == null ? 0 : line.waiting();
  }

  @Override
  public ProviderLine line(String provider) {
    return lines.computeIfAbsent(provider, name -> new ProviderLine(name, this, timer));
  }

  /** Opens disks that were announced, side by side; returns at once. */
  void start(List<DiskRecord> disks) {
    if (disks.isEmpty()) {
      return;
    }
    LOG.info("disks={} to be attached", disks.size());
    OpeningReport report = new OpeningReport(disks.size());
    for (DiskRecord disk : disks) {
      var _ = open(disk.name(), false).thenRun(report::done);
    }
  }

  /** Lets a disk have its turn; what is returned is done when it was tried once. */
  private CompletableFuture<Void> open(DiskName name, boolean forced) {
    Turn turn = Turn.of(name, forced);
    try {
      readers.execute(() -> lineOf(name).add(turn));
    } catch (RejectedExecutionException stopping) {
      turn.tried().complete(null);
    }
    return turn.tried();
  }

  /** The line of the first of a disk's providers that is not away. */
  private ProviderLine lineOf(DiskName name) {
    List<Locker> lockers = List.of();
    try {
      List<EncryptionMetadata> links = links(name);
      lockers = links.isEmpty() ? List.of() : links.getFirst().keySafe();
    } catch (IOException | BlockException unreadable) {
      LOG.debug("disk={} can't be read yet: {}", name, unreadable.toString());
    }
    for (Locker locker : lockers) {
      if (line(locker.provider()).away().isEmpty()) {
        return line(locker.provider());
      }
    }
    return line(lockers.isEmpty() ? "" : lockers.getFirst().provider());
  }

  private List<EncryptionMetadata> links(DiskName name) throws IOException, BlockException {
    DiskRecord record = inventory.disk(name).orElse(null);
    return record == null ? List.of() : DiskOpener.encryption(Path.of(record.file()));
  }

  @Override
  public Outcome open(DiskName name) {
    List<String> fetched = new ArrayList<>();
    boolean served = false;
    try {
      if (inventory.isLocked(name)) {
        lock(name, BY_COMMAND);
        return Outcome.of(Result.GONE);
      }
      if (!attachments.contains(name) || attachments.stack(name).isPresent()) {
        return Outcome.of(Result.GONE);
      }
      opener.fetch(name, links(name), fetched);
      served = serving.reattach(name);
      retries.remove(name);
      return Outcome.of(served ? Result.ATTACHED : Result.GONE);
    } catch (FetchException failure) {
      return outcome(name, failure.provider(), failure.failure());
    } catch (KeyException failure) {
      return new Outcome(Result.KEY, "", String.valueOf(failure.getMessage()));
    } catch (OperationException | BlockException | SecretMemoryException failure) {
      return new Outcome(Result.OTHER, "", String.valueOf(failure.getMessage()));
    } catch (IOException failure) {
      return new Outcome(Result.OTHER, "", Failures.sentence(failure));
    } catch (RuntimeException bug) {
      if (!closed) { // Else everything is closed under it.
        // One disk's bug must not keep the others from being served.
        LOG.error("disk={}", name, bug);
      }
      return new Outcome(Result.OTHER, "", "a bug in filterd: " + bug);
    } finally {
      if (!served && !fetched.isEmpty() && !closed) {
        serving.evictUnused(fetched);
      }
    }
  }

  private Outcome outcome(DiskName name, String provider, KeyException failure) {
    Reason reason = failure.reason();
    if (reason == Reason.UNAVAILABLE) {
      return new Outcome(Result.PROVIDER_AWAY, provider, origin(provider, failure));
    }
    boolean known = reason != Reason.NOT_FOUND;
    if (known && (!keys.isOpen(provider) || isRefused(provider, reason))) {
      return new Outcome(Result.PROVIDER_REFUSED, provider, origin(provider, failure));
    }
    String said = String.valueOf(failure.getMessage());
    String twice = "disk " + name + " is locked: "; // So begins what clients are told.
    return new Outcome(
        Result.KEY, provider, said.startsWith(twice) ? said.substring(twice.length()) : said);
  }

  /** Whether it is the whole provider that is refused, such as its certificate, and not a key. */
  private boolean isRefused(String provider, Reason reason) {
    return (reason == Reason.DENIED || reason == Reason.PROTOCOL) && keys.isOut(provider);
  }

  /** What the provider said, without what {@link io.filterd.keys.DataKeys} says around it. */
  private String origin(String provider, KeyException failure) {
    KeyException origin = failure;
    if (keys.isOpen(provider)) {
      // Which disk it is about, and which locker.
      for (int i = 0; i < 2 && origin.getCause() instanceof KeyException cause; i++) {
        origin = cause;
      }
    }
    return String.valueOf(origin.getMessage());
  }

  @Override
  public void waits(DiskName disk, Outcome why) {
    lock(disk, "waits for key provider " + why.provider() + ": " + why.reason());
  }

  @Override
  public void failed(DiskName disk, Outcome why) {
    lock(disk, why.reason());
    retries.compute(disk, (name, before) -> retry(name, before, why));
  }

  private @Nullable Retry retry(DiskName name, @Nullable Retry before, Outcome why) {
    Duration pause = ProviderLine.LONG_PAUSE;
    if (why.result() == Result.OTHER) {
      Duration doubled = before == null ? FIRST_PAUSE : before.pause().multipliedBy(2);
      pause = doubled.compareTo(pause) < 0 ? doubled : pause;
    }
    if (before != null) {
      before.next().cancel(false);
    }
    try {
      Future<?> next =
          timer.schedule(
              () -> {
                var _ = open(name, false);
              },
              pause.toMillis(),
              TimeUnit.MILLISECONDS);
      return new Retry(next, pause);
    } catch (RejectedExecutionException stopping) {
      return null;
    }
  }

  /** The alarm: once for each change. */
  private void lock(DiskName name, String reason) {
    if (attachments.locked(name, reason)) {
      LOG.error("disk={} is locked: {}", name, reason);
    }
  }

  /**
   * Locks disks: their clients are cut off, their keys wiped, and nobody opens them any more, not
   * after a restart either, until they are unlocked.
   *
   * @return those whose files somebody still has open, though without their keys
   */
  List<DiskName> lock(Collection<DiskName> names) throws IOException, InterruptedException {
    inventory.lock(names);
    dropKeks(names);
    try (ExecutorService cutting =
        Executors.newThreadPerTaskExecutor(
            Thread.ofPlatform().daemon().name("cut-", 0).factory())) {
      List<Future<?>> cuts = new ArrayList<>();
      for (DiskName name : names) {
        cuts.add(
            cutting.submit(
                () -> {
                  serving.cut(name);
                  return name;
                }));
      }
      for (Future<?> cut : cuts) {
        try {
          cut.get();
        } catch (ExecutionException failure) {
          throw new IOException("a disk was not cut off cleanly: " + failure.getCause(), failure);
        }
      }
    }
    List<DiskName> left = new ArrayList<>();
    for (DiskName name : names) {
      LOG.warn("disk={} locked by command", name);
      if (!closeCut(name)) {
        left.add(name);
        closeLater(name);
      }
    }
    return left;
  }

  private boolean closeCut(DiskName name) throws InterruptedException {
    return serving.closeCut(name, BY_COMMAND, CLOSE_PATIENCE);
  }

  /** A change of disks is under way, which may take long. */
  private void closeLater(DiskName name) {
    var _ =
        timer.schedule(
            () -> {
              if (inventory.isLocked(name) && !closeCut(name)) {
                closeLater(name);
              }
              return name;
            },
            CLOSE_PATIENCE.toMillis(),
            TimeUnit.MILLISECONDS);
  }

  private void dropKeks(Collection<DiskName> names) {
    for (DiskName name : names) {
      try {
        for (EncryptionMetadata link : links(name)) {
          keys.dropKeks(link);
        }
      } catch (IOException | BlockException | KeyException unreadable) {
        LOG.debug("disk={} can't be read: {}", name, unreadable.toString());
      }
    }
  }

  /**
   * Takes locks by command back, and opens disks that are to be served, now, whatever was tried
   * before. Waits until all were tried; those that still can't be had are locked, with the reason.
   */
  void unlock(Collection<DiskName> names) throws IOException, InterruptedException {
    inventory.unlock(names);
    List<CompletableFuture<Void>> tries = new ArrayList<>();
    for (DiskName name : names) {
      if (serving.announce(name)) {
        tries.add(open(name, true));
      }
    }
    try {
      CompletableFuture.allOf(tries.toArray(CompletableFuture[]::new))
          .get(UNLOCK_PATIENCE.toMillis(), TimeUnit.MILLISECONDS);
    } catch (TimeoutException | ExecutionException notYet) {
      LOG.info("disks are still being unlocked: {}", notYet.toString());
    }
  }

  /** Tries no more; what is under way is waited for shortly. */
  @Override
  public void close() {
    closed = true;
    timer.shutdownNow();
    readers.shutdownNow();
    lines.values().forEach(ProviderLine::close);
    try {
      for (ProviderLine line : lines.values()) {
        if (!line.awaitEnd(CLOSE_PATIENCE)) {
          LOG.warn("a key provider still has not answered");
        }
      }
    } catch (InterruptedException stop) {
      Thread.currentThread().interrupt();
    }
  }
}
