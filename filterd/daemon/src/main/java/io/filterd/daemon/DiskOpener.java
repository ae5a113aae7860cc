package io.filterd.daemon;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.CheckedDevice;
import io.filterd.crypto.SecretBytes;
import io.filterd.crypto.SectorCipher;
import io.filterd.crypto.XtsEngines;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import io.filterd.inventory.DiskName;
import io.filterd.inventory.DiskRecord;
import io.filterd.inventory.Inventory;
import io.filterd.inventory.ServeOptions;
import io.filterd.inventory.ServeOptions.Mode;
import io.filterd.keys.KeyException;
import io.filterd.policy.AppliedPolicy.AppliedEncryption;
import io.filterd.policy.Compliance;
import io.filterd.policy.StoragePolicy;
import io.filterd.vmdk.Access;
import io.filterd.vmdk.DiskChain;
import io.filterd.vmdk.DiskCompaction;
import io.filterd.vmdk.EncryptionMetadata;
import io.filterd.vmdk.FormatException;
import io.filterd.vmdk.LinkedDisk;
import io.filterd.vmdk.VmdkDisk;
import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Opens disks: the file, its key, and the pipeline of the policy that it names. */
final class DiskOpener {
  private final FilterRegistry filters;
  private final PolicyFolder policies;
  private final KeyAccess keys;
  private final Inventory inventory;
  private final String engine;

  /**
   * Opens disks.
   *
   * @param inventory where disks are known by the files of their top links
   * @param engine the XTS engine: {@code auto} or a name
   */
  DiskOpener(
      FilterRegistry filters,
      PolicyFolder policies,
      KeyAccess keys,
      Inventory inventory,
      String engine) {
    this.filters = filters;
    this.policies = policies;
    this.keys = keys;
    this.inventory = inventory;
    this.engine = engine;
  }

  /** What a disk must be like, or it is not opened. */
  @FunctionalInterface
  interface Requirement {
    /** Refuses a disk by one of its links, before that link's key is unlocked. */
    void check(VmdkDisk disk) throws OperationException, BlockException, IOException;
  }

  /** A disk that is open for one operation, and not served: its keys are wiped with its end. */
  record OneUse(DiskStack stack, KeyAccess keys) implements AutoCloseable {
    @Override
    public void close() throws BlockException {
      Set<String> linkIds = stack.linkIds();
      try {
        stack.close();
      } finally {
        linkIds.forEach(keys::evict);
      }
    }
  }

  /** Opens a disk that is not served, for writing, with its pipeline. */
  OneUse openOnce(DiskName name, Path file)
      throws OperationException, KeyException, BlockException, IOException {
    return new OneUse(open(name, file, ServeOptions.DEFAULT, disk -> {}), keys);
  }

  /** Opens a disk to be served so, with its pipeline, if it meets a requirement. */
  DiskStack open(DiskName name, Path file, ServeOptions options, Requirement requirement)
      throws OperationException, KeyException, BlockException, IOException {
    checkNotLocked(name, file);
    LinkCiphers ciphers =
        new LinkCiphers(
            name.toString(),
            filters.get(FilterRegistry.ENCRYPTION),
            metadata -> {
              if (inventory.isLocked(name)) { // Since it was opened.
                throw new KeyException(KeyException.Reason.DENIED, LockedDisks.BY_COMMAND);
              }
              try (SecretBytes dek = keys.unlock(name.toString(), metadata)) {
                return XtsEngines.byName(engine).cipher(dek, metadata.unitBytes());
              }
            });
    Opening opening = new Opening(name, requirement, ciphers);
    Access access = options.mode() == Mode.READ_WRITE ? Access.READ_WRITE : Access.READ_ONLY;
    boolean opened = false;
    try {
      LinkedDisk links = openLinks(name, file, access, opening);
      opened = true; // From here on the stack closes the links.
      return DiskStack.open(name.toString(), filters, links, options, ciphers, opening.policy());
    } catch (BlockException failure) {
      // What a link is refused for, in the words of who refused it.
      switch (failure.getCause()) {
        case KeyException key -> throw key;
        case OperationException refusal -> throw refusal;
        case IOException unreadable -> throw unreadable;
        case null, default -> throw failure;
      }
    } finally {
      if (!opened) {
        ciphers.linkIds().forEach(keys::evict);
        ciphers.close();
      }
    }
  }

  /** Refuses a disk that was locked by command, also under another name. */
  private void checkNotLocked(DiskName name, Path file) throws OperationException {
    for (DiskName locked : inventory.locked()) {
      if (locked.equals(name)
          || inventory
              .disk(locked)
              .map(DiskRecord::file)
              .filter(file.toString()::equals)
              .isPresent()) {
        throw new OperationException(
            Code.KEY, "disk " + locked + " is locked: " + LockedDisks.BY_COMMAND);
      }
    }
  }

  /** A key could not be fetched; which provider was to have it. */
  static final class FetchException extends Exception {
    private static final long serialVersionUID = 1L;

    private final String provider;
    private final transient KeyException failure;

    FetchException(String provider, KeyException failure) {
      super(failure.getMessage(), failure);
      this.provider = provider;
      this.failure = failure;
    }

    String provider() {
      return provider;
    }

    KeyException failure() {
      return failure;
    }
  }

  /** The encryption of all links of a disk, the top one first; of those that are encrypted. */
  static List<EncryptionMetadata> encryption(Path file) throws IOException, BlockException {
    try (DiskChain chain = DiskChain.open(file, Access.READ_ONLY)) {
      List<EncryptionMetadata> links = new ArrayList<>();
      for (DiskChain.Link link : chain.links()) {
        link.disk().encryption().ifPresent(links::add);
      }
      return links;
    }
  }

  /**
   * Fetches the keys of a disk into the cache, so that it can be opened without waiting for a
   * provider.
   *
   * @param fetched gets the ids of the links whose keys are in the cache then, also if this fails
   */
  void fetch(DiskName name, List<EncryptionMetadata> links, Collection<String> fetched)
      throws FetchException {
    for (EncryptionMetadata link : links) {
      try {
        keys.fetch(name.toString(), link);
        fetched.add(link.linkId());
      } catch (KeyException failure) {
        throw new FetchException(link.keySafe().getFirst().provider(), failure);
      }
    }
  }

  /** Does something with the cipher of a disk that is not attached; none if it is not encrypted. */
  @FunctionalInterface
  interface WithCipher<R> {
    R call(DiskCompaction.Plaintext plaintext)
        throws OperationException, BlockException, IOException;
  }

  /** Lets somebody look at what a disk's file holds in the clear; its key is wiped afterwards. */
  <R> R withPlaintext(DiskName name, Path file, WithCipher<R> action)
      throws OperationException, KeyException, BlockException, IOException {
    checkNotLocked(name, file);
    Optional<EncryptionMetadata> encryption;
    try (VmdkDisk disk = VmdkDisk.open(file, Access.READ_ONLY)) {
      encryption = disk.encryption();
    }
    if (encryption.isEmpty()) {
      return action.call(stored -> stored);
    }
    EncryptionMetadata metadata = encryption.get();
    try (SecretBytes dek = keys.unlock(name.toString(), metadata);
        SectorCipher cipher = XtsEngines.byName(engine).cipher(dek, metadata.unitBytes())) {
      return action.call(
          stored ->
              LinkCiphers.inFrontOf(
                  new CheckedDevice(stored),
                  name.toString(),
                  filters.get(FilterRegistry.ENCRYPTION),
                  cipher));
    } finally {
      keys.evict(metadata.linkId());
    }
  }

  /** Looks at each link of a disk before its key is unlocked, and at the top one's policy. */
  private final class Opening implements LinkedDisk.Front {
    private final DiskName name;
    private final Requirement requirement;
    private final LinkCiphers ciphers;
    private @Nullable StoragePolicy policy;
    private boolean done;

    Opening(DiskName name, Requirement requirement, LinkCiphers ciphers) {
      this.name = name;
      this.requirement = requirement;
      this.ciphers = ciphers;
    }

    @Override
    public BlockDevice over(VmdkDisk link) throws BlockException {
      if (!done) { // Later a link is only opened in another way, or is new.
        try {
          requirement.check(link);
          if (policy == null) {
            StoragePolicy named = policyOf(name, link);
            checkServable(name, named, link);
            policy = named;
            keepKeks(named, link);
          }
        } catch (OperationException | KeyException | IOException refusal) {
          throw new BlockException(
              BlockException.Reason.IO_ERROR, String.valueOf(refusal.getMessage()), refusal);
        }
      }
      return ciphers.over(link);
    }

    /** The keys of the links below are kept no longer than they are used, if they are others. */
    private void keepKeks(StoragePolicy named, VmdkDisk top) throws FormatException, KeyException {
      Optional<EncryptionMetadata> encryption = top.encryption();
      if (encryption.isPresent() && named.encryption().isPresent()) {
        keys.keepKeks(encryption.get(), named.encryption().get().kekCache());
      }
    }

    StoragePolicy policy() {
      done = true;
      StoragePolicy found = policy;
      if (found == null) {
        throw new IllegalStateException("disk " + name + ": no link");
      }
      return found;
    }
  }

  private StoragePolicy policyOf(DiskName name, VmdkDisk top)
      throws OperationException, FormatException {
    return policies.get(
        top.policy()
            .orElseThrow(
                () ->
                    new OperationException(
                        Code.INVALID,
                        "disk "
                            + name
                            + " names no storage policy: import it into a new disk with one")));
  }

  /**
   * Opens the links of a disk that is not attached, to change how they are described: without their
   * keys, so that what they hold can't be read.
   */
  LinkedDisk openStored(DiskName name, Path file)
      throws OperationException, IOException, BlockException {
    return openLinks(name, file, Access.READ_WRITE, link -> new CheckedDevice(link.link()));
  }

  private LinkedDisk openLinks(DiskName name, Path file, Access access, LinkedDisk.Front front)
      throws OperationException, IOException, BlockException {
    try {
      return LinkedDisk.open(file, access, front, top -> moved(name, top));
    } catch (FileSystemException refused) {
      if (access == Access.READ_ONLY || !Files.exists(file) || Files.isWritable(file)) {
        throw refused;
      }
      throw new OperationException(
          Code.IO,
          Failures.sentence(refused)
              + ": it may not be written; let the user that filterd runs as write it",
          refused);
    }
  }

  /** The disk was found to be in another file, since a deletion of a snapshot was finished. */
  private void moved(DiskName name, Path top) throws IOException {
    Optional<DiskRecord> known = inventory.disk(name);
    if (known.isPresent()) {
      DiskRecord now = known.get();
      inventory.put(new DiskRecord(name, top.toString(), now.attached(), now.options()));
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
