package io.filterd.daemon;

import io.filterd.block.BlockException;
import io.filterd.block.file.BlockFile;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.Results;
import io.filterd.inventory.DiskName;
import io.filterd.inventory.DiskRecord;
import io.filterd.inventory.Inventory;
import io.filterd.nbd.NbdServer;
import io.filterd.policy.AppliedPolicy;
import io.filterd.policy.AppliedPolicy.AppliedEncryption;
import io.filterd.policy.Compliance;
import io.filterd.policy.StoragePolicy;
import io.filterd.vmdk.Access;
import io.filterd.vmdk.DiskChain;
import io.filterd.vmdk.FormatException;
import io.filterd.vmdk.Locker;
import io.filterd.vmdk.VmdkDisk;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** Says what there is to say of disks. Changes nothing. */
final class DiskReports {
  private final Inventory inventory;
  private final PolicyFolder policies;
  private final Attachments attachments;
  private final KeyLedger ledger;
  private volatile @Nullable NbdServer server;

  DiskReports(
      Inventory inventory, PolicyFolder policies, Attachments attachments, KeyLedger ledger) {
    this.inventory = inventory;
    this.policies = policies;
    this.attachments = attachments;
    this.ledger = ledger;
  }

  /** From now on disks have clients, and places where clients find them. */
  void serving(NbdServer nbd) {
    server = nbd;
  }

  /** Every disk of the inventory. */
  Results.Disks list() {
    List<Results.Disk> disks = new ArrayList<>();
    for (DiskRecord disk : inventory.disks()) {
      disks.add(summary(disk));
    }
    return new Results.Disks(disks);
  }

  /** A disk in a list. */
  Results.Disk summary(DiskRecord record) {
    Optional<DiskStack> stack = attachments.stack(record.name());
    if (stack.isPresent()) {
      return summary(record, stack.get().disk(), "attached", null);
    }
    String locked = lockedBecause(record.name());
    try (VmdkDisk disk = VmdkDisk.open(Path.of(record.file()), Access.READ_ONLY)) {
      return summary(record, disk, stateOfClosed(record.name(), locked), locked);
    } catch (IOException failure) {
      return unreadable(record, Failures.sentence(failure));
    } catch (BlockException failure) {
      return unreadable(record, String.valueOf(failure.getMessage()));
    }
  }

  private @Nullable String lockedBecause(DiskName name) {
    return inventory.isLocked(name)
        ? LockedDisks.BY_COMMAND
        : attachments.lockedBecause(name).orElse(null);
  }

  private String stateOfClosed(DiskName name, @Nullable String locked) {
    if (locked != null) {
      return "locked";
    }
    return attachments.isPending(name) ? "attaching" : "detached";
  }

  private static Results.Disk unreadable(DiskRecord record, String reason) {
    return new Results.Disk(
        record.name().toString(), "locked", reason, 0, 0, null, false, record.file());
  }

  private static Results.Disk summary(
      DiskRecord record, VmdkDisk disk, String state, @Nullable String reason) {
    return new Results.Disk(
        record.name().toString(),
        state,
        reason,
        disk.link().info().sizeBytes(),
        storedBytes(disk),
        policyName(disk).orElse(null),
        disk.encryption().isPresent(),
        record.file());
  }

  private static Optional<String> policyName(VmdkDisk disk) {
    try {
      return disk.policy();
    } catch (FormatException unreadable) {
      return Optional.empty();
    }
  }

  /** What all files of a disk take. */
  private static long storedBytes(VmdkDisk disk) {
    return disk.files().stream().mapToLong(DiskReports::storedBytes).sum();
  }

  static long storedBytes(Path file) {
    try {
      return BlockFile.storedBytes(file);
    } catch (IOException unknown) {
      return file.toFile().length();
    }
  }

  /** All of one disk. */
  Results.DiskDetails details(DiskRecord record) throws IOException, BlockException {
    DiskName name = record.name();
    Optional<DiskStack> stack = attachments.stack(name);
    if (stack.isPresent()) {
      return details(record, stack.get().disk(), summary(record), stack);
    }
    try (VmdkDisk disk = VmdkDisk.open(Path.of(record.file()), Access.READ_ONLY)) {
      String locked = lockedBecause(name);
      Results.Disk summary = summary(record, disk, stateOfClosed(name, locked), locked);
      return details(record, disk, summary, Optional.empty());
    }
  }

  private Results.DiskDetails details(
      DiskRecord record, VmdkDisk disk, Results.Disk summary, Optional<DiskStack> stack) {
    Results.@Nullable Encryption encryption =
        disk.encryption()
            .map(
                metadata -> {
                  Locker locker = metadata.keySafe().getFirst();
                  return new Results.Encryption(
                      metadata.cipher(),
                      metadata.unitBytes(),
                      metadata.diskId(),
                      metadata.linkId(),
                      locker.provider(),
                      locker.keyId(),
                      locker.checkValue());
                })
            .orElse(null);
    Compliance compliance = compliance(disk, stack);
    return new Results.DiskDetails(
        summary,
        disk.warnings(),
        disk.format(),
        encryption,
        compliance.verdict().name().toLowerCase(Locale.ROOT).replace('_', '-'),
        compliance.reasons(),
        stack.map(DiskStack::filters).orElse(List.of()),
        attachments.access(record.name()).orElse(null),
        summary.state().equals("attached") ? uris(record.name()) : List.of(),
        connections(record.name()));
  }

  private Compliance compliance(VmdkDisk disk, Optional<DiskStack> stack) {
    Optional<String> name = policyName(disk);
    StoragePolicy wanted;
    try {
      wanted = policies.get(name.orElse(""));
    } catch (OperationException missing) {
      String reason =
          name.isPresent() ? String.valueOf(missing.getMessage()) : "the disk names no policy";
      return new Compliance(Compliance.Verdict.UNKNOWN, List.of(reason));
    }
    return Compliance.compare(
        wanted,
        new AppliedPolicy(
            name,
            stack.map(DiskStack::policyDigest),
            stack.map(DiskStack::filterUses),
            DiskOpener.appliedEncryption(disk)
                .map(
                    applied ->
                        new AppliedEncryption(
                            applied.cipher(),
                            applied.unitBytes(),
                            applied.provider(),
                            age(disk, stack)))));
  }

  /** How old the oldest of the disk's keys is; of a detached disk, those of its top link. */
  private Optional<Duration> age(VmdkDisk disk, Optional<DiskStack> stack) {
    List<VmdkDisk> links =
        stack
            .map(open -> open.links().links().stream().map(DiskChain.Link::disk).toList())
            .orElse(List.of(disk));
    return links.stream()
        .flatMap(link -> link.encryption().stream())
        .flatMap(metadata -> metadata.keySafe().stream())
        .map(DiskKeys::reference)
        .distinct()
        .flatMap(key -> ledger.age(key).stream())
        .max(Duration::compareTo);
  }

  private List<String> uris(DiskName name) {
    NbdServer serving = server;
    return serving == null ? List.of() : NbdUri.of(serving, name.toString());
  }

  private List<Map<String, Object>> connections(DiskName name) {
    NbdServer serving = server;
    List<Map<String, Object>> clients = new ArrayList<>();
    if (serving != null) {
      serving.connections().stream()
          .filter(connection -> connection.export().equals(name.toString()))
          .forEach(
              connection -> {
                Map<String, Object> client = new LinkedHashMap<>();
                client.put("peer", connection.peer());
                client.put("requests", connection.requests());
                client.put("bytesRead", connection.bytesRead());
                client.put("bytesWritten", connection.bytesWritten());
                client.put("inFlight", connection.inFlight());
                clients.add(client);
              });
    }
    return clients;
  }
}
