package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/** The descriptor of a new disk (Virtual Disk Format 5.0, "The Descriptor File"). */
final class NewDescriptor {
  private static final long GEOMETRY_CYLINDERS_LIMIT = 65_535;

  private NewDescriptor() {}

  static Descriptor of(Path path, CreateOptions options) throws FormatException {
    long sectors = options.sizeBytes() / SECTOR_BYTES;
    long cylinders = Math.min(Math.max(1, sectors / (255 * 63)), GEOMETRY_CYLINDERS_LIMIT);
    long cid = EmbeddedDescriptor.newContentId();
    String text =
        """
        # Disk DescriptorFile
        version=1
        encoding="UTF-8"
        CID=%08x
        parentCID=ffffffff
        createType="%s"

        # Extent description
        %s
        # The Disk Data Base
        #DDB

        ddb.virtualHWVersion = "14"
        ddb.geometry.cylinders = "%d"
        ddb.geometry.heads = "255"
        ddb.geometry.sectors = "63"
        ddb.adapterType = "lsilogic"
        ddb.longContentID = "%s"
        """
            .formatted(
                cid,
                options.layout().createType(),
                extents(path, options),
                cylinders,
                EmbeddedDescriptor.longContentId(cid));
    boolean embedded = options.layout().isEmbedded();
    Descriptor descriptor =
        Descriptor.parse(
            path.toString(),
            embedded ? (long) SparseLayout.FIRST_SLOT * SECTOR_BYTES : 0,
            text.getBytes(StandardCharsets.UTF_8));
    if (embedded) {
      descriptor = descriptor.withDdb(SparseLayout.SLOTS_KEY, SparseLayout.SLOTS);
    }
    if (options.policy().isPresent()) {
      descriptor = descriptor.withDdb(CreateOptions.POLICY_KEY, options.policy().get());
    }
    return options.encryption().isPresent()
        ? options.encryption().get().writeTo(descriptor)
        : descriptor;
  }

  /** A line for each extent. */
  private static String extents(Path path, CreateOptions options) {
    StringBuilder lines = new StringBuilder();
    for (int i = 0; i < options.extentCount(); i++) {
      String name = options.extentName(path, i);
      if (options.layout().isEmbedded()) {
        // Readers take the file that they have open, whatever its name is now.
        name = name.replaceAll("[\"\\p{Cntrl}]", "_");
      }
      lines.append(
          "RW %d %s \"%s\"%s\n"
              .formatted(
                  options.extentBytes(i) / SECTOR_BYTES,
                  options.layout().isFlat() ? "FLAT" : "SPARSE",
                  name,
                  options.layout().isFlat() ? " 0" : ""));
    }
    return lines.toString();
  }
}
