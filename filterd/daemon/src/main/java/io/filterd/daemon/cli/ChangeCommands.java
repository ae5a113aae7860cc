package io.filterd.daemon.cli;

import io.filterd.daemon.control.Operation;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.Requests;
import io.filterd.daemon.control.Results;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** The commands of {@code filterd disk} that have to do with changed blocks. */
final class ChangeCommands {
  private static final String NAME_HELP = "The disk: VM/DISK, for example vm1/disk0.";

  private ChangeCommands() {}

  /** {@code filterd disk mark}. */
  @Command(
      name = "mark",
      description = "Track changes from now on, under the name of a point: for backups.",
      footer = {"", "Example: filterd disk mark vm1/disk0 monday"})
  static final class Mark implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Parameters(index = "0", paramLabel = "VM/DISK", description = NAME_HELP)
    private String name = "";

    @Parameters(index = "1", paramLabel = "POINT", description = "A name for this moment.")
    private String point = "";

    @Override
    public Integer call() throws OperationException {
      Requests.ChangePoint request = new Requests.ChangePoint(name, point);
      common.output().print(common.call(Operation.DISK_MARK, request, name));
      return 0;
    }
  }

  /** {@code filterd disk unmark}. */
  @Command(name = "unmark", description = "Forget a point.")
  static final class Unmark implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Parameters(index = "0", paramLabel = "VM/DISK", description = NAME_HELP)
    private String name = "";

    @Parameters(index = "1", paramLabel = "POINT", description = "The point's name.")
    private String point = "";

    @Override
    public Integer call() throws OperationException {
      Requests.ChangePoint request = new Requests.ChangePoint(name, point);
      common.output().print(common.call(Operation.DISK_UNMARK, request, name));
      return 0;
    }
  }

  /** {@code filterd disk changes}. */
  @Command(
      name = "changes",
      description = {
        "List the points of a disk, or what was changed since one.",
        "After a crash it may name more than was changed; never less."
      },
      footer = {"", "Example: filterd disk changes vm1/disk0 --since monday --json"})
  static final class Changes implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Parameters(paramLabel = "VM/DISK", description = NAME_HELP)
    private String name = "";

    @Option(names = "--since", paramLabel = "POINT", description = "What was changed since then.")
    private @Nullable String since;

    @Override
    public Integer call() throws OperationException {
      if (since == null) {
        common.output().print(common.call(Operation.DISK_POINTS, new Requests.Disk(name), name));
        return 0;
      }
      List<Results.ChangedRange> ranges = new ArrayList<>();
      Results.Changes part;
      long changed = 0;
      Long from = 0L;
      do {
        Requests.Changes request = new Requests.Changes(name, since, from);
        part = common.call(Operation.DISK_CHANGES, request, name);
        ranges.addAll(part.ranges());
        changed += part.changedBytes();
        from = part.next();
      } while (from != null);
      common
          .output()
          .print(
              new Results.Changes(
                  part.name(), part.point(), part.sizeBytes(), changed, null, ranges));
      return 0;
    }
  }
}
