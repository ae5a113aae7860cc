package io.filterd.daemon;

import io.filterd.daemon.control.KeyCare;
import io.filterd.daemon.control.Operation;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.Progress;
import io.filterd.daemon.control.Requests;
import io.filterd.daemon.control.Results;
import io.filterd.inventory.DiskName;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;

/** A daemon in this process, with a provider of keys that does what it is told. */
final class ScriptedDaemon implements AutoCloseable {
  private final Daemon daemon;

  private ScriptedDaemon(Daemon daemon) {
    this.daemon = daemon;
  }

  /** Makes what a daemon needs in a folder: a provider {@code kms}, and policies. */
  static Path prepare(Path folder) throws IOException {
    Path kms = folder.resolve("kms");
    ScriptedProvider.prepare(kms);
    Path policies = Files.createDirectory(folder.resolve("policies"));
    policy(policies, "encrypted", "{}");
    policy(policies, "tenant", "{kek: per-tenant, tenant: acme}");
    policy(policies, "kept", "{kekCache: 10m}");
    policy(policies, "own", "{kek: per-disk}");
    return kms;
  }

  private static void policy(Path policies, String name, String encryption) throws IOException {
    Files.writeString(
        policies.resolve(name + ".yaml"),
        "version: 1\nname: %s\nencryption: %s\n".formatted(name, encryption));
  }

  static ScriptedDaemon start(Path folder) throws IOException, OperationException {
    DaemonConfig read =
        DaemonConfig.load(RunningFilterd.configure(folder, RunningFilterd.freePort()));
    DaemonConfig.Provider kms =
        new DaemonConfig.Provider(
            ScriptedProvider.TYPE, Map.of("folder", folder.resolve("kms").toString()));
    return new ScriptedDaemon(
        Daemon.start(
            new DaemonConfig(
                read.state(),
                read.disks(),
                read.policies(),
                read.control(),
                read.nbd(),
                read.access(),
                new DaemonConfig.Keys("kms", 1024, Map.of("kms", kms)),
                read.engine())));
  }

  Host host() {
    return daemon.host();
  }

  <A, R> R call(Operation<A, R> operation, A arguments) throws OperationException {
    return daemon.host().call(operation, arguments, Progress.NONE);
  }

  void create(String disk, String policy) throws OperationException {
    var _ =
        call(Operation.DISK_CREATE, new Requests.CreateDisk(disk, 1 << 20, policy, null, false));
  }

  void attach(String disk) throws OperationException {
    var _ = call(Operation.DISK_ATTACH, new Requests.AttachDisk(disk, null));
  }

  Results.Disk disk(String name) throws OperationException {
    return call(Operation.DISK_INFO, new Requests.Disk(name)).disk();
  }

  boolean isAttached(String disk) {
    return host().attachments().stack(DiskName.parse(disk)).isPresent();
  }

  KeyCare.Key onlyKey() throws OperationException {
    return call(KeyCare.KEY_STATUS, new Requests.None()).keys().getFirst();
  }

  String uri(String disk) {
    return daemon.uris(disk).getFirst();
  }

  @Override
  public void close() throws OperationException {
    daemon.close();
  }
}
