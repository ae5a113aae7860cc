package io.filterd.vmdk;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.LinkedHashSet;
import java.util.Optional;
import java.util.Set;

/**
 * Finds the file of a link's parent by what the link's descriptor says of it. That text may come
 * from a stranger, so it chooses only among regular files inside one folder and those below it; no
 * step of the way may be a symbolic link. In this order: a file of the named name beside the link;
 * the named path, if it is relative; a file of the named name in a sibling folder of the named
 * folder's name. An absolute path, such as VMware writes, counts for its last two names only.
 *
 * @param root the folder, as its real path
 */
record ParentSearch(Path root) {
  private static final String HINT = "parentFileNameHint";

  /** A search inside the folder of a disk's top link. */
  static ParentSearch beside(Path top) throws IOException {
    return inside(folderOf(top));
  }

  /** A search inside a folder. */
  static ParentSearch inside(Path root) throws IOException {
    return new ParentSearch(root.toRealPath());
  }

  /** The same file, by the real path of its folder. */
  static Path real(Path file) throws IOException {
    return folderOf(file).toRealPath().resolve(file.getFileName());
  }

  private static Path folderOf(Path file) {
    Path folder = file.toAbsolutePath().getParent();
    if (folder == null || file.getFileName() == null) {
      throw new IllegalArgumentException("file: " + file + " (expected: a file in a folder)");
    }
    return folder;
  }

  /**
   * The file of the parent of {@code child}.
   *
   * @throws FormatException if the descriptor names none, or none is found in the folder
   */
  Path find(Path child, Descriptor descriptor) throws FormatException, IOException {
    Optional<String> hint = descriptor.header(HINT);
    if (hint.isEmpty()) {
      throw bad(child, "none", "the file of the parent, as parentCID says there is one");
    }
    for (Path candidate : candidates(child, hint.get())) {
      if (candidate.startsWith(root) && Files.exists(candidate, LinkOption.NOFOLLOW_LINKS)) {
        if (!Files.isRegularFile(candidate, LinkOption.NOFOLLOW_LINKS)
            || !candidate.toRealPath().equals(candidate)) {
          throw bad(child, hint.get(), "a regular file, by no symbolic link");
        }
        return candidate;
      }
    }
    throw bad(child, hint.get(), "a file in " + root + " or below it");
  }

  private Set<Path> candidates(Path child, String hint) throws FormatException {
    if (hint.chars().anyMatch(Character::isISOControl)) {
      throw bad(child, hint, "a path");
    }
    String[] names = hint.replace('\\', '/').split("/");
    String name = names.length == 0 ? "" : names[names.length - 1];
    if (name.isEmpty() || name.equals(".") || name.equals("..")) {
      throw bad(child, hint, "a path that ends with the name of a file");
    }
    Path folder = folderOf(child);
    Set<Path> candidates = new LinkedHashSet<>();
    candidates.add(folder.resolve(name));
    boolean absolute = names[0].isEmpty() || names[0].endsWith(":");
    if (!absolute) {
      candidates.add(folder.resolve(String.join("/", names)).normalize());
    }
    Path above = folder.getParent();
    if (names.length > 1 && above != null) {
      candidates.add(above.resolve(names[names.length - 2]).resolve(name).normalize());
    }
    return candidates;
  }

  /** What a child says of its parent's file, so that it is found. */
  static String hint(Path child, Path parent) {
    return folderOf(child).relativize(parent).toString();
  }

  private static FormatException bad(Path child, String actual, String expected) {
    return new FormatException(child.toString(), 0, HINT, actual, expected);
  }
}
