package io.filterd.daemon.cli;

import io.filterd.daemon.control.Operation;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.Requests;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code filterd snapshot}. */
@Command(
    name = "snapshot",
    description = "Take, list and delete snapshots of a disk, and go back to them.",
    subcommands = {
      SnapshotCommand.Create.class,
      SnapshotCommand.ListSnapshots.class,
      SnapshotCommand.Revert.class,
      SnapshotCommand.Delete.class
    })
final class SnapshotCommand {
  private static final String NAME_HELP = "The disk: VM/DISK, for example vm1/disk0.";
  private static final String SNAPSHOT_HELP =
      "The snapshot's name, or that of its file if others made it.";

  /** {@code filterd snapshot create}. */
  @Command(
      name = "create",
      description = "Keep what a disk holds now; it may be attached and in use.",
      footer = {"", "Example: filterd snapshot create vm1/disk0 before-upgrade"})
  static final class Create implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Parameters(index = "0", paramLabel = "VM/DISK", description = NAME_HELP)
    private String name = "";

    @Parameters(
        index = "1",
        arity = "0..1",
        paramLabel = "NAME",
        description = "Its name. Default: snapshot-1, or the next number.")
    private @Nullable String snapshot;

    @Override
    public Integer call() throws OperationException {
      Requests.CreateSnapshot request = new Requests.CreateSnapshot(name, snapshot);
      common.output().print(common.call(Operation.SNAPSHOT_CREATE, request, name));
      return 0;
    }
  }

  /** {@code filterd snapshot list}. */
  @Command(name = "list", description = "List the snapshots of a disk, the newest first.")
  static final class ListSnapshots implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Parameters(paramLabel = "VM/DISK", description = NAME_HELP)
    private String name = "";

    @Override
    public Integer call() throws OperationException {
      common.output().print(common.call(Operation.SNAPSHOT_LIST, new Requests.Disk(name), name));
      return 0;
    }
  }

  /** {@code filterd snapshot revert}. */
  @Command(
      name = "revert",
      description = {
        "Go back to a snapshot; the disk must be detached. What it held since stays in its files,",
        "which keep the snapshot from being deleted, unless it is discarded."
      },
      footer = {"", "Example: filterd snapshot revert vm1/disk0 before-upgrade --discard"})
  static final class Revert implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Parameters(index = "0", paramLabel = "VM/DISK", description = NAME_HELP)
    private String name = "";

    @Parameters(index = "1", paramLabel = "NAME", description = SNAPSHOT_HELP)
    private String snapshot = "";

    @Option(
        names = "--discard",
        description = "Delete what the disk held since, and the snapshots taken since.")
    private boolean discard;

    @Override
    public Integer call() throws OperationException {
      Requests.RevertSnapshot request = new Requests.RevertSnapshot(name, snapshot, discard);
      common.output().print(common.call(Operation.SNAPSHOT_REVERT, request, name));
      return 0;
    }
  }

  /** {@code filterd snapshot delete}. */
  @Command(
      name = "delete",
      description = "Forget a snapshot; what the disk holds stays, and it may be in use.",
      footer = {"", "Example: filterd snapshot delete vm1/disk0 before-upgrade"})
  static final class Delete implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Parameters(index = "0", paramLabel = "VM/DISK", description = NAME_HELP)
    private String name = "";

    @Parameters(index = "1", paramLabel = "NAME", description = SNAPSHOT_HELP)
    private String snapshot = "";

    @Override
    public Integer call() throws OperationException {
      Requests.Snapshot request = new Requests.Snapshot(name, snapshot);
      common.output().print(common.call(Operation.SNAPSHOT_DELETE, request, "delete " + snapshot));
      return 0;
    }
  }
}
