package io.filterd.daemon.cli;

import io.filterd.daemon.DiskCare;
import io.filterd.daemon.control.Care;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.Requests;
import io.filterd.daemon.control.Results;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** The commands of {@code filterd disk} that look after a disk's files. */
final class CareCommands {
  private CareCommands() {}

  /** A disk by its name, or by its file, which needs neither a configuration nor a daemon. */
  static final class Target {
    @Parameters(paramLabel = "VM/DISK", arity = "0..1", description = DiskCommand.NAME_HELP)
    @Nullable String name;

    @Option(
        names = {"-f", "--file"},
        paramLabel = "FILE.vmdk",
        description =
            "A file instead: the one with the descriptor, or a sparse extent alone. Needs neither"
                + " a configuration nor a daemon.")
    @Nullable Path file;
  }

  /** {@code filterd disk check}. */
  @Command(
      name = "check",
      description = {
        "Check a disk's files: header, descriptor, tables, space. Changes nothing.",
        "The exit code is 0 if nothing was found, 1 for warnings and lost space, 6 for errors."
      },
      footer = {"", "Example: filterd disk check --file old.vmdk --json"})
  static final class Check implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @ArgGroup(exclusive = true, multiplicity = "1")
    private Target target = new Target();

    @Override
    public Integer call() throws OperationException {
      Path file = target.file;
      Care.Check check =
          file != null
              ? DiskCare.check(file)
              : common.call(Care.DISK_CHECK, new Requests.Disk("" + target.name), "check");
      common.output().print(check);
      return check.exitStatus();
    }
  }

  /** {@code filterd disk repair}. */
  @Command(
      name = "repair",
      description = {
        "Repair what a check finds repairable; what is changed is in a backup first.",
        "The exit code is that of a check afterwards: 0, 1 or 6."
      },
      footer = {
        "",
        "Examples:",
        "  filterd disk repair vm1/disk0",
        "  filterd disk repair vm1/disk0 --undo disk0.vmdk.before-repair-1"
      })
  static final class Repair implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @ArgGroup(exclusive = true, multiplicity = "1")
    private Target target = new Target();

    @ArgGroup private Backups backups = new Backups();

    /** A repair makes a backup, or goes back to one. */
    static final class Backups {
      @Option(
          names = {"-b", "--backup"},
          paramLabel = "BACKUP",
          description = "The file to make. Default: FILE.vmdk.before-repair-N, beside the disk.")
      private @Nullable Path backup;

      @Option(
          names = "--undo",
          paramLabel = "BACKUP",
          description = "Take the repair back that made this file.")
      private @Nullable Path undo;
    }

    @Override
    public Integer call() throws OperationException {
      Path file = target.file;
      Path undo = backups.undo;
      Care.Repair repair;
      if (file == null) {
        Care.RepairDisk request =
            new Care.RepairDisk(
                "" + target.name,
                Common.absoluteOrNull(backups.backup),
                Common.absoluteOrNull(undo));
        repair = common.call(Care.DISK_REPAIR, request, "repair");
      } else {
        repair = undo == null ? DiskCare.repair(file, backups.backup) : DiskCare.undo(file, undo);
      }
      common.output().print(repair);
      return repair.after().exitStatus();
    }
  }

  /** {@code filterd disk grow}. */
  @Command(
      name = "grow",
      description = {
        "Make a disk larger, also while it is attached. What is new reads as zeros.",
        "Clients that are connected keep the size they know; who connects later sees the new one."
      },
      footer = {"", "Example: filterd disk grow vm1/disk0 40GiB"})
  static final class Grow implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Parameters(index = "0", paramLabel = "VM/DISK", description = DiskCommand.NAME_HELP)
    private String name = "";

    @Parameters(
        index = "1",
        paramLabel = "SIZE",
        converter = SizeConverter.class,
        description = "The new size, for example 40GiB; whole sectors of 512 bytes.")
    private long sizeBytes;

    @Override
    public Integer call() throws OperationException {
      Results.DiskDetails grown =
          common.call(Care.DISK_GROW, new Care.GrowDisk(name, sizeBytes), "grow " + name);
      common.output().print(grown);
      if (!grown.connections().isEmpty() && !common.json()) {
        common.out().println("Clients that are connected see the new size when they come again.");
        common.out().flush();
      }
      return 0;
    }
  }

  /** {@code filterd disk compact}. */
  @Command(
      name = "compact",
      description =
          "Rewrite a detached disk's file: grains in order, without those that hold only zeros.")
  static final class Compact implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Parameters(paramLabel = "VM/DISK", description = DiskCommand.NAME_HELP)
    private String name = "";

    @Override
    public Integer call() throws OperationException {
      Results.Done done =
          common.call(Care.DISK_COMPACT, new Requests.Disk(name), "compact " + name);
      common.output().print(done);
      return 0;
    }
  }
}
