package io.filterd.daemon.control;

import java.util.List;
import org.jspecify.annotations.Nullable;

/** The operations that look after the files of disks, their arguments and their results. */
public final class Care {
  private Care() {}

  /** Checks a disk's files. */
  public static final Operation<Requests.Disk, Check> DISK_CHECK =
      new Operation<>("disk.check", Requests.Disk.class, Check.class);

  /** Repairs a disk's files, or takes a repair back. */
  public static final Operation<RepairDisk, Repair> DISK_REPAIR =
      new Operation<>("disk.repair", RepairDisk.class, Repair.class);

  /** Makes a disk larger. */
  public static final Operation<GrowDisk, Results.DiskDetails> DISK_GROW =
      new Operation<>("disk.grow", GrowDisk.class, Results.DiskDetails.class);

  /** Rewrites a disk's file without what it does not need. */
  public static final Operation<Requests.Disk, Results.Done> DISK_COMPACT =
      new Operation<>("disk.compact", Requests.Disk.class, Results.Done.class);

  /** Makes a disk larger: to {@code sizeBytes}. */
  public record GrowDisk(String name, long sizeBytes) {
    /** Checks what came from outside. */
    public GrowDisk {
      Requests.require(name, "name");
    }
  }

  /**
   * Repairs a disk.
   *
   * @param backup the file for what is changed, or null for one beside the disk
   * @param undo the backup of the repair to take back, or null to repair
   */
  public record RepairDisk(String name, @Nullable String backup, @Nullable String undo) {
    /** Checks what came from outside. */
    public RepairDisk {
      Requests.require(name, "name");
      Requests.checkPath(backup, "backup");
      Requests.checkPath(undo, "undo");
    }
  }

  /**
   * Something that a check found.
   *
   * @param severity {@code error}, {@code warning} or {@code leak}
   */
  public record Finding(
      String severity,
      String file,
      long byteOffset,
      String field,
      String actual,
      String expected,
      boolean repairable) {}

  /**
   * What a check found. Sizes are in bytes.
   *
   * @param verdict {@code clean}; {@code flawed}, if there are but warnings and leaks; {@code
   *     damaged}
   * @param findings the first of them; the totals count all
   */
  public record Check(
      String file,
      String format,
      String verdict,
      List<Finding> findings,
      long errors,
      long warnings,
      long leaks,
      long sizeBytes,
      long fileBytes,
      long tables,
      long grains,
      long zeroGrains,
      long leakedBytes) {
    /** What a command that shows this ends with. */
    public int exitStatus() {
      return errors > 0
          ? OperationException.Code.FORMAT.exitStatus()
          : warnings + leaks > 0 ? 1 : 0;
    }
  }

  /**
   * What a repair did.
   *
   * @param changes the number of ranges of its files that were changed
   * @param backup what they held before, if any were
   * @param undone whether a repair was taken back
   * @param after what a check says now
   */
  public record Repair(int changes, @Nullable String backup, boolean undone, Check after) {}
}
