package io.filterd.daemon;

import io.filterd.block.BlockException;
import io.filterd.daemon.RecryptJournal.Item;
import io.filterd.daemon.control.KeyOperations;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.Progress;
import io.filterd.inventory.DiskRecord;
import io.filterd.inventory.Inventory;
import io.filterd.keys.KeyException;
import io.filterd.keys.KeyReference;
import io.filterd.policy.StoragePolicy;
import java.io.IOException;
import java.security.SecureRandom;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Watches how old key-encryption keys are, and replaces those whose policies say so: soon after the
 * start, and then about every hour. Goes on with a recrypt that a crash has stopped, too, as each
 * of its steps may be done again. Safe for many threads.
 */
final class KeyRotation implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(KeyRotation.class);

  /** Disks are opened first. */
  private static final Duration FIRST = Duration.ofMinutes(1);

  private static final Duration PERIOD = Duration.ofHours(1);

  /** So that not all hosts ask the KMS at the same moment. */
  private static final Duration JITTER = Duration.ofMinutes(5);

  private final Inventory inventory;
  private final PolicyFolder policies;
  private final KeyAccess keys;
  private final KeyLedger ledger;
  private final DiskKeys diskKeys;
  private final RecryptPlan plan;
  private final Recrypt recrypt;
  private final SecureRandom random = new SecureRandom();
  private final ScheduledThreadPoolExecutor timer =
      new ScheduledThreadPoolExecutor(
          1, Thread.ofPlatform().daemon().name("key-rotation").factory());

  KeyRotation(
      Inventory inventory,
      PolicyFolder policies,
      KeyAccess keys,
      KeyLedger ledger,
      DiskKeys diskKeys,
      RecryptPlan plan,
      Recrypt recrypt) {
    this.inventory = inventory;
    this.policies = policies;
    this.keys = keys;
    this.ledger = ledger;
    this.diskKeys = diskKeys;
    this.plan = plan;
    this.recrypt = recrypt;
    timer.setExecuteExistingDelayedTasksAfterShutdownPolicy(false);
  }

  /** Checks from now on. */
  void start() {
    try {
      recrypt
          .unfinished()
          .ifPresent(
              left ->
                  LOG.warn(
                      "not finished: {}; {} `filterd key recrypt --resume`",
                      left.progress(),
                      left.ended() ? "go on with" : "it goes on by itself soon, or now with"));
    } catch (OperationException | IOException unreadable) {
      LOG.error("recrypt: {}", unreadable.getMessage());
    }
    schedule(FIRST.plusMillis(random.nextLong(FIRST.toMillis())));
  }

  private void schedule(Duration delay) {
    if (!timer.isShutdown()) {
      var _ = timer.schedule(this::checkAgain, delay.toMillis(), TimeUnit.MILLISECONDS);
    }
  }

  private void checkAgain() {
    try {
      check();
    } catch (RuntimeException bug) {
      LOG.error("key rotation", bug);
    } finally {
      schedule(PERIOD.plusMillis(random.nextLong(JITTER.toMillis())));
    }
  }

  /** Checks all disks now, and replaces the keys that are due. */
  void check() {
    try {
      Optional<RecryptJournal> left = recrypt.unfinished();
      if (left.isPresent() && !left.get().ended()) {
        tell(recrypt.run(KeyOperations.Recrypt.resumed(), Progress.NONE));
        left = recrypt.unfinished();
      }
      List<Item> due = due();
      if (!due.isEmpty() || left.filter(RecryptJournal::byPolicy).isPresent()) {
        tell(recrypt.runByPolicy(due));
      }
    } catch (OperationException | KeyException | IOException failure) {
      LOG.error("key rotation: {}", failure.getMessage());
    }
  }

  private static void tell(KeyOperations.Recrypted done) {
    for (KeyOperations.RecryptedDisk disk : done.disks()) {
      if (disk.reason() != null) {
        LOG.error("disk={} could not be given a new key: {}", disk.disk(), disk.reason());
      }
    }
  }

  /** The disks with a key that is too old, if their policies want that to be done. */
  private List<Item> due() throws IOException {
    List<Item> due = new ArrayList<>();
    for (DiskRecord disk : inventory.disks()) {
      try {
        DiskKeys.Keys found = diskKeys.of(disk);
        for (KeyReference key : found.all()) {
          note(key, disk);
        }
        if (isDue(found)) {
          due.add(plan.item(disk.name(), found, found.all().getFirst().provider()));
        }
      } catch (BlockException | IOException unreadable) {
        // Said where the disk is listed; what it has can't be judged.
        LOG.debug("disk={}: {}", disk.name(), unreadable.getMessage());
      }
    }
    return due;
  }

  /** A key that was made elsewhere, or before this was noted, is as old as its provider says. */
  private void note(KeyReference key, DiskRecord disk) throws IOException {
    if (ledger.find(key).isEmpty()) {
      Optional<Instant> created = Optional.empty();
      try {
        created = keys.describe(key).created();
      } catch (KeyException unknown) {
        LOG.debug("key {}: {}", DiskKeys.text(key), unknown.getMessage());
      }
      ledger.seen(key, disk.name().toString(), created);
    }
  }

  private boolean isDue(DiskKeys.Keys found) {
    StoragePolicy policy;
    try {
      policy = policies.get(found.policy().orElse(""));
    } catch (OperationException unknown) {
      return false;
    }
    return policy.rotatesByItself()
        && policy.kekRotation().isPresent()
        && found.all().stream()
            .flatMap(key -> ledger.age(key).stream())
            .anyMatch(age -> age.compareTo(policy.kekRotation().get()) > 0);
  }

  /** Checks no more. What runs is stopped by {@link Recrypt#stop}. */
  @Override
  public void close() {
    timer.shutdown();
  }
}
