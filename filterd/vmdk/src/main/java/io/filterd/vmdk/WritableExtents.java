package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Opens the extents that a descriptor in a file of its own names, for writing. */
final class WritableExtents {
  /** Opens the files of extents. Exists so that tests can stand in for them. */
  @FunctionalInterface
  interface Files {
    ExtentFile open(ExtentLine line) throws IOException, BlockException;
  }

  private final Path path;
  private final Files files;
  private final TextDescriptor descriptor;

  private WritableExtents(Path path, Files files, TextDescriptor descriptor) {
    this.path = path;
    this.files = files;
    this.descriptor = descriptor;
  }

  /**
   * Opens all extents as one device; each file is locked. Closes all of them if one fails.
   *
   * @param warnings is told what is not right, but does not keep the disk from being used
   * @param descriptor closed with the device, if this does not throw
   */
  static BlockDevice open(Path path, Files files, TextDescriptor descriptor, List<String> warnings)
      throws IOException, BlockException {
    ExtentFiles.checkNames(path, descriptor.current());
    WritableExtents opener = new WritableExtents(path, files, descriptor);
    List<BlockDevice> extents = new ArrayList<>();
    boolean opened = false;
    try {
      for (ExtentLine line : descriptor.current().extents()) {
        extents.add(opener.extent(line, warnings));
      }
      BlockDevice all = new Concatenation(extents, descriptor::close);
      opened = true;
      return all;
    } finally {
      if (!opened) {
        for (BlockDevice extent : extents) {
          extent.close();
        }
      }
    }
  }

  private BlockDevice extent(ExtentLine line, List<String> warnings)
      throws IOException, BlockException {
    if (line.access() != ExtentLine.Access.RW) {
      return DescribedExtents.extent(path, line, warnings);
    }
    return switch (line.type()) {
      case ZERO -> new ZeroExtent(line.sizeBytes());
      case FLAT, VMFS -> opened(line, this::flat);
      case SPARSE -> opened(line, this::sparse);
      case VMFSSPARSE, VMFSRDM, VMFSRAW, SESPARSE, VSANSPARSE ->
          throw new FormatException(
              path.toString(),
              line.byteOffset(),
              "extent type",
              line.type().name(),
              "FLAT, VMFS, SPARSE or ZERO, to write the disk");
    };
  }

  /** Makes the mapping of an open file. */
  @FunctionalInterface
  private interface Mapping {
    BlockDevice of(ExtentFile file, ExtentLine line) throws FormatException, BlockException;
  }

  private BlockDevice opened(ExtentLine line, Mapping mapping) throws IOException, BlockException {
    ExtentFile file = files.open(line);
    boolean opened = false;
    try {
      BlockDevice extent = mapping.of(file, line);
      opened = true;
      return extent;
    } finally {
      if (!opened) {
        file.close();
      }
    }
  }

  private BlockDevice flat(ExtentFile file, ExtentLine line)
      throws FormatException, BlockException {
    long start = line.offsetSectors() * SECTOR_BYTES;
    if (file.sizeBytes() - start < line.sizeBytes()) {
      throw new FormatException(
          file.name(),
          file.sizeBytes(),
          "extent",
          file.sizeBytes() + " bytes",
          start + line.sizeBytes() + " bytes, to write the disk");
    }
    return new FlatLink(file, start, line.sizeBytes(), descriptor);
  }

  private BlockDevice sparse(ExtentFile file, ExtentLine line)
      throws FormatException, BlockException {
    ByteBuffer bytes = ExtentFiles.sector(file, 0);
    SparseExtentHeader header = DescribedExtents.header(file, line, bytes);
    ChangeMark mark = new SplitMark(new HeaderSector(file, bytes), descriptor);
    return SparseLink.open(file, header, mark, false);
  }
}
