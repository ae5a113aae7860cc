package io.filterd.daemon;

import io.filterd.block.BlockException;
import io.filterd.crypto.SecretBytes;
import io.filterd.crypto.SectorCipher;
import io.filterd.crypto.XtsEngines;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import io.filterd.inventory.DiskName;
import io.filterd.inventory.ServeOptions;
import io.filterd.inventory.ServeOptions.Mode;
import io.filterd.keys.KeyException;
import io.filterd.policy.AppliedPolicy.AppliedEncryption;
import io.filterd.policy.Compliance;
import io.filterd.policy.StoragePolicy;
import io.filterd.vmdk.Access;
import io.filterd.vmdk.EncryptionMetadata;
import io.filterd.vmdk.VmdkDisk;
import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/** Opens disks: the file, its key, and the pipeline of the policy that it names. */
final class DiskOpener {
  private final FilterRegistry filters;
  private final PolicyFolder policies;
  private final KeyAccess keys;
  private final String engine;

  /**
   * Opens disks.
   *
   * @param engine the XTS engine: {@code auto} or a name
   */
  DiskOpener(FilterRegistry filters, PolicyFolder policies, KeyAccess keys, String engine) {
    this.filters = filters;
    this.policies = policies;
    this.keys = keys;
    this.engine = engine;
  }

  /** What a disk must be like, or it is not opened. */
  @FunctionalInterface
  interface Requirement {
    /** Refuses a disk, before its key is unlocked. */
    void check(VmdkDisk disk) throws OperationException, BlockException, IOException;
  }

  /** Opens a disk for writing, with its pipeline. */
  DiskStack open(DiskName name, Path file)
      throws OperationException, KeyException, BlockException, IOException {
    return open(name, file, ServeOptions.DEFAULT, disk -> {});
  }

  /** Opens a disk to be served so, with its pipeline, if it meets a requirement. */
  DiskStack open(DiskName name, Path file, ServeOptions options, Requirement requirement)
      throws OperationException, KeyException, BlockException, IOException {
    VmdkDisk disk =
        options.mode() == Mode.READ_WRITE
            ? openForWriting(file)
            : VmdkDisk.open(file, Access.READ_ONLY);
    boolean opened = false;
    try {
      checkWhole(file, disk);
      requirement.check(disk);
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
      checkServable(name, policy, disk);
      Optional<SectorCipher> cipher = Optional.empty();
      if (disk.encryption().isPresent()) {
        EncryptionMetadata metadata = disk.encryption().get();
        try (SecretBytes dek = keys.unlock(name.toString(), metadata)) {
          cipher = Optional.of(XtsEngines.byName(engine).cipher(dek, metadata.unitBytes()));
        }
      }
      opened = true; // From here on the stack closes the disk.
      return DiskStack.open(name.toString(), filters, disk, options, cipher, policy);
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
          Failures.sentence(refused)
              + ": it may not be written; let the user that filterd runs as write it",
          refused);
    }
  }

  /** Refuses a link of a chain: where it holds nothing, its parent's content would be missing. */
  static void checkWhole(Path file, VmdkDisk disk) throws OperationException {
    if (disk.hasParent()) {
      throw new OperationException(
          Code.FORMAT,
          "%s: parentCID: %08x (expected: ffffffff, a disk without a parent; consolidate its"
                  .formatted(file, disk.descriptor().parentCid())
              + " snapshots first)");
    }
  }

  /** How a disk is encrypted, in the words of policies. */
  static Optional<AppliedEncryption> appliedEncryption(VmdkDisk disk) {
    return disk.encryption()
        .map(
            metadata ->
                new AppliedEncryption(
                    metadata.cipher(),
                    metadata.unitBytes(),
                    metadata.keySafe().getFirst().provider()));
  }

  /** Refuses a policy under which only other data could be served than what the disk holds. */
  static void checkServable(DiskName name, StoragePolicy policy, VmdkDisk disk)
      throws OperationException {
    List<String> differences = Compliance.dataDifferences(policy, appliedEncryption(disk));
    if (!differences.isEmpty()) {
      throw new OperationException(
          Code.CONFLICT,
          "disk "
              + name
              + " can't be served under policy "
              + policy.name()
              + ": "
              + String.join("; ", differences)
              + "; export it, and import it under the policy");
    }
  }
}
