package io.filterd.daemon;

import io.filterd.block.BlockException;
import io.filterd.inventory.DiskRecord;
import io.filterd.keys.KeyReference;
import io.filterd.vmdk.Access;
import io.filterd.vmdk.DiskChain;
import io.filterd.vmdk.EncryptionMetadata;
import io.filterd.vmdk.FormatException;
import io.filterd.vmdk.Locker;
import io.filterd.vmdk.VmdkDisk;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.locks.ReentrantLock;
import java.util.stream.Stream;

/** Which key-encryption keys disks name, by the descriptors of all their links. */
final class DiskKeys {
  private final Attachments attachments;

  /** One change of disks at a time. */
  private final ReentrantLock changes;

  DiskKeys(Attachments attachments, ReentrantLock changes) {
    this.attachments = attachments;
    this.changes = changes;
  }

  /** An encrypted link of a disk. */
  record Link(Path file, EncryptionMetadata encryption) {
    /** The keys that open it. */
    Stream<KeyReference> keys() {
      return encryption.keySafe().stream().map(DiskKeys::reference);
    }
  }

  /**
   * What a disk's descriptors say.
   *
   * @param links its encrypted links, the top one first
   * @param policy the policy that the disk names, if it does
   */
  record Keys(List<Link> links, Optional<String> policy) {
    /** The keys of all links, each once. */
    List<KeyReference> all() {
      return links.stream().flatMap(Link::keys).distinct().toList();
    }
  }

  /** Reads a disk's descriptors, attached or not. */
  Keys of(DiskRecord record) throws IOException, BlockException {
    changes.lock(); // Nobody finds the files in use who opens the disk.
    try {
      Optional<DiskStack> stack = attachments.stack(record.name());
      if (stack.isPresent()) {
        return keys(stack.get().links().links());
      }
      try (DiskChain chain = DiskChain.open(Path.of(record.file()), Access.READ_ONLY)) {
        return keys(chain.links());
      }
    } finally {
      changes.unlock();
    }
  }

  private static Keys keys(List<DiskChain.Link> links) throws FormatException {
    List<Link> encrypted = new ArrayList<>();
    for (DiskChain.Link link : links) {
      VmdkDisk disk = link.disk();
      disk.encryption().ifPresent(metadata -> encrypted.add(new Link(link.file(), metadata)));
    }
    return new Keys(encrypted, links.getFirst().disk().policy());
  }

  static KeyReference reference(Locker locker) {
    return new KeyReference(locker.provider(), locker.keyId(), locker.checkValue());
  }

  /** A key as people and commands name it. */
  static String text(KeyReference key) {
    return key.provider() + "/" + key.keyId();
  }
}
