package io.filterd.daemon;

import io.filterd.block.BlockException;
import io.filterd.crypto.SecretMemoryException;
import io.filterd.crypto.XtsEngines;
import io.filterd.daemon.control.Care;
import io.filterd.daemon.control.KeyCare;
import io.filterd.daemon.control.KeyOperations;
import io.filterd.daemon.control.KmsCare;
import io.filterd.daemon.control.Operation;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import io.filterd.daemon.control.Operations;
import io.filterd.daemon.control.Progress;
import io.filterd.daemon.control.Requests;
import io.filterd.daemon.control.Results;
import io.filterd.inventory.DiskRecord;
import io.filterd.inventory.Inventory;
import io.filterd.inventory.InventoryException;
import io.filterd.keys.KeyException;
import io.filterd.nbd.Exports;
import io.filterd.nbd.NbdServer;
import io.filterd.vmdk.FormatException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Clock;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.locks.ReentrantLock;

/**
 * This machine's filterd: configuration, inventory, keys, policies and disks, and what can be asked
 * of them. The daemon serves one; a command works with one of its own where no daemon runs.
 */
public final class Host implements Operations, AutoCloseable {
  private static final String VERSION = "0.1.0";

  @FunctionalInterface
  private interface Handler<A, R> {
    R handle(A arguments, Progress progress)
        throws OperationException, KeyException, BlockException, IOException, InterruptedException;
  }

  private final DaemonConfig config;
  private final Inventory inventory;
  private final KeyAccess keys;
  private final Attachments attachments = new Attachments();
  private final KnownDisks disks;
  private final DiskReports reports;
  private final DiskContents contents;
  private final DiskServing serving;
  private final LockedDisks locked;
  private final Connections connections;
  private final Policies policies;
  private final Providers providers;
  private final Recrypt recrypt;
  private final KeyRotation rotation;
  private final Map<String, Handler<?, ?>> handlers = new HashMap<>();
  private volatile boolean served;

  private Host(DaemonConfig config, Inventory inventory, Clock clock) {
    this.config = config;
    this.inventory = inventory;
    this.keys = new KeyAccess(config.keys());
    this.disks = new KnownDisks(inventory);
    FilterRegistry filters = FilterRegistry.load();
    PolicyFolder folder = new PolicyFolder(config.policies(), filters.catalog());
    DiskOpener opener = new DiskOpener(filters, folder, keys, inventory, config.engine());
    // Who makes, attaches, detaches or changes a disk holds it.
    ReentrantLock changes = new ReentrantLock();
    KeyLedger ledger = new KeyLedger(inventory, clock);
    this.reports = new DiskReports(inventory, folder, attachments, ledger);
    this.contents =
        new DiskContents(config, inventory, folder, keys, ledger, opener, attachments, changes);
    this.serving =
        new DiskServing(config.control().socket(), inventory, keys, opener, attachments, changes);
    this.locked = new LockedDisks(inventory, keys, opener, serving, attachments);
    VmContents vms = new VmContents(inventory, attachments, contents, reports, changes);
    this.connections = new Connections(config.control().socket());
    this.policies = new Policies(folder, attachments, changes);
    this.providers = new Providers(config.keys(), keys, locked::waitingFor);
    DiskKeys diskKeys = new DiskKeys(attachments, changes);
    RecryptPlan plan = new RecryptPlan(inventory, folder, keys, diskKeys);
    this.recrypt =
        new Recrypt(
            config.state(), inventory, keys, ledger, plan, opener, attachments, clock, changes);
    this.rotation = new KeyRotation(inventory, folder, keys, ledger, diskKeys, plan, recrypt);
    KeyGuard guard = new KeyGuard(inventory, keys, diskKeys, recrypt);
    on(KeyOperations.KEY_RECRYPT, recrypt::run);
    on(KeyOperations.KEY_USES, (arguments, progress) -> guard.uses(arguments.key()));
    on(KeyOperations.KEY_REVOKE, (arguments, progress) -> guard.revoke(arguments));
    on(KeyOperations.KEY_DESTROY, (arguments, progress) -> guard.destroy(arguments));
    on(Operation.VERSION, (arguments, progress) -> version());
    on(Operation.DISK_LIST, (arguments, progress) -> reports.list());
    on(Operation.DISK_INFO, (arguments, progress) -> reports.details(disk(arguments.name())));
    on(Operation.DISK_CREATE, (arguments, progress) -> reports.details(contents.create(arguments)));
    on(
        Operation.DISK_IMPORT,
        (arguments, progress) -> {
          DiskContents.Imported imported = contents.importDisk(arguments, progress);
          return reports.details(imported.disk()).withWarnings(imported.warnings());
        });
    on(Operation.DISK_EXPORT, contents::export);
    on(Operation.DISK_ATTACH, (arguments, progress) -> reports.details(serving.attach(arguments)));
    on(
        Operation.DISK_DETACH,
        (arguments, progress) -> serving.detach(KnownDisks.name(arguments.name())));
    on(
        Operation.DISK_SET_READ_ONLY,
        (arguments, progress) ->
            reports.details(
                serving.setReadOnly(KnownDisks.name(arguments.name()), arguments.readOnly())));
    DiskChanges tracked = new DiskChanges(inventory, attachments, changes);
    on(Operation.DISK_MARK, (arguments, progress) -> tracked.mark(arguments));
    on(Operation.DISK_UNMARK, (arguments, progress) -> tracked.unmark(arguments));
    on(Operation.DISK_POINTS, (arguments, progress) -> tracked.points(arguments));
    on(Operation.DISK_CHANGES, (arguments, progress) -> tracked.changes(arguments));
    on(Operation.VM_LIST, (arguments, progress) -> vms.list());
    on(Operation.VM_EXPORT, vms::export);
    on(Operation.VM_IMPORT, vms::importVm);
    DiskCare care = new DiskCare(inventory, opener, attachments, changes);
    on(Care.DISK_CHECK, (arguments, progress) -> care.check(arguments));
    on(Care.DISK_REPAIR, (arguments, progress) -> care.repair(arguments));
    on(Care.DISK_GROW, (arguments, progress) -> reports.details(care.grow(arguments)));
    on(Care.DISK_COMPACT, care::compact);
    on(Operation.CONNECTION_LIST, (arguments, progress) -> connections.list());
    on(Operation.CONNECTION_INFO, (arguments, progress) -> connections.details(arguments.id()));
    on(Operation.POLICY_LIST, (arguments, progress) -> policies.list(reports.list().disks()));
    on(Operation.POLICY_APPLY, (arguments, progress) -> apply(arguments));
    DiskSnapshots snapshots =
        new DiskSnapshots(inventory, keys, opener, attachments, clock, changes);
    on(Operation.SNAPSHOT_LIST, (arguments, progress) -> snapshots.list(arguments));
    on(Operation.SNAPSHOT_CREATE, (arguments, progress) -> snapshots.create(arguments));
    on(Operation.SNAPSHOT_REVERT, (arguments, progress) -> snapshots.revert(arguments));
    on(Operation.SNAPSHOT_DELETE, snapshots::delete);
    KeyUses uses = new KeyUses(inventory, attachments);
    KeyReports keyReports =
        new KeyReports(
            inventory,
            keys,
            uses,
            new KeyQuestions(config.keys(), keys),
            providers,
            reports,
            locked);
    on(KeyCare.KEY_STATUS, (arguments, progress) -> keyReports.status());
    on(KeyCare.KEY_LOCK, (arguments, progress) -> keyReports.lock(arguments));
    on(KeyCare.KEY_UNLOCK, (arguments, progress) -> keyReports.unlock(arguments));
    on(KeyCare.KEY_PREFLIGHT, (arguments, progress) -> keyReports.preflight());
    on(KeyCare.PROVIDER_PROBE, (arguments, progress) -> keyReports.probe());
    on(Operation.PROVIDER_INIT, (arguments, progress) -> providers.init(arguments));
    on(Operation.PROVIDER_BACKUP, (arguments, progress) -> providers.backup(arguments));
    on(Operation.PROVIDER_RESTORE, (arguments, progress) -> providers.restore(arguments));
    on(Operation.PROVIDER_RESEAL, (arguments, progress) -> providers.reseal(arguments));
    on(Operation.PROVIDER_STATUS, (arguments, progress) -> providers.status());
    KmsTrust trust = new KmsTrust(config.keys(), keys, uses);
    on(KmsCare.CERTIFICATE_REQUEST, (arguments, progress) -> trust.request(arguments));
    on(KmsCare.CERTIFICATE_SELF_SIGNED, (arguments, progress) -> trust.selfSigned(arguments));
    on(KmsCare.CERTIFICATE_ACCEPT, (arguments, progress) -> trust.accept(arguments));
    on(KmsCare.CERTIFICATE_UPLOAD, (arguments, progress) -> trust.upload(arguments));
    on(KmsCare.CERTIFICATE_SWITCH, (arguments, progress) -> trust.switchToNext(arguments));
    on(KmsCare.CERTIFICATE_SHOW, (arguments, progress) -> trust.show(arguments));
    on(KmsCare.TRUST, (arguments, progress) -> trust.trust(arguments));
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
        Operation.DISK_SET_READ_ONLY,
        Operation.DISK_MARK,
        Operation.DISK_UNMARK,
        Operation.DISK_POINTS,
        Operation.DISK_CHANGES,
        Operation.VM_LIST,
        Operation.VM_EXPORT,
        Operation.VM_IMPORT,
        Care.DISK_CHECK,
        Care.DISK_REPAIR,
        Care.DISK_GROW,
        Care.DISK_COMPACT,
        Operation.CONNECTION_LIST,
        Operation.CONNECTION_INFO,
        Operation.POLICY_LIST,
        Operation.POLICY_APPLY,
        Operation.SNAPSHOT_LIST,
        Operation.SNAPSHOT_CREATE,
        Operation.SNAPSHOT_REVERT,
        Operation.SNAPSHOT_DELETE,
        KeyCare.KEY_STATUS,
        KeyCare.KEY_LOCK,
        KeyCare.KEY_UNLOCK,
        KeyCare.KEY_PREFLIGHT,
        KeyCare.PROVIDER_PROBE,
        Operation.PROVIDER_INIT,
        Operation.PROVIDER_BACKUP,
        Operation.PROVIDER_RESTORE,
        Operation.PROVIDER_RESEAL,
        Operation.PROVIDER_STATUS,
        KeyOperations.KEY_RECRYPT,
        KeyOperations.KEY_USES,
        KeyOperations.KEY_REVOKE,
        KeyOperations.KEY_DESTROY,
        KmsCare.CERTIFICATE_REQUEST,
        KmsCare.CERTIFICATE_SELF_SIGNED,
        KmsCare.CERTIFICATE_ACCEPT,
        KmsCare.CERTIFICATE_UPLOAD,
        KmsCare.CERTIFICATE_SWITCH,
        KmsCare.CERTIFICATE_SHOW,
        KmsCare.TRUST);
  }

  /** Opens the host's state for commands, where no daemon has it open. */
  public static Host openOffline(DaemonConfig config) throws OperationException {
    return open(config);
  }

  static Host open(DaemonConfig config) throws OperationException {
    return open(config, Clock.systemUTC());
  }

  /** Opens the host's state, by a clock that tells how old keys are. */
  static Host open(DaemonConfig config, Clock clock) throws OperationException {
    try {
      Files.createDirectories(
          config.state(),
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
      return new Host(config, Inventory.open(config.state()), clock);
    } catch (InventoryException failure) {
      throw new OperationException(Code.CONFLICT, String.valueOf(failure.getMessage()), failure);
    } catch (IOException failure) {
      throw new OperationException(
          Code.IO,
          "can't open the state folder " + config.state() + ": " + Failures.sentence(failure),
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
      throw new OperationException(Failures.code(failure), Failures.sentence(failure), failure);
    } catch (InterruptedException stop) {
      Thread.currentThread().interrupt();
      throw new OperationException(Code.CANCELLED, "stopped", stop);
    }
  }

  private DiskRecord disk(String name) throws OperationException {
    return disks.get(KnownDisks.name(name));
  }

  private Results.Version version() {
    return new Results.Version(
        VERSION,
        String.valueOf(System.getProperty("java.version")),
        XtsEngines.byName(config.engine()).name(),
        served);
  }

  private Results.DiskDetails apply(Requests.ApplyPolicy request)
      throws OperationException, BlockException, IOException {
    DiskRecord disk = disk(request.name());
    policies.apply(disk, request.policy());
    return reports.details(disk);
  }

  /** The disks that are served. */
  Attachments attachments() {
    return attachments;
  }

  /** The exports for the NBD server. */
  Exports exports() {
    AccessRules access = config.access();
    return access == null ? attachments : new ExportAccess(attachments, new LiveAccess(access));
  }

  /** What attaches disks. */
  DiskServing serving() {
    return serving;
  }

  /** What opens the disks that are locked. */
  LockedDisks locked() {
    return locked;
  }

  /** From now on this host serves. */
  void serve(NbdServer nbd) {
    served = true;
    serving.serving(nbd);
    reports.serving(nbd);
    connections.serving(nbd);
  }

  /** Replaces keys whose policies say so. */
  KeyRotation rotation() {
    return rotation;
  }

  /** Opens what the first disk will need. */
  void warmUp() {
    keys.warmUp();
  }

  /** Closes every disk, wipes the keys, releases the state folder. */
  @Override
  public void close() throws OperationException {
    locked.close();
    rotation.close();
    try {
      recrypt.stop();
    } catch (InterruptedException stop) {
      Thread.currentThread().interrupt();
    }
    List<String> failures = serving.closeAll();
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
