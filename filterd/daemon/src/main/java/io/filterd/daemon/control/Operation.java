package io.filterd.daemon.control;

/**
 * One thing that can be asked of filterd.
 *
 * @param name as it stands on the control socket
 * @param arguments the type of its arguments
 * @param result the type of its result
 */
public record Operation<A, R>(String name, Class<A> arguments, Class<R> result) {
  /** Says what answers. */
  public static final Operation<Requests.None, Results.Version> VERSION =
      new Operation<>("version", Requests.None.class, Results.Version.class);

  /** Lists the disks. */
  public static final Operation<Requests.None, Results.Disks> DISK_LIST =
      new Operation<>("disk.list", Requests.None.class, Results.Disks.class);

  /** Describes a disk. */
  public static final Operation<Requests.Disk, Results.DiskDetails> DISK_INFO =
      new Operation<>("disk.info", Requests.Disk.class, Results.DiskDetails.class);

  /** Makes an empty disk. */
  public static final Operation<Requests.CreateDisk, Results.DiskDetails> DISK_CREATE =
      new Operation<>("disk.create", Requests.CreateDisk.class, Results.DiskDetails.class);

  /** Makes a disk with the content of another. */
  public static final Operation<Requests.ImportDisk, Results.DiskDetails> DISK_IMPORT =
      new Operation<>("disk.import", Requests.ImportDisk.class, Results.DiskDetails.class);

  /** Writes a disk's content to a new file. */
  public static final Operation<Requests.ExportDisk, Results.Done> DISK_EXPORT =
      new Operation<>("disk.export", Requests.ExportDisk.class, Results.Done.class);

  /** Serves a disk. */
  public static final Operation<Requests.AttachDisk, Results.DiskDetails> DISK_ATTACH =
      new Operation<>("disk.attach", Requests.AttachDisk.class, Results.DiskDetails.class);

  /** Serves a disk no more. */
  public static final Operation<Requests.Disk, Results.Done> DISK_DETACH =
      new Operation<>("disk.detach", Requests.Disk.class, Results.Done.class);

  /** Lets clients only read a disk, or write it again. */
  public static final Operation<Requests.SetReadOnly, Results.DiskDetails> DISK_SET_READ_ONLY =
      new Operation<>("disk.setReadOnly", Requests.SetReadOnly.class, Results.DiskDetails.class);

  /** Sets a point since which changes are known. */
  public static final Operation<Requests.ChangePoint, Results.Done> DISK_MARK =
      new Operation<>("disk.mark", Requests.ChangePoint.class, Results.Done.class);

  /** Forgets a point. */
  public static final Operation<Requests.ChangePoint, Results.Done> DISK_UNMARK =
      new Operation<>("disk.unmark", Requests.ChangePoint.class, Results.Done.class);

  /** Lists the points of a disk. */
  public static final Operation<Requests.Disk, Results.ChangePoints> DISK_POINTS =
      new Operation<>("disk.points", Requests.Disk.class, Results.ChangePoints.class);

  /** Says what was changed since a point. */
  public static final Operation<Requests.Changes, Results.Changes> DISK_CHANGES =
      new Operation<>("disk.changes", Requests.Changes.class, Results.Changes.class);

  /** Lists the VMs. */
  public static final Operation<Requests.None, Results.Vms> VM_LIST =
      new Operation<>("vm.list", Requests.None.class, Results.Vms.class);

  /** Writes all disks of a VM to a package. */
  public static final Operation<Requests.ExportVm, Results.Done> VM_EXPORT =
      new Operation<>("vm.export", Requests.ExportVm.class, Results.Done.class);

  /** Makes the disks of a VM out of a package. */
  public static final Operation<Requests.ImportVm, Results.ImportedVm> VM_IMPORT =
      new Operation<>("vm.import", Requests.ImportVm.class, Results.ImportedVm.class);

  /** Lists the clients. */
  public static final Operation<Requests.None, Results.Connections> CONNECTION_LIST =
      new Operation<>("connection.list", Requests.None.class, Results.Connections.class);

  /** Describes a client. */
  public static final Operation<Requests.Connection, Results.ConnectionDetails> CONNECTION_INFO =
      new Operation<>(
          "connection.info", Requests.Connection.class, Results.ConnectionDetails.class);

  /** Lists the policies. */
  public static final Operation<Requests.None, Results.Policies> POLICY_LIST =
      new Operation<>("policy.list", Requests.None.class, Results.Policies.class);

  /** Gives a disk another policy. */
  public static final Operation<Requests.ApplyPolicy, Results.DiskDetails> POLICY_APPLY =
      new Operation<>("policy.apply", Requests.ApplyPolicy.class, Results.DiskDetails.class);

  /** Lists the snapshots of a disk. */
  public static final Operation<Requests.Disk, Results.Snapshots> SNAPSHOT_LIST =
      new Operation<>("snapshot.list", Requests.Disk.class, Results.Snapshots.class);

  /** Takes a snapshot of a disk. */
  public static final Operation<Requests.CreateSnapshot, Results.Snapshots> SNAPSHOT_CREATE =
      new Operation<>("snapshot.create", Requests.CreateSnapshot.class, Results.Snapshots.class);

  /** Takes a disk back to a snapshot. */
  public static final Operation<Requests.RevertSnapshot, Results.Done> SNAPSHOT_REVERT =
      new Operation<>("snapshot.revert", Requests.RevertSnapshot.class, Results.Done.class);

  /** Deletes a snapshot of a disk; what the disk holds stays. */
  public static final Operation<Requests.Snapshot, Results.Snapshots> SNAPSHOT_DELETE =
      new Operation<>("snapshot.delete", Requests.Snapshot.class, Results.Snapshots.class);

  /** Makes a key provider's secret. */
  public static final Operation<Requests.Provider, Results.Done> PROVIDER_INIT =
      new Operation<>("provider.init", Requests.Provider.class, Results.Done.class);

  /** Copies a key provider's secret to a backup. */
  public static final Operation<Requests.ProviderBackup, Results.Done> PROVIDER_BACKUP =
      new Operation<>("provider.backup", Requests.ProviderBackup.class, Results.Done.class);

  /** Restores a key provider's secret from a backup. */
  public static final Operation<Requests.ProviderBackup, Results.Done> PROVIDER_RESTORE =
      new Operation<>("provider.restore", Requests.ProviderBackup.class, Results.Done.class);

  /** Puts a key provider's secret under another seal. */
  public static final Operation<Requests.ProviderReseal, Results.Done> PROVIDER_RESEAL =
      new Operation<>("provider.reseal", Requests.ProviderReseal.class, Results.Done.class);

  /** Says how the key providers are. */
  public static final Operation<Requests.None, Results.Providers> PROVIDER_STATUS =
      new Operation<>("provider.status", Requests.None.class, Results.Providers.class);
}
