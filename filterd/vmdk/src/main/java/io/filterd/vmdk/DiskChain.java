package io.filterd.vmdk;

import io.filterd.block.BlockException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * All links of a disk, open: the top one as asked for, the others for reading only, each locked
 * (facts page, section 1.8). Not a device: who has the links' keys stands in front of each, and a
 * {@link Chain} on top; {@link LinkedDisk} does that.
 *
 * <p>A parent is looked for by its child's {@code parentFileNameHint}: its name beside the child,
 * then the relative path, then its name in a sibling folder; and only among regular files inside
 * one folder, usually that of the top link, never through a symbolic link. It must have the content
 * id that its child names: a parent that was written after the child was made is refused. So are
 * chains that come back to a file they have passed, by whichever name, and those of more than
 * {@link #LINK_LIMIT} links.
 */
public final class DiskChain implements AutoCloseable {
  /** The most links of a chain. VMware makes 33 at most. */
  public static final int LINK_LIMIT = 64;

  /**
   * One link.
   *
   * @param file its descriptor's file, by the real path of its folder
   * @param disk the open link
   */
  public record Link(Path file, VmdkDisk disk) {
    Descriptor descriptor() {
      return disk.descriptor();
    }

    String fileName() {
      return String.valueOf(file.getFileName());
    }
  }

  /**
   * A link whose content was moved into its parent before a crash, and which was not deleted yet.
   *
   * @param file the link's file
   * @param descriptor the link's descriptor
   * @param child the file of the link above it; empty if it was the top one
   * @param parent the file of the link that has its content now
   */
  record Merged(Path file, Descriptor descriptor, Optional<Path> child, Path parent) {}

  private final List<Link> links;
  private final List<Merged> merged;

  private DiskChain(List<Link> links, List<Merged> merged) {
    this.links = List.copyOf(links);
    this.merged = List.copyOf(merged);
  }

  /**
   * Opens a disk by its top link. All parents are in that link's folder or below it.
   *
   * @throws FormatException if a link is damaged, of a kind that can't be read, or no parent of the
   *     link above it
   * @throws IOException if a file can't be opened, or is in use
   */
  public static DiskChain open(Path top, Access access) throws IOException, BlockException {
    return open(LinkFiles.STORED, top, access, ParentSearch.beside(top));
  }

  /** As {@link #open(Path, Access)}, with parents in {@code root} or below it. */
  public static DiskChain open(Path top, Access access, Path root)
      throws IOException, BlockException {
    return open(LinkFiles.STORED, top, access, ParentSearch.inside(root));
  }

  static DiskChain open(LinkFiles files, Path top, Access access, ParentSearch search)
      throws IOException, BlockException {
    Opening opening = new Opening(files, access, search);
    boolean opened = false;
    try {
      opening.open(ParentSearch.real(top));
      opened = true;
      return new DiskChain(opening.links, opening.merged);
    } finally {
      if (!opened) {
        closeAll(opening.links);
      }
    }
  }

  /** A chain that is being opened, link by link. */
  private static final class Opening {
    private final LinkFiles files;
    private final Access access;
    private final ParentSearch search;
    private final List<Link> links = new ArrayList<>();
    private final List<Merged> merged = new ArrayList<>();
    private final Set<Object> identities = new HashSet<>();

    Opening(LinkFiles files, Access access, ParentSearch search) {
      this.files = files;
      this.access = access;
      this.search = search;
    }

    void open(Path top) throws IOException, BlockException {
      identities.add(identity(top));
      links.add(new Link(top, files.open(top, access)));
      while (links.getLast().disk().hasParent()) {
        openParent();
      }
      Link first = links.getFirst();
      Optional<MergeMark> mark = MergeMark.from(first.descriptor());
      if (mark.isPresent()
          && !mark.get().complete()
          && mark.get().cid() != first.descriptor().cid()) {
        throw new FormatException(
            first.file().toString(),
            first.descriptor().byteOffset(),
            "ddb.filterd.merge",
            "the content of " + mark.get().child() + " is only partly here",
            "the disk opened by that file, and the merge finished");
      }
    }

    private void openParent() throws IOException, BlockException {
      Link child = links.getLast();
      if (links.size() + merged.size() == LINK_LIMIT) {
        throw badParent(child, "more links", "at most " + LINK_LIMIT);
      }
      Path file = search.find(child.file(), child.descriptor());
      if (!identities.add(identity(file))) {
        throw badParent(child, file + ", which is above it", "a chain that ends");
      }
      Link parent = new Link(file, files.open(file, Access.READ_ONLY));
      links.add(parent); // So that it is closed if it is not the right one.
      Optional<MergeMark> mark = MergeMark.from(parent.descriptor());
      if (child.descriptor().parentCid() == parent.descriptor().cid()) {
        return;
      }
      if (mark.isEmpty() || !mark.get().isOf(child.fileName(), child.descriptor())) {
        throw badContentId(child, parent, mark);
      }
      if (mark.get().complete()) {
        skip(child, parent);
      }
    }

    /** Leaves out a link whose content its parent has. */
    private void skip(Link child, Link parent) throws IOException, BlockException {
      if (!merged.isEmpty()) {
        throw badParent(child, "a second merge", "one that is not finished, at most");
      }
      int at = links.size() - 2;
      links.remove(at);
      child.disk().close();
      Optional<Path> above = at == 0 ? Optional.empty() : Optional.of(links.get(at - 1).file());
      merged.add(new Merged(child.file(), child.descriptor(), above, parent.file()));
      if (at == 0 && access != Access.READ_ONLY) {
        links.clear();
        parent.disk().close();
        links.add(new Link(parent.file(), files.open(parent.file(), access)));
      }
    }

    private static FormatException badContentId(Link child, Link parent, Optional<MergeMark> mark) {
      String parentCid = "%08x".formatted(parent.descriptor().cid());
      return badParent(
          child,
          "parentCID %08x".formatted(child.descriptor().parentCid()),
          mark.isPresent()
              ? parentCid + "; " + parent.file() + " was merged with " + mark.get().child()
              : parentCid + "; " + parent.file() + " was written after this link was made");
    }

    private static FormatException badParent(Link child, String actual, String expected) {
      return new FormatException(
          child.file().toString(), child.descriptor().byteOffset(), "parent", actual, expected);
    }
  }

  /** What tells a file from all others, whatever its names are. */
  private static Object identity(Path file) throws IOException {
    Object key = Files.readAttributes(file, BasicFileAttributes.class).fileKey();
    return key == null ? file.toRealPath() : key;
  }

  /** The links, the top one first. */
  public List<Link> links() {
    return links;
  }

  /** The links that were left out because their content is in their parents. */
  List<Merged> merged() {
    return merged;
  }

  /** Closes all links. */
  @Override
  public void close() throws BlockException {
    closeAll(links);
  }

  private static void closeAll(List<Link> links) throws BlockException {
    BlockException failure = null;
    for (Link link : links) {
      try {
        link.disk().close();
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
}
