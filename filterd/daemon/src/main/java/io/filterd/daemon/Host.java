package io.filterd.daemon;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.file.BlockFile;
import io.filterd.block.file.FileDevice;
import io.filterd.crypto.SecretBytes;
import io.filterd.crypto.SecretMemoryException;
import io.filterd.crypto.SectorCipher;
import io.filterd.crypto.XtsEngines;
import io.filterd.daemon.control.Operation;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import io.filterd.daemon.control.Operations;
import io.filterd.daemon.control.Progress;
import io.filterd.daemon.control.Requests;
import io.filterd.daemon.control.Results;
import io.filterd.inventory.DiskName;
import io.filterd.inventory.DiskRecord;
import io.filterd.inventory.Inventory;
import io.filterd.inventory.InventoryException;
import io.filterd.inventory.VmRecord;
import io.filterd.keys.KeyException;
import io.filterd.keys.KeyReference;
import io.filterd.keys.NativeProvider;
import io.filterd.keys.ProviderStatus;
import io.filterd.nbd.NbdServer;
import io.filterd.policy.StoragePolicy;
import io.filterd.policy.StoragePolicy.EncryptionRule;
import io.filterd.policy.StoragePolicy.KekScope;
import io.filterd.vmdk.Access;
import io.filterd.vmdk.CreateOptions;
import io.filterd.vmdk.DiskCopy;
import io.filterd.vmdk.EncryptionMetadata;
import io.filterd.vmdk.FormatException;
import io.filterd.vmdk.Locker;
import io.filterd.vmdk.VmdkDisk;
import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.UUID;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * This machine's filterd: configuration, inventory, keys, policies and disks, and what can be asked
 * of them. The daemon serves one; a command works with one of its own where no daemon runs.
 */
public final class Host implements Operations, AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(Host.class);
  private static final String VERSION = "0.1.0";

  @FunctionalInterface
  private interface Handler<A, R> {
    R handle(A arguments, Progress progress)
        throws OperationException, KeyException, BlockException, IOException, InterruptedException;
  }

  private final DaemonConfig config;
  private final Inventory inventory;
  private final FilterRegistry filters = FilterRegistry.load();
  private final PolicyFolder policies;
  private final KeyAccess keys;
  private final Map<String, Handler<?, ?>> handlers = new HashMap<>();
  private final Attachments attachments = new Attachments();

  /** One change of disks at a time: to make, attach, detach or change a disk takes this. */
  private final ReentrantLock changes = new ReentrantLock();

  private volatile @Nullable NbdServer server;

  private Host(DaemonConfig config, Inventory inventory) {
    this.config = config;
    this.inventory = inventory;
    this.policies = new PolicyFolder(config.policies(), filters.catalog());
    this.keys = new KeyAccess(config.keys());
    on(Operation.VERSION, (arguments, progress) -> version());
    on(Operation.DISK_LIST, (arguments, progress) -> list());
    on(Operation.DISK_INFO, (arguments, progress) -> details(name(arguments.name())));
    on(Operation.DISK_CREATE, this::create);
    on(Operation.DISK_IMPORT, this::importDisk);
    on(Operation.DISK_EXPORT, this::export);
    on(Operation.DISK_ATTACH, (arguments, progress) -> attach(arguments));
    on(Operation.DISK_DETACH, (arguments, progress) -> detach(name(arguments.name())));
    on(Operation.POLICY_LIST, (arguments, progress) -> listPolicies());
    on(Operation.POLICY_APPLY, (arguments, progress) -> apply(arguments));
    on(Operation.PROVIDER_INIT, (arguments, progress) -> initProvider(arguments));
    on(Operation.PROVIDER_BACKUP, (arguments, progress) -> backup(arguments));
    on(Operation.PROVIDER_RESTORE, (arguments, progress) -> restore(arguments));
    on(Operation.PROVIDER_STATUS, (arguments, progress) -> providers());
  }

  private <A, R> void on(Operation<A, R> operation, Handler<A, R> handler) {
    handlers.put(operation.name(), handler);
  }

  /** The operations there are. */
  static List<Operation<?, ?>> operations() {
    return List.of(
        Operation.VERSION,
        Operation.DISK_LIST,
        Operation.DISK_INFO,
        Operation.DISK_CREATE,
        Operation.DISK_IMPORT,
        Operation.DISK_EXPORT,
        Operation.DISK_ATTACH,
        Operation.DISK_DETACH,
        Operation.POLICY_LIST,
        Operation.POLICY_APPLY,
        Operation.PROVIDER_INIT,
        Operation.PROVIDER_BACKUP,
        Operation.PROVIDER_RESTORE,
        Operation.PROVIDER_STATUS);
  }

  /** Opens the host's state for commands, where no daemon has it open. */
  public static Host openOffline(DaemonConfig config) throws OperationException {
    return open(config);
  }

  static Host open(DaemonConfig config) throws OperationException {
    try {
      Files.createDirectories(
          config.state(),
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
      return new Host(config, Inventory.open(config.state()));
    } catch (InventoryException failure) {
      throw new OperationException(Code.CONFLICT, String.valueOf(failure.getMessage()), failure);
    } catch (IOException failure) {
      throw new OperationException(
          Code.IO,
          "can't open the state folder " + config.state() + ": " + reason(failure),
          failure);
    }
  }

  @Override
  @SuppressWarnings("unchecked") // A handler is put under its operation's name only.
  public <A, R> R call(Operation<A, R> operation, A arguments, Progress progress)
      throws OperationException {
    Handler<A, R> handler = (Handler<A, R>) handlers.get(operation.name());
    if (handler == null) {
      throw new OperationException(Code.INVALID, "operation: " + operation.name() + " is unknown");
    }
    try {
      return handler.handle(arguments, progress);
    } catch (KeyException failure) {
      throw new OperationException(Code.KEY, String.valueOf(failure.getMessage()), failure);
    } catch (SecretMemoryException full) {
      throw new OperationException(Code.KEY, String.valueOf(full.getMessage()), full);
    } catch (BlockException failure) {
      throw new OperationException(Code.IO, String.valueOf(failure.getMessage()), failure);
    } catch (FormatException failure) {
      throw new OperationException(Code.FORMAT, String.valueOf(failure.getMessage()), failure);
    } catch (IOException failure) {
      throw new OperationException(Code.IO, reason(failure), failure);
    } catch (InterruptedException stop) {
      Thread.currentThread().interrupt();
      throw new OperationException(Code.CANCELLED, "stopped", stop);
    }
  }

  /** The JDK's file exceptions often have a path for a message. */
  private static String reason(IOException failure) {
    return switch (failure) {
      case NoSuchFileException missing -> missing.getFile() + ": there is no such file";
      case FileAlreadyExistsException there -> there.getFile() + ": exists already";
      case AccessDeniedException denied -> denied.getFile() + ": permission denied";
      case FileSystemException other when other.getReason() != null ->
          other.getFile() + ": " + other.getReason();
      default -> String.valueOf(failure.getMessage());
    };
  }

  private static DiskName name(String text) throws OperationException {
    try {
      return DiskName.parse(text);
    } catch (IllegalArgumentException wrong) {
      throw new OperationException(Code.INVALID, String.valueOf(wrong.getMessage()), wrong);
    }
  }

  private DiskRecord known(DiskName name) throws OperationException {
    return inventory
        .disk(name)
        .orElseThrow(
            () ->
                new OperationException(
                    Code.NOT_FOUND,
                    "no disk " + name + ": `filterd disk list` shows those there are"));
  }

  private Results.Version version() {
    return new Results.Version(
        VERSION,
        String.valueOf(System.getProperty("java.version")),
        XtsEngines.byName(config.engine()).name(),
        server != null);
  }

  // Disks.

  private Results.Disks list() {
    List<Results.Disk> disks = new ArrayList<>();
    for (DiskRecord disk : inventory.disks()) {
      disks.add(summary(disk));
    }
    return new Results.Disks(disks);
  }

  private Results.Disk summary(DiskRecord record) {
    Optional<DiskStack> stack = attachments.stack(record.name());
    if (stack.isPresent()) {
      return summary(record, stack.get().disk(), "attached", null);
    }
    String locked = attachments.lockedBecause(record.name()).orElse(null);
    try (VmdkDisk disk = VmdkDisk.open(Path.of(record.file()), Access.READ_ONLY)) {
      return summary(record, disk, locked == null ? "detached" : "locked", locked);
    } catch (IOException failure) {
      return unreadable(record, reason(failure));
    } catch (BlockException failure) {
      return unreadable(record, String.valueOf(failure.getMessage()));
    }
  }

  private static Results.Disk unreadable(DiskRecord record, String reason) {
    return new Results.Disk(
        record.name().toString(), "locked", reason, 0, 0, null, false, record.file());
  }

  private static Results.Disk summary(
      DiskRecord record, VmdkDisk disk, String state, @Nullable String reason) {
    return new Results.Disk(
        record.name().toString(),
        state,
        reason,
        disk.link().info().sizeBytes(),
        storedBytes(Path.of(record.file())),
        policyName(disk).orElse(null),
        disk.encryption().isPresent(),
        record.file());
  }

  private static Optional<String> policyName(VmdkDisk disk) {
    try {
      return disk.policy();
    } catch (FormatException unreadable) {
      return Optional.empty();
    }
  }

  /** What a file takes on its medium: less than its size, where it has holes. */
  private static long storedBytes(Path file) {
    try {
      Object blocks = Files.getAttribute(file, "unix:blocks");
      return blocks instanceof Long count ? count * 512 : Files.size(file);
    } catch (IOException | UnsupportedOperationException | IllegalArgumentException unknown) {
      return file.toFile().length();
    }
  }

  private Results.DiskDetails details(DiskName name)
      throws OperationException, IOException, BlockException {
    DiskRecord record = known(name);
    Optional<DiskStack> stack = attachments.stack(name);
    if (stack.isPresent()) {
      return details(record, stack.get().disk(), summary(record), stack.get().filters());
    }
    try (VmdkDisk disk = VmdkDisk.open(Path.of(record.file()), Access.READ_ONLY)) {
      String locked = attachments.lockedBecause(name).orElse(null);
      Results.Disk summary = summary(record, disk, locked == null ? "detached" : "locked", locked);
      return details(record, disk, summary, List.of());
    }
  }

  private Results.DiskDetails details(
      DiskRecord record, VmdkDisk disk, Results.Disk summary, List<Results.Filter> running) {
    Results.@Nullable Encryption encryption =
        disk.encryption()
            .map(
                metadata -> {
                  Locker locker = metadata.keySafe().getFirst();
                  return new Results.Encryption(
                      metadata.cipher(),
                      metadata.unitBytes(),
                      metadata.diskId(),
                      metadata.linkId(),
                      locker.provider(),
                      locker.keyId(),
                      locker.checkValue());
                })
            .orElse(null);
    List<String> reasons = new ArrayList<>();
    String compliance = compliance(summary.policy(), disk, reasons);
    return new Results.DiskDetails(
        summary,
        disk.format(),
        encryption,
        compliance,
        reasons,
        running,
        summary.state().equals("attached") ? uris(record.name()) : List.of(),
        connections(record.name()));
  }

  private String compliance(@Nullable String policyName, VmdkDisk disk, List<String> reasons) {
    if (policyName == null) {
      reasons.add("the disk names no policy");
      return "unknown";
    }
    StoragePolicy policy;
    try {
      policy = policies.get(policyName);
    } catch (OperationException missing) {
      reasons.add(String.valueOf(missing.getMessage()));
      return "unknown";
    }
    Optional<String> difference = encryptionDifference(policy, disk);
    difference.ifPresent(reasons::add);
    return reasons.isEmpty() ? "compliant" : "non-compliant";
  }

  /** How a disk's encryption is not what a policy says, if so. */
  private static Optional<String> encryptionDifference(StoragePolicy policy, VmdkDisk disk) {
    Optional<EncryptionRule> rule = policy.encryption();
    Optional<EncryptionMetadata> metadata = disk.encryption();
    if (rule.isPresent() != metadata.isPresent()) {
      return Optional.of(
          rule.isPresent()
              ? "policy " + policy.name() + " encrypts, the disk is not encrypted"
              : "policy " + policy.name() + " does not encrypt, the disk is encrypted");
    }
    if (rule.isPresent()
        && metadata.isPresent()
        && rule.get().unitBytes() != metadata.get().unitBytes()) {
      return Optional.of(
          "policy "
              + policy.name()
              + " has data units of "
              + rule.get().unitBytes()
              + " bytes, the disk of "
              + metadata.get().unitBytes());
    }
    return Optional.empty();
  }

  private List<String> uris(DiskName name) {
    NbdServer serving = server;
    return serving == null ? List.of() : NbdUri.of(serving.addresses(), name.toString());
  }

  private List<Map<String, Object>> connections(DiskName name) {
    NbdServer serving = server;
    List<Map<String, Object>> clients = new ArrayList<>();
    if (serving != null) {
      serving.connections().stream()
          .filter(connection -> connection.export().equals(name.toString()))
          .forEach(
              connection -> {
                Map<String, Object> client = new LinkedHashMap<>();
                client.put("peer", connection.peer());
                client.put("requests", connection.requests());
                client.put("bytesRead", connection.bytesRead());
                client.put("bytesWritten", connection.bytesWritten());
                client.put("inFlight", connection.inFlight());
                clients.add(client);
              });
    }
    return clients;
  }

  private Results.DiskDetails create(Requests.CreateDisk request, Progress progress)
      throws OperationException, KeyException, BlockException, IOException {
    DiskName name = name(request.name());
    changes.lock();
    try {
      Path file = newDisk(name, request.file());
      if (request.sizeBytes() <= 0 || request.sizeBytes() % 512 != 0) {
        throw new OperationException(
            Code.INVALID,
            "size: " + request.sizeBytes() + " bytes (expected: whole sectors of 512)");
      }
      make(name, file, request.sizeBytes(), request.policy(), request.withoutBackup());
      inventory.put(new DiskRecord(name, file.toString(), false));
    } finally {
      changes.unlock();
    }
    return details(name);
  }

  /** Where a new disk goes; nothing must be there. */
  private Path newDisk(DiskName name, @Nullable String file)
      throws OperationException, IOException {
    if (inventory.disk(name).isPresent()) {
      throw new OperationException(Code.CONFLICT, "disk " + name + " exists already");
    }
    Path path =
        file == null
            ? config.disks().resolve(name.vm()).resolve(name.disk() + ".vmdk")
            : Path.of(file);
    if (Files.exists(path)) {
      throw new OperationException(
          Code.CONFLICT, path + " exists already: attach it with --file, or name another");
    }
    if (file == null) {
      Files.createDirectories(path.getParent());
    }
    return path;
  }

  /** Makes an empty disk under a policy. */
  private void make(
      DiskName name, Path file, long sizeBytes, String policyName, boolean withoutBackup)
      throws OperationException, KeyException, BlockException, IOException {
    StoragePolicy policy = policies.get(policyName);
    CreateOptions options;
    try {
      options = CreateOptions.ofSize(sizeBytes).withPolicy(policy.name());
    } catch (IllegalArgumentException wrong) {
      throw new OperationException(Code.INVALID, String.valueOf(wrong.getMessage()), wrong);
    }
    String linkId = null;
    if (policy.encryption().isPresent()) {
      EncryptionRule rule = policy.encryption().get();
      linkId = UUID.randomUUID().toString();
      KeyAccess.EncryptionIds ids =
          new KeyAccess.EncryptionIds(UUID.randomUUID().toString(), linkId, rule.unitBytes());
      KeyReference kek = kek(name, rule, withoutBackup);
      Locker locker = keys.createDek(name, ids, kek);
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

  /** The VM's key-encryption key, or a new one where there is none. */
  private KeyReference kek(DiskName name, EncryptionRule rule, boolean withoutBackup)
      throws KeyException, IOException {
    String provider = rule.provider().orElse(config.keys().defaultProvider());
    keys.provider(provider);
    if (rule.kekScope() == KekScope.PER_DISK) {
      return keys.createKek(provider, withoutBackup);
    }
    Optional<VmRecord> vm = inventory.vm(name.vm());
    if (vm.isPresent() && vm.get().provider().equals(provider)) {
      return new KeyReference(provider, vm.get().keyId(), vm.get().checkValue());
    }
    KeyReference made = keys.createKek(provider, withoutBackup);
    inventory.put(new VmRecord(name.vm(), provider, made.keyId(), made.checkValue()));
    return made;
  }

  private Results.DiskDetails importDisk(Requests.ImportDisk request, Progress progress)
      throws OperationException, KeyException, BlockException, IOException {
    DiskName name = name(request.name());
    Path source = Path.of(request.source());
    changes.lock();
    try {
      Path file = newDisk(name, request.file());
      try (BlockDevice from = openSource(source, request.sourceFormat())) {
        long sizeBytes = Math.ceilDiv(from.info().sizeBytes(), 512L) * 512;
        make(name, file, sizeBytes, request.policy(), request.withoutBackup());
        boolean complete = false;
        try {
          try (DiskStack stack = openStack(name, file)) {
            complete = DiskCopy.copy(from, stack.device(), progress::at);
          }
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
      inventory.put(new DiskRecord(name, file.toString(), false));
    } finally {
      changes.unlock();
    }
    return details(name);
  }

  private static BlockDevice openSource(Path file, String format)
      throws OperationException, IOException, BlockException {
    return switch (format) {
      case "vmdk" -> {
        VmdkDisk disk = VmdkDisk.open(file, Access.READ_ONLY);
        if (disk.encryption().isPresent()) {
          disk.close();
          throw new OperationException(
              Code.FORMAT, file + ": is encrypted by filterd; attach it, and export it");
        }
        yield new io.filterd.vmdk.Chain(List.of(disk.link()));
      }
      case "raw" -> FileDevice.open(file, BlockFile.Access.READ_ONLY);
      default ->
          throw new OperationException(
              Code.INVALID, "format: " + format + " (expected: vmdk or raw)");
    };
  }

  private Results.Done export(Requests.ExportDisk request, Progress progress)
      throws OperationException, KeyException, BlockException, IOException {
    DiskName name = name(request.name());
    DiskRecord record = known(name);
    Path target = Path.of(request.target());
    if (Files.exists(target)) {
      throw new OperationException(Code.CONFLICT, target + " exists already: name another");
    }
    Optional<DiskStack> attached = attachments.stack(name);
    if (attached.isPresent()) {
      copyOut(name, attached.get().device(), target, request.targetFormat(), progress);
    } else {
      changes.lock();
      try (DiskStack stack = openStack(name, Path.of(record.file()))) {
        copyOut(name, stack.device(), target, request.targetFormat(), progress);
      } finally {
        changes.unlock();
      }
    }
    return new Results.Done(
        "Exported " + name + " to " + target + ". The file holds the disk's content in the clear.");
  }

  private static void copyOut(
      DiskName name, BlockDevice from, Path target, String format, Progress progress)
      throws OperationException, BlockException, IOException {
    boolean complete = false;
    try (BlockDevice to = openTarget(target, format, from.info().sizeBytes())) {
      complete = DiskCopy.copy(from, to, progress::at);
    } finally {
      if (!complete) {
        Files.deleteIfExists(target);
      }
    }
    if (!complete) {
      throw new OperationException(
          Code.CANCELLED, "export of " + name + " was stopped; nothing is left of it");
    }
  }

  private static BlockDevice openTarget(Path target, String format, long sizeBytes)
      throws OperationException, IOException, BlockException {
    return switch (format) {
      case "vmdk" -> {
        VmdkDisk.create(target, CreateOptions.ofSize(sizeBytes));
        yield VmdkDisk.open(target, Access.READ_WRITE).link();
      }
      case "raw" -> FileDevice.create(target, sizeBytes);
      default ->
          throw new OperationException(
              Code.INVALID, "format: " + format + " (expected: vmdk or raw)");
    };
  }

  /** Opens a disk for writing, with its pipeline. */
  private DiskStack openStack(DiskName name, Path file)
      throws OperationException, KeyException, BlockException, IOException {
    VmdkDisk disk = openForWriting(file);
    boolean opened = false;
    try {
      String policyName =
          disk.policy()
              .orElseThrow(
                  () ->
                      new OperationException(
                          Code.INVALID,
                          "disk "
                              + name
                              + " names no storage policy: import it into a new disk with one"));
      StoragePolicy policy = policies.get(policyName);
      Optional<String> difference = encryptionDifference(policy, disk);
      if (difference.isPresent()) {
        throw new OperationException(Code.INVALID, difference.get());
      }
      Optional<SectorCipher> cipher = Optional.empty();
      if (disk.encryption().isPresent()) {
        EncryptionMetadata metadata = disk.encryption().get();
        try (SecretBytes dek = keys.unlock(name.toString(), metadata)) {
          cipher =
              Optional.of(XtsEngines.byName(config.engine()).cipher(dek, metadata.unitBytes()));
        }
      }
      opened = true; // From here on the stack closes the disk.
      return DiskStack.open(name.toString(), filters, disk, cipher, policy);
    } finally {
      if (!opened) {
        disk.close();
      }
    }
  }

  private static VmdkDisk openForWriting(Path file)
      throws OperationException, IOException, BlockException {
    try {
      return VmdkDisk.open(file, Access.READ_WRITE);
    } catch (FileSystemException refused) {
      if (!Files.exists(file) || Files.isWritable(file)) {
        throw refused;
      }
      throw new OperationException(
          Code.IO,
          reason(refused) + ": it may not be written; let the user that filterd runs as write it",
          refused);
    }
  }

  private Results.DiskDetails attach(Requests.AttachDisk request)
      throws OperationException, KeyException, BlockException, IOException {
    if (server == null) {
      throw new OperationException(
          Code.UNAVAILABLE,
          "no daemon answers on " + config.control().socket() + ": start `filterd serve`");
    }
    DiskName name = name(request.name());
    changes.lock();
    try {
      DiskRecord record = recordFor(name, request.file());
      if (attachments.stack(name).isPresent()) {
        throw new OperationException(Code.CONFLICT, "disk " + name + " is attached already");
      }
      DiskStack stack = openStack(name, Path.of(record.file()));
      boolean served = false;
      try {
        inventory.put(new DiskRecord(name, record.file(), true));
        attachments.remove(name); // A locked one.
        if (!attachments.begin(name)) {
          throw new IllegalStateException("disk " + name + ": is being attached");
        }
        attachments.attached(name, stack);
        served = true;
      } finally {
        if (!served) {
          stack.close();
        }
      }
      LOG.info("disk={} attached", name);
      return details(name);
    } finally {
      changes.unlock();
    }
  }

  private DiskRecord recordFor(DiskName name, @Nullable String file) throws OperationException {
    if (file == null) {
      return known(name);
    }
    Optional<DiskRecord> known = inventory.disk(name);
    if (known.isPresent() && !known.get().file().equals(file)) {
      throw new OperationException(
          Code.CONFLICT, "disk " + name + " is known, and its file is " + known.get().file());
    }
    return new DiskRecord(name, file, false);
  }

  private Results.Done detach(DiskName name)
      throws OperationException, BlockException, IOException, InterruptedException {
    DiskRecord record = known(name);
    changes.lock();
    try {
      if (!attachments.contains(name)) {
        throw new OperationException(Code.CONFLICT, "disk " + name + " is not attached");
      }
      inventory.put(new DiskRecord(name, record.file(), false));
      close(name);
      return new Results.Done("Detached " + name + ".");
    } finally {
      changes.unlock();
    }
  }

  private void close(DiskName name) throws BlockException, InterruptedException {
    Optional<DiskStack> stack = attachments.stack(name);
    if (stack.isPresent()) {
      attachments.end(name);
      NbdServer serving = server;
      if (serving != null && !serving.disconnect(name.toString())) {
        throw new BlockException(
            BlockException.Reason.IO_ERROR,
            "disk " + name + " still has requests in flight: try again");
      }
      try {
        stack.get().close();
      } finally {
        attachments.remove(name);
        stack.get().disk().encryption().ifPresent(metadata -> keys.evict(metadata.linkId()));
      }
      LOG.info("disk={} detached", name);
    } else {
      attachments.remove(name);
    }
  }

  // The daemon's side.

  /** The exports for the NBD server. */
  Attachments attachments() {
    return attachments;
  }

  /** Announces every disk that is to be served, so that clients find it from the first moment. */
  List<DiskRecord> announce() {
    List<DiskRecord> disks = inventory.disks().stream().filter(DiskRecord::attached).toList();
    disks.forEach(disk -> attachments.begin(disk.name()));
    return disks;
  }

  void serving(NbdServer nbd) {
    server = nbd;
  }

  void warmUp() {
    keys.warmUp();
  }

  /** Opens an announced disk; one that can't be had is locked, and all others are served. */
  void reattach(DiskRecord disk) {
    String reason;
    try {
      attachments.attached(disk.name(), openStack(disk.name(), Path.of(disk.file())));
      LOG.info("disk={} attached", disk.name());
      return;
    } catch (OperationException | KeyException | BlockException | SecretMemoryException failure) {
      reason = String.valueOf(failure.getMessage());
    } catch (IOException failure) {
      reason = reason(failure);
    }
    attachments.locked(disk.name(), reason);
    LOG.error("disk={} is locked: {}", disk.name(), reason);
  }

  // Policies.

  private Results.Policies listPolicies() throws OperationException {
    Map<String, List<String>> users = new TreeMap<>();
    for (Results.Disk disk : list().disks()) {
      if (disk.policy() != null) {
        users.computeIfAbsent(disk.policy(), policy -> new ArrayList<>()).add(disk.name());
      }
    }
    List<Results.Policy> results = new ArrayList<>();
    for (PolicyFolder.Entry entry : policies.all().values()) {
      StoragePolicy policy = entry.policy();
      results.add(
          new Results.Policy(
              policy.name(),
              policy.description(),
              policy.filters().stream().map(StoragePolicy.FilterUse::filter).toList(),
              policy.encryption().map(rule -> rule.cipher() + "/" + rule.unitBytes()).orElse(null),
              entry.file().toString(),
              users.getOrDefault(policy.name(), List.of())));
    }
    return new Results.Policies(results);
  }

  private Results.DiskDetails apply(Requests.ApplyPolicy request)
      throws OperationException, BlockException, IOException {
    DiskName name = name(request.name());
    DiskRecord record = known(name);
    changes.lock();
    try {
      StoragePolicy policy = policies.get(request.policy());
      Optional<DiskStack> attached = attachments.stack(name);
      if (attached.isPresent()) {
        checkApplicable(name, policy, attached.get().disk());
        attached.get().apply(policy);
        rename(attached.get().disk(), policy);
      } else {
        try (VmdkDisk disk = VmdkDisk.open(Path.of(record.file()), Access.READ_WRITE)) {
          checkApplicable(name, policy, disk);
          rename(disk, policy);
        }
      }
      LOG.info("disk={} policy={} applied", name, policy.name());
    } finally {
      changes.unlock();
    }
    return details(name);
  }

  private static void checkApplicable(DiskName name, StoragePolicy policy, VmdkDisk disk)
      throws OperationException {
    Optional<String> difference = encryptionDifference(policy, disk);
    if (difference.isPresent()) {
      throw new OperationException(
          Code.CONFLICT,
          "policy "
              + policy.name()
              + " can't be applied to "
              + name
              + ": "
              + difference.get()
              + "; export the disk and import it under the policy");
    }
  }

  private static void rename(VmdkDisk disk, StoragePolicy policy) throws BlockException {
    disk.rewriteDescriptor(
        descriptor -> descriptor.withDdb(CreateOptions.POLICY_KEY, policy.name()));
  }

  // Key providers.

  private String providerName(@Nullable String named) {
    return named == null ? config.keys().defaultProvider() : named;
  }

  private static Path setting(DaemonConfig.Provider provider, String key) {
    String value = provider.settings().get(key);
    if (value == null) {
      throw new IllegalStateException("provider setting: no " + key);
    }
    return Path.of(value);
  }

  private Results.Done initProvider(Requests.Provider request) throws KeyException {
    String name = providerName(request.provider());
    DaemonConfig.Provider provider = keys.provider(name);
    Path state = setting(provider, "stateFile");
    NativeProvider.init(state, setting(provider, "passphraseFile"));
    return new Results.Done(
        "Made key provider "
            + name
            + " in "
            + state
            + ". Back it up before the first disk: filterd provider backup FILE --passphrase-file FILE");
  }

  private Results.Done backup(Requests.ProviderBackup request) throws KeyException {
    String name = providerName(request.provider());
    try (NativeProvider provider = openNative(name)) {
      provider.backup(Path.of(request.file()), Path.of(request.passphraseFile()));
    }
    keys.close(); // An open provider would not know that it was backed up.
    return new Results.Done(
        "Backed up key provider "
            + name
            + " to "
            + request.file()
            + ". Keep it and its passphrase away from this host, and apart.");
  }

  private NativeProvider openNative(String name) throws KeyException {
    DaemonConfig.Provider provider = keys.provider(name);
    return NativeProvider.open(
        name,
        setting(provider, "stateFile"),
        setting(provider, "passphraseFile"),
        io.filterd.keys.BackupRule.REQUIRED);
  }

  private Results.Done restore(Requests.ProviderBackup request) throws KeyException {
    String name = providerName(request.provider());
    DaemonConfig.Provider provider = keys.provider(name);
    NativeProvider.restore(
        Path.of(request.file()),
        Path.of(request.passphraseFile()),
        setting(provider, "stateFile"),
        setting(provider, "passphraseFile"));
    return new Results.Done("Restored key provider " + name + " from " + request.file() + ".");
  }

  private Results.Providers providers() {
    Map<String, ProviderStatus> open = new HashMap<>();
    keys.opened().forEach(status -> open.put(status.name(), status));
    List<Results.Provider> results = new ArrayList<>();
    config
        .keys()
        .providers()
        .forEach(
            (name, provider) -> {
              ProviderStatus status =
                  Optional.ofNullable(open.get(name))
                      .orElseGet(
                          () -> NativeProvider.inspect(name, setting(provider, "stateFile")));
              results.add(
                  new Results.Provider(
                      name,
                      provider.type(),
                      status.state().name().toLowerCase(Locale.ROOT).replace('_', '-'),
                      name.equals(config.keys().defaultProvider()),
                      status.details()));
            });
    return new Results.Providers(results);
  }

  /** Closes every disk, wipes the keys, releases the state folder. */
  @Override
  public void close() throws OperationException {
    List<String> failures = new ArrayList<>();
    for (DiskName name : attachments.disks()) {
      try {
        close(name);
      } catch (BlockException failure) {
        failures.add(name + ": " + failure.getMessage());
      } catch (InterruptedException stop) {
        Thread.currentThread().interrupt();
        failures.add(name + ": stopped");
      }
    }
    keys.close();
    try {
      inventory.close();
    } catch (IOException failure) {
      failures.add("inventory: " + failure.getMessage());
    }
    if (!failures.isEmpty()) {
      throw new OperationException(Code.IO, "not everything was closed cleanly:", failures);
    }
  }
}
