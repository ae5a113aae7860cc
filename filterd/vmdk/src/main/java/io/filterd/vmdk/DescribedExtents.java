package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Opens the extents that a descriptor in a file of its own names. */
final class DescribedExtents {
  private DescribedExtents() {}

  /**
   * Opens all extents as one device; each file is locked. Closes all of them if one fails.
   *
   * @param warnings is told what is not right, but does not keep the disk from being read
   */
  static BlockDevice open(Path path, Descriptor descriptor, List<String> warnings)
      throws IOException, BlockException {
    List<BlockDevice> extents = new ArrayList<>();
    boolean opened = false;
    try {
      ExtentFiles.checkNames(path, descriptor);
      for (ExtentLine line : descriptor.extents()) {
        extents.add(extent(path, line, warnings));
      }
      BlockDevice all = new Concatenation(extents, () -> {});
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

  /** Opens one extent for reading. */
  static BlockDevice extent(Path path, ExtentLine line, List<String> warnings)
      throws IOException, BlockException {
    if (line.access() == ExtentLine.Access.NOACCESS && isInFiles(line.type())) {
      return new NoAccessExtent(path.toString(), line.byteOffset(), line.sizeBytes());
    }
    return switch (line.type()) {
      case ZERO -> new ZeroExtent(line.sizeBytes());
      case FLAT, VMFS -> flat(path, line);
      case SPARSE -> opened(path, line, file -> sparse(file, line, warnings));
      case VMFSSPARSE ->
          opened(path, line, file -> CowdTables.open(file, line.sectors(), warnings));
      case SESPARSE -> opened(path, line, file -> SeSparseTables.open(file, line.sectors()));
      case VMFSRDM, VMFSRAW ->
          throw badType(path, line, "an extent in a file; this one is on a device");
      case VSANSPARSE ->
          throw badType(path, line, "an extent in a file; this one is a vSAN object");
    };
  }

  private static boolean isInFiles(ExtentLine.Type type) {
    return switch (type) {
      case FLAT, VMFS, SPARSE, VMFSSPARSE, SESPARSE, ZERO -> true;
      case VMFSRDM, VMFSRAW, VSANSPARSE -> false;
    };
  }

  private static FormatException badType(Path path, ExtentLine line, String expected) {
    return new FormatException(
        path.toString(), line.byteOffset(), "extent type", line.type().name(), expected);
  }

  /** Makes the mapping of an open file. */
  @FunctionalInterface
  private interface Mapping {
    BlockDevice of(ExtentFile file) throws IOException, BlockException;
  }

  private static BlockDevice opened(Path path, ExtentLine line, Mapping mapping)
      throws IOException, BlockException {
    ExtentFile file = ExtentFiles.open(path, line, Access.READ_ONLY);
    boolean opened = false;
    try {
      BlockDevice extent = mapping.of(file);
      opened = true;
      return extent;
    } finally {
      if (!opened) {
        file.close();
      }
    }
  }

  private static BlockDevice flat(Path path, ExtentLine line) throws IOException, BlockException {
    ExtentFile file = ExtentFiles.open(path, line, Access.READ_ONLY);
    long start = line.offsetSectors() * SECTOR_BYTES;
    if (file.sizeBytes() - start < line.sizeBytes()) {
      long size = file.sizeBytes();
      file.close();
      throw new FormatException(
          file.name(), size, "extent", size + " bytes", start + line.sizeBytes() + " bytes");
    }
    return new FlatExtent(file, start, line.sizeBytes());
  }

  private static BlockDevice sparse(ExtentFile file, ExtentLine line, List<String> warnings)
      throws FormatException, BlockException {
    return HostedSparse.open(file, header(file, line, ExtentFiles.sector(file, 0)), warnings);
  }

  /** The header of a sparse extent, which must be of the size that its line says. */
  static SparseExtentHeader header(ExtentFile file, ExtentLine line, ByteBuffer sector)
      throws FormatException, BlockException {
    SparseExtentHeader header = SparseExtentHeader.parse(file.name(), 0, sector);
    header.checkFits(file.name(), 0, file.sizeBytes());
    if (header.capacityBytes() != line.sizeBytes()) {
      throw new FormatException(
          file.name(),
          12,
          "capacity",
          header.capacitySectors() + " sectors",
          line.sectors() + ", as the descriptor says");
    }
    return header;
  }
}
