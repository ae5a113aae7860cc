package io.filterd.vmdk;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * A state of a disk that its chain keeps.
 *
 * @param depth how deep in the chain the link with that state is: 1 for the one below the top
 * @param file that link's file
 * @param child the file of the link above it, which is not in the state any more
 * @param record its name and time; empty if others made the link above it
 */
public record Snapshot(int depth, Path file, Path child, Optional<SnapshotRecord> record) {
  /** The snapshots of a chain, the newest first. */
  static List<Snapshot> of(List<DiskChain.Link> links) throws FormatException {
    List<Snapshot> snapshots = new ArrayList<>();
    for (int i = 1; i < links.size(); i++) {
      DiskChain.Link child = links.get(i - 1);
      snapshots.add(
          new Snapshot(
              i, links.get(i).file(), child.file(), SnapshotRecord.from(child.descriptor())));
    }
    return snapshots;
  }

  /** The one that {@code name} names: by its name, or by its file's. */
  static Snapshot find(List<Snapshot> snapshots, String name) {
    return snapshots.stream()
        .filter(each -> each.isCalled(name))
        .findFirst()
        .orElseThrow(
            () ->
                new IllegalArgumentException(
                    "snapshot: " + name + " (expected: one of " + names(snapshots) + ")"));
  }

  private static List<String> names(List<Snapshot> snapshots) {
    return snapshots.stream().map(Snapshot::name).toList();
  }

  /** Its name; that of its file if it has none. */
  public String name() {
    return record.map(SnapshotRecord::name).orElse(String.valueOf(file.getFileName()));
  }

  /** Whether this is what somebody means by {@code name}: its name, or that of its file. */
  public boolean isCalled(String name) {
    return name.equals(name()) || name.equals(String.valueOf(file.getFileName()));
  }
}
