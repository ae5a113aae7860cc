package io.filterd.vmdk;

import io.filterd.block.AlignmentFilter;
import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.Blocking;
import io.filterd.block.Capability;
import io.filterd.block.Completion;
import io.filterd.block.DeviceInfo;
import io.filterd.block.Durability;
import io.filterd.block.ExtentKind;
import io.filterd.block.Extents;
import io.filterd.block.RangeLock;
import io.filterd.block.ZeroMode;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.stream.Stream;

/**
 * The links of a disk as one device: what a link does not know is asked of its parent, and reads as
 * zeros where no link knows it. Changes go to the top link only. A write to a part of an allocation
 * unit that the top link does not hold is widened to the whole unit, padded with what the unit read
 * as before, so that a cipher below always stores whole units.
 *
 * <p>Zeroing and trimming whole units over parents takes no space where the top link {@link
 * Capability#MARKS_ZEROS marks zeros}; elsewhere zeros are written, and nothing is trimmed. A part
 * of a unit that only a parent holds is zeroed by a copy of the unit, also by a trim.
 *
 * <p>Locks: a range of units, shared to change units that are there, exclusive to take or give up
 * units. Held across calls of the links: that is what it is for.
 */
public final class Chain implements BlockDevice {
  private final BlockDevice top;
  private final List<BlockDevice> parents;
  private final DeviceInfo info;
  private final long sizeBytes;
  private final int unitBytes;
  private final boolean pads;

  /** Whether what is zeroed needs no space to hide what the parents hold. */
  private final boolean hidesParents;

  private final RangeLock units;
  private final ConcurrentLinkedQueue<ByteBuffer> scratch = new ConcurrentLinkedQueue<>();

  /**
   * Chains links.
   *
   * @param links the top one first; taken over
   */
  public Chain(List<BlockDevice> links) {
    this.top = links.getFirst();
    this.parents = aligned(links);
    DeviceInfo below = top.info();
    this.sizeBytes = below.sizeBytes();
    this.unitBytes = below.allocationUnitBytes();
    // A link that pads with zeros by itself needs no help, unless parents have what to pad with.
    this.pads = !below.can(Capability.PARTIAL_ALLOCATION) || !parents.isEmpty();
    this.hidesParents = parents.isEmpty() || below.can(Capability.MARKS_ZEROS);
    this.units = new RangeLock(unitBytes);
    this.info = info(links);
  }

  private DeviceInfo info(List<BlockDevice> links) {
    DeviceInfo all =
        top.info()
            .with(Capability.PARTIAL_ALLOCATION)
            .without(Capability.MARKS_ZEROS); // Of which a chain has no absent parts.
    if (parents.isEmpty()) {
      return all;
    }
    all = all.without(Capability.FAST_ZERO);
    if (!hidesParents) {
      // Giving a unit up would show what the parents hold, so zeros are written.
      all = all.without(Capability.ZERO, Capability.TRIM, Capability.TRACKS_ZEROS);
    }
    for (BlockDevice parent : links.subList(1, links.size())) {
      DeviceInfo one = parent.info();
      all = all.withBlockSizes(all.blockSizes().atLeast(one.blockSizes().minimum()));
      if (!one.can(Capability.TRACKS_ZEROS) || one.allocationUnitBytes() > unitBytes) {
        all = all.without(Capability.TRACKS_ZEROS);
      }
    }
    return all;
  }

  /** The parents, so that each can be read at every place where the links above it may end. */
  private static List<BlockDevice> aligned(List<BlockDevice> links) {
    List<BlockDevice> parents = new ArrayList<>();
    for (int i = 1; i < links.size(); i++) {
      BlockDevice parent = links.get(i);
      DeviceInfo info = parent.info();
      int block = info.blockSizes().minimum();
      boolean fits = true;
      for (BlockDevice above : links.subList(0, i)) {
        DeviceInfo one = above.info();
        fits &=
            one.allocationUnitBytes() >= block
                && (one.sizeBytes() % block == 0 || one.sizeBytes() >= info.sizeBytes())
                && one.blockSizes().maximum() <= info.blockSizes().maximum();
      }
      parents.add(fits ? parent : new AlignmentFilter(parent, 1));
    }
    return List.copyOf(parents);
  }

  @Override
  public DeviceInfo info() {
    return info;
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
    int start = target.position();
    Extents extents = top.read(offset, target, blocking);
    if (extents.isAll(ExtentKind.DATA) || extents == Extents.WOULD_BLOCK) {
      return extents;
    }
    boolean done = false;
    try {
      Extents resolved = resolve(0, offset, target, start, extents, blocking);
      done = resolved != Extents.WOULD_BLOCK;
      return resolved;
    } finally {
      if (!done) {
        target.position(start);
      }
    }
  }

  /** Fills in from the parents what a link answered with absent. */
  private Extents resolve(
      int parent, long offset, ByteBuffer target, int start, Extents extents, Blocking blocking)
      throws BlockException {
    int length = target.position() - start;
    if (parent == parents.size()) {
      return withoutAbsent(extents, length);
    }
    Extents.Builder parts = new Extents.Builder();
    long at = 0;
    for (int i = 0; i < extents.count(); i++) {
      long bytes = extents.lengthBytes(i, length);
      if (extents.kind(i) != ExtentKind.ABSENT) {
        parts.add(bytes, extents.kind(i));
      } else {
        Extents piece =
            readParent(parent, offset + at, target.slice(start + (int) at, (int) bytes), blocking);
        if (piece == Extents.WOULD_BLOCK) {
          return piece;
        }
        for (int j = 0; j < piece.count(); j++) {
          parts.add(piece.lengthBytes(j, bytes), piece.kind(j));
        }
      }
      at += bytes;
    }
    return uniform(parts.build());
  }

  private Extents readParent(int parent, long offset, ByteBuffer target, Blocking blocking)
      throws BlockException {
    BlockDevice link = parents.get(parent);
    long inside = link.info().sizeBytes() - offset;
    if (inside <= 0) {
      return Extents.ALL_ZERO; // The top link has filled it with zeros.
    }
    int bytes = target.remaining();
    int limit = target.limit();
    target.limit((int) Math.min(limit, inside));
    int start = target.position();
    Extents extents = link.read(offset, target, blocking);
    if (extents == Extents.WOULD_BLOCK) {
      return extents;
    }
    Extents resolved = resolve(parent + 1, offset, target, start, extents, blocking);
    if (resolved == Extents.WOULD_BLOCK || inside >= bytes) {
      return resolved;
    }
    Extents.Builder parts = new Extents.Builder();
    for (int i = 0; i < resolved.count(); i++) {
      parts.add(resolved.lengthBytes(i, inside), resolved.kind(i));
    }
    return parts.add(bytes - inside, ExtentKind.ZERO).build();
  }

  private static Extents uniform(Extents extents) {
    return extents.count() == 1 ? Extents.all(extents.kind(0)) : extents;
  }

  private static Extents withoutAbsent(Extents extents, long length) {
    if (extents.isAll(ExtentKind.ABSENT)) {
      return extents == Extents.ALL_ABSENT
          ? Extents.ALL_ZERO
          : new Extents.Builder().add(extents.totalBytes(length), ExtentKind.ZERO).build();
    }
    Extents.Builder parts = new Extents.Builder();
    for (int i = 0; i < extents.count(); i++) {
      ExtentKind kind = extents.kind(i);
      parts.add(extents.lengthBytes(i, length), kind == ExtentKind.ABSENT ? ExtentKind.ZERO : kind);
    }
    return parts.build();
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
    return extents(top, 0, offset, length, blocking);
  }

  private Extents extents(BlockDevice link, int parent, long offset, long length, Blocking blocking)
      throws BlockException {
    Extents extents = link.extents(offset, length, blocking);
    if (extents == Extents.WOULD_BLOCK || extents.isAll(ExtentKind.DATA)) {
      return extents;
    }
    if (parent == parents.size()) {
      return withoutAbsent(extents, length);
    }
    Extents.Builder parts = new Extents.Builder();
    long at = 0;
    for (int i = 0; i < extents.count(); i++) {
      long bytes = extents.lengthBytes(i, length);
      if (extents.kind(i) != ExtentKind.ABSENT) {
        parts.add(bytes, extents.kind(i));
        at += bytes;
        continue;
      }
      long inside = parents.get(parent).info().sizeBytes() - offset - at;
      if (inside <= 0) {
        parts.add(bytes, ExtentKind.ZERO);
        at += bytes;
        continue;
      }
      long asked = Math.min(bytes, inside);
      Extents piece = extents(parents.get(parent), parent + 1, offset + at, asked, blocking);
      if (piece == Extents.WOULD_BLOCK) {
        return at == 0 ? piece : parts.build();
      }
      for (int j = 0; j < piece.count(); j++) {
        parts.add(piece.lengthBytes(j, asked), piece.kind(j));
      }
      long answered = piece.totalBytes(asked);
      at += answered;
      if (answered < bytes) {
        break; // An answer may end early.
      }
    }
    return parts.build();
  }

  /** Takes the parts of a range, one after the other. */
  @FunctionalInterface
  public interface Depths {
    /**
     * Takes the next part.
     *
     * @param depth 1 for the top link, 2 for its parent, and so on; 0 for no link
     * @return whether more is wanted
     */
    boolean add(long partBytes, int depth);
  }

  /**
   * Says which link each part of a range comes from, by how deep in the chain it is. A part that a
   * link knows to be zeros comes from that link. May end early, but not before the first part.
   *
   * @return false if this would have to block; what was added does not count then
   */
  public boolean depths(long offset, long length, Depths parts, Blocking blocking)
      throws BlockException {
    return depths(0, offset, length, parts, blocking) >= 0;
  }

  /** The bytes described; less than were asked for at an end; -1 if this would block. */
  private long depths(int level, long offset, long length, Depths parts, Blocking blocking)
      throws BlockException {
    BlockDevice link = level == 0 ? top : level <= parents.size() ? parents.get(level - 1) : null;
    long inside = link == null ? 0 : Math.min(length, link.info().sizeBytes() - offset);
    if (link == null || inside <= 0) {
      return parts.add(length, 0) ? length : 0;
    }
    Extents extents = link.extents(offset, inside, blocking);
    if (extents == Extents.WOULD_BLOCK) {
      return -1;
    }
    long at = 0;
    for (int i = 0; i < extents.count(); i++) {
      long bytes = extents.lengthBytes(i, inside);
      long described;
      if (extents.kind(i) == ExtentKind.ABSENT) {
        described = depths(level + 1, offset + at, bytes, parts, blocking);
      } else {
        described = parts.add(bytes, level + 1) ? bytes : 0;
      }
      if (described < bytes) {
        return described < 0 ? described : at + described;
      }
      at += bytes;
    }
    return at;
  }

  @Override
  public Completion write(long offset, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    if (!pads) {
      return top.write(offset, source, durability, blocking);
    }
    int length = source.remaining();
    if (!units.lockShared(offset, length, blocking)) {
      return Completion.WOULD_BLOCK;
    }
    try {
      if (isStored(offset, length, blocking)) {
        return top.write(offset, source, durability, blocking);
      }
    } finally {
      units.unlockShared(offset, length);
    }
    if (blocking == Blocking.FORBIDDEN) {
      return Completion.WOULD_BLOCK;
    }
    units.lockExclusive(offset, length, Blocking.ALLOWED);
    int start = source.position();
    int limit = source.limit();
    boolean done = false;
    try {
      writeUnits(offset, source, durability);
      done = true;
      return Completion.DONE;
    } finally {
      units.unlockExclusive(offset, length);
      source.limit(limit).position(done ? limit : start);
    }
  }

  /** Whether the top link holds every unit of the range. */
  private boolean isStored(long offset, long length, Blocking blocking) throws BlockException {
    Extents extents = top.extents(offset, length, blocking);
    return extents.isAll(ExtentKind.DATA) && extents.totalBytes(length) == length;
  }

  /** Whether the range is known to read as zeros. */
  private boolean isZero(long offset, long length) throws BlockException {
    Extents extents = extents(offset, length, Blocking.ALLOWED);
    return extents.isAll(ExtentKind.ZERO) && extents.totalBytes(length) == length;
  }

  /** Writes head, whole units, tail. The range is locked exclusively. */
  private void writeUnits(long offset, ByteBuffer source, Durability durability)
      throws BlockException {
    int limit = source.limit();
    long end = offset + source.remaining();
    for (long at = offset; at < end; ) {
      long unitEnd = Math.min(at / unitBytes * unitBytes + unitBytes, sizeBytes);
      boolean whole = at % unitBytes == 0 && unitEnd <= end;
      long pieceEnd = Math.min(unitEnd, end);
      if (whole) {
        pieceEnd = end == sizeBytes ? end : end / unitBytes * unitBytes;
      }
      source.limit((int) (source.position() + (pieceEnd - at)));
      if (whole || isStored(at, pieceEnd - at, Blocking.ALLOWED)) {
        top.write(at, source, durability, Blocking.ALLOWED);
      } else {
        writePadded(at, source, durability);
      }
      source.limit(limit);
      at = pieceEnd;
    }
  }

  /** Writes a unit that the top link does not hold, of which {@code source} covers a part. */
  private void writePadded(long offset, ByteBuffer source, Durability durability)
      throws BlockException {
    long unitStart = offset / unitBytes * unitBytes;
    int bytes = (int) Math.min(unitBytes, sizeBytes - unitStart);
    ByteBuffer unit = takeScratch();
    try {
      unit.clear().limit(bytes);
      read(unitStart, unit, Blocking.ALLOWED);
      unit.put((int) (offset - unitStart), source, source.position(), source.remaining());
      top.write(unitStart, unit.flip(), durability, Blocking.ALLOWED);
      source.position(source.limit());
    } finally {
      scratch.add(unit);
    }
  }

  private ByteBuffer takeScratch() {
    ByteBuffer unit = scratch.poll();
    return unit == null ? ByteBuffer.allocateDirect(unitBytes) : unit;
  }

  @Override
  public Completion zero(
      long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
      throws BlockException {
    if (!pads) {
      return top.zero(offset, length, mode, durability, blocking);
    }
    boolean wholeUnits =
        offset % unitBytes == 0
            && ((offset + length) % unitBytes == 0 || offset + length == sizeBytes);
    if (mode.fast() && (!wholeUnits || mode.allocates() || !hidesParents)) {
      throw new BlockException(Reason.NOT_SUPPORTED, "only whole units are zeroed fast");
    }
    if (blocking == Blocking.FORBIDDEN) {
      return Completion.WOULD_BLOCK;
    }
    units.lockExclusive(offset, length, Blocking.ALLOWED);
    try {
      long end = offset + length;
      for (long at = offset; at < end; ) {
        long unitEnd = Math.min(at / unitBytes * unitBytes + unitBytes, sizeBytes);
        if (at % unitBytes == 0 && unitEnd <= end) {
          long wholeEnd = end == sizeBytes ? end : end / unitBytes * unitBytes;
          zeroWhole(at, wholeEnd - at, mode, durability);
          at = wholeEnd;
        } else {
          long pieceEnd = Math.min(unitEnd, end);
          zeroPart(at, pieceEnd - at, mode, durability);
          at = pieceEnd;
        }
      }
      return Completion.DONE;
    } finally {
      units.unlockExclusive(offset, length);
    }
  }

  private void zeroWhole(long offset, long length, ZeroMode mode, Durability durability)
      throws BlockException {
    // Without a mark of zeros, giving a unit up would show what the parents hold.
    ZeroMode safe = hidesParents ? mode : ZeroMode.ALLOCATE;
    top.zero(offset, length, safe, durability, Blocking.ALLOWED);
  }

  private void zeroPart(long offset, long length, ZeroMode mode, Durability durability)
      throws BlockException {
    if (isStored(offset, length, Blocking.ALLOWED)) {
      top.zero(offset, length, mode, durability, Blocking.ALLOWED);
    } else if (mode.allocates() || !isZero(offset, length)) {
      ByteBuffer zeros = takeScratch();
      try {
        zeros.clear().limit((int) length);
        Zeros.fill(zeros);
        writePadded(offset, zeros.flip().duplicate(), durability);
      } finally {
        scratch.add(zeros);
      }
    }
  }

  @Override
  public Completion trim(long offset, long length, Durability durability, Blocking blocking)
      throws BlockException {
    if (!hidesParents) {
      return Completion.DONE; // Needs no new space, and changes nothing.
    }
    return pads
        ? zero(offset, length, ZeroMode.MAY_DEALLOCATE, durability, blocking)
        : top.trim(offset, length, durability, blocking);
  }

  /**
   * Makes the top link hold what the range reads as, where its parent is not known to be absent: so
   * that the parent can go. Changes nothing that can be read, and may be used with everything else
   * at once.
   *
   * @param offset a multiple of the allocation unit
   * @param length so many bytes, up to a multiple of the unit or the end
   */
  void copyUp(long offset, long length) throws BlockException {
    long end = offset + length;
    for (long at = offset; at < end; ) {
      Extents held = top.extents(at, end - at, Blocking.ALLOWED);
      long bytes = held.lengthBytes(0, end - at);
      if (held.kind(0) == ExtentKind.ABSENT) {
        for (long unit = at; unit < at + bytes; unit += unitBytes) {
          copyUpUnit(unit, Math.min(unitBytes, sizeBytes - unit));
        }
      }
      at += bytes;
    }
  }

  private void copyUpUnit(long unit, long length) throws BlockException {
    BlockDevice parent = parents.getFirst();
    long inside = Math.min(length, parent.info().sizeBytes() - unit);
    Extents known = inside <= 0 ? Extents.ALL_ZERO : parent.extents(unit, inside, Blocking.ALLOWED);
    if (inside == length && known.isAll(ExtentKind.ABSENT) && known.totalBytes(inside) == inside) {
      return;
    }
    units.lockExclusive(unit, length, Blocking.ALLOWED);
    try {
      if (!top.extents(unit, length, Blocking.ALLOWED).isAll(ExtentKind.ABSENT)) {
        return; // It was written meanwhile.
      }
      if (isZero(unit, length)) {
        if (parents.size() > 1) {
          zeroWhole(unit, length, ZeroMode.MAY_DEALLOCATE, Durability.BUFFERED);
        }
        return;
      }
      ByteBuffer content = takeScratch();
      try {
        read(unit, content.clear().limit((int) length), Blocking.ALLOWED);
        top.write(unit, content.flip(), Durability.BUFFERED, Blocking.ALLOWED);
      } finally {
        scratch.add(content);
      }
    } finally {
      units.unlockExclusive(unit, length);
    }
  }

  @Override
  public Completion flush(Blocking blocking) throws BlockException {
    return top.flush(blocking);
  }

  @Override
  public void close() throws BlockException {
    BlockException failure = null;
    for (BlockDevice link : links()) {
      try {
        link.close();
      } catch (BlockException closing) {
        if (failure == null) {
          failure = closing;
        } else {
          failure.addSuppressed(closing);
        }
      }
    }
    if (failure != null) {
      throw failure;
    }
  }

  private List<BlockDevice> links() {
    return Stream.concat(Stream.of(top), parents.stream()).toList();
  }
}
