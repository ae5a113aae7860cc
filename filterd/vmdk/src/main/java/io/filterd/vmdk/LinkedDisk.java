package io.filterd.vmdk;

import io.filterd.block.BlockDevice;
import io.filterd.block.BlockException;
import io.filterd.block.BlockException.Reason;
import io.filterd.block.Blocking;
import io.filterd.block.Capability;
import io.filterd.block.Completion;
import io.filterd.block.DeviceInfo;
import io.filterd.block.Durability;
import io.filterd.block.Extents;
import io.filterd.block.ZeroMode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.FileSystemException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * A disk of one or more links as one device, whose snapshots can be taken and deleted while it is
 * in use (facts page, section 1.8). Requests wait for the moment in which links are exchanged, and
 * see nothing else of it.
 *
 * <p><b>Taking a snapshot</b> puts a new, empty link on top; the link below is not written any
 * more. The new link is whole and durable before anybody is told of it, and nothing is written to
 * it before that: a crash leaves the disk by its old top file, or by its new one.
 *
 * <p><b>Deleting a snapshot</b> moves the content of the link above it into its own, or the other
 * way round: {@link Merge}.
 *
 * <p>What stands in front of a link, such as its cipher, is made by a {@link Front}. All operations
 * on data may be called from many threads; of the others, one runs at a time, and a second is
 * refused.
 */
public final class LinkedDisk implements BlockDevice {
  /** Makes what stands in front of a link. */
  @FunctionalInterface
  public interface Front {
    /** A device in front of {@code link.link()}; closing it closes the link. */
    BlockDevice over(VmdkDisk link) throws BlockException;
  }

  /** Is told that the disk is to be found by another file. */
  @FunctionalInterface
  public interface Switch {
    /**
     * The disk's top link is {@code top} from now on. Whoever remembers the disk's file makes it
     * this one, durably, before this returns: afterwards the former file may be out of date.
     */
    void to(Path top) throws IOException, BlockException;
  }

  /** A link that is open, with what stands in front of it. */
  record Open(Path file, Access access, VmdkDisk disk, BlockDevice device) {
    String fileName() {
      return String.valueOf(file.getFileName());
    }

    Descriptor descriptor() {
      return disk.descriptor();
    }
  }

  private final LinkFiles files;
  private final ParentSearch search;
  private final Front front;
  private final boolean keepsShape;
  private final RequestGate gate = new RequestGate();
  private volatile DeviceInfo info;
  private volatile List<Open> links;
  private volatile @Nullable Chain chain;

  /** Notes changes while the top link is being moved. */
  private volatile @Nullable ChangedUnits changed;

  /** Whether links are being made or moved. Guarded by this. */
  private boolean busy;

  private LinkedDisk(
      LinkFiles files, ParentSearch search, Front front, boolean keepsShape, List<Open> links) {
    this.files = files;
    this.search = search;
    this.front = front;
    this.keepsShape = keepsShape;
    this.links = List.copyOf(links);
    Chain made = chainOf(links);
    this.chain = made;
    this.info = made.info();
  }

  /**
   * Opens a disk by its top link, with its parents in that link's folder or below it. If it is
   * opened for writing, a deletion of a snapshot that a crash left all but finished is finished.
   *
   * @param moved told if that has changed the top link's file
   * @throws FormatException as {@link DiskChain#open}
   */
  public static LinkedDisk open(Path top, Access access, Front front, Switch moved)
      throws IOException, BlockException {
    return open(LinkFiles.STORED, top, access, front, moved, true);
  }

  static LinkedDisk open(
      LinkFiles files, Path top, Access access, Front front, Switch moved, boolean keepsShape)
      throws IOException, BlockException {
    ParentSearch search = ParentSearch.beside(top);
    DiskChain chain = DiskChain.open(files, top, access, search);
    if (access == Access.READ_WRITE && !chain.merged().isEmpty()) {
      chain.close();
      MergeCompletion.finish(files, chain, moved);
      chain = DiskChain.open(files, chain.links().getFirst().file(), access, search);
    }
    List<Open> links = new ArrayList<>();
    boolean opened = false;
    try {
      for (DiskChain.Link link : chain.links()) {
        Access own = links.isEmpty() ? access : Access.READ_ONLY;
        links.add(new Open(link.file(), own, link.disk(), front.over(link.disk())));
      }
      LinkedDisk disk = new LinkedDisk(files, search, front, keepsShape, links);
      opened = true;
      return disk;
    } finally {
      if (!opened) {
        chain.close();
      }
    }
  }

  static Chain chainOf(List<Open> links) {
    return new Chain(links.stream().map(Open::device).toList());
  }

  /** The file of the top link: the one that the disk is opened by. */
  public Path file() {
    return links.getFirst().file();
  }

  /** The links, the top one first. */
  public List<DiskChain.Link> links() {
    return links.stream().map(link -> new DiskChain.Link(link.file(), link.disk())).toList();
  }

  /** The snapshots, the newest first. */
  public List<Snapshot> snapshots() throws FormatException {
    return Snapshot.of(links());
  }

  /**
   * Takes a snapshot: the content as it is now stays readable as the state that {@code record}
   * names. All completed writes are in it.
   *
   * @param encryption what the new link's descriptor says of its encryption
   * @param moved told of the new top link before anything is written to it; if it fails, no
   *     snapshot is taken
   * @return the new top link's file
   * @throws FileSystemException if there is a snapshot of this name, or links are being changed
   */
  public Path snapshot(SnapshotRecord record, Optional<EncryptionMetadata> encryption, Switch moved)
      throws IOException, BlockException {
    begin();
    try {
      for (Snapshot each : snapshots()) {
        if (each.isCalled(record.name())) {
          throw new FileSystemException(
              file().toString(), null, "has a snapshot " + record.name() + " already");
        }
      }
      if (links.size() == DiskChain.LINK_LIMIT) {
        throw new FileSystemException(
            file().toString(),
            null,
            "has " + links.size() + " links (expected: fewer, to take a snapshot)");
      }
      gate.pause();
      try {
        return putOnTop(record, encryption, moved);
      } finally {
        gate.resume();
      }
    } finally {
      end();
    }
  }

  /** Puts a new link on top. The gate is paused. */
  private Path putOnTop(
      SnapshotRecord record, Optional<EncryptionMetadata> encryption, Switch moved)
      throws IOException, BlockException {
    Open top = links.getFirst();
    if (top.access() == Access.READ_ONLY) {
      throw new BlockException(Reason.READ_ONLY, top.file() + ": open for reading only");
    }
    Path file = LinkName.next(top.file());
    Open child = null;
    boolean made = false;
    boolean done = false;
    try {
      exchange(0, Access.READ_ONLY);
      Open below = links.getFirst();
      NewChild contents =
          new NewChild(
              file, below.file(), below.descriptor(), record, encryption, below.disk().policy());
      files.create(file, contents);
      made = true;
      child = openLink(file, Access.READ_WRITE);
      List<Open> next = new ArrayList<>(links);
      next.addFirst(child);
      checkShape(next);
      moved.to(file);
      install(next);
      done = true;
      return file;
    } finally {
      if (!done) {
        takeBack(child, made ? file : null);
      }
    }
  }

  private void takeBack(@Nullable Open child, @Nullable Path file)
      throws IOException, BlockException {
    try {
      if (child != null) {
        child.device().close();
      }
      if (file != null) {
        files.delete(file);
      }
    } finally {
      if (links.getFirst().access() == Access.READ_ONLY) {
        exchange(0, Access.READ_WRITE);
      }
    }
  }

  /**
   * Begins to delete a snapshot; see {@link Merge}.
   *
   * @param snapshot its name, or the name of its link's file
   * @throws IllegalArgumentException if there is none
   * @throws FileSystemException if its content is needed by other disks, can't be moved, or links
   *     are being changed
   */
  public Merge delete(String snapshot) throws IOException, BlockException {
    begin();
    boolean begun = false;
    try {
      Merge merge = Merge.begin(this, Snapshot.find(snapshots(), snapshot).depth() - 1);
      begun = true;
      return merge;
    } finally {
      if (!begun) {
        end();
      }
    }
  }

  /**
   * Makes the disk larger, by its top link: what a shorter parent does not have reads as zeros. The
   * device says its new size from then on; who stands in front of it knows the old one.
   *
   * @throws IllegalArgumentException if that is no larger size that a disk may have
   * @throws BlockException as {@link VmdkDisk#grow}
   * @throws FileSystemException if a snapshot is being taken or deleted
   */
  public void grow(long sizeBytes) throws FileSystemException, BlockException {
    begin();
    try {
      gate.pause();
      try {
        Open top = links.getFirst();
        top.disk().grow(sizeBytes);
        // What stood in front of the link knows its old size. It is left open, as closing it would
        // close the link.
        BlockDevice front = this.front.over(top.disk());
        replace(0, new Open(top.file(), top.access(), top.disk(), front));
        info = chain().info();
      } finally {
        gate.resume();
      }
    } finally {
      end();
    }
  }

  /**
   * Opens the key safe of a link, of whichever of the chain; closed by the caller.
   *
   * @throws IllegalArgumentException if there is no encrypted link of this id
   * @throws FileSystemException if links are being changed, or somebody else uses the link's file
   */
  public KeySafe keySafe(String linkId) throws IOException, BlockException {
    begin();
    boolean opened = false;
    try {
      KeySafe safe = KeySafe.open(this, indexOf(linkId));
      opened = true;
      return safe;
    } finally {
      if (!opened) {
        end();
      }
    }
  }

  private int indexOf(String linkId) {
    List<Open> now = links;
    for (int i = 0; i < now.size(); i++) {
      if (now.get(i).disk().encryption().filter(e -> e.linkId().equals(linkId)).isPresent()) {
        return i;
      }
    }
    throw new IllegalArgumentException(
        "link: " + linkId + " (expected: an encrypted one of " + file() + ")");
  }

  private synchronized void begin() throws FileSystemException {
    if (busy) {
      throw new FileSystemException(
          file().toString(), null, "a snapshot of it is being taken or deleted: wait for that");
    }
    busy = true;
  }

  /** Lets links be changed again. */
  synchronized void end() {
    busy = false;
  }

  /** Whether a snapshot is being taken or deleted. */
  public synchronized boolean isChanging() {
    return busy;
  }

  LinkFiles files() {
    return files;
  }

  ParentSearch search() {
    return search;
  }

  List<Open> open() {
    return links;
  }

  RequestGate gate() {
    return gate;
  }

  /** Notes changes from now on, or no more. The gate is paused. */
  void noteChanges(@Nullable ChangedUnits units) {
    changed = units;
  }

  private Open openLink(Path file, Access access) throws IOException, BlockException {
    VmdkDisk disk = files.open(file, access);
    boolean opened = false;
    try {
      Open open = new Open(file, access, disk, front.over(disk));
      opened = true;
      return open;
    } finally {
      if (!opened) {
        disk.close();
      }
    }
  }

  /** Opens a link anew for something else; if that fails it is as before. The gate is paused. */
  Open exchange(int index, Access access) throws IOException, BlockException {
    Open old = links.get(index);
    boolean done = false;
    try {
      old.device().close();
      replace(index, openLink(old.file(), access));
      done = true;
      return links.get(index);
    } finally {
      if (!done) {
        chain = null; // Unless the next step works, nothing can be read.
        replace(index, openLink(old.file(), old.access()));
      }
    }
  }

  /** Something that is done while nobody else has the files of a link. */
  @FunctionalInterface
  interface Alone {
    void run() throws IOException, BlockException;
  }

  /**
   * Closes a link, and does something while nobody else has its files. The link is opened again if
   * it is one of the disk's then. The gate is paused.
   *
   * @throws IOException if somebody has a file of it, and nothing was done
   */
  void alone(int index, Alone action) throws IOException, BlockException {
    Open link = links.get(index);
    link.device().close();
    try (var _ = MergeCompletion.Files.of(link.file(), link.descriptor()).claim()) {
      action.run();
    } finally {
      int now = links.indexOf(link);
      if (now >= 0) {
        chain = null; // Unless the next step works, nothing can be read.
        replace(now, openLink(link.file(), link.access()));
      }
    }
  }

  private void replace(int index, Open link) {
    List<Open> next = new ArrayList<>(links);
    next.set(index, link);
    install(next);
  }

  /** Makes these the links. The gate is paused. */
  void install(List<Open> next) {
    links = List.copyOf(next);
    chain = chainOf(next);
  }

  /** Refuses links under which the device would be another for who uses it now. */
  void checkShape(List<Open> next) throws BlockException {
    DeviceInfo other = chainOf(next).info();
    boolean units =
        other.allocationUnitBytes() == info.allocationUnitBytes()
            || !info.can(Capability.TRACKS_ZEROS);
    if (keepsShape
        && (!units
            || other.sizeBytes() != info.sizeBytes()
            || other.blockSizes().minimum() > info.blockSizes().minimum()
            || other.blockSizes().maximum() < info.blockSizes().maximum()
            || !other.capabilities().containsAll(info.capabilities()))) {
      throw new BlockException(
          Reason.NOT_SUPPORTED,
          "%s: would become %s (expected: a device as before, %s; do it while nobody uses the disk)"
              .formatted(file(), other, info));
    }
  }

  Chain chain() throws BlockException {
    Chain now = chain;
    if (now == null) {
      throw new BlockException(
          Reason.IO_ERROR, file() + ": a link could not be opened again; open the disk anew");
    }
    return now;
  }

  @Override
  public DeviceInfo info() {
    return info;
  }

  @Override
  public Extents read(long offset, ByteBuffer target, Blocking blocking) throws BlockException {
    if (!gate.enter(blocking)) {
      return Extents.WOULD_BLOCK;
    }
    try {
      return chain().read(offset, target, blocking);
    } finally {
      gate.leave();
    }
  }

  @Override
  public Completion write(long offset, ByteBuffer source, Durability durability, Blocking blocking)
      throws BlockException {
    int length = source.remaining();
    if (!gate.enter(blocking)) {
      return Completion.WOULD_BLOCK;
    }
    try {
      return chain().write(offset, source, durability, blocking);
    } finally {
      note(offset, length);
      gate.leave();
    }
  }

  /** Notes that a change is done, or may have been half done. */
  private void note(long offset, long length) {
    ChangedUnits units = changed;
    if (units != null) {
      units.add(offset, length);
    }
  }

  @Override
  public Completion zero(
      long offset, long length, ZeroMode mode, Durability durability, Blocking blocking)
      throws BlockException {
    if (!gate.enter(blocking)) {
      return Completion.WOULD_BLOCK;
    }
    try {
      return chain().zero(offset, length, mode, durability, blocking);
    } finally {
      note(offset, length);
      gate.leave();
    }
  }

  @Override
  public Completion trim(long offset, long length, Durability durability, Blocking blocking)
      throws BlockException {
    if (!gate.enter(blocking)) {
      return Completion.WOULD_BLOCK;
    }
    try {
      return chain().trim(offset, length, durability, blocking);
    } finally {
      note(offset, length);
      gate.leave();
    }
  }

  @Override
  public Completion flush(Blocking blocking) throws BlockException {
    if (!gate.enter(blocking)) {
      return Completion.WOULD_BLOCK;
    }
    try {
      return chain().flush(blocking);
    } finally {
      gate.leave();
    }
  }

  @Override
  public Extents extents(long offset, long length, Blocking blocking) throws BlockException {
    if (!gate.enter(blocking)) {
      return Extents.WOULD_BLOCK;
    }
    try {
      return chain().extents(offset, length, blocking);
    } finally {
      gate.leave();
    }
  }

  /** As {@link Chain#depths}. */
  public boolean depths(long offset, long length, Chain.Depths parts, Blocking blocking)
      throws BlockException {
    if (!gate.enter(blocking)) {
      return false;
    }
    try {
      return chain().depths(offset, length, parts, blocking);
    } finally {
      gate.leave();
    }
  }

  @Override
  public void close() throws BlockException {
    chainOf(links).close();
  }
}
