package io.filterd.vmdk;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * What a new disk is to be.
 *
 * @param sizeBytes its size: a multiple of 512, and no more than its layout takes; a
 *     monolithicSparse file stays below 2 TiB when it is full
 * @param layout how it is laid out in files
 * @param encryption what its descriptor says of its encryption; the bytes stored are enciphered by
 *     who writes them
 * @param policy the name of the storage policy that its descriptor gives
 */
public record CreateOptions(
    long sizeBytes,
    Layout layout,
    Optional<EncryptionMetadata> encryption,
    Optional<String> policy) {
  /** The entry of the disk database that names the storage policy, without {@code ddb.}. */
  public static final String POLICY_KEY = "filterd.policy";

  /** Checks the rules of the parameters. */
  public CreateOptions {
    if (sizeBytes < 512 || sizeBytes % 512 != 0 || sizeBytes > layout.largestDiskBytes()) {
      throw new IllegalArgumentException(
          "sizeBytes: "
              + sizeBytes
              + " (expected: a multiple of 512 in 512.."
              + layout.largestDiskBytes()
              + (layout == Layout.MONOLITHIC_SPARSE
                  ? ", or another layout: the places in a sparse file end at 2 TiB)"
                  : ")"));
    }
  }

  /** A plain disk, monolithicSparse. */
  public static CreateOptions ofSize(long sizeBytes) {
    return ofSize(sizeBytes, Layout.MONOLITHIC_SPARSE);
  }

  /** A plain disk. */
  public static CreateOptions ofSize(long sizeBytes, Layout layout) {
    return new CreateOptions(sizeBytes, layout, Optional.empty(), Optional.empty());
  }

  /** The same disk, described as encrypted. */
  public CreateOptions withEncryption(EncryptionMetadata metadata) {
    return new CreateOptions(sizeBytes, layout, Optional.of(metadata), policy);
  }

  /** The same disk under a storage policy. */
  public CreateOptions withPolicy(String name) {
    return new CreateOptions(sizeBytes, layout, encryption, Optional.of(name));
  }

  /**
   * The files that such a disk consists of, the one to open it by first.
   *
   * @param path the name of that one
   */
  public List<Path> files(Path path) {
    List<Path> files = new ArrayList<>(List.of(path));
    if (!layout.isEmbedded()) {
      for (int i = 0; i < extentCount(); i++) {
        files.add(path.resolveSibling(extentName(path, i)));
      }
    }
    return files;
  }

  int extentCount() {
    return (int) Math.ceilDiv(sizeBytes, layout.extentBytes());
  }

  /** The size of an extent, 0-based. */
  long extentBytes(int index) {
    return Math.min(layout.extentBytes(), sizeBytes - index * layout.extentBytes());
  }

  /** The name of an extent's file, 0-based; the disk's own if the descriptor is in it. */
  String extentName(Path path, int index) {
    String name = String.valueOf(path.getFileName());
    return layout.isEmbedded() ? name : layout.extentName(name, index + 1);
  }
}
