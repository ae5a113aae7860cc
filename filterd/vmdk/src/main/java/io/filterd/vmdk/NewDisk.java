package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;

/** What the file of a new disk, or of a new sparse extent, consists of. */
final class NewDisk {
  private NewDisk() {}

  /** Makes an empty file an empty disk, monolithicSparse. */
  static void write(ExtentFile file, Path path, CreateOptions options)
      throws FormatException, BlockException {
    write(
        file,
        new SparseLayout(options.sizeBytes() / SECTOR_BYTES),
        NewDescriptor.of(path, options));
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
      ExtentFile file, SparseLayout layout, SparseExtentHeader header, Descriptor descriptor)
      throws BlockException {
    writeTables(file, layout);
    ByteBuffer slot = ByteBuffer.allocateDirect(SparseLayout.SLOT_BYTES);
    EmbeddedDescriptor.fill(slot, descriptor);
    // Both, so that the first change of the descriptor needs no space.
    file.write((long) SparseLayout.SECOND_SLOT * SECTOR_BYTES, slot.duplicate(), Blocking.ALLOWED);
    file.write((long) SparseLayout.FIRST_SLOT * SECTOR_BYTES, slot, Blocking.ALLOWED);
    file.sync();
    // The header last: until it is there the file is no VMDK at all.
    writeHeader(file, header);
    file.sync();
  }

  /** Makes an empty file an empty extent, whose descriptor, if it is durable, is so after it. */
  static void writeExtent(ExtentFile file, long sizeBytes) throws BlockException {
    SparseLayout layout = new SparseLayout(sizeBytes / SECTOR_BYTES, false);
    writeTables(file, layout);
    writeHeader(file, layout.header());
    file.sync();
  }

  private static void writeTables(ExtentFile file, SparseLayout layout) throws BlockException {
    long overheadBytes = layout.overheadSectors() * SECTOR_BYTES;
    file.truncate(overheadBytes);
    // On a full file system what was written must still get its entries, or a flush would fail,
    // and nothing could be given back.
    file.allocateZeros(0, overheadBytes);
    writeDirectory(file, layout, true);
    writeDirectory(file, layout, false);
  }

  private static void writeHeader(ExtentFile file, SparseExtentHeader header)
      throws BlockException {
    ByteBuffer bytes = ByteBuffer.allocateDirect(SparseExtentHeader.SIZE_BYTES);
    header.writeTo(bytes);
    file.write(0, bytes.flip(), Blocking.ALLOWED);
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
}
