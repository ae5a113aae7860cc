package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;

import io.filterd.block.BlockException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * A look at all files of a disk, which stay open, and locked, until it is closed. Reads tolerantly:
 * what is wrong is a finding, and the rest is looked at all the same.
 */
final class Inspection implements AutoCloseable {
  /** A file of the disk, and what was found in it. */
  record Part(ExtentFile file, Findings.In findings) {}

  private final Path path;
  private final Access access;
  private final Findings findings = new Findings();
  private final List<Part> parts = new ArrayList<>();
  private String kind = "unknown";
  private @Nullable Descriptor descriptor;

  private Inspection(Path path, Access access) {
    this.path = path;
    this.access = access;
  }

  /**
   * Looks at a disk.
   *
   * @param access for what its files are opened: nothing is changed here
   * @throws IOException if the file itself can't be opened, or is in use
   */
  static Inspection of(Path path, Access access) throws IOException, BlockException {
    return of(path, access, ExtentFiles.open(path, access));
  }

  /** Looks at a disk that begins with an open file; taken over, also if this fails. */
  static Inspection of(Path path, Access access, ExtentFile file)
      throws IOException, BlockException {
    Inspection inspection = new Inspection(path, access);
    boolean done = false;
    try {
      inspection.inspect(inspection.add(file));
      done = true;
      return inspection;
    } finally {
      if (!done) {
        inspection.close();
      }
    }
  }

  CheckReport report() {
    return findings.report(path.toString(), kind);
  }

  List<Part> parts() {
    return List.copyOf(parts);
  }

  /** The content id, if there is a readable descriptor; else null. */
  @Nullable Long cid() {
    Descriptor known = descriptor;
    return known == null ? null : known.cid();
  }

  private Part add(ExtentFile file) throws BlockException {
    Part part = new Part(file, findings.in(file.name()));
    parts.add(part);
    findings.fileBytes += file.sizeBytes();
    return part;
  }

  private void inspect(Part part) throws BlockException {
    switch (ExtentFiles.magic(part.file())) {
      case SparseExtentHeader.MAGIC -> {
        kind = "sparse extent";
        SparseExtentHeader header = inspectSparse(part, true);
        if (header != null && findings.sizeBytes == 0) {
          findings.sizeBytes = header.capacityBytes();
        }
      }
      case CowdHeader.MAGIC, SeSparseHeader.MAGIC -> {
        kind = "extent of an ESX snapshot";
        part.findings().warning(0, "magic", kind, "a kind that is checked inside");
      }
      default -> inspectText(part);
    }
  }

  /** Looks at a hosted sparse extent. */
  private @Nullable SparseExtentHeader inspectSparse(Part part, boolean first)
      throws BlockException {
    ExtentFile file = part.file();
    Findings.In in = part.findings();
    ByteBuffer sector;
    try {
      sector = ExtentFiles.sector(file, 0);
    } catch (FormatException cutOff) {
      in.error(cutOff);
      return null;
    }
    SparseExtentHeader header = HeaderCheck.read(in, sector, 0, file.sizeBytes());
    if (header == null) {
      return null;
    }
    long reserved = 1;
    if (first && header.descriptorOffset() != 0) {
      DescriptorCheck check = new DescriptorCheck(in, file);
      descriptor =
          check.read(
              header.descriptorOffset() * SECTOR_BYTES, header.descriptorSectors() * SECTOR_BYTES);
      Descriptor found = descriptor;
      if (found != null) {
        kind = found.createType();
        findings.sizeBytes = found.sizeBytes();
        check.checkEntries(found);
        check.checkEmbedded(found, header);
        check.checkParent(path, found);
        reserved = check.checkSlots(found, header) ? SparseLayout.SLOTS_END_SECTOR : 1;
      }
    }
    if (header.isCompressed()) {
      new StreamCheck(file, in).check(header);
    } else {
      new TableCheck(file, header, reserved, in).check();
    }
    return header;
  }

  private void inspectText(Part part) throws BlockException {
    ExtentFile file = part.file();
    Findings.In in = part.findings();
    if (file.sizeBytes() > Descriptor.LARGEST_TEXT_BYTES) {
      in.error(0, "magic", "neither a sparse extent nor a descriptor", "a VMDK");
      return;
    }
    DescriptorCheck check = new DescriptorCheck(in, file);
    Descriptor found = check.read(0, (int) file.sizeBytes());
    if (found == null) {
      return;
    }
    descriptor = found;
    kind = found.createType();
    findings.sizeBytes = found.sizeBytes();
    check.checkEntries(found);
    check.checkParent(path, found);
    Set<String> names = new HashSet<>(Set.of(String.valueOf(path.getFileName())));
    for (ExtentLine line : found.extents()) {
      if (line.fileName().isPresent() && !names.add(line.fileName().get())) {
        in.error(ExtentFiles.bad(path, line, "a file that is not named twice"));
      } else if (line.type() != ExtentLine.Type.ZERO) {
        inspectExtent(in, line);
      }
    }
  }

  private void inspectExtent(Findings.In in, ExtentLine line) throws BlockException {
    Part part;
    try {
      part = add(ExtentFiles.open(path, line, access));
    } catch (FormatException wrong) {
      in.error(wrong);
      return;
    } catch (IOException missing) {
      in.error(
          line.byteOffset(), "extent file", String.valueOf(missing.getMessage()), "a file there");
      return;
    }
    switch (line.type()) {
      case FLAT, VMFS -> inspectFlat(part, line);
      case SPARSE -> {
        SparseExtentHeader header = inspectSparse(part, false);
        if (header != null && header.capacitySectors() != line.sectors()) {
          part.findings()
              .error(
                  12,
                  "capacity",
                  header.capacitySectors() + " sectors",
                  line.sectors() + ", as the descriptor says");
        }
      }
      case ZERO, VMFSSPARSE, VMFSRDM, VMFSRAW, SESPARSE, VSANSPARSE ->
          in.warning(
              line.byteOffset(),
              "extent type",
              line.type().name(),
              "a kind that is checked inside");
    }
  }

  private static void inspectFlat(Part part, ExtentLine line) throws BlockException {
    long size = part.file().sizeBytes();
    long expected = line.offsetSectors() * SECTOR_BYTES + line.sizeBytes();
    if (size < expected) {
      part.findings().error(size, "extent", size + " bytes", expected + " bytes");
    }
  }

  @Override
  public void close() throws BlockException {
    BlockException failure = null;
    for (Part part : parts) {
      try {
        part.file().close();
      } catch (BlockException closing) {
        failure = closing;
      }
    }
    if (failure != null) {
      throw failure;
    }
  }
}
