package io.filterd.daemon;

import io.filterd.block.file.AtomicFile;
import io.filterd.daemon.control.Json;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Which disks a shallow recrypt is to give new keys, and which have them: one small file in the
 * state folder, replaced atomically, that is there while the recrypt is not finished. The disks
 * themselves never need it. For one thread at a time.
 *
 * @param version the version of the file's format: 1
 * @param what what was asked for, for people
 * @param begun when, in ISO 8601
 * @param byPolicy whether a policy asked for it, and not a command
 * @param ended whether every disk was tried: what is not done has failed
 */
record RecryptJournal(
    int version, String what, String begun, boolean byPolicy, boolean ended, List<Item> items) {
  static final int VERSION = 1;
  private static final int MAX_FILE_BYTES = 64 << 20;

  /**
   * One disk.
   *
   * @param owner who is to share the new key: the VM or the disk
   * @param provider who is to make it
   * @param from the keys it had at the beginning, as {@code PROVIDER/KEYID}
   * @param to the new key, once there is one
   * @param links how many encrypted links it has
   * @param done whether every link has the new key, and only that
   * @param failure why not, if it was tried
   * @param code the failure's code
   */
  record Item(
      String disk,
      String owner,
      String provider,
      List<String> from,
      @Nullable String to,
      int links,
      boolean done,
      @Nullable String failure,
      @Nullable Code code) {
    Item done(String key, int count) {
      return new Item(disk, owner, provider, from, key, count, true, null, null);
    }

    Item failed(@Nullable String key, String reason, Code why) {
      return new Item(disk, owner, provider, from, key, links, false, reason, why);
    }
  }

  /** Copies the list. */
  RecryptJournal {
    items = items == null ? List.of() : List.copyOf(items);
  }

  /** The same with another state of one disk. */
  RecryptJournal with(Item changed) {
    List<Item> next = new ArrayList<>(items);
    next.replaceAll(each -> each.disk().equals(changed.disk()) ? changed : each);
    return new RecryptJournal(version, what, begun, byPolicy, ended, next);
  }

  /** The same, after or before every disk was tried. */
  RecryptJournal ended(boolean tried) {
    return new RecryptJournal(version, what, begun, byPolicy, tried, items);
  }

  long doneCount() {
    return items.stream().filter(Item::done).count();
  }

  /** How far it is, for people. */
  String progress() {
    return "the recrypt of %s, begun at %s: %d of %d disks are done"
        .formatted(what, begun, doneCount(), items.size());
  }

  static Path fileIn(Path state) {
    return state.resolve("recrypt.json");
  }

  /** The recrypt that is not finished, if there is one. */
  static Optional<RecryptJournal> load(Path state) throws OperationException, IOException {
    Path file = fileIn(state);
    if (!Files.exists(file)) {
      return Optional.empty();
    }
    byte[] bytes;
    try (InputStream in = Files.newInputStream(file)) {
      bytes = in.readNBytes(MAX_FILE_BYTES + 1);
    }
    String problem;
    if (bytes.length > MAX_FILE_BYTES) {
      problem = "more than " + MAX_FILE_BYTES + " bytes";
    } else {
      try {
        RecryptJournal journal = Json.parse(bytes, RecryptJournal.class);
        if (journal.version() == VERSION) {
          return Optional.of(journal);
        }
        problem = "version " + journal.version();
      } catch (IOException damage) {
        problem = String.valueOf(damage.getMessage());
      }
    }
    throw new OperationException(
        Code.CONFLICT,
        file
            + ": not a readable journal of a recrypt ("
            + problem
            + "). No disk needs it: move it away, and recrypt again");
  }

  /** Makes this what is on the medium; durable when this returns. */
  void store(Path state) throws IOException {
    AtomicFile.replace(fileIn(state), Json.bytes(this));
  }

  /** Forgets the recrypt; durable when this returns. */
  static void delete(Path state) throws IOException {
    Files.deleteIfExists(fileIn(state));
    AtomicFile.syncFolderOf(fileIn(state));
  }
}
