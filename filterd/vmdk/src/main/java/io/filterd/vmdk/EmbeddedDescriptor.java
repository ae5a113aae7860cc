package io.filterd.vmdk;

import static io.filterd.vmdk.SparseExtentHeader.SECTOR_BYTES;

import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.Blocking;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.SecureRandom;
import java.util.HexFormat;
import java.util.function.UnaryOperator;

/**
 * The header and the descriptor inside a sparse extent's file, open for writing.
 *
 * <p>Files made here have two slots for the descriptor. A change writes the slot that is not in
 * use, syncs, and then one sector, the header, with the place of that slot: a crash leaves the old
 * descriptor or the new one. Between changes the first slot is the one in use. Files made by others
 * have one slot; there only the digits of the content id are changed, in place, where every mixture
 * of old and new is as good.
 */
final class EmbeddedDescriptor implements DescriptorStore, ChangeMark {
  private static final long INITIAL_CID = 0xffff_fffeL;
  private static final String LONG_CONTENT_ID = "longContentID";
  private static final SecureRandom RANDOM = new SecureRandom();

  private final ExtentFile file;
  private final boolean twoSlots;

  private final HeaderSector header;
  private final ByteBuffer slot = ByteBuffer.allocateDirect(SparseLayout.SLOT_BYTES);
  private volatile Descriptor current;
  private boolean keepsContentId;

  /**
   * The descriptor of an open file.
   *
   * @param header the header's sector, direct, little endian; taken over
   */
  EmbeddedDescriptor(ExtentFile file, ByteBuffer header, Descriptor current, boolean twoSlots) {
    this.file = file;
    this.header = new HeaderSector(file, header);
    this.current = current;
    this.twoSlots = twoSlots;
  }

  @Override
  public Descriptor current() {
    return current;
  }

  @Override
  public synchronized void rewrite(UnaryOperator<Descriptor> change) throws BlockException {
    if (!twoSlots) {
      throw new BlockException(
          Reason.NOT_SUPPORTED,
          file.name()
              + ": the descriptor has one slot (expected: two, as in disks that filterd made;"
              + " import the disk into a new one)");
    }
    Descriptor next = DescriptorStore.checked(current, change.apply(current));
    switchTo(next, header.isUnclean());
  }

  @Override
  public synchronized void keepContentId() {
    keepsContentId = true;
  }

  @Override
  public synchronized void beginChanges() throws BlockException {
    if (keepsContentId) {
      header.write(true);
      return;
    }
    if (twoSlots) {
      switchTo(withNewContentId(current), true);
      return;
    }
    header.write(true);
    int digits = current.cidDigits();
    String cid = "%08x".formatted(newContentId()).substring(8 - digits);
    ByteBuffer text = direct(cid.getBytes(StandardCharsets.ISO_8859_1));
    file.write(current.cidDigitsByteOffset(), text, Blocking.ALLOWED);
    current = current.withCidDigits(cid);
  }

  /**
   * Makes the extent larger: one sector switches the capacity, the places of the tables and the
   * descriptor. A crash leaves all as it was, or all changed.
   *
   * @param grown the header with what changes; the tables it names are durable
   */
  synchronized void grow(SparseExtentHeader grown) throws BlockException {
    Descriptor next = current.withExtentSectors(grown.capacitySectors());
    ByteBuffer old = header.grow(grown);
    boolean switched = false;
    try {
      switchTo(next, true);
      switched = true;
    } finally {
      if (!switched) {
        header.takeBack(old);
      }
    }
  }

  boolean hasTwoSlots() {
    return twoSlots;
  }

  @Override
  public synchronized void endChanges() throws BlockException {
    header.clean();
  }

  /**
   * Makes {@code next} the descriptor, by the second slot if the first one is in use. In the end it
   * is in the first: qemu looks for content ids there, wherever the header points.
   */
  private void switchTo(Descriptor next, boolean unclean) throws BlockException {
    if (current.byteOffset() == (long) SparseLayout.FIRST_SLOT * SECTOR_BYTES) {
      moveTo(SparseLayout.SECOND_SLOT, next, unclean);
      try {
        moveTo(SparseLayout.FIRST_SLOT, next, unclean);
      } catch (BlockException notHome) {
        // The change is made, and durable. A file whose sync has failed takes no other.
      }
    } else {
      moveTo(SparseLayout.FIRST_SLOT, next, unclean);
    }
  }

  private void moveTo(long other, Descriptor next, boolean unclean) throws BlockException {
    Descriptor moved = next.at(other * SECTOR_BYTES);
    fill(slot, moved);
    file.write(other * SECTOR_BYTES, slot, Blocking.ALLOWED);
    file.sync();
    header.write(other, unclean);
    current = moved;
  }

  /** Makes {@code slot} the bytes of a descriptor slot: the text, then NULs. */
  static void fill(ByteBuffer slot, Descriptor descriptor) throws BlockException {
    byte[] text = descriptor.format();
    // The last byte stays NUL: some readers take the text for a C string.
    if (text.length >= SparseLayout.SLOT_BYTES) {
      throw new BlockException(
          Reason.NOT_SUPPORTED,
          descriptor.file()
              + ": descriptor: "
              + text.length
              + " bytes (expected: < "
              + SparseLayout.SLOT_BYTES
              + ")");
    }
    slot.clear().put(text);
    Zeros.fill(slot);
    slot.flip();
  }

  /** A descriptor that says that the content is another now. */
  static Descriptor withNewContentId(Descriptor descriptor) {
    long cid = newContentId();
    Descriptor changed = descriptor.withCid(cid);
    return changed.has(LONG_CONTENT_ID)
        ? changed.withDdb(LONG_CONTENT_ID, longContentId(cid))
        : changed;
  }

  /** A random content id that is not one of the two with a meaning. */
  static long newContentId() {
    long cid;
    do {
      cid = Integer.toUnsignedLong(RANDOM.nextInt());
    } while (cid >= INITIAL_CID);
    return cid;
  }

  /** 128 bits in hexadecimal that end with the content id, as VMware writes them. */
  static String longContentId(long cid) {
    byte[] random = new byte[12];
    RANDOM.nextBytes(random);
    return HexFormat.of().formatHex(random) + "%08x".formatted(cid);
  }

  private static ByteBuffer direct(byte[] bytes) {
    return ByteBuffer.allocateDirect(bytes.length).put(bytes).flip();
  }
}
