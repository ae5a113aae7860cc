package io.filterd.vmdk;

import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What a link's descriptor says while its child's content is moved into it. The link changes then,
 * so that it is right only below that child, which still covers all that differs; and the child
 * goes on naming the content id that the link had before. Once all is moved, the link is right
 * without the child, which counts no longer.
 *
 * @param complete whether all of the child's content is in the link
 * @param cid the content id of the link before the first change: what the child names
 * @param child the name of the child's file, in the link's folder
 */
record MergeMark(boolean complete, long cid, String child) {
  private static final String KEY = "filterd.merge";
  private static final Pattern FORMAT = Pattern.compile("(merging|merged) ([0-9a-f]{8}) (.+)");

  /** What {@code descriptor} says, if anything. */
  static Optional<MergeMark> from(Descriptor descriptor) throws FormatException {
    Optional<String> entry = descriptor.ddb(KEY);
    if (entry.isEmpty()) {
      return Optional.empty();
    }
    Matcher matcher = FORMAT.matcher(entry.get());
    if (!matcher.matches()) {
      throw descriptor.badDdb(KEY, entry.get(), "merging or merged, a content id, a file's name");
    }
    return Optional.of(
        new MergeMark(
            matcher.group(1).equals("merged"),
            Long.parseLong(matcher.group(2), 16),
            matcher.group(3)));
  }

  /** Whether this is about a child of this name that names this content id as its parent's. */
  boolean isOf(String childFile, Descriptor childDescriptor) {
    return child.equals(childFile) && cid == childDescriptor.parentCid();
  }

  /** The same, with all moved. */
  MergeMark completed() {
    return new MergeMark(true, cid, child);
  }

  Descriptor writeTo(Descriptor descriptor) {
    return descriptor.withDdb(
        KEY, "%s %08x %s".formatted(complete ? "merged" : "merging", cid, child));
  }

  static Descriptor removeFrom(Descriptor descriptor) {
    return descriptor.withoutDdb(KEY);
  }
}
