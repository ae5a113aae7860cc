package io.filterd.nbd.tls;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Something that is made of files, and made anew when they have changed. If that fails, what was
 * made before stays in use, and the log says so once for each change. Safe for many threads.
 */
final class Reloaded<T> {
  private static final Logger LOG = LoggerFactory.getLogger(Reloaded.class);

  /** What tells one state of a file from another. */
  private record Stamp(@Nullable Object file, long sizeBytes, FileTime modified) {}

  /** Makes the thing of the files, as they are now. */
  @FunctionalInterface
  interface Making<T> {
    T make() throws IOException;
  }

  private final List<Path> files;
  private final Making<T> making;

  // Guarded by this.
  private List<Stamp> stamps;
  private T current;

  /** Makes it for the first time. */
  Reloaded(List<Path> files, Making<T> making) throws IOException {
    this.files = files;
    this.making = making;
    // Before the making: what changes meanwhile is seen the next time.
    this.stamps = stamps(files);
    this.current = making.make();
  }

  /** The thing, of the files as they are now if they can be used. May block, to read them. */
  synchronized T current() {
    try {
      List<Stamp> now = stamps(files);
      if (!now.equals(stamps)) {
        stamps = now;
        current = making.make();
        LOG.info("loaded anew: {}", files);
      }
    } catch (IOException broken) {
      LOG.warn("kept as it was, because it can't be loaded anew: {}", broken.getMessage());
    }
    return current;
  }

  private static List<Stamp> stamps(List<Path> files) throws IOException {
    List<Stamp> stamps = new ArrayList<>();
    for (Path file : files) {
      try {
        BasicFileAttributes found = Files.readAttributes(file, BasicFileAttributes.class);
        stamps.add(new Stamp(found.fileKey(), found.size(), found.lastModifiedTime()));
      } catch (NoSuchFileException missing) {
        stamps.add(new Stamp(null, -1, FileTime.fromMillis(0)));
      }
    }
    return stamps;
  }
}
