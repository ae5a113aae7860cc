package io.filterd.daemon.cli;

import io.filterd.daemon.control.Operation;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.Requests;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code filterd vm}. */
@Command(
    name = "vm",
    description = "List VMs; copy all disks of one into and out of a package (.ova).",
    subcommands = {VmCommand.ListVms.class, VmCommand.Export.class, VmCommand.Import.class})
final class VmCommand {
  /** {@code filterd vm list}. */
  @Command(name = "list", description = "List the VMs with their disks.")
  static final class ListVms implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Override
    public Integer call() throws OperationException {
      common.output().print(common.call(Operation.VM_LIST, new Requests.None(), "list"));
      return 0;
    }
  }

  /** {@code filterd vm export}. */
  @Command(
      name = "export",
      description = {
        "Write all disks of a VM, in the clear, to a new .ova.",
        "What clients write meanwhile is in it, or not: detach the disks, or shut the guest down.",
      },
      footer = {"", "Example: filterd vm export vm1 vm1.ova"})
  static final class Export implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Parameters(index = "0", paramLabel = "VM", description = "The VM, for example vm1.")
    private String vm = "";

    @Parameters(index = "1", paramLabel = "FILE.ova", description = "The file to make.")
    private Path target = Path.of("");

    @Override
    public Integer call() throws OperationException {
      Requests.ExportVm request = new Requests.ExportVm(vm, Common.absolute(target));
      common.output().print(common.call(Operation.VM_EXPORT, request, "export " + vm));
      return 0;
    }
  }

  /** {@code filterd vm import}. */
  @Command(
      name = "import",
      description = {
        "Make disks with the content of a package: VM/disk0, VM/disk1 and so on.",
        "The package is only read, and checked against its manifest before anything is made.",
      },
      footer = {"", "Example: filterd vm import web.ova --vm vm1 --policy encrypted"})
  static final class Import implements Callable<Integer> {
    @Mixin private Common common = new Common();

    @Parameters(
        paramLabel = "FILE",
        description = "An .ova, or an .ovf with its other files in the same folder.")
    private Path source = Path.of("");

    @Option(
        names = "--vm",
        required = true,
        paramLabel = "VM",
        description = "What the VM is called here.")
    private String vm = "";

    @Option(
        names = {"-p", "--policy"},
        required = true,
        paramLabel = "POLICY",
        description = "The storage policy of its disks; `filterd policy list` shows them.")
    private String policy = "";

    @Option(
        names = "--without-backup",
        description =
            "Encrypt even if the key provider was never backed up. Lose it, lose the disks.")
    private boolean withoutBackup;

    @Override
    public Integer call() throws OperationException {
      Requests.ImportVm request =
          new Requests.ImportVm(Common.absolute(source), vm, policy, withoutBackup);
      common.output().print(common.call(Operation.VM_IMPORT, request, "import " + vm));
      return 0;
    }
  }
}
