package io.filterd.daemon;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.file.BlockFile;
import io.filterd.block.file.FileDevice;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import io.filterd.daemon.control.Progress;
import io.filterd.daemon.control.Requests;
import io.filterd.daemon.control.Results;
import io.filterd.inventory.DiskName;
import io.filterd.inventory.DiskRecord;
import io.filterd.inventory.Inventory;
import io.filterd.inventory.KeyRecord;
import io.filterd.inventory.TenantRecord;
import io.filterd.inventory.VmRecord;
import io.filterd.keys.KeyException;
import io.filterd.keys.KeyLabel;
import io.filterd.keys.KeyReference;
import io.filterd.policy.StoragePolicy;
import io.filterd.policy.StoragePolicy.EncryptionRule;
import io.filterd.vmdk.Access;
import io.filterd.vmdk.Chain;
import io.filterd.vmdk.CreateOptions;
import io.filterd.vmdk.DiskChain;
import io.filterd.vmdk.DiskCopy;
import io.filterd.vmdk.EncryptionMetadata;
import io.filterd.vmdk.Layout;
import io.filterd.vmdk.Locker;
import io.filterd.vmdk.StreamWriter;
import io.filterd.vmdk.VmdkDisk;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.locks.ReentrantLock;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Makes disks, empty or with the content of a file, and copies their content to files. */
final class DiskContents {
  private static final Logger LOG = LoggerFactory.getLogger(DiskContents.class);

  private final Path folder;
  private final Inventory inventory;
  private final KnownDisks known;
  private final PolicyFolder policies;
  private final KeyAccess keys;
  private final KeyLedger ledger;
  private final String defaultProvider;
  private final DiskOpener opener;
  private final Attachments attachments;

  /** One change of disks at a time. */
  private final ReentrantLock changes;

  DiskContents(
      DaemonConfig config,
      Inventory inventory,
      PolicyFolder policies,
      KeyAccess keys,
      KeyLedger ledger,
      DiskOpener opener,
      Attachments attachments,
      ReentrantLock changes) {
    this.folder = config.disks();
    this.defaultProvider = config.keys().defaultProvider();
    this.inventory = inventory;
    this.known = new KnownDisks(inventory);
    this.policies = policies;
    this.keys = keys;
    this.ledger = ledger;
    this.opener = opener;
    this.attachments = attachments;
    this.changes = changes;
  }

  /** Makes an empty disk. */
  DiskRecord create(Requests.CreateDisk request)
      throws OperationException, KeyException, BlockException, IOException {
    DiskName name = KnownDisks.name(request.name());
    changes.lock();
    try {
      Path file = newDisk(name, request.file());
      if (request.sizeBytes() <= 0 || request.sizeBytes() % 512 != 0) {
        throw new OperationException(
            Code.INVALID,
            "size: " + request.sizeBytes() + " bytes (expected: whole sectors of 512)");
      }
      CreateOptions options = options(request.sizeBytes(), layout(request.layout()));
      make(name, file, options, request.policy(), request.withoutBackup());
      return add(name, file, options);
    } finally {
      changes.unlock();
    }
  }

  private static Layout layout(@Nullable String createType) throws OperationException {
    if (createType == null) {
      return Layout.MONOLITHIC_SPARSE;
    }
    return Layout.of(createType)
        .orElseThrow(
            () ->
                new OperationException(
                    Code.INVALID,
                    "layout: "
                        + createType
                        + " (expected: "
                        + Stream.of(Layout.values())
                            .map(Layout::createType)
                            .collect(Collectors.joining(", "))
                        + ")"));
  }

  /** A thin disk that so many bytes fit into. */
  private static CreateOptions emptyOptions(long sizeBytes) throws OperationException {
    return options(Math.ceilDiv(sizeBytes, 512L) * 512, Layout.MONOLITHIC_SPARSE);
  }

  private static CreateOptions options(long sizeBytes, Layout layout) throws OperationException {
    try {
      return CreateOptions.ofSize(sizeBytes, layout);
    } catch (IllegalArgumentException wrong) {
      throw new OperationException(Code.INVALID, String.valueOf(wrong.getMessage()), wrong);
    }
  }

  /** Where a new disk goes; nothing must be there. */
  Path newDisk(DiskName name, @Nullable String file) throws OperationException, IOException {
    if (inventory.disk(name).isPresent()) {
      throw new OperationException(Code.CONFLICT, "disk " + name + " exists already");
    }
    Path path =
        file == null ? folder.resolve(name.vm()).resolve(name.disk() + ".vmdk") : Path.of(file);
    if (Files.exists(path)) {
      throw new OperationException(
          Code.CONFLICT, path + " exists already: attach it with --file, or name another");
    }
    if (file == null) {
      Files.createDirectories(path.getParent());
    }
    return path;
  }

  /** Adds a new disk to the inventory; what can't be added is not left behind. */
  private DiskRecord add(DiskName name, Path file, CreateOptions options) throws IOException {
    DiskRecord made = new DiskRecord(name, file.toString(), false);
    boolean added = false;
    try {
      inventory.put(made);
      added = true;
      return made;
    } finally {
      if (!added) {
        delete(options.files(file));
      }
    }
  }

  private static void delete(List<Path> files) throws IOException {
    for (Path file : files) {
      Files.deleteIfExists(file);
    }
  }

  /** Makes an empty disk under a policy. */
  private void make(
      DiskName name, Path file, CreateOptions plain, String policyName, boolean withoutBackup)
      throws OperationException, KeyException, BlockException, IOException {
    StoragePolicy policy = policies.get(policyName);
    CreateOptions options = plain.withPolicy(policy.name());
    String linkId = null;
    if (policy.encryption().isPresent()) {
      EncryptionRule rule = policy.encryption().get();
      linkId = UUID.randomUUID().toString();
      KeyAccess.EncryptionIds ids =
          new KeyAccess.EncryptionIds(UUID.randomUUID().toString(), linkId, rule.unitBytes());
      KeyReference kek = kek(name, rule, withoutBackup);
      Locker locker = dek(name, ids, kek);
      options =
          options.withEncryption(
              EncryptionMetadata.of(rule.unitBytes(), ids.diskId(), linkId, locker));
    }
    try {
      VmdkDisk.create(file, options);
    } finally {
      if (linkId != null) {
        keys.evict(linkId);
      }
    }
    LOG.info("disk={} file={} made under policy {}", name, file, policyName);
  }

  private Locker dek(DiskName name, KeyAccess.EncryptionIds ids, KeyReference kek)
      throws KeyException {
    try {
      return keys.createDek(name, ids, kek);
    } catch (KeyException failure) {
      if (failure.reason() == KeyException.Reason.NOT_FOUND
          || failure.reason() == KeyException.Reason.WRONG_KEY) {
        throw new KeyException(
            failure.reason(),
            failure.getMessage()
                + ": filterd makes no other key in its place by itself; restore it there, or give"
                + " its disks another with `filterd key recrypt`",
            failure);
      }
      throw failure;
    }
  }

  /**
   * The key-encryption key of who shares one, or a new one where there is none. One that is missing
   * is never made anew: then no data key is made.
   */
  private KeyReference kek(DiskName name, EncryptionRule rule, boolean withoutBackup)
      throws KeyException, IOException {
    String provider = rule.provider().orElse(defaultProvider);
    keys.provider(provider);
    KeyReference kek =
        switch (rule.kekScope()) {
          case PER_DISK -> {
            KeyReference own =
                keys.createKek(
                    provider, new KeyLabel(KeyLabel.Scope.DISK, name.toString()), withoutBackup);
            ledger.made(own, name.toString(), KeyRecord.State.MADE);
            yield own;
          }
          case PER_VM -> kekOfVm(name.vm(), provider, withoutBackup);
          case PER_TENANT -> kekOfTenant(rule.tenant().orElseThrow(), provider, withoutBackup);
        };
    keys.keepKek(kek, rule.kekCache());
    return kek;
  }

  private KeyReference kekOfVm(String vm, String provider, boolean withoutBackup)
      throws KeyException, IOException {
    Optional<VmRecord> known = inventory.vm(vm);
    if (known.isPresent() && known.get().provider().equals(provider)) {
      return new KeyReference(provider, known.get().keyId(), known.get().checkValue());
    }
    KeyReference made =
        keys.createKek(provider, new KeyLabel(KeyLabel.Scope.VM, vm), withoutBackup);
    ledger.made(made, vm, KeyRecord.State.MADE);
    inventory.put(new VmRecord(vm, provider, made.keyId(), made.checkValue()));
    return made;
  }

  private KeyReference kekOfTenant(String tenant, String provider, boolean withoutBackup)
      throws KeyException, IOException {
    Optional<TenantRecord> known = inventory.tenant(tenant);
    if (known.isPresent() && known.get().provider().equals(provider)) {
      return new KeyReference(provider, known.get().keyId(), known.get().checkValue());
    }
    KeyReference made =
        keys.createKek(provider, new KeyLabel(KeyLabel.Scope.TENANT, tenant), withoutBackup);
    ledger.made(
        made, KeyLedger.owner(new KeyLabel(KeyLabel.Scope.TENANT, tenant)), KeyRecord.State.MADE);
    inventory.put(new TenantRecord(tenant, provider, made.keyId(), made.checkValue()));
    return made;
  }

  /** A disk with the content of another. */
  record Imported(DiskRecord disk, List<String> warnings) {}

  /** Makes a disk with the content of another. */
  Imported importDisk(Requests.ImportDisk request, Progress progress)
      throws OperationException, KeyException, BlockException, IOException {
    DiskName name = KnownDisks.name(request.name());
    Path source = Path.of(request.source());
    List<String> warnings = new ArrayList<>();
    changes.lock();
    try {
      Path file = newDisk(name, request.file());
      long sizeBytes;
      try (BlockDevice from = openSource(source, request.sourceFormat(), warnings)) {
        sizeBytes = from.info().sizeBytes();
        makeFilled(
            name,
            file,
            sizeBytes,
            from,
            new NewPolicy(request.policy(), request.withoutBackup()),
            progress);
      }
      return new Imported(add(name, file, emptyOptions(sizeBytes)), warnings);
    } finally {
      changes.unlock();
    }
  }

  /** The policy of a new disk, and whether its keys need no backup. */
  record NewPolicy(String name, boolean withoutBackup) {}

  /** Makes a disk with the content of a device; leaves nothing if it can't be had whole. */
  void makeFilled(
      DiskName name,
      Path file,
      long sizeBytes,
      BlockDevice from,
      NewPolicy policy,
      Progress progress)
      throws OperationException, KeyException, BlockException, IOException {
    makeEmpty(name, file, sizeBytes, policy);
    boolean complete = false;
    try {
      boolean copied;
      try (DiskOpener.OneUse use = opener.openOnce(name, file)) {
        copied = DiskCopy.copy(from, use.stack().device(), progress::at);
      }
      complete = copied; // Only what is closed is there.
    } finally {
      if (!complete) {
        Files.deleteIfExists(file);
      }
    }
    if (!complete) {
      throw new OperationException(
          Code.CANCELLED, "import of " + name + " was stopped; nothing is left of it");
    }
  }

  /** Makes an empty disk of at least this size. */
  void makeEmpty(DiskName name, Path file, long sizeBytes, NewPolicy policy)
      throws OperationException, KeyException, BlockException, IOException {
    make(name, file, emptyOptions(sizeBytes), policy.name(), policy.withoutBackup());
  }

  private static BlockDevice openSource(Path file, String format, List<String> warnings)
      throws OperationException, IOException, BlockException {
    return switch (DiskFormat.parse(format)) {
      case VMDK, STREAM -> openPlain(file, warnings);
      case RAW -> FileDevice.open(file, BlockFile.Access.READ_ONLY);
    };
  }

  /** Opens a disk, with the links of all its snapshots, whose content is in the clear. */
  private static BlockDevice openPlain(Path file, List<String> warnings)
      throws OperationException, IOException, BlockException {
    DiskChain chain = DiskChain.open(file, Access.READ_ONLY);
    boolean fine = false;
    try {
      List<BlockDevice> links = new ArrayList<>();
      for (DiskChain.Link link : chain.links()) {
        if (link.disk().encryption().isPresent()) {
          throw new OperationException(
              Code.FORMAT, link.file() + ": is encrypted by filterd; attach it, and export it");
        }
        link.disk().warnings().forEach(warning -> LOG.warn("import: {}", warning));
        warnings.addAll(link.disk().warnings());
        links.add(link.disk().link());
      }
      fine = true;
      return new Chain(links);
    } finally {
      if (!fine) {
        chain.close();
      }
    }
  }

  /** Writes the content of a disk to a new file. */
  Results.Done export(Requests.ExportDisk request, Progress progress)
      throws OperationException, KeyException, BlockException, IOException {
    DiskName name = KnownDisks.name(request.name());
    DiskRecord record = known.get(name);
    Path target = Path.of(request.target());
    if (Files.exists(target)) {
      throw new OperationException(Code.CONFLICT, target + " exists already: name another");
    }
    DiskFormat format = DiskFormat.parse(request.targetFormat());
    read(record, content -> copyOut(name, content, target, format, progress));
    return new Results.Done(
        "Exported " + name + " to " + target + ". The file holds the disk's content in the clear.");
  }

  /** What is done with a disk's content. */
  @FunctionalInterface
  interface Reading {
    /** Reads what it needs. */
    void read(BlockDevice content) throws OperationException, BlockException, IOException;
  }

  /** Opens the content of a disk, attached or not, to be read. */
  void read(DiskRecord record, Reading reading)
      throws OperationException, KeyException, BlockException, IOException {
    Optional<Attachments.Use> attached = attachments.use(record.name());
    if (attached.isPresent()) {
      try (Attachments.Use use = attached.get()) {
        reading.read(use.stack().device());
      } catch (IllegalStateException wiped) {
        if (inventory.isLocked(record.name())) {
          throw new OperationException(
              Code.KEY, "disk " + record.name() + " was " + LockedDisks.BY_COMMAND, wiped);
        }
        throw wiped;
      }
      return;
    }
    changes.lock();
    try (DiskOpener.OneUse use = opener.openOnce(record.name(), Path.of(record.file()))) {
      reading.read(use.stack().device());
    } finally {
      changes.unlock();
    }
  }

  private static void copyOut(
      DiskName name, BlockDevice from, Path target, DiskFormat format, Progress progress)
      throws OperationException, BlockException, IOException {
    boolean complete =
        switch (format) {
          case VMDK -> {
            CreateOptions options = emptyOptions(from.info().sizeBytes());
            yield DiskCopy.toVmdk(from, target, options, progress::at);
          }
          case STREAM -> StreamWriter.toFile(from, target, progress::at);
          case RAW -> DiskCopy.toRaw(from, target, progress::at);
        };
    if (!complete) {
      throw new OperationException(
          Code.CANCELLED, "export of " + name + " was stopped; nothing is left of it");
    }
  }
}
