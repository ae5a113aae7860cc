package io.filterd.daemon;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import io.filterd.daemon.control.Progress;
import io.filterd.daemon.control.Requests;
import io.filterd.daemon.control.Results;
import io.filterd.inventory.DiskName;
import io.filterd.inventory.DiskRecord;
import io.filterd.inventory.Inventory;
import io.filterd.keys.KeyException;
import io.filterd.ova.OvaWriter;
import io.filterd.ova.OvfDisk;
import io.filterd.ova.OvfPackage;
import io.filterd.ova.PackageException;
import io.filterd.vmdk.Access;
import io.filterd.vmdk.Chain;
import io.filterd.vmdk.VmdkDisk;
import java.io.IOException;
import java.math.BigInteger;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.locks.ReentrantLock;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Copies all disks of a VM out of and into packages: .ova files, or .ovf files with others. */
final class VmContents {
  private static final Logger LOG = LoggerFactory.getLogger(VmContents.class);

  /** disk2 is before disk10. */
  private static final Comparator<DiskRecord> BY_NUMBER =
      Comparator.comparing((DiskRecord disk) -> disk.name().disk().replaceAll("[0-9]+$", ""))
          .thenComparing(
              disk -> new BigInteger("0" + disk.name().disk().replaceAll("^.*[^0-9]", "")));

  private final Inventory inventory;
  private final Attachments attachments;
  private final DiskContents contents;
  private final DiskReports reports;

  /** One change of disks at a time. */
  private final ReentrantLock changes;

  VmContents(
      Inventory inventory,
      Attachments attachments,
      DiskContents contents,
      DiskReports reports,
      ReentrantLock changes) {
    this.inventory = inventory;
    this.attachments = attachments;
    this.contents = contents;
    this.reports = reports;
    this.changes = changes;
  }

  /** The VMs that have disks. */
  Results.Vms list() {
    Map<String, List<Results.Disk>> disks = new TreeMap<>();
    for (Results.Disk disk : reports.list().disks()) {
      String vm = disk.name().substring(0, disk.name().indexOf('/'));
      disks.computeIfAbsent(vm, name -> new ArrayList<>()).add(disk);
    }
    return new Results.Vms(
        disks.entrySet().stream()
            .map(
                vm ->
                    new Results.Vm(
                        vm.getKey(),
                        vm.getValue().stream().map(Results.Disk::name).toList(),
                        vm.getValue().stream().mapToLong(Results.Disk::sizeBytes).sum(),
                        vm.getValue().stream().mapToLong(Results.Disk::storedBytes).sum()))
            .toList());
  }

  /** Writes all disks of a VM to a new .ova. */
  Results.Done export(Requests.ExportVm request, Progress progress)
      throws OperationException, KeyException, BlockException, IOException {
    String vm = name(request.vm(), "disk0").vm();
    Path target = Path.of(request.target());
    List<DiskRecord> disks =
        inventory.disks().stream()
            .filter(disk -> disk.name().vm().equals(vm))
            .sorted(BY_NUMBER)
            .toList();
    if (disks.isEmpty()) {
      throw new OperationException(
          Code.NOT_FOUND, "no VM " + vm + ": `filterd vm list` shows those there are");
    }
    if (disks.size() > OvaWriter.DISK_LIMIT) {
      throw new OperationException(
          Code.INVALID,
          "disks of "
              + vm
              + ": "
              + disks.size()
              + " (expected: at most "
              + OvaWriter.DISK_LIMIT
              + ")");
    }
    long total = 0;
    for (DiskRecord disk : disks) {
      total += sizeBytes(disk);
    }
    List<String> names = disks.stream().map(disk -> disk.name().disk()).toList();
    try (OvaWriter ova = OvaWriter.create(target, vm, names)) {
      long done = 0;
      for (DiskRecord disk : disks) {
        Part part = new Part(progress, done, total);
        contents.read(
            disk,
            content -> {
              if (!ova.add(content, part::at)) {
                throw new OperationException(
                    Code.CANCELLED, "export of " + vm + " was stopped; nothing is left of it");
              }
            });
        done += sizeBytes(disk);
      }
      ova.finish();
    }
    LOG.info("vm={} disks={} exported to {}", vm, disks.size(), target);
    return new Results.Done(
        "Exported "
            + disks.size()
            + (disks.size() == 1 ? " disk of " : " disks of ")
            + vm
            + " to "
            + target
            + ". The file holds the content of the disks in the clear.");
  }

  private long sizeBytes(DiskRecord disk) throws BlockException, IOException {
    Optional<DiskStack> attached = attachments.stack(disk.name());
    if (attached.isPresent()) {
      return attached.get().device().info().sizeBytes();
    }
    try (VmdkDisk file = VmdkDisk.open(Path.of(disk.file()), Access.READ_ONLY)) {
      return file.link().info().sizeBytes();
    }
  }

  /** A part of a long operation: its own progress is that of the whole, moved. */
  private record Part(Progress whole, long doneBefore, long total) {
    boolean at(long done, long ofPart) {
      return whole.at(Math.min(doneBefore + done, total), total);
    }
  }

  /** Makes the disks of a VM out of a package. */
  Results.ImportedVm importVm(Requests.ImportVm request, Progress progress)
      throws OperationException, KeyException, BlockException, IOException {
    try {
      return importPackage(OvfPackage.open(Path.of(request.source())), request, progress);
    } catch (PackageException refused) {
      throw new OperationException(Code.FORMAT, String.valueOf(refused.getMessage()), refused);
    }
  }

  private Results.ImportedVm importPackage(
      OvfPackage pack, Requests.ImportVm request, Progress progress)
      throws OperationException, KeyException, BlockException, IOException {
    String vm = name(request.vm(), "disk0").vm();
    long verified = pack.verifiedBytes();
    long total =
        verified
            + pack.disks().stream().mapToLong(OvfDisk::capacityBytes).reduce(0, Math::addExact);
    List<DiskRecord> made = new ArrayList<>();
    List<DiskRecord> planned = List.of();
    changes.lock();
    try {
      planned = plan(vm, pack.disks().size());
      // Nothing is made of a package that is not as its manifest says.
      if (!pack.verify(new Part(progress, 0, total)::at)) {
        throw new OperationException(
            Code.CANCELLED, "import of " + vm + " was stopped; nothing is left of it");
      }
      DiskContents.NewPolicy policy =
          new DiskContents.NewPolicy(request.policy(), request.withoutBackup());
      long done = verified;
      for (OvfDisk disk : pack.disks()) {
        DiskRecord next = planned.get(made.size());
        make(pack, disk, next, policy, new Part(progress, done, total));
        made.add(next);
        done += disk.capacityBytes();
      }
      pack.checkUnchanged();
      inventory.putAll(made);
      LOG.info("vm={} disks={} imported from {}", vm, made.size(), request.source());
      return imported(pack, request.source(), planned);
    } finally {
      if (made.stream().anyMatch(disk -> inventory.disk(disk.name()).isEmpty())) {
        for (DiskRecord disk : made) {
          Files.deleteIfExists(Path.of(disk.file()));
        }
      }
      if (!planned.isEmpty()) {
        removeFolderIfEmpty(Path.of(planned.getFirst().file()));
      }
      changes.unlock();
    }
  }

  private static void removeFolderIfEmpty(Path file) throws IOException {
    Path folder = file.getParent();
    if (folder == null) {
      return;
    }
    try (Stream<Path> files = Files.list(folder)) {
      if (files.findAny().isPresent()) {
        return;
      }
    }
    Files.delete(folder);
  }

  /** The disks that a VM will have, which has none yet. */
  private List<DiskRecord> plan(String vm, int count) throws OperationException, IOException {
    if (inventory.disks().stream().anyMatch(disk -> disk.name().vm().equals(vm))) {
      throw new OperationException(
          Code.CONFLICT, "VM " + vm + " exists already and has disks: name another");
    }
    List<DiskRecord> planned = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      DiskName name = name(vm, "disk" + i);
      planned.add(new DiskRecord(name, contents.newDisk(name, null).toString(), false));
    }
    return planned;
  }

  private void make(
      OvfPackage pack, OvfDisk disk, DiskRecord to, DiskContents.NewPolicy policy, Part progress)
      throws OperationException, KeyException, BlockException, IOException {
    Path file = Path.of(to.file());
    if (disk.fileName().isEmpty()) {
      contents.makeEmpty(to.name(), file, disk.capacityBytes(), policy);
      return;
    }
    try (BlockDevice from = new Chain(List.of(pack.open(disk).link()))) {
      contents.makeFilled(to.name(), file, disk.capacityBytes(), from, policy, progress::at);
    }
  }

  private Results.ImportedVm imported(OvfPackage pack, String source, List<DiskRecord> made) {
    List<String> names = made.stream().map(disk -> disk.name().toString()).toList();
    return new Results.ImportedVm(
        source,
        pack.hasManifest(),
        reports.list().disks().stream().filter(disk -> names.contains(disk.name())).toList());
  }

  private static DiskName name(String vm, String disk) throws OperationException {
    return KnownDisks.name(vm + "/" + disk);
  }
}
