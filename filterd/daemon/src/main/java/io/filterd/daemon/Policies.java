package io.filterd.daemon;

import io.filterd.block.BlockException;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import io.filterd.daemon.control.Results;
import io.filterd.inventory.DiskName;
import io.filterd.inventory.DiskRecord;
import io.filterd.policy.StoragePolicy;
import io.filterd.vmdk.Access;
import io.filterd.vmdk.CreateOptions;
import io.filterd.vmdk.VmdkDisk;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.locks.ReentrantLock;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Lists storage policies, and gives disks others. */
final class Policies {
  private static final Logger LOG = LoggerFactory.getLogger(Policies.class);

  private final PolicyFolder folder;
  private final Attachments attachments;

  /** One change of disks at a time. */
  private final ReentrantLock changes;

  Policies(PolicyFolder folder, Attachments attachments, ReentrantLock changes) {
    this.folder = folder;
    this.attachments = attachments;
    this.changes = changes;
  }

  /**
   * Lists the policies, each with its disks.
   *
   * @param disks all disks
   */
  Results.Policies list(List<Results.Disk> disks) throws OperationException {
    Map<String, List<String>> users = new TreeMap<>();
    for (Results.Disk disk : disks) {
      if (disk.policy() != null) {
        users.computeIfAbsent(disk.policy(), policy -> new ArrayList<>()).add(disk.name());
      }
    }
    List<Results.Policy> results = new ArrayList<>();
    for (PolicyFolder.Entry entry : folder.all().values()) {
      StoragePolicy policy = entry.policy();
      results.add(
          new Results.Policy(
              policy.name(),
              policy.description(),
              policy.filters().stream().map(StoragePolicy.FilterUse::filter).toList(),
              policy.encryption().map(rule -> rule.cipher() + "/" + rule.unitBytes()).orElse(null),
              entry.file().toString(),
              users.getOrDefault(policy.name(), List.of())));
    }
    return new Results.Policies(results);
  }

  /** Gives a disk another policy. */
  void apply(DiskRecord record, String policyName)
      throws OperationException, BlockException, IOException {
    DiskName name = record.name();
    changes.lock();
    try {
      StoragePolicy policy = folder.get(policyName);
      Optional<DiskStack> attached = attachments.stack(name);
      if (attached.isPresent()) {
        if (attached.get().links().isChanging()) {
          throw new OperationException(
              Code.CONFLICT, "a snapshot of disk " + name + " is being deleted: wait for that");
        }
        DiskOpener.checkServable(name, policy, attached.get().disk());
        // First what a crash must not leave undone, or the disk would come back under the old one.
        rename(attached.get().disk(), policy);
        attached.get().apply(policy);
      } else {
        try (VmdkDisk disk = VmdkDisk.open(Path.of(record.file()), Access.READ_WRITE)) {
          DiskOpener.checkServable(name, policy, disk);
          rename(disk, policy);
        }
      }
      LOG.info("disk={} policy={} applied", name, policy.name());
    } finally {
      changes.unlock();
    }
  }

  private static void rename(VmdkDisk disk, StoragePolicy policy) throws BlockException {
    disk.rewriteDescriptor(
        descriptor -> descriptor.withDdb(CreateOptions.POLICY_KEY, policy.name()));
  }
}
