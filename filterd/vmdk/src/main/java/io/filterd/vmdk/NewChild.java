package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;

import io.filterd.block.BlockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Optional;

/**
 * An empty link over a parent: monolithicSparse, version 2, so that a grain of zeros can hide the
 * parent's; with two slots for its descriptor.
 *
 * @param file the child's file, in the parent's folder
 * @param parent the parent's descriptor, as it stays
 */
record NewChild(
    Path file,
    Path parentFile,
    Descriptor parent,
    SnapshotRecord snapshot,
    Optional<EncryptionMetadata> encryption,
    Optional<String> policy)
    implements LinkFiles.Contents {

  @Override
  public void write(ExtentFile target) throws FormatException, BlockException {
    if (parent.sizeBytes() > SparseLayout.LARGEST_DISK_BYTES) {
      throw new FormatException(
          parentFile.toString(),
          parent.byteOffset(),
          "size",
          parent.sizeBytes() + " bytes",
          "at most " + SparseLayout.LARGEST_DISK_BYTES + ", for a snapshot in one file");
    }
    SparseLayout layout = new SparseLayout(parent.sizeBytes() / SECTOR_BYTES);
    NewDisk.write(target, layout, layout.childHeader(), descriptor());
  }

  private Descriptor descriptor() throws FormatException {
    long cid = EmbeddedDescriptor.newContentId();
    String text =
        """
        # Disk DescriptorFile
        version=1
        encoding="UTF-8"
        CID=%08x
        parentCID=%08x
        createType="monolithicSparse"
        parentFileNameHint="%s"

        # Extent description
        RW %d SPARSE "%s"

        # The Disk Data Base
        #DDB

        ddb.longContentID = "%s"
        ddb.%s = "%s"
        """
            .formatted(
                cid,
                parent.cid(),
                parentFile.getFileName(),
                parent.sizeBytes() / SECTOR_BYTES,
                file.getFileName(),
                EmbeddedDescriptor.longContentId(cid),
                SparseLayout.SLOTS_KEY,
                SparseLayout.SLOTS);
    Descriptor descriptor =
        Descriptor.parse(
            file.toString(),
            (long) SparseLayout.FIRST_SLOT * SECTOR_BYTES,
            text.getBytes(StandardCharsets.UTF_8));
    descriptor = snapshot.writeTo(descriptor);
    if (policy.isPresent()) {
      descriptor = descriptor.withDdb(CreateOptions.POLICY_KEY, policy.get());
    }
    return encryption.isPresent() ? encryption.get().writeTo(descriptor) : descriptor;
  }
}
