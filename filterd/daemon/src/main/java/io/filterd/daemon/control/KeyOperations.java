package io.filterd.daemon.control;

import java.util.List;
import org.jspecify.annotations.Nullable;

/** The operations on key-encryption keys, their arguments and their results. */
public final class KeyOperations {
  private KeyOperations() {}

  /** Gives disks new key-encryption keys: a shallow recrypt. */
  public static final Operation<Recrypt, Recrypted> KEY_RECRYPT =
      new Operation<>("key.recrypt", Recrypt.class, Recrypted.class);

  /** Says what names a key. */
  public static final Operation<Key, KeyUses> KEY_USES =
      new Operation<>("key.uses", Key.class, KeyUses.class);

  /** Ends the use of a key for new data keys. */
  public static final Operation<EndKey, Results.Done> KEY_REVOKE =
      new Operation<>("key.revoke", EndKey.class, Results.Done.class);

  /** Destroys a key. */
  public static final Operation<EndKey, Results.Done> KEY_DESTROY =
      new Operation<>("key.destroy", EndKey.class, Results.Done.class);

  /**
   * Gives disks new keys. Exactly one of the first three is there, or {@code resume} or {@code
   * abandon} is true.
   *
   * @param target a VM, or a disk as {@code VM/DISK}
   * @param key all disks that use this key, as {@code PROVIDER/KEYID}
   * @param provider all disks that use keys of this provider
   * @param to the provider that makes the new keys; null for the one of each disk's present key
   * @param resume goes on with what was not finished
   * @param abandon forgets what was not finished; every disk opens as it is
   */
  public record Recrypt(
      @Nullable String target,
      @Nullable String key,
      @Nullable String provider,
      @Nullable String to,
      boolean resume,
      boolean abandon) {
    /** Checks what came from outside. */
    public Recrypt {
      int ways =
          (target == null ? 0 : 1)
              + (key == null ? 0 : 1)
              + (provider == null ? 0 : 1)
              + (resume ? 1 : 0)
              + (abandon ? 1 : 0);
      if (ways != 1) {
        throw new IllegalArgumentException(
            "recrypt: "
                + ways
                + " of target, key, provider, resume and abandon are given (expected: one)");
      }
      if (to != null && (resume || abandon)) {
        throw new IllegalArgumentException(
            "to: given with resume or abandon (expected: what the recrypt began with)");
      }
    }

    /** Goes on with what was not finished. */
    public static Recrypt resumed() {
      return new Recrypt(null, null, null, null, true, false);
    }
  }

  /**
   * A disk of a recrypt.
   *
   * @param state {@code done}, {@code failed}, or {@code open}: not tried
   * @param links how many links it has that are encrypted
   * @param from its keys before, each {@code PROVIDER/KEYID}
   * @param to its key now, or the one it is to have; null if none was made
   * @param reason why it failed
   */
  public record RecryptedDisk(
      String disk,
      String state,
      int links,
      List<String> from,
      @Nullable String to,
      @Nullable String reason) {}

  /**
   * What a recrypt did.
   *
   * @param what what was asked for, for people
   * @param exitStatus what a command that shows this ends with
   */
  public record Recrypted(String what, int exitStatus, List<RecryptedDisk> disks) {}

  /** Names a key, as {@code PROVIDER/KEYID}. */
  public record Key(String key) {
    /** Checks what came from outside. */
    public Key {
      Requests.require(key, "key");
    }
  }

  /**
   * Something that names a key, or may.
   *
   * @param name the disk as {@code VM/DISK}, the VM, or the recrypt
   * @param how what names the key, for people
   * @param certain whether it does: a disk that can't be read only may
   */
  public record KeyUse(String name, String how, boolean certain) {}

  /** All that names a key, or may. */
  public record KeyUses(String key, List<KeyUse> uses) {}

  /**
   * Ends a key.
   *
   * @param force does it though something names the key
   * @param uses how many things were shown to name it or may, for a destruction by force; it is
   *     refused if that is not so any more
   */
  public record EndKey(String key, boolean force, @Nullable Integer uses) {
    /** Checks what came from outside. */
    public EndKey {
      Requests.require(key, "key");
    }
  }
}
