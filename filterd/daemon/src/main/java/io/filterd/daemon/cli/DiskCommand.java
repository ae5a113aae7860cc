package io.filterd.daemon.cli;

import io.filterd.daemon.control.Operation;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import io.filterd.daemon.control.Requests;
import io.filterd.inventory.ServeOptions;
import io.filterd.inventory.ServeOptions.Mode;
import io.filterd.vmdk.Layout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code filterd disk}. */
@Command(
    name = "disk",
    description = "Make, list, attach, detach and look after disks.",
    subcommands = {
      DiskCommand.Create.class,
      DiskCommand.Import.class,
      DiskCommand.Export.class,
      DiskCommand.ListDisks.class,
      DiskCommand.Describe.class,
      DiskCommand.Attach.class,
      DiskCommand.Detach.class,
      DiskCommand.SetReadOnly.class,
      ChangeCommands.Mark.class,
      ChangeCommands.Unmark.class,
      ChangeCommands.Changes.class,
      CareCommands.Check.class,
      CareCommands.Repair.class,
      CareCommands.Grow.class,
      CareCommands.Compact.class
    })
final class DiskCommand {
  static final String NAME_HELP = "The disk: VM/DISK, for example vm1/disk0.";

  /** {@code filterd disk create}. */
  @Command(
      name = "create",
      description = "Make an empty disk.",
      footer = {"", "Example: filterd disk create vm1/disk0 --size 20GiB --policy encrypted"})
  static final class Create implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Parameters(paramLabel = "VM/DISK", description = NAME_HELP)
    private String name = "";

    @Option(
        names = {"-s", "--size"},
        required = true,
        paramLabel = "SIZE",
        converter = SizeConverter.class,
        description = "Its size, for example 20GiB; whole sectors of 512 bytes.")
    private long sizeBytes;

    @Option(
        names = {"-l", "--layout"},
        paramLabel = "LAYOUT",
        completionCandidates = Layouts.class,
        description = {
          "How it is laid out in files: ${COMPLETION-CANDIDATES}. The flat ones take all their"
              + " space at once, and zero it; above 2 TiB it must be flat or split."
              + " Default: ${DEFAULT-VALUE}."
        })
    private String layout = "monolithicSparse";

    @Mixin private NewDisk target = new NewDisk();

    @Override
    public Integer call() throws OperationException {
      Requests.CreateDisk request =
          new Requests.CreateDisk(
              name,
              sizeBytes,
              target.policy,
              Common.absoluteOrNull(target.file),
              target.withoutBackup,
              layout);
      common.output().print(common.call(Operation.DISK_CREATE, request, name));
      return 0;
    }

    /** The layouts, for the help and for completion. */
    static final class Layouts implements Iterable<String> {
      @Override
      public Iterator<String> iterator() {
        return Stream.of(Layout.values()).map(Layout::createType).iterator();
      }
    }
  }

  /** What a new disk needs besides its content. */
  static final class NewDisk {
    @Option(
        names = {"-p", "--policy"},
        required = true,
        paramLabel = "POLICY",
        description = "The storage policy; `filterd policy list` shows them.")
    String policy = "";

    @Option(
        names = {"-f", "--file"},
        paramLabel = "FILE.vmdk",
        description = "Where to store it. Default: below the configuration's folder of disks.")
    @Nullable Path file;

    @Option(
        names = "--without-backup",
        description =
            "Encrypt even if the key provider was never backed up. Lose it, lose the disk.")
    boolean withoutBackup;
  }

  /** {@code filterd disk import}. */
  @Command(
      name = "import",
      description = "Make a disk with the content of a VMDK or raw file; the source is only read.",
      footer = {"", "Example: filterd disk import old.vmdk vm1/disk0 --policy encrypted"})
  static final class Import implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Parameters(index = "0", paramLabel = "SOURCE", description = "The file to read.")
    private Path source = Path.of("");

    @Parameters(index = "1", paramLabel = "VM/DISK", description = NAME_HELP)
    private String name = "";

    @Option(
        names = {"-F", "--format"},
        paramLabel = "vmdk|raw",
        description =
            "What the source is; never guessed. A stream is a vmdk. Default: ${DEFAULT-VALUE}.")
    private String format = "vmdk";

    @Mixin private NewDisk target = new NewDisk();

    @Override
    public Integer call() throws OperationException {
      Requests.ImportDisk request =
          new Requests.ImportDisk(
              name,
              Common.absolute(source),
              format,
              target.policy,
              Common.absoluteOrNull(target.file),
              target.withoutBackup);
      common.output().print(common.call(Operation.DISK_IMPORT, request, "import " + name));
      return 0;
    }
  }

  /** {@code filterd disk export}. */
  @Command(
      name = "export",
      description = "Write a disk's content, in the clear, to a new file.",
      footer = {"", "Example: filterd disk export vm1/disk0 copy.vmdk --format stream"})
  static final class Export implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Parameters(index = "0", paramLabel = "VM/DISK", description = NAME_HELP)
    private String name = "";

    @Parameters(index = "1", paramLabel = "TARGET", description = "The file to make.")
    private Path target = Path.of("");

    @Option(
        names = {"-F", "--format"},
        paramLabel = "vmdk|stream|raw",
        completionCandidates = Formats.class,
        description =
            "What to make: a thin VMDK (monolithicSparse), a compressed one (streamOptimized), or"
                + " the content itself. Default: ${DEFAULT-VALUE}.")
    private String format = "vmdk";

    @Override
    public Integer call() throws OperationException {
      Requests.ExportDisk request = new Requests.ExportDisk(name, Common.absolute(target), format);
      common.output().print(common.call(Operation.DISK_EXPORT, request, "export " + name));
      return 0;
    }
  }

  /** What the shell offers to complete. */
  static final class Formats extends ArrayList<String> {
    private static final long serialVersionUID = 1L;

    Formats() {
      super(List.of("vmdk", "stream", "raw", "monolithicSparse", "streamOptimized"));
    }
  }

  /** {@code filterd disk list}. */
  @Command(name = "list", description = "List the disks.")
  static final class ListDisks implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Override
    public Integer call() throws OperationException {
      common.output().print(common.call(Operation.DISK_LIST, new Requests.None(), "list"));
      return 0;
    }
  }

  /** {@code filterd disk info}. */
  @Command(
      name = "info",
      description = "Describe a disk: key, policy, filters and their figures, clients.")
  static final class Describe implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Parameters(paramLabel = "VM/DISK", description = NAME_HELP)
    private String name = "";

    @Override
    public Integer call() throws OperationException {
      common.output().print(common.call(Operation.DISK_INFO, new Requests.Disk(name), name));
      return 0;
    }
  }

  /** {@code filterd disk attach}. */
  @Command(
      name = "attach",
      description = "Serve a disk over NBD, now and after a restart of the daemon.")
  static final class Attach implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Parameters(paramLabel = "VM/DISK", description = NAME_HELP)
    private String name = "";

    @Option(
        names = {"-f", "--file"},
        paramLabel = "FILE.vmdk",
        description = "The disk's file, for a disk that the inventory does not know.")
    private @Nullable Path file;

    @ArgGroup private Access access = new Access();

    @Option(
        names = "--cow-memory",
        paramLabel = "SIZE",
        converter = SizeConverter.class,
        description = "The most memory for the changes of --cow. Default: ${DEFAULT-VALUE}.",
        defaultValue = "1GiB")
    private long cowMemoryBytes;

    @Option(
        names = "--max-clients",
        paramLabel = "N",
        description = "Refuse further clients while so many use it. Default: any number.")
    private int maxClients;

    /** What clients may do: to write is what they may, if nothing is said. */
    static final class Access {
      @Option(
          names = "--read-only",
          description = "Open the file for reading only, and refuse what clients write.")
      private boolean readOnly;

      @Option(
          names = "--cow",
          description =
              "Copy on write: never change the file; keep what clients write in memory until the"
                  + " disk is detached, in plaintext.")
      private boolean cow;
    }

    private ServeOptions options() throws OperationException {
      Mode mode =
          access.readOnly ? Mode.READ_ONLY : access.cow ? Mode.COPY_ON_WRITE : Mode.READ_WRITE;
      try {
        return new ServeOptions(mode, maxClients, access.cow ? cowMemoryBytes : 0);
      } catch (IllegalArgumentException wrong) {
        throw new OperationException(Code.INVALID, String.valueOf(wrong.getMessage()), wrong);
      }
    }

    @Override
    public Integer call() throws OperationException {
      Requests.AttachDisk request =
          new Requests.AttachDisk(name, Common.absoluteOrNull(file), options());
      common.output().print(common.call(Operation.DISK_ATTACH, request, name));
      return 0;
    }
  }

  /** {@code filterd disk set-read-only}. */
  @Command(
      name = "set-read-only",
      description = "Refuse what clients write, from now on and also of those that are there.")
  static final class SetReadOnly implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Parameters(paramLabel = "VM/DISK", description = NAME_HELP)
    private String name = "";

    @Option(names = "--off", description = "Let clients write again.")
    private boolean off;

    @Override
    public Integer call() throws OperationException {
      Requests.SetReadOnly request = new Requests.SetReadOnly(name, !off);
      common.output().print(common.call(Operation.DISK_SET_READ_ONLY, request, name));
      return 0;
    }
  }

  /** {@code filterd disk detach}. */
  @Command(
      name = "detach",
      description = "Serve a disk no more: clients are cut off, data is flushed, its key is wiped.")
  static final class Detach implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Parameters(paramLabel = "VM/DISK", description = NAME_HELP)
    private String name = "";

    @Override
    public Integer call() throws OperationException {
      common.output().print(common.call(Operation.DISK_DETACH, new Requests.Disk(name), name));
      return 0;
    }
  }
}
