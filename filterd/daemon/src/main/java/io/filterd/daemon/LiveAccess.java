package io.filterd.daemon;

import io.filterd.daemon.control.OperationException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileTime;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The access rules of the configuration file as it is now: it is looked at for each client that
 * asks. If it can't be used any more, or has no rules, those before stay, and the log says so once
 * for each change. Safe for many threads.
 */
final class LiveAccess {
  private static final Logger LOG = LoggerFactory.getLogger(LiveAccess.class);

  /** What tells one state of the file from another. */
  private record Stamp(@Nullable Object key, long sizeBytes, FileTime modified) {}

  // Guarded by this.
  private AccessRules rules;
  private @Nullable Stamp stamp;

  /** Begins with the rules that the daemon was started with. */
  LiveAccess(AccessRules rules) {
    this.rules = rules;
  }

  /** The rules. May block, to read the file. */
  synchronized AccessRules current() {
    Path file = rules.file();
    try {
      BasicFileAttributes found = Files.readAttributes(file, BasicFileAttributes.class);
      Stamp now = new Stamp(found.fileKey(), found.size(), found.lastModifiedTime());
      if (!now.equals(stamp)) {
        // Before reading: what changes meanwhile is seen the next time.
        stamp = now;
        read(file);
      }
    } catch (IOException gone) {
      LOG.debug("access rules kept as they were: {}", gone.toString());
    }
    return rules;
  }

  private void read(Path file) {
    try {
      AccessRules next = DaemonConfig.load(file).access();
      if (next == null) {
        LOG.warn("access rules kept as they were until a restart: {} has none", file);
      } else if (!next.equals(rules)) {
        rules = next;
        LOG.info("access rules loaded anew: {}", file);
      }
    } catch (OperationException broken) {
      LOG.warn("access rules kept as they were: {} {}", broken.getMessage(), broken.details());
    }
  }
}
