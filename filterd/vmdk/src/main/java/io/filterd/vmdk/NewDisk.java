package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/** What a new disk's file consists of. */
final class NewDisk {
  private static final long GEOMETRY_CYLINDERS_LIMIT = 65_535;

  private NewDisk() {}

  /** Makes an empty file an empty disk. */
  static void write(ExtentFile file, Path path, CreateOptions options)
      throws FormatException, BlockException {
    write(file, new SparseLayout(options.sizeBytes() / SECTOR_BYTES), descriptor(path, options));
  }

  /** Makes an empty file an empty disk with this descriptor, which gets our two slots. */
  static void write(ExtentFile file, SparseLayout layout, Descriptor anywhere)
      throws BlockException {
    Descriptor descriptor =
        anywhere
            .withDdb(SparseLayout.SLOTS_KEY, SparseLayout.SLOTS)
            .at((long) SparseLayout.FIRST_SLOT * SECTOR_BYTES);
    write(file, layout, layout.header(), descriptor);
  }

  /** Makes an empty file a sparse extent without grains. */
  static void write(
      ExtentFile file, SparseLayout layout, SparseExtentHeader extentHeader, Descriptor descriptor)
      throws BlockException {
    long overheadBytes = layout.overheadSectors() * SECTOR_BYTES;
    file.truncate(overheadBytes);
    // On a full file system what was written must still get its entries, or a flush would fail,
    // and nothing could be given back.
    file.allocateZeros(0, overheadBytes);
    writeDirectory(file, layout, true);
    writeDirectory(file, layout, false);
    ByteBuffer slot = ByteBuffer.allocateDirect(SparseLayout.SLOT_BYTES);
    EmbeddedDescriptor.fill(slot, descriptor);
    // Both, so that the first change of the descriptor needs no space.
    file.write((long) SparseLayout.SECOND_SLOT * SECTOR_BYTES, slot.duplicate(), Blocking.ALLOWED);
    file.write((long) SparseLayout.FIRST_SLOT * SECTOR_BYTES, slot, Blocking.ALLOWED);
    file.sync();
    // The header last: until it is there the file is no VMDK at all.
    ByteBuffer header = ByteBuffer.allocateDirect(SparseExtentHeader.SIZE_BYTES);
    extentHeader.writeTo(header);
    file.write(0, header.flip(), Blocking.ALLOWED);
    file.sync();
  }

  private static void writeDirectory(ExtentFile file, SparseLayout layout, boolean redundant)
      throws BlockException {
    int count = layout.tableCount();
    ByteBuffer directory =
        ByteBuffer.allocateDirect(count * Integer.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < count; i++) {
      directory.putInt((int) (redundant ? layout.redundantTable(i) : layout.table(i)));
    }
    SparseExtentHeader header = layout.header();
    long sector = redundant ? header.redundantDirectoryOffset() : header.directoryOffset();
    file.write(sector * SECTOR_BYTES, directory.flip(), Blocking.ALLOWED);
  }

  private static Descriptor descriptor(Path path, CreateOptions options) throws FormatException {
    long sectors = options.sizeBytes() / SECTOR_BYTES;
    long cylinders = Math.min(Math.max(1, sectors / (255 * 63)), GEOMETRY_CYLINDERS_LIMIT);
    long cid = EmbeddedDescriptor.newContentId();
    // Readers take the file that they have open, whatever its name is now.
    String name = path.getFileName().toString().replaceAll("[\"\\p{Cntrl}]", "_");
    String text =
        """
        # Disk DescriptorFile
        version=1
        encoding="UTF-8"
        CID=%08x
        parentCID=ffffffff
        createType="monolithicSparse"

        # Extent description
        RW %d SPARSE "%s"

        # The Disk Data Base
        #DDB

        ddb.virtualHWVersion = "14"
        ddb.geometry.cylinders = "%d"
        ddb.geometry.heads = "255"
        ddb.geometry.sectors = "63"
        ddb.adapterType = "lsilogic"
        ddb.longContentID = "%s"
        ddb.%s = "%s"
        """
            .formatted(
                cid,
                sectors,
                name,
                cylinders,
                EmbeddedDescriptor.longContentId(cid),
                SparseLayout.SLOTS_KEY,
                SparseLayout.SLOTS);
    Descriptor descriptor =
        Descriptor.parse(
            path.toString(),
            (long) SparseLayout.FIRST_SLOT * SECTOR_BYTES,
            text.getBytes(StandardCharsets.UTF_8));
    if (options.policy().isPresent()) {
      descriptor = descriptor.withDdb(CreateOptions.POLICY_KEY, options.policy().get());
    }
    return options.encryption().isPresent()
        ? options.encryption().get().writeTo(descriptor)
        : descriptor;
  }
}
