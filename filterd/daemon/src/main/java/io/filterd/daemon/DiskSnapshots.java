package io.filterd.daemon;

import io.filterd.block.BlockException;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import io.filterd.daemon.control.Progress;
import io.filterd.daemon.control.Requests;
import io.filterd.daemon.control.Results;
import io.filterd.inventory.DiskName;
import io.filterd.inventory.DiskRecord;
import io.filterd.inventory.Inventory;
import io.filterd.keys.KeyException;
import io.filterd.keys.KeyReference;
import io.filterd.vmdk.Access;
import io.filterd.vmdk.EncryptionMetadata;
import io.filterd.vmdk.LinkedDisk;
import io.filterd.vmdk.Locker;
import io.filterd.vmdk.Merge;
import io.filterd.vmdk.Snapshot;
import io.filterd.vmdk.SnapshotRecord;
import io.filterd.vmdk.Snapshots;
import io.filterd.vmdk.VmdkDisk;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Clock;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.locks.ReentrantLock;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Takes, lists and deletes snapshots of disks, attached or not, and goes back to them. */
final class DiskSnapshots {
  private static final Logger LOG = LoggerFactory.getLogger(DiskSnapshots.class);

  private final Inventory inventory;
  private final KnownDisks known;
  private final KeyAccess keys;
  private final DiskOpener opener;
  private final Attachments attachments;
  private final Clock clock;

  /** One change of disks at a time. */
  private final ReentrantLock changes;

  DiskSnapshots(
      Inventory inventory,
      KeyAccess keys,
      DiskOpener opener,
      Attachments attachments,
      Clock clock,
      ReentrantLock changes) {
    this.inventory = inventory;
    this.known = new KnownDisks(inventory);
    this.keys = keys;
    this.opener = opener;
    this.attachments = attachments;
    this.clock = clock;
    this.changes = changes;
  }

  /** The snapshots of a disk, the newest first. */
  Results.Snapshots list(Requests.Disk request)
      throws OperationException, BlockException, IOException {
    DiskName name = KnownDisks.name(request.name());
    DiskRecord record = known.get(name);
    Optional<DiskStack> stack = attachments.stack(name);
    return results(
        name,
        stack.isPresent()
            ? stack.get().links().snapshots()
            : Snapshots.list(Path.of(record.file())));
  }

  private static Results.Snapshots results(DiskName name, List<Snapshot> snapshots) {
    List<Results.Snapshot> results = new ArrayList<>();
    for (Snapshot each : snapshots) {
      results.add(
          new Results.Snapshot(
              each.name(),
              each.record().map(record -> record.time().toString()).orElse(null),
              each.depth(),
              DiskReports.storedBytes(each.child()),
              each.file().toString()));
    }
    return new Results.Snapshots(name.toString(), results);
  }

  /** Takes a snapshot, of an attached disk under the requests of its clients. */
  Results.Snapshots create(Requests.CreateSnapshot request)
      throws OperationException, KeyException, BlockException, IOException {
    DiskName name = KnownDisks.name(request.name());
    changes.lock();
    try {
      DiskRecord record = known.get(name);
      Optional<DiskStack> attached = attachments.stack(name);
      if (attached.isPresent()) {
        return create(request.snapshot(), record, attached.get());
      }
      try (DiskOpener.OneUse use = openOffline(record)) {
        return create(request.snapshot(), known.get(name), use.stack());
      }
    } finally {
      changes.unlock();
    }
  }

  private Results.Snapshots create(
      @org.jspecify.annotations.Nullable String wanted, DiskRecord record, DiskStack stack)
      throws OperationException, KeyException, BlockException, IOException {
    LinkedDisk links = stack.links();
    SnapshotRecord snapshot;
    try {
      snapshot =
          new SnapshotRecord(
              wanted == null ? freeName(links.snapshots()) : wanted, clock.instant());
    } catch (IllegalArgumentException wrong) {
      throw new OperationException(Code.INVALID, "snapshot " + wrong.getMessage(), wrong);
    }
    if (links.snapshots().stream().anyMatch(each -> each.isCalled(snapshot.name()))) {
      throw new OperationException(
          Code.CONFLICT, "disk " + record.name() + " has a snapshot " + snapshot.name());
    }
    Optional<EncryptionMetadata> encryption = newLink(record.name(), stack.disk());
    boolean taken = false;
    try {
      links.snapshot(snapshot, encryption, moved(record.name()));
      taken = true;
    } finally {
      if (!taken) {
        encryption.ifPresent(metadata -> stack.forget(metadata.linkId()));
        encryption.ifPresent(metadata -> keys.evict(metadata.linkId()));
      }
    }
    LOG.info("disk={} snapshot={} taken", record.name(), snapshot.name());
    return results(record.name(), links.snapshots());
  }

  private static String freeName(List<Snapshot> snapshots) {
    int number = 1;
    while (true) {
      String name = "snapshot-" + number;
      if (snapshots.stream().noneMatch(each -> each.isCalled(name))) {
        return name;
      }
      number++;
    }
  }

  /** A data key for a new link, under the key of the disk's present top link. */
  private Optional<EncryptionMetadata> newLink(DiskName name, VmdkDisk top) throws KeyException {
    if (top.encryption().isEmpty()) {
      return Optional.empty();
    }
    EncryptionMetadata old = top.encryption().get();
    Locker locker = old.keySafe().getFirst();
    KeyAccess.EncryptionIds ids =
        new KeyAccess.EncryptionIds(old.diskId(), UUID.randomUUID().toString(), old.unitBytes());
    KeyReference kek = new KeyReference(locker.provider(), locker.keyId(), locker.checkValue());
    Locker made = keys.createDek(name, ids, kek);
    return Optional.of(EncryptionMetadata.of(old.unitBytes(), old.diskId(), ids.linkId(), made));
  }

  /** Remembers where the disk is from now on. */
  private LinkedDisk.Switch moved(DiskName name) {
    return top -> {
      DiskRecord now = inventory.disk(name).orElseThrow();
      inventory.put(new DiskRecord(name, top.toString(), now.attached(), now.options()));
    };
  }

  /** Goes back to a snapshot. */
  Results.Done revert(Requests.RevertSnapshot request)
      throws OperationException, KeyException, BlockException, IOException {
    DiskName name = KnownDisks.name(request.name());
    changes.lock();
    try {
      DiskRecord record = known.get(name);
      if (attachments.contains(name)) {
        throw new OperationException(
            Code.CONFLICT,
            "disk " + name + " is attached, and its clients would not notice: detach it first");
      }
      Path former = Path.of(record.file());
      find(name, Snapshots.list(former), request.snapshot());
      Optional<EncryptionMetadata> encryption;
      try (VmdkDisk top = VmdkDisk.open(former, Access.READ_ONLY)) {
        encryption = newLink(name, top);
      }
      Path now;
      try {
        now = Snapshots.revert(former, request.snapshot(), encryption, moved(name));
      } catch (IllegalArgumentException nameless) {
        throw new OperationException(Code.INVALID, String.valueOf(nameless.getMessage()), nameless);
      } finally {
        encryption.ifPresent(metadata -> keys.evict(metadata.linkId()));
      }
      LOG.info("disk={} snapshot={} reverted to", name, request.snapshot());
      String told = "Disk " + name + " is as in snapshot " + request.snapshot() + ", by " + now;
      if (!request.discard()) {
        return new Results.Done(told + ". What it held since is kept: " + former + ".");
      }
      List<Path> discarded = Snapshots.discard(former);
      return new Results.Done(told + ". Deleted: " + discarded + ".");
    } finally {
      changes.unlock();
    }
  }

  private static Snapshot find(DiskName name, List<Snapshot> snapshots, String wanted)
      throws OperationException {
    return snapshots.stream()
        .filter(each -> each.isCalled(wanted))
        .findFirst()
        .orElseThrow(
            () ->
                new OperationException(
                    Code.NOT_FOUND,
                    "disk %s has no snapshot %s: `filterd snapshot list %s` shows those there are"
                        .formatted(name, wanted, name)));
  }

  /** Deletes a snapshot, of an attached disk under the requests of its clients. */
  Results.Snapshots delete(Requests.Snapshot request, Progress progress)
      throws OperationException, KeyException, BlockException, IOException {
    DiskName name = KnownDisks.name(request.name());
    Optional<Attachments.Use> attached = attachments.use(name);
    if (attached.isPresent()) {
      try (Attachments.Use use = attached.get()) {
        return delete(name, request.snapshot(), use.stack(), progress);
      }
    }
    changes.lock();
    try (DiskOpener.OneUse use = openOffline(known.get(name))) {
      return delete(name, request.snapshot(), use.stack(), progress);
    } finally {
      changes.unlock();
    }
  }

  /** The content moves without the lock, so that other disks can be changed meanwhile. */
  private Results.Snapshots delete(
      DiskName name, String snapshot, DiskStack stack, Progress progress)
      throws OperationException, BlockException, IOException {
    LinkedDisk links = stack.links();
    List<String> before;
    Merge begun;
    changes.lock();
    try {
      find(name, links.snapshots(), snapshot); // Another deletion may have come first.
      before = linkIds(links);
      begun = links.delete(snapshot);
    } finally {
      changes.unlock();
    }
    try (Merge merge = begun) {
      if (!merge.copy(progress::at)) {
        throw new OperationException(
            Code.CANCELLED,
            "deletion of snapshot %s of %s was stopped; the disk reads as before, delete it again"
                .formatted(snapshot, name));
      }
      changes.lock();
      try {
        merge.finish(moved(name));
      } finally {
        changes.unlock();
      }
    }
    before.removeAll(linkIds(links));
    for (String gone : before) {
      stack.forget(gone);
      keys.evict(gone);
    }
    LOG.info("disk={} snapshot={} deleted", name, snapshot);
    return results(name, links.snapshots());
  }

  private static List<String> linkIds(LinkedDisk links) {
    List<String> ids = new ArrayList<>();
    links.links().forEach(link -> link.disk().encryption().ifPresent(m -> ids.add(m.linkId())));
    return ids;
  }

  private DiskOpener.OneUse openOffline(DiskRecord record)
      throws OperationException, KeyException, BlockException, IOException {
    return opener.openOnce(record.name(), Path.of(record.file()));
  }
}
