package io.filterd.daemon;

import io.filterd.block.BlockException;
import io.filterd.crypto.SecretBytes;
import io.filterd.crypto.SectorCipher;
import io.filterd.crypto.XtsEngines;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import io.filterd.inventory.DiskName;
import io.filterd.keys.KeyException;
import io.filterd.policy.StoragePolicy;
import io.filterd.policy.StoragePolicy.EncryptionRule;
import io.filterd.vmdk.Access;
import io.filterd.vmdk.EncryptionMetadata;
import io.filterd.vmdk.VmdkDisk;
import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/** Opens disks for writing: the file, its key, and the pipeline of the policy that it names. */
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

  /** Opens a disk for writing, with its pipeline. */
  DiskStack open(DiskName name, Path file)
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
          cipher = Optional.of(XtsEngines.byName(engine).cipher(dek, metadata.unitBytes()));
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
          Failures.sentence(refused)
              + ": it may not be written; let the user that filterd runs as write it",
          refused);
    }
  }

  /** How a disk's encryption is not what a policy says, if so. */
  static Optional<String> encryptionDifference(StoragePolicy policy, VmdkDisk disk) {
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
}
