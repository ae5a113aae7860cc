package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.Blocking;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.UnaryOperator;

/**
 * A disk in the VMDK format: its descriptor, and the mapping of its content to files. What is
 * stored may be ciphertext: {@link #encryption} says so, and whoever has the key stands in front of
 * {@link #link}. It may also be one link of a chain, {@link #hasParent over a parent}, which is not
 * opened here.
 *
 * <p>Read and written: sparse disks of version 1 and 2 with their tables in place, in one file or
 * split, flat and VMFS disks. Read: those of version 3, and stream-optimized disks. An open file is
 * locked: for writing by one opener, against other processes and qemu too.
 */
public final class VmdkDisk implements AutoCloseable {
  private final DescriptorStore store;
  private final BlockDevice link;
  private final List<String> warnings;
  private volatile Optional<EncryptionMetadata> encryption;

  private VmdkDisk(DescriptorStore store, BlockDevice link, List<String> warnings)
      throws FormatException {
    this.store = store;
    this.link = link;
    this.warnings = List.copyOf(warnings);
    this.encryption = EncryptionMetadata.from(store.current());
  }

  /**
   * Makes an empty disk: {@link CreateOptions#files} says of which files. They are there whole or
   * not at all. Takes as long as it takes to write zeros to all of a flat disk.
   *
   * @throws java.nio.file.FileAlreadyExistsException if there is something of one of the names
   */
  public static void create(Path path, CreateOptions options) throws IOException, BlockException {
    NewFiles.create(path, options);
  }

  /**
   * Opens a disk by its file: the one with the descriptor.
   *
   * @throws FormatException if the file is no VMDK, is damaged, or is of a kind that can't be read
   * @throws IOException if it can't be opened, or is in use
   */
  public static VmdkDisk open(Path path, Access access) throws IOException, BlockException {
    ExtentFile file = ExtentFiles.open(path, access);
    boolean opened = false;
    try {
      VmdkDisk disk =
          switch (ExtentFiles.magic(file)) {
            case SparseExtentHeader.MAGIC -> openSparse(file, access);
            case CowdHeader.MAGIC, SeSparseHeader.MAGIC ->
                throw ExtentFiles.notADisk(file, "magic", 0, "an extent of an ESX snapshot");
            case ExtentFiles.CHANGE_TRACKING_MAGIC ->
                throw ExtentFiles.notADisk(file, "magic", 0, "the changed blocks of a disk");
            default -> openText(path, file, access);
          };
      opened = true;
      return disk;
    } finally {
      if (!opened) {
        file.close();
      }
    }
  }

  /** Opens a disk in one file, which is taken over when this returns. */
  static VmdkDisk openSparse(ExtentFile file, Access access)
      throws FormatException, BlockException {
    ByteBuffer headerBytes = ExtentFiles.sector(file, 0);
    SparseExtentHeader header = SparseExtentHeader.parse(file.name(), 0, headerBytes);
    header.checkFits(file.name(), 0, file.sizeBytes());
    if (header.descriptorOffset() == 0) {
      throw ExtentFiles.notADisk(file, "descriptorOffset", 28, "0, an extent of a disk");
    }
    Descriptor descriptor = embedded(file, header);
    ReadableKinds.check(descriptor);
    ExtentLine line = descriptor.extents().getFirst();
    if (descriptor.extents().size() > 1 || line.type() != ExtentLine.Type.SPARSE) {
      throw new FormatException(
          file.name(),
          line.byteOffset(),
          "extents",
          descriptor.extents().size() + ", the first " + line.type(),
          "one SPARSE extent, as the descriptor is inside of it");
    }
    if (line.access() == ExtentLine.Access.NOACCESS
        || (line.access() == ExtentLine.Access.RDONLY && access == Access.READ_WRITE)) {
      throw new FormatException(
          file.name(),
          line.byteOffset(),
          "extent access",
          line.access().name(),
          access == Access.READ_WRITE ? "RW, to write the disk" : "RW or RDONLY, to read it");
    }
    if (descriptor.sizeBytes() != header.capacityBytes()) {
      throw new FormatException(
          file.name(),
          12,
          "capacity",
          header.capacitySectors() + " sectors",
          descriptor.sizeBytes() / SECTOR_BYTES + ", as the descriptor says");
    }
    if (access == Access.READ_ONLY) {
      List<String> warnings = new ArrayList<>();
      BlockDevice mapping = HostedSparse.open(file, header, warnings);
      return new VmdkDisk(new ReadOnlyDescriptor(descriptor), mapping, warnings);
    }
    boolean twoSlots = hasTwoSlots(header, descriptor);
    if (!twoSlots && descriptor.header("changeTrackPath").isPresent()) {
      throw new FormatException(
          file.name(),
          header.descriptorOffset() * SECTOR_BYTES,
          "changeTrackPath",
          "VMware tracks the changes",
          "nobody to, to write a disk whose descriptor can't be changed; import it into a new one");
    }
    EmbeddedDescriptor store = new EmbeddedDescriptor(file, headerBytes, descriptor, twoSlots);
    return new VmdkDisk(store, SparseLink.open(file, header, store, twoSlots), List.of());
  }

  /** Whether the file has our two slots for its descriptor. */
  private static boolean hasTwoSlots(SparseExtentHeader header, Descriptor descriptor)
      throws FormatException {
    Optional<String> slots = descriptor.ddb(SparseLayout.SLOTS_KEY);
    if (slots.isEmpty()) {
      return false;
    }
    long used = header.descriptorOffset();
    if (!slots.get().equals(SparseLayout.SLOTS)
        || header.descriptorSectors() != SparseLayout.SLOT_SECTORS
        || (used != SparseLayout.FIRST_SLOT && used != SparseLayout.SECOND_SLOT)) {
      throw descriptor.badDdb(
          SparseLayout.SLOTS_KEY,
          slots.get() + ", the one in use " + used + "+" + header.descriptorSectors(),
          SparseLayout.SLOTS + ", of " + SparseLayout.SLOT_SECTORS + " sectors each");
    }
    return true;
  }

  static Descriptor embedded(ExtentFile file, SparseExtentHeader header)
      throws FormatException, BlockException {
    long position = header.descriptorOffset() * SECTOR_BYTES;
    ByteBuffer bytes = ByteBuffer.allocateDirect(header.descriptorSectors() * SECTOR_BYTES);
    file.read(position, bytes, Blocking.ALLOWED);
    bytes.flip();
    byte[] text = new byte[bytes.remaining()];
    bytes.get(text);
    return Descriptor.parse(file.name(), position, text);
  }

  private static VmdkDisk openText(Path path, ExtentFile file, Access access)
      throws IOException, BlockException {
    if (file.sizeBytes() > Descriptor.LARGEST_TEXT_BYTES) {
      throw ExtentFiles.notADisk(file, "magic", 0, "neither a sparse extent nor a descriptor");
    }
    ByteBuffer bytes = ByteBuffer.allocateDirect((int) file.sizeBytes());
    file.read(0, bytes, Blocking.ALLOWED);
    byte[] text = new byte[bytes.flip().remaining()];
    bytes.get(text);
    Descriptor descriptor = Descriptor.parse(file.name(), 0, text);
    ReadableKinds.check(descriptor);
    if (access == Access.READ_WRITE) {
      return openText(
          new DescriptorFile(path, file),
          descriptor,
          line -> ExtentFiles.open(path, line, Access.READ_WRITE));
    }
    List<String> warnings = new ArrayList<>();
    BlockDevice extents = DescribedExtents.open(path, descriptor, warnings);
    file.close();
    return new VmdkDisk(new ReadOnlyDescriptor(descriptor), extents, warnings);
  }

  /** Opens a disk for writing by its descriptor's file, which is taken over when this returns. */
  static VmdkDisk openText(
      TextDescriptor.TextFile file, Descriptor descriptor, WritableExtents.Files files)
      throws IOException, BlockException {
    EncryptionMetadata.from(descriptor); // What is wrong there is found before extents are open.
    TextDescriptor store = new TextDescriptor(file, descriptor);
    List<String> warnings = new ArrayList<>();
    BlockDevice link = WritableExtents.open(Path.of(descriptor.file()), files, store, warnings);
    return new VmdkDisk(store, link, warnings);
  }

  /** The descriptor as it is on the disk. */
  public Descriptor descriptor() {
    return store.current();
  }

  /** The disk's create type: what kind of VMDK it is. */
  public String format() {
    return store.current().createType();
  }

  /** The files that the disk consists of, the one it was opened by first. */
  public List<Path> files() {
    Descriptor descriptor = store.current();
    Path path = Path.of(descriptor.file());
    List<Path> files = new ArrayList<>(List.of(path));
    if (descriptor.byteOffset() == 0) { // Else it is inside of the only one.
      for (ExtentLine line : descriptor.extents()) {
        line.fileName().ifPresent(name -> files.add(path.resolveSibling(name)));
      }
    }
    return files;
  }

  /** How the content is encrypted, if it is. */
  public Optional<EncryptionMetadata> encryption() {
    return encryption;
  }

  /**
   * What is not right with the files, but does not keep the disk from being read: sentences for
   * people, each with its file. Known when the disk is opened.
   */
  public List<String> warnings() {
    return warnings;
  }

  /** Whether this is one link of a chain: where it holds nothing, its parent's content counts. */
  public boolean hasParent() {
    return store.current().parentCid() != Descriptor.NO_PARENT;
  }

  /** The name of the storage policy that the descriptor gives. */
  public Optional<String> policy() throws FormatException {
    return store.current().ddb(CreateOptions.POLICY_KEY);
  }

  /**
   * The content as it is stored in this disk's own files; what a {@link #hasParent parent} would
   * have to be asked is absent. Closed with this disk, or before it.
   */
  public BlockDevice link() {
    return link;
  }

  /**
   * Changes the descriptor. A crash leaves the old one or the new one; when this returns the new
   * one is durable. The disk may be in use.
   *
   * @param change may not change what the descriptor says of extents and parents
   * @throws BlockException if the disk is open for reading only, the text gets too long, or the
   *     file was made by others and has no second place for a descriptor: {@code NOT_SUPPORTED}
   */
  public synchronized void rewriteDescriptor(UnaryOperator<Descriptor> change)
      throws BlockException {
    rewrite(
        current -> {
          Descriptor changed = change.apply(current);
          if (changed.parentCid() != current.parentCid()) {
            throw new IllegalArgumentException("parentCID: another (expected: the same)");
          }
          return changed;
        });
  }

  /** As {@link #rewriteDescriptor}, and the change may give the link another parent. */
  synchronized void rewrite(UnaryOperator<Descriptor> change) throws BlockException {
    store.rewrite(current -> checked(change.apply(current)));
    encryption = encryptionOf(store.current());
  }

  /**
   * From now on the content id stays as it is when the content changes: for a link that takes over
   * what its parent holds, so that nothing changes for who reads it.
   */
  void keepContentId() {
    store.keepContentId();
  }

  private static Descriptor checked(Descriptor changed) {
    encryptionOf(changed);
    return changed;
  }

  private static Optional<EncryptionMetadata> encryptionOf(Descriptor changed) {
    try {
      return EncryptionMetadata.from(changed);
    } catch (FormatException e) {
      throw new IllegalArgumentException("the change breaks the entries of the encryption", e);
    }
  }

  /**
   * Makes the disk larger; the disk may be in use. What is new reads as zeros. A crash leaves the
   * old size or the new one; when this returns the new one is durable. {@link #link} has the new
   * size at once; what stands in front of it and has looked at the size before goes on with that.
   *
   * @param sizeBytes a multiple of 512, larger than the disk is
   * @throws IllegalArgumentException if it is not, or is larger than disks can be
   * @throws BlockException with {@code NOT_SUPPORTED} if the disk is of a kind that can't grow:
   *     only monolithicSparse disks that were made here can
   */
  public synchronized void grow(long sizeBytes) throws BlockException {
    long before = link.info().sizeBytes();
    if (sizeBytes % SECTOR_BYTES != 0
        || sizeBytes <= before
        || sizeBytes > SparseLayout.LARGEST_DISK_BYTES) {
      throw new IllegalArgumentException(
          "sizeBytes: "
              + sizeBytes
              + " (expected: a multiple of 512, larger than the disk's "
              + before
              + ", at most "
              + SparseLayout.LARGEST_DISK_BYTES
              + ")");
    }
    if (!(link instanceof SparseLink sparse)) {
      throw new BlockException(
          Reason.NOT_SUPPORTED,
          store.current().file()
              + ": "
              + format()
              + ", or open for reading only (expected: monolithicSparse, open for writing, to"
              + " grow; import it into a new disk)");
    }
    sparse.grow(sizeBytes);
  }

  /** Closes the mapping and the files. */
  @Override
  public void close() throws BlockException {
    link.close();
  }
}
