package io.filterd.vmdk;

import java.util.Optional;

/**
 * What a new disk is to be.
 *
 * @param sizeBytes its size: a multiple of 512, so large at most that its file stays below 2 TiB
 *     when it is full
 * @param encryption what its descriptor says of its encryption; the bytes stored are enciphered by
 *     who writes them
 * @param policy the name of the storage policy that its descriptor gives
 */
public record CreateOptions(
    long sizeBytes, Optional<EncryptionMetadata> encryption, Optional<String> policy) {
  /** The entry of the disk database that names the storage policy, without {@code ddb.}. */
  public static final String POLICY_KEY = "filterd.policy";

  /** Checks the rules of the parameters. */
  public CreateOptions {
    if (sizeBytes < 512 || sizeBytes % 512 != 0 || sizeBytes > SparseLayout.LARGEST_DISK_BYTES) {
      throw new IllegalArgumentException(
          "sizeBytes: "
              + sizeBytes
              + " (expected: a multiple of 512 in 512.."
              + SparseLayout.LARGEST_DISK_BYTES
              + ")");
    }
  }

  /** A plain disk. */
  public static CreateOptions ofSize(long sizeBytes) {
    return new CreateOptions(sizeBytes, Optional.empty(), Optional.empty());
  }

  /** The same disk, described as encrypted. */
  public CreateOptions withEncryption(EncryptionMetadata metadata) {
    return new CreateOptions(sizeBytes, Optional.of(metadata), policy);
  }

  /** The same disk under a storage policy. */
  public CreateOptions withPolicy(String name) {
    return new CreateOptions(sizeBytes, encryption, Optional.of(name));
  }
}
