package io.filterd.daemon;

import io.filterd.block.BlockException;
import io.filterd.daemon.control.Care;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import io.filterd.daemon.control.Progress;
import io.filterd.daemon.control.Requests;
import io.filterd.daemon.control.Results;
import io.filterd.daemon.control.Sizes;
import io.filterd.inventory.DiskName;
import io.filterd.inventory.DiskRecord;
import io.filterd.inventory.Inventory;
import io.filterd.inventory.ServeOptions.Mode;
import io.filterd.keys.KeyException;
import io.filterd.vmdk.Access;
import io.filterd.vmdk.CheckReport;
import io.filterd.vmdk.DiskCheck;
import io.filterd.vmdk.DiskCompaction;
import io.filterd.vmdk.DiskRepair;
import io.filterd.vmdk.FormatException;
import io.filterd.vmdk.VmdkDisk;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Looks after the files of disks: checks, repairs, grows and compacts them. Safe for many threads.
 */
public final class DiskCare {
  private static final Logger LOG = LoggerFactory.getLogger(DiskCare.class);

  private static final int BACKUP_LIMIT = 1000;

  private final KnownDisks known;
  private final DiskOpener opener;
  private final Attachments attachments;

  /** One change of disks at a time. */
  private final ReentrantLock changes;

  DiskCare(Inventory inventory, DiskOpener opener, Attachments attachments, ReentrantLock changes) {
    this.known = new KnownDisks(inventory);
    this.opener = opener;
    this.attachments = attachments;
    this.changes = changes;
  }

  /** Checks a disk that nobody uses. */
  Care.Check check(Requests.Disk request) throws OperationException {
    DiskRecord record = known.get(KnownDisks.name(request.name()));
    changes.lock();
    try {
      checkNotAttached(record.name(), "checked");
      return check(Path.of(record.file()));
    } finally {
      changes.unlock();
    }
  }

  /** Repairs a disk that nobody uses, or takes a repair back. */
  Care.Repair repair(Care.RepairDisk request) throws OperationException {
    DiskRecord record = known.get(KnownDisks.name(request.name()));
    changes.lock();
    try {
      checkNotAttached(record.name(), "repaired");
      Path file = Path.of(record.file());
      Care.Repair repair =
          request.undo() == null
              ? repair(file, request.backup() == null ? null : Path.of(request.backup()))
              : undo(file, Path.of(request.undo()));
      LOG.info(
          "disk={} repaired: changes={} backup={} undone={}",
          record.name(),
          repair.changes(),
          repair.backup(),
          repair.undone());
      return repair;
    } finally {
      changes.unlock();
    }
  }

  /**
   * Makes a disk larger. Where it is attached, clients that are there go on with the old size, and
   * new ones see the new.
   */
  DiskRecord grow(Care.GrowDisk request) throws OperationException, BlockException, IOException {
    DiskRecord record = known.get(KnownDisks.name(request.name()));
    long sizeBytes = request.sizeBytes();
    changes.lock();
    try {
      Optional<DiskStack> stack = attachments.stack(record.name());
      if (stack.isPresent()) {
        if (stack.get().options().mode() != Mode.READ_WRITE) {
          throw new OperationException(
              Code.CONFLICT,
              "disk " + record.name() + " is attached for reading only: detach it to grow it");
        }
        stack.get().grow(sizeBytes);
      } else {
        try (VmdkDisk disk = VmdkDisk.open(Path.of(record.file()), Access.READ_WRITE)) {
          disk.grow(sizeBytes);
        }
      }
    } catch (IllegalArgumentException wrong) {
      throw new OperationException(Code.INVALID, String.valueOf(wrong.getMessage()), wrong);
    } finally {
      changes.unlock();
    }
    LOG.info("disk={} grown to {} bytes", record.name(), sizeBytes);
    return record;
  }

  /** Rewrites the file of a disk that nobody uses without what it does not need. */
  Results.Done compact(Requests.Disk request, Progress progress)
      throws OperationException, KeyException, BlockException, IOException {
    DiskRecord record = known.get(KnownDisks.name(request.name()));
    Path file = Path.of(record.file());
    changes.lock();
    try {
      checkNotAttached(record.name(), "compacted");
      DiskCompaction.Result result =
          opener
              .withPlaintext(
                  record.name(),
                  file,
                  plaintext -> DiskCompaction.compact(file, plaintext, progress::at))
              .orElseThrow(
                  () ->
                      new OperationException(
                          Code.CANCELLED,
                          "compaction of " + record.name() + " was stopped; nothing is changed"));
      LOG.info(
          "disk={} compacted from {} to {} bytes",
          record.name(),
          result.beforeBytes(),
          result.afterBytes());
      return new Results.Done(
          "Compacted %s from %s to %s."
              .formatted(
                  record.name(),
                  Sizes.text(result.beforeBytes()),
                  Sizes.text(result.afterBytes())));
    } finally {
      changes.unlock();
    }
  }

  private void checkNotAttached(DiskName name, String done) throws OperationException {
    // A disk that could not be opened is attached by name only: it is what needs care most.
    if (attachments.stack(name).isPresent()) {
      throw new OperationException(
          Code.CONFLICT,
          "disk %s is attached and can't be %s: detach it first".formatted(name, done));
    }
  }

  /** Checks the files of a disk, by the one with the descriptor, or a sparse extent alone. */
  public static Care.Check check(Path file) throws OperationException {
    return called(() -> result(DiskCheck.check(file)));
  }

  /**
   * Repairs the files of a disk.
   *
   * @param backup a new file for what is changed, or null for one beside the disk
   */
  public static Care.Repair repair(Path file, @Nullable Path backup) throws OperationException {
    return called(
        () -> {
          DiskRepair.Result result =
              DiskRepair.repair(file, backup == null ? newBackup(file) : backup);
          String made = result.backup().map(Path::toString).orElse(null);
          return new Care.Repair(result.changes(), made, false, result(result.after()));
        });
  }

  /** Takes a repair back. */
  public static Care.Repair undo(Path file, Path backup) throws OperationException {
    return called(
        () -> {
          DiskRepair.undo(file, backup);
          return new Care.Repair(0, null, true, result(DiskCheck.check(file)));
        });
  }

  private static Path newBackup(Path file) throws OperationException {
    for (int i = 1; i <= BACKUP_LIMIT; i++) {
      Path path = file.resolveSibling(file.getFileName() + ".before-repair-" + i);
      if (!Files.exists(path)) {
        return path;
      }
    }
    throw new OperationException(
        Code.CONFLICT, file + ": has " + BACKUP_LIMIT + " backups of repairs: name another file");
  }

  private static Care.Check result(CheckReport report) {
    CheckReport.Totals totals = report.totals();
    return new Care.Check(
        report.file(),
        report.kind(),
        totals.errors() > 0 ? "damaged" : report.isClean() ? "clean" : "flawed",
        report.findings().stream()
            .map(
                each ->
                    new Care.Finding(
                        each.severity().name().toLowerCase(Locale.ROOT),
                        each.file(),
                        each.byteOffset(),
                        each.field(),
                        each.actual(),
                        each.expected(),
                        each.repairable()))
            .toList(),
        totals.errors(),
        totals.warnings(),
        totals.leaks(),
        totals.sizeBytes(),
        totals.fileBytes(),
        totals.tables(),
        totals.grains(),
        totals.zeroGrains(),
        totals.leakedBytes());
  }

  @FunctionalInterface
  private interface Call<R> {
    R call() throws OperationException, IOException, BlockException;
  }

  private static <R> R called(Call<R> call) throws OperationException {
    try {
      return call.call();
    } catch (BlockException failure) {
      throw new OperationException(Code.IO, String.valueOf(failure.getMessage()), failure);
    } catch (FormatException failure) {
      throw new OperationException(Code.FORMAT, String.valueOf(failure.getMessage()), failure);
    } catch (IOException failure) {
      throw new OperationException(Failures.code(failure), Failures.sentence(failure), failure);
    }
  }
}
