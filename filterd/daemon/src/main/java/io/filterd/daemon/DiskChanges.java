package io.filterd.daemon;

import io.filterd.block.BlockException;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import io.filterd.daemon.control.Requests;
import io.filterd.daemon.control.Results;
import io.filterd.inventory.DiskName;
import io.filterd.inventory.Inventory;
import io.filterd.vmdk.Access;
import io.filterd.vmdk.ChangeTracking;
import io.filterd.vmdk.FormatException;
import io.filterd.vmdk.VmdkDisk;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.LongSupplier;

/** What was changed on disks since named points. */
final class DiskChanges {
  /** So many ranges are in one answer; who asks goes on from its end. */
  private static final int RANGE_LIMIT = 20_000;

  private final KnownDisks known;
  private final Attachments attachments;
  private final ReentrantLock changes;

  DiskChanges(Inventory inventory, Attachments attachments, ReentrantLock changes) {
    this.known = new KnownDisks(inventory);
    this.attachments = attachments;
    this.changes = changes;
  }

  @FunctionalInterface
  private interface Action<T> {
    T apply(ChangeTracking tracking) throws OperationException, BlockException;
  }

  /** Sets a point: from now on changes since it are known. */
  Results.Done mark(Requests.ChangePoint request)
      throws OperationException, BlockException, IOException {
    DiskName name = KnownDisks.name(request.name());
    with(
        name,
        true,
        tracking -> {
          try {
            tracking.mark(request.point());
          } catch (IllegalArgumentException wrong) {
            throw new OperationException(Code.INVALID, String.valueOf(wrong.getMessage()), wrong);
          } catch (BlockException refused) {
            if (refused.reason() != BlockException.Reason.NOT_SUPPORTED) {
              throw refused;
            }
            throw new OperationException(
                Code.CONFLICT, String.valueOf(refused.getMessage()), refused);
          }
          return true;
        });
    return new Results.Done(
        "Changes of " + name + " are tracked since now as " + request.point() + ".");
  }

  /** Forgets a point; after the last one changes are tracked no more. */
  Results.Done unmark(Requests.ChangePoint request)
      throws OperationException, BlockException, IOException {
    DiskName name = KnownDisks.name(request.name());
    changes.lock();
    try {
      boolean forgotten = with(name, false, tracking -> tracking.forget(request.point()));
      if (!forgotten) {
        throw noPoint(name, request.point());
      }
      if (with(name, false, tracking -> tracking.points().isEmpty())) {
        stop(name);
      }
    } finally {
      changes.unlock();
    }
    return new Results.Done("Point " + request.point() + " of " + name + " is forgotten.");
  }

  private void stop(DiskName name) throws OperationException, BlockException, IOException {
    Optional<DiskStack> stack = attachments.stack(name);
    if (stack.isPresent()) {
      stack.get().stopTracking();
    }
    Files.deleteIfExists(ChangeTracking.fileOf(Path.of(known.get(name).file())));
  }

  /** The points of a disk. */
  Results.ChangePoints points(Requests.Disk request)
      throws OperationException, BlockException, IOException {
    DiskName name = KnownDisks.name(request.name());
    if (attachments.stack(name).flatMap(DiskStack::tracking).isEmpty()
        && !Files.exists(ChangeTracking.fileOf(Path.of(known.get(name).file())))) {
      return new Results.ChangePoints(name.toString(), List.of());
    }
    return with(
        name,
        false,
        tracking ->
            new Results.ChangePoints(
                name.toString(),
                tracking.points().stream()
                    .map(
                        point ->
                            new Results.ChangePoint(
                                point.name(), point.since().toString(), point.grainBytes()))
                    .toList()));
  }

  /** What was changed since a point, from an offset on. */
  Results.Changes changes(Requests.Changes request)
      throws OperationException, BlockException, IOException {
    DiskName name = KnownDisks.name(request.name());
    long size = sizeBytes(name);
    if (request.offset() < 0 || request.offset() > size) {
      throw new OperationException(
          Code.INVALID, "offset: " + request.offset() + " (expected: 0.." + size + ")");
    }
    List<Results.ChangedRange> ranges = new ArrayList<>();
    long[] at = {request.offset()};
    boolean found =
        at[0] == size
            || with(
                name,
                false,
                tracking ->
                    tracking.changes(
                        request.point(),
                        at[0],
                        size - at[0],
                        (bytes, changed) -> {
                          if (changed) {
                            ranges.add(new Results.ChangedRange(at[0], bytes));
                          }
                          at[0] += bytes;
                          return ranges.size() < RANGE_LIMIT;
                        }));
    if (!found) {
      throw noPoint(name, request.point());
    }
    long changed = ranges.stream().mapToLong(Results.ChangedRange::lengthBytes).sum();
    return new Results.Changes(
        name.toString(), request.point(), size, changed, at[0] < size ? at[0] : null, ranges);
  }

  private long sizeBytes(DiskName name) throws OperationException, BlockException, IOException {
    Optional<DiskStack> stack = attachments.stack(name);
    if (stack.isPresent()) {
      return stack.get().device().info().sizeBytes();
    }
    try (VmdkDisk disk = VmdkDisk.open(Path.of(known.get(name).file()), Access.READ_ONLY)) {
      return disk.link().info().sizeBytes();
    }
  }

  private <T> T with(DiskName name, boolean create, Action<T> action)
      throws OperationException, BlockException, IOException {
    Path file = Path.of(known.get(name).file());
    changes.lock();
    try {
      Optional<DiskStack> stack = attachments.stack(name);
      if (stack.isPresent()) {
        if (create && stack.get().tracking().isEmpty()) {
          stack.get().startTracking();
        }
        return action.apply(stack.get().tracking().orElseThrow(() -> notTracked(name)));
      }
      try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_ONLY)) {
        long size = disk.link().info().sizeBytes();
        Path beside = ChangeTracking.fileOf(file);
        if (!Files.exists(beside)) {
          if (!create) {
            throw notTracked(name);
          }
          ChangeTracking.create(beside, size, disk.descriptor().cid());
        }
        try (ChangeTracking tracking =
            ChangeTracking.open(beside, size, () -> disk.descriptor().cid())) {
          return action.apply(tracking);
        }
      }
    } finally {
      changes.unlock();
    }
  }

  /**
   * Opens what tracks the changes of a disk, if anything does.
   *
   * @return none also if its file is damaged: the disk is served, and its points are lost
   */
  static Optional<ChangeTracking> openIfThere(Path file, long sizeBytes, LongSupplier contentId)
      throws BlockException, IOException {
    Path beside = ChangeTracking.fileOf(file);
    if (!Files.exists(beside)) {
      return Optional.empty();
    }
    try {
      return Optional.of(ChangeTracking.open(beside, sizeBytes, contentId));
    } catch (FormatException damaged) {
      org.slf4j.LoggerFactory.getLogger(DiskChanges.class)
          .warn(
              "changes are not tracked, and points are lost: {}; delete the file",
              damaged.getMessage());
      return Optional.empty();
    }
  }

  private static OperationException notTracked(DiskName name) {
    return new OperationException(
        Code.NOT_FOUND,
        "changes of " + name + " are not tracked: `filterd disk mark` begins with that");
  }

  private static OperationException noPoint(DiskName name, String point) {
    return new OperationException(
        Code.NOT_FOUND,
        name + " has no point " + point + ": `filterd disk changes " + name + "` shows its points");
  }
}
