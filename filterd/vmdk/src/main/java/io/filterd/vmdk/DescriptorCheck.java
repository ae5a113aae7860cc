package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;

import io.filterd.block.BlockException;
import io.filterd.block.Blocking;
import io.filterd.block.file.BlockFile;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** Looks at what a descriptor says, and whether that fits together and with the parent. */
final class DescriptorCheck {
  private static final String LONG_CONTENT_ID = "longContentID";

  private final Findings.In findings;
  private final ExtentFile file;

  DescriptorCheck(Findings.In findings, ExtentFile file) {
    this.findings = findings;
    this.file = file;
  }

  /** The descriptor in a range of the file; null if it can't be read. */
  @Nullable Descriptor read(long position, int length) {
    try {
      return Descriptor.parse(file.name(), position, bytes(file, position, length));
    } catch (FormatException wrong) {
      findings.error(wrong);
    } catch (BlockException unreadable) {
      findings.error(position, "descriptor", message(unreadable), "readable");
    }
    return null;
  }

  static byte[] bytes(ExtentFile file, long position, int length) throws BlockException {
    ByteBuffer bytes = ByteBuffer.allocateDirect(length);
    file.read(position, bytes, Blocking.ALLOWED);
    byte[] text = new byte[length];
    bytes.flip().get(text);
    return text;
  }

  private static String message(Exception failure) {
    return String.valueOf(failure.getMessage());
  }

  /** Checks the entries that filterd writes. */
  void checkEntries(Descriptor descriptor) {
    try {
      EncryptionMetadata.from(descriptor);
    } catch (FormatException wrong) {
      findings.error(wrong);
    }
    try {
      descriptor.ddb(CreateOptions.POLICY_KEY);
    } catch (FormatException wrong) {
      findings.error(wrong);
    }
  }

  /** Checks that the descriptor inside an extent fits the extent. */
  void checkEmbedded(Descriptor descriptor, SparseExtentHeader header) {
    ExtentLine line = descriptor.extents().getFirst();
    if (descriptor.extents().size() > 1 || line.type() != ExtentLine.Type.SPARSE) {
      findings.error(
          line.byteOffset(),
          "extents",
          descriptor.extents().size() + ", the first " + line.type(),
          "one SPARSE extent, as the descriptor is inside of it");
    } else if (descriptor.sizeBytes() != header.capacityBytes()) {
      findings.error(
          line.byteOffset(),
          "extent sectors",
          Long.toString(line.sectors()),
          header.capacitySectors() + ", the header's capacity");
    }
  }

  /** Checks the two slots of a file of ours; whether it has them. */
  boolean checkSlots(Descriptor descriptor, SparseExtentHeader header) {
    Optional<String> slots = slots(descriptor);
    if (slots.isEmpty()) {
      return false;
    }
    long used = header.descriptorOffset();
    long fileSlots = fileSectors() / SparseLayout.SLOT_SECTORS;
    if (!slots.get().equals(SparseLayout.SLOTS)
        || header.descriptorSectors() != SparseLayout.SLOT_SECTORS
        || (used != SparseLayout.FIRST_SLOT && used != SparseLayout.SECOND_SLOT)
        || fileSlots < 3) {
      findings.error(
          descriptor.ddbByteOffset(SparseLayout.SLOTS_KEY),
          "ddb." + SparseLayout.SLOTS_KEY,
          slots.get() + ", the one in use " + used + "+" + header.descriptorSectors(),
          SparseLayout.SLOTS + ", of " + SparseLayout.SLOT_SECTORS + " sectors each");
      return false;
    }
    checkContentId(descriptor);
    checkSpare(
        descriptor,
        used == SparseLayout.FIRST_SLOT ? SparseLayout.SECOND_SLOT : SparseLayout.FIRST_SLOT);
    return true;
  }

  private long fileSectors() {
    try {
      return file.sizeBytes() / SECTOR_BYTES;
    } catch (BlockException unknown) {
      return 0;
    }
  }

  private Optional<String> slots(Descriptor descriptor) {
    try {
      return descriptor.ddb(SparseLayout.SLOTS_KEY);
    } catch (FormatException wrong) {
      findings.error(wrong);
      return Optional.empty();
    }
  }

  /** Ours end with the content id, as VMware's do; others that write the id may not know that. */
  private void checkContentId(Descriptor descriptor) {
    try {
      Optional<String> id = descriptor.ddb(LONG_CONTENT_ID);
      String end = "%08x".formatted(descriptor.cid());
      if (id.isPresent() && !id.get().endsWith(end)) {
        findings.warning(
            descriptor.ddbByteOffset(LONG_CONTENT_ID),
            "ddb." + LONG_CONTENT_ID,
            id.get(),
            "one that ends with the CID, " + end + "; did another program write the disk?");
      }
    } catch (FormatException wrong) {
      findings.error(wrong);
    }
  }

  /**
   * The slot that is not in use is written whole before it is used, so damage there is harmless.
   */
  private void checkSpare(Descriptor descriptor, long sector) {
    long position = sector * SECTOR_BYTES;
    String actual;
    try {
      byte[] bytes = bytes(file, position, SparseLayout.SLOT_BYTES);
      EncryptionMetadata.from(Descriptor.parse(file.name(), position, bytes));
      return;
    } catch (FormatException wrong) {
      actual = wrong.field() + ": " + wrong.actual();
    } catch (BlockException unreadable) {
      actual = message(unreadable);
    }
    byte[] text = descriptor.format();
    byte[] slot = new byte[SparseLayout.SLOT_BYTES];
    System.arraycopy(text, 0, slot, 0, Math.min(text.length, slot.length - 1));
    findings.warning(
        position,
        "spare descriptor slot",
        actual,
        "a descriptor",
        new Patch.Bytes(Patch.Step.SPARE_SLOT, position, slot));
  }

  /** Checks that the parent is the one that the link was made on, as far as it is there. */
  void checkParent(Path path, Descriptor descriptor) {
    if (descriptor.parentCid() == Descriptor.NO_PARENT) {
      return;
    }
    String hint = "";
    try {
      hint = descriptor.header("parentFileNameHint").orElse("");
    } catch (FormatException wrong) {
      findings.error(wrong);
    }
    // Whatever folder the hint names: nothing outside the disk's own is looked at.
    String name = hint.substring(Math.max(hint.lastIndexOf('/'), hint.lastIndexOf('\\')) + 1);
    if (name.isEmpty() || name.equals(".") || name.equals("..") || name.indexOf('\0') >= 0) {
      findings.error(
          descriptor.byteOffset(), "parentFileNameHint", hint, "the parent's file, as parentCID");
      return;
    }
    Path parent = path.resolveSibling(name);
    if (!Files.isRegularFile(parent, LinkOption.NOFOLLOW_LINKS)) {
      findings.warning(
          descriptor.byteOffset(), "parentFileNameHint", hint, "a file beside this one");
      return;
    }
    try {
      long cid = descriptorOf(parent).cid();
      if (cid != descriptor.parentCid()) {
        findings.error(
            descriptor.byteOffset(),
            "parentCID",
            "%08x".formatted(descriptor.parentCid()),
            "%08x, the CID of %s; was the parent written after the snapshot?".formatted(cid, name));
      }
    } catch (IOException | BlockException unreadable) {
      findings.error(
          descriptor.byteOffset(), "parentFileNameHint", message(unreadable), "a readable parent");
    }
  }

  /** The descriptor of a disk, of which nothing else is looked at. Takes no lock: it may serve. */
  static Descriptor descriptorOf(Path path) throws IOException, BlockException {
    try (ExtentFile file = new StoredExtent(BlockFile.open(path, BlockFile.Access.READ_ONLY))) {
      if (ExtentFiles.magic(file) != SparseExtentHeader.MAGIC) {
        long length = Math.min(file.sizeBytes(), Descriptor.LARGEST_TEXT_BYTES + 1L);
        return Descriptor.parse(file.name(), 0, bytes(file, 0, (int) length));
      }
      SparseExtentHeader header =
          SparseExtentHeader.parse(file.name(), 0, ExtentFiles.sector(file, 0));
      header.checkFits(file.name(), 0, file.sizeBytes());
      long position = header.descriptorOffset() * SECTOR_BYTES;
      int length = header.descriptorSectors() * SECTOR_BYTES;
      return Descriptor.parse(file.name(), position, bytes(file, position, length));
    }
  }
}
