package io.filterd.daemon;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import io.filterd.daemon.control.Requests;
import io.filterd.daemon.control.Results;
import io.filterd.inventory.DiskName;
import io.filterd.inventory.DiskRecord;
import io.filterd.inventory.Inventory;
import io.filterd.inventory.ServeOptions;
import io.filterd.inventory.ServeOptions.Mode;
import io.filterd.keys.KeyException;
import io.filterd.nbd.NbdServer;
import io.filterd.vmdk.VmdkDisk;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Attaches disks to the daemon's NBD server, and detaches them. */
final class DiskServing {
  private static final Logger LOG = LoggerFactory.getLogger(DiskServing.class);

  /** An export that nobody listens to any more stops at its next step. */
  private static final Duration EXPORT_END_PATIENCE = Duration.ofSeconds(30);

  /** For the changes that are on their way when a disk is made read-only. */
  private static final Duration CHANGES_PATIENCE = Duration.ofSeconds(30);

  private final Path controlSocket;
  private final Inventory inventory;
  private final KnownDisks known;
  private final KeyAccess keys;
  private final DiskOpener opener;
  private final Attachments attachments;

  /** One change of disks at a time. */
  private final ReentrantLock changes;

  private volatile @Nullable NbdServer server;

  DiskServing(
      Path controlSocket,
      Inventory inventory,
      KeyAccess keys,
      DiskOpener opener,
      Attachments attachments,
      ReentrantLock changes) {
    this.controlSocket = controlSocket;
    this.inventory = inventory;
    this.known = new KnownDisks(inventory);
    this.keys = keys;
    this.opener = opener;
    this.attachments = attachments;
    this.changes = changes;
  }

  /** From now on disks can be attached. */
  void serving(NbdServer nbd) {
    server = nbd;
  }

  /** Serves a disk. */
  DiskRecord attach(Requests.AttachDisk request)
      throws OperationException, KeyException, BlockException, IOException {
    if (server == null) {
      throw new OperationException(
          Code.UNAVAILABLE, "no daemon answers on " + controlSocket + ": start `filterd serve`");
    }
    DiskName name = KnownDisks.name(request.name());
    ServeOptions options = request.options();
    changes.lock();
    try {
      DiskRecord record = known.get(name, request.file());
      if (attachments.stack(name).isPresent()) {
        throw new OperationException(Code.CONFLICT, "disk " + name + " is attached already");
      }
      DiskStack stack = open(name, record.file(), options);
      record = new DiskRecord(name, fileOf(stack, record.file()), true, options);
      boolean served = false;
      try {
        inventory.put(record);
        attachments.begin(name); // Unless it was announced: then its clients wait already.
        attachments.attached(name, stack);
        served = true;
      } finally {
        if (!served) {
          stack.close();
        }
      }
      LOG.info("disk={} attached", name);
      return record;
    } finally {
      changes.unlock();
    }
  }

  /** The file as it was named, unless the disk was found to be in another. */
  private static String fileOf(DiskStack stack, String named) {
    Path found = stack.links().file();
    return found.endsWith(Path.of(named).getFileName()) ? named : found.toString();
  }

  private DiskStack open(DiskName name, String file, ServeOptions options)
      throws OperationException, KeyException, BlockException, IOException {
    return opener.open(name, Path.of(file), options, disk -> checkNoCopy(name, disk));
  }

  /**
   * Refuses a copy of a disk that is attached: two contents under one key and one numbering of
   * units show where they differ, and detaching one would take the key of both.
   */
  private void checkNoCopy(DiskName name, VmdkDisk disk) throws OperationException {
    Optional<DiskName> other =
        disk.encryption().flatMap(metadata -> attachments.withLink(metadata.linkId()));
    if (other.isPresent()) {
      throw new OperationException(
          Code.CONFLICT,
          "disk "
              + name
              + " has the key of disk "
              + other.get()
              + ", which is attached: one is a copy of the other's file; detach "
              + other.get()
              + " first, or export it and import that for a copy with a key of its own");
    }
  }

  /**
   * Lets clients only read a disk from now on, also those that are there, or lets them write again.
   * When it returns, no change of theirs reaches the disk any more, and all of them are durable.
   * What they write copy-on-write is remembered no longer than that.
   */
  DiskRecord setReadOnly(DiskName name, boolean readOnly)
      throws OperationException, BlockException, IOException, InterruptedException {
    changes.lock();
    try {
      DiskRecord record = known.get(name);
      DiskStack stack =
          attachments
              .stack(name)
              .orElseThrow(
                  () -> new OperationException(Code.CONFLICT, "disk " + name + " is not attached"));
      Mode mode = stack.options().mode();
      if (mode == Mode.READ_ONLY && !readOnly) {
        throw new OperationException(
            Code.CONFLICT,
            "disk " + name + " was opened for reading only: detach it, and attach it to write");
      }
      if (mode == Mode.READ_WRITE) {
        Mode next = readOnly ? Mode.READ_ONLY : Mode.READ_WRITE;
        inventory.put(new DiskRecord(name, record.file(), true, stack.options().withMode(next)));
      }
      if (!attachments.setReadOnly(name, readOnly, CHANGES_PATIENCE)) {
        throw new OperationException(
            Code.CONFLICT,
            "disk "
                + name
                + " takes no new changes any more, but clients' earlier ones are not done yet:"
                + " try again");
      }
      stack.device().flush(Blocking.ALLOWED);
      LOG.info("disk={} {}", name, readOnly ? "made read-only" : "made writable");
      return record;
    } finally {
      changes.unlock();
    }
  }

  /** Serves a disk no more. */
  Results.Done detach(DiskName name)
      throws OperationException, BlockException, IOException, InterruptedException {
    changes.lock();
    try {
      DiskRecord record = known.get(name);
      if (!attachments.contains(name)) {
        throw new OperationException(Code.CONFLICT, "disk " + name + " is not attached");
      }
      try {
        close(name, Duration.ZERO);
      } finally {
        if (!attachments.contains(name)) {
          inventory.put(new DiskRecord(name, record.file(), false));
        }
      }
      return new Results.Done("Detached " + name + ".");
    } finally {
      changes.unlock();
    }
  }

  /** Lets every request through that a filter holds back: all disks are about to be closed. */
  void stopDelaying() {
    attachments.disks().forEach(name -> attachments.stack(name).ifPresent(DiskStack::stopDelaying));
  }

  /** Closes every disk; what failed, in sentences. */
  List<String> closeAll() {
    List<String> failures = new ArrayList<>();
    changes.lock();
    try {
      for (DiskName name : attachments.disks()) {
        try {
          close(name, EXPORT_END_PATIENCE);
        } catch (OperationException | BlockException failure) {
          failures.add(name + ": " + failure.getMessage());
        } catch (InterruptedException stop) {
          Thread.currentThread().interrupt();
          failures.add(name + ": stopped");
        }
      }
    } finally {
      changes.unlock();
    }
    return failures;
  }

  /**
   * Closes a disk.
   *
   * @param patience how long to wait for those who use it and are no clients
   */
  private void close(DiskName name, Duration patience)
      throws OperationException, BlockException, InterruptedException {
    Optional<DiskStack> stack = attachments.stack(name);
    if (stack.isEmpty()) {
      attachments.remove(name);
      return;
    }
    if (!attachments.endUses(name, patience)) {
      throw new OperationException(
          Code.CONFLICT,
          "disk "
              + name
              + " is being exported, or a snapshot of it deleted: wait for that, or stop it");
    }
    boolean idle = false;
    try {
      attachments.end(name);
      stack.get().stopDelaying();
      NbdServer serving = server;
      idle = serving == null || serving.disconnect(name.toString());
      if (!idle) {
        throw new BlockException(
            BlockException.Reason.IO_ERROR,
            "disk " + name + " still has requests in flight: try again");
      }
    } finally {
      if (!idle) {
        attachments.resume(name);
      }
    }
    Set<String> linkIds = stack.get().linkIds();
    try {
      stack.get().close();
    } finally {
      attachments.remove(name);
      linkIds.forEach(keys::evict);
    }
    LOG.info("disk={} detached", name);
  }

  /** Announces every disk that is to be served, so that clients find it from the first moment. */
  List<DiskRecord> announce() {
    List<DiskRecord> disks = inventory.disks().stream().filter(DiskRecord::attached).toList();
    disks.forEach(disk -> attachments.begin(disk.name()));
    return disks;
  }

  /**
   * Opens a disk that was announced or is locked, and serves it.
   *
   * @return whether it is served; false if it was detached meanwhile
   */
  boolean reattach(DiskName name)
      throws OperationException, KeyException, BlockException, IOException {
    changes.lock();
    try {
      Optional<DiskRecord> record = inventory.disk(name).filter(DiskRecord::attached);
      if (record.isEmpty() || !attachments.contains(name)) {
        return false;
      }
      if (attachments.stack(name).isEmpty()) { // Else it was attached by command meanwhile.
        DiskRecord disk = record.get();
        attachments.attached(name, open(name, disk.file(), disk.options()));
        LOG.info("disk={} attached", name);
      }
      return true;
    } finally {
      changes.unlock();
    }
  }

  /** Wipes keys that were fetched for a disk, unless it is open by them. */
  void evictUnused(Collection<String> linkIds) {
    changes.lock();
    try {
      linkIds.stream()
          .filter(linkId -> attachments.withLink(linkId).isEmpty())
          .forEach(keys::evict);
    } finally {
      changes.unlock();
    }
  }

  /**
   * Cuts a disk off: its clients have the drain time for the requests that are under way, then its
   * keys are wiped, whatever is left. Waits for nobody who changes disks. The file stays open until
   * {@link #closeCut}.
   */
  void cut(DiskName name) throws InterruptedException {
    Optional<DiskStack> open = attachments.stack(name);
    if (open.isEmpty()) {
      return;
    }
    DiskStack stack = open.get();
    Set<String> linkIds = stack.linkIds();
    try {
      attachments.end(name);
      stack.stopDelaying();
      NbdServer serving = server;
      if (serving != null && !serving.disconnect(name.toString())) {
        LOG.warn("disk={} cut off with requests under way", name);
      }
    } finally {
      stack.wipe();
      linkIds.forEach(keys::evict);
    }
  }

  /**
   * Closes the file of a disk that was cut off, and locks its export, if it is to be served at all.
   *
   * @return whether that was possible in time
   */
  boolean closeCut(DiskName name, String reason, Duration patience) throws InterruptedException {
    if (!changes.tryLock(patience.toMillis(), TimeUnit.MILLISECONDS)) {
      return false;
    }
    try {
      Optional<DiskStack> stack = attachments.stack(name);
      if (stack.isPresent()) {
        // Those who used it fail, now that its keys are gone.
        boolean unused = attachments.endUses(name, patience);
        Set<String> linkIds = stack.get().linkIds();
        try {
          stack.get().close();
        } catch (BlockException failure) {
          LOG.error("disk={} not closed cleanly: {}", name, failure.getMessage());
        } finally {
          attachments.cut(name, reason);
          linkIds.forEach(keys::evict);
        }
        if (!unused) {
          LOG.warn("disk={} closed in use", name);
        }
      } else {
        attachments.locked(name, reason);
      }
      return true;
    } finally {
      changes.unlock();
    }
  }

  /** Announces a disk that was unlocked, if it is to be served. */
  boolean announce(DiskName name) {
    boolean served = inventory.disk(name).filter(DiskRecord::attached).isPresent();
    if (served && server != null) {
      attachments.begin(name);
      return attachments.stack(name).isEmpty();
    }
    return false;
  }
}
