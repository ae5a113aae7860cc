package io.filterd.daemon;

import io.filterd.block.BlockException;
import io.filterd.crypto.SecretMemoryException;
import io.filterd.daemon.RecryptJournal.Item;
import io.filterd.daemon.control.KeyOperations;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import io.filterd.daemon.control.Progress;
import io.filterd.inventory.DiskName;
import io.filterd.inventory.DiskRecord;
import io.filterd.inventory.Inventory;
import io.filterd.inventory.KeyRecord;
import io.filterd.inventory.TenantRecord;
import io.filterd.inventory.VmRecord;
import io.filterd.keys.KeyException;
import io.filterd.keys.KeyLabel;
import io.filterd.keys.KeyReference;
import io.filterd.vmdk.EncryptionMetadata;
import io.filterd.vmdk.KeySafe;
import io.filterd.vmdk.LinkedDisk;
import io.filterd.vmdk.Locker;
import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Shallow recrypt: gives disks new key-encryption keys, attached or not, with all their snapshots.
 * Data keys and data stay as they are.
 *
 * <p>The new key is noted in the inventory before it is used, so that it is used after a crash too.
 * Each link then has both lockers in its descriptor, is read back from its file, and the new locker
 * opened; only then the old one is dropped. Each step leaves disks that open. What is left to do is
 * in the {@link RecryptJournal}. Old keys are never destroyed here.
 */
final class Recrypt {
  private static final Logger LOG = LoggerFactory.getLogger(Recrypt.class);

  /** One disk may wait for its key provider. */
  private static final Duration STOP_PATIENCE = Duration.ofSeconds(30);

  private final Path state;
  private final Inventory inventory;
  private final KeyAccess keys;
  private final KeyLedger ledger;
  private final RecryptPlan plan;
  private final DiskOpener opener;
  private final Attachments attachments;
  private final Clock clock;

  /** One change of disks at a time. */
  private final ReentrantLock changes;

  /** One recrypt at a time. */
  private final ReentrantLock running = new ReentrantLock();

  /** Whether the daemon is about to stop: what is left is for the next one. */
  private volatile boolean stopping;

  Recrypt(
      Path state,
      Inventory inventory,
      KeyAccess keys,
      KeyLedger ledger,
      RecryptPlan plan,
      DiskOpener opener,
      Attachments attachments,
      Clock clock,
      ReentrantLock changes) {
    this.state = state;
    this.inventory = inventory;
    this.keys = keys;
    this.ledger = ledger;
    this.plan = plan;
    this.opener = opener;
    this.attachments = attachments;
    this.clock = clock;
    this.changes = changes;
  }

  /** The recrypt that is not finished, if there is one. */
  Optional<RecryptJournal> unfinished() throws OperationException, IOException {
    return RecryptJournal.load(state);
  }

  /** Does what is asked for. */
  KeyOperations.Recrypted run(KeyOperations.Recrypt request, Progress progress)
      throws OperationException, KeyException, IOException {
    begin();
    try {
      Optional<RecryptJournal> left = unfinished();
      if (request.abandon()) {
        return abandon(left);
      }
      if (request.resume()) {
        return left.isPresent() ? run(left.get().ended(false), progress) : nothing();
      }
      if (left.isPresent() && !left.get().ended()) {
        throw new OperationException(
            Code.CONFLICT,
            left.get().progress()
                + "; go on with `filterd key recrypt --resume`, or forget it with --abandon: its"
                + " disks open as they are");
      }
      List<Item> items = plan.items(request);
      ledger.settle(); // What an earlier one has left is not gone on with.
      return run(journal(RecryptPlan.what(request), false, items), progress);
    } finally {
      running.unlock();
    }
  }

  private void begin() throws OperationException {
    if (!running.tryLock()) {
      throw new OperationException(Code.CONFLICT, "another recrypt is running: wait for it");
    }
  }

  /** Stops what runs behind the disk it is at, and lets nothing run any more. */
  void stop() throws InterruptedException {
    stopping = true;
    if (!running.tryLock(STOP_PATIENCE.toSeconds(), TimeUnit.SECONDS)) {
      LOG.warn("a recrypt still waits for a key provider; it goes on at the next start");
    }
  }

  private RecryptJournal journal(String what, boolean byPolicy, List<Item> items) {
    String begun = clock.instant().truncatedTo(ChronoUnit.SECONDS).toString();
    return new RecryptJournal(RecryptJournal.VERSION, what, begun, byPolicy, false, items);
  }

  /**
   * Gives disks new keys because their policies say so, and tries those again that a recrypt by
   * policy left.
   */
  KeyOperations.Recrypted runByPolicy(List<Item> due)
      throws OperationException, KeyException, IOException {
    begin();
    try {
      Optional<RecryptJournal> left = unfinished();
      List<Item> items = new ArrayList<>(due);
      if (left.isPresent() && left.get().byPolicy()) {
        for (Item each : left.get().items()) {
          if (!each.done()) {
            items.removeIf(item -> item.disk().equals(each.disk()));
            items.add(each);
          }
        }
      } else {
        ledger.settle();
      }
      return run(journal("what policies say", true, items), Progress.NONE);
    } finally {
      running.unlock();
    }
  }

  private KeyOperations.Recrypted abandon(Optional<RecryptJournal> left) throws IOException {
    ledger.settle();
    RecryptJournal.delete(state);
    left.ifPresent(journal -> LOG.info("recrypt abandoned: {}", journal.progress()));
    return left.map(Recrypt::report).orElseGet(Recrypt::nothing);
  }

  private static KeyOperations.Recrypted nothing() {
    return new KeyOperations.Recrypted("nothing: no recrypt is unfinished", 0, List.of());
  }

  private KeyOperations.Recrypted run(RecryptJournal begun, Progress progress)
      throws OperationException, KeyException, IOException {
    RecryptJournal journal = begun;
    long total = journal.items().stream().mapToLong(Item::links).sum();
    long before = 0;
    if (!journal.items().isEmpty()) {
      journal.store(state);
    }
    LOG.info("recrypt of {}: disks={} links={}", journal.what(), journal.items().size(), total);
    Map<String, KeyException> refusals = new HashMap<>();
    for (Item item : journal.items()) {
      if (!item.done() && !item.provider().isEmpty()) {
        long done = before;
        if (stopping || !progress.at(done, total)) {
          journal.ended(!stopping).store(state);
          throw new OperationException(
              Code.CANCELLED,
              "stopped; %s; `filterd key recrypt --resume` goes on".formatted(journal.progress()));
        }
        Item after = recrypt(item, refusals, links -> progress.at(done + links, total));
        journal = journal.with(after);
        journal.store(state);
      }
      before += item.links();
    }
    progress.at(total, total);
    if (journal.doneCount() == journal.items().size()) {
      ledger.settle();
      RecryptJournal.delete(state);
    } else {
      journal = journal.ended(true);
      journal.store(state);
    }
    LOG.info("{}", journal.progress());
    return report(journal);
  }

  private static KeyOperations.Recrypted report(RecryptJournal journal) {
    int exitStatus = 0;
    List<KeyOperations.RecryptedDisk> disks = new ArrayList<>();
    for (Item item : journal.items()) {
      Code code = item.code();
      String state = item.done() ? "done" : code == null ? "open" : "failed";
      if (exitStatus == 0 && code != null) {
        exitStatus = code.exitStatus();
      }
      disks.add(
          new KeyOperations.RecryptedDisk(
              item.disk(), state, item.links(), item.from(), item.to(), item.failure()));
    }
    return new KeyOperations.Recrypted(journal.what(), exitStatus, disks);
  }

  /** Told how many links of a disk are done. */
  @FunctionalInterface
  private interface Links {
    void done(long count);
  }

  /** Gives one disk its new key; what fails is told, and does no harm to the others. */
  private Item recrypt(Item item, Map<String, KeyException> refusals, Links links) {
    KeyReference made = null;
    String reason;
    Code code;
    try {
      KeyReference kek = newKey(item, refusals);
      made = kek;
      int count = recrypt(DiskName.parse(item.disk()), kek, links);
      moveOn(item, kek);
      LOG.info("disk={} has key {} now: links={}", item.disk(), DiskKeys.text(kek), count);
      return item.done(DiskKeys.text(kek), count);
    } catch (KeyException failure) {
      reason = String.valueOf(failure.getMessage());
      code = Code.KEY;
    } catch (SecretMemoryException full) {
      reason = String.valueOf(full.getMessage());
      code = Code.KEY;
    } catch (OperationException failure) {
      reason = String.valueOf(failure.getMessage());
      code = failure.code();
    } catch (IOException failure) {
      reason = Failures.sentence(failure);
      code = Failures.code(failure);
    } catch (BlockException failure) {
      reason = String.valueOf(failure.getMessage());
      code = Code.IO;
    }
    LOG.error("disk={} keeps its key: {}", item.disk(), reason);
    return item.failed(made == null ? item.to() : DiskKeys.text(made), reason, code);
  }

  /**
   * The key that is to be the owner's: the one that was made before a crash, or else a new one. A
   * provider that refused is not asked again for the same owner: its time limits may be long.
   */
  private KeyReference newKey(Item item, Map<String, KeyException> refusals)
      throws KeyException, IOException {
    Optional<KeyReference> next = ledger.next(item.owner(), item.provider());
    if (next.isPresent() && !item.from().contains(DiskKeys.text(next.get()))) {
      return next.get();
    }
    KeyException refused = refusals.get(item.provider());
    if (refused != null) {
      throw refused;
    }
    try {
      KeyReference made = keys.createKek(item.provider(), KeyLedger.label(item.owner()), false);
      ledger.made(made, item.owner(), KeyRecord.State.NEXT);
      return made;
    } catch (KeyException refusal) {
      refusals.put(item.provider(), refusal);
      throw refusal;
    }
  }

  /** The owner's next disk is to have the key too, now that the key has proved to be good. */
  private void moveOn(Item item, KeyReference kek) throws IOException {
    KeyLabel owner = KeyLedger.label(item.owner());
    Optional<KeyReference> now =
        switch (owner.scope()) {
          case DISK -> Optional.of(kek); // It has no next disk.
          case VM ->
              inventory
                  .vm(owner.name())
                  .map(vm -> new KeyReference(vm.provider(), vm.keyId(), vm.checkValue()));
          case TENANT ->
              inventory
                  .tenant(owner.name())
                  .map(each -> new KeyReference(each.provider(), each.keyId(), each.checkValue()));
        };
    if (now.isPresent()) {
      boolean another =
          !now.get().provider().equals(kek.provider())
              && !item.from().contains(DiskKeys.text(now.get()));
      if (another || now.get().keyId().equals(kek.keyId())) {
        return;
      }
    }
    if (owner.scope() == KeyLabel.Scope.TENANT) {
      inventory.put(new TenantRecord(owner.name(), kek.provider(), kek.keyId(), kek.checkValue()));
    } else {
      inventory.put(new VmRecord(owner.name(), kek.provider(), kek.keyId(), kek.checkValue()));
    }
  }

  private int recrypt(DiskName name, KeyReference kek, Links links)
      throws OperationException, KeyException, IOException, BlockException {
    changes.lock();
    try {
      DiskRecord record = inventory.disk(name).orElse(null);
      if (record == null) {
        throw new OperationException(Code.NOT_FOUND, "disk " + name + " is not known any more");
      }
      Optional<Attachments.Use> attached = attachments.use(name);
      if (attached.isPresent()) {
        try (Attachments.Use use = attached.get()) {
          return recrypt(name, use.stack().links(), kek, links);
        }
      }
      try (LinkedDisk disk = opener.openStored(name, Path.of(record.file()))) {
        return recrypt(name, disk, kek, links);
      }
    } finally {
      changes.unlock();
    }
  }

  private int recrypt(DiskName name, LinkedDisk disk, KeyReference kek, Links links)
      throws KeyException, IOException, BlockException {
    List<EncryptionMetadata> encrypted =
        disk.links().stream().flatMap(link -> link.disk().encryption().stream()).toList();
    int count = 0;
    for (EncryptionMetadata metadata : encrypted) {
      if (!hasOnly(metadata, kek)) {
        try (KeySafe safe = disk.keySafe(metadata.linkId())) {
          exchange(name, safe, kek);
        }
      }
      links.done(++count);
    }
    return count;
  }

  private static boolean hasOnly(EncryptionMetadata metadata, KeyReference kek) {
    return metadata.keySafe().stream().allMatch(each -> DiskKeys.reference(each).equals(kek));
  }

  private void exchange(DiskName name, KeySafe safe, KeyReference kek)
      throws KeyException, IOException, BlockException {
    EncryptionMetadata metadata = safe.metadata();
    Locker next = lockerOf(name, metadata, kek);
    List<Locker> others = new ArrayList<>(metadata.keySafe());
    others.removeIf(each -> DiskKeys.reference(each).equals(kek));
    if (next == null) {
      next = keys.rewrap(name, metadata, kek);
      if (others.size() == EncryptionMetadata.LOCKER_LIMIT) {
        // An earlier recrypt to yet another key was never finished: one of its two has to go.
        others = List.of(theOneThatOpens(name, metadata));
        write(safe, others);
      }
      List<Locker> both = new ArrayList<>(List.of(next));
      both.addAll(others);
      write(safe, both);
    }
    keys.verify(name, safe.stored(), next, others);
    write(safe, List.of(next));
  }

  /** The locker of the new key, if a crash has left it there, and it opens. */
  private @Nullable Locker lockerOf(DiskName name, EncryptionMetadata metadata, KeyReference kek) {
    for (Locker each : metadata.keySafe()) {
      if (DiskKeys.reference(each).equals(kek) && opens(name, metadata, each)) {
        return each;
      }
    }
    return null;
  }

  private boolean opens(DiskName name, EncryptionMetadata metadata, Locker locker) {
    try {
      keys.verify(name, metadata, locker, List.of());
      return true;
    } catch (KeyException closed) {
      LOG.warn("disk={}: {}", name, closed.getMessage());
      return false;
    }
  }

  private Locker theOneThatOpens(DiskName name, EncryptionMetadata metadata) throws KeyException {
    for (Locker each : metadata.keySafe()) {
      if (opens(name, metadata, each)) {
        return each;
      }
    }
    throw new KeyException(
        KeyException.Reason.UNAVAILABLE, "disk " + name + ": none of its lockers opens any more");
  }

  /** Writes the lockers, and makes sure that they are what the file holds. */
  private static void write(KeySafe safe, List<Locker> lockers) throws IOException, BlockException {
    safe.write(lockers);
    EncryptionMetadata stored = safe.stored();
    if (!stored.keySafe().equals(lockers)) {
      throw new FileSystemException(
          "link " + stored.linkId(), null, "its key safe reads back as another than was written");
    }
  }
}
