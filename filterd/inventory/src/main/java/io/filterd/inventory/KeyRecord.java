package io.filterd.inventory;

import java.time.Instant;

/**
 * What the inventory knows of a key-encryption key beside where it is used: since when there is
 * such a key, and whether it is about to take over. The key is named here, never held.
 *
 * @param provider the key provider that has the key
 * @param keyId the provider's own id of it, an opaque string
 * @param checkValue the key check value, in hexadecimal
 * @param owner the VM or disk ({@code VM/DISK}) that it was made for, or first seen at
 * @param since when it was made; for one that was only seen, when that first was
 * @param state how it came here
 */
public record KeyRecord(
    String provider, String keyId, String checkValue, String owner, Instant since, State state) {
  /** How a key came to be known. */
  public enum State {
    /** It was made here, and {@code since} is when. */
    MADE,
    /** It was met in a disk, and may be older. */
    SEEN,
    /** It was made here and is to replace the owner's present one; not every disk has it yet. */
    NEXT
  }

  /** Checks that nothing is missing. */
  public KeyRecord {
    if (provider == null
        || keyId == null
        || checkValue == null
        || owner == null
        || since == null
        || state == null) {
      throw new IllegalArgumentException("key: a part of it is missing");
    }
  }

  /** The same in another state. */
  public KeyRecord in(State other) {
    return new KeyRecord(provider, keyId, checkValue, owner, since, other);
  }

  /** What no other key has: two providers may have keys of one id, and one provider two in turn. */
  String name() {
    return String.join("\n", provider, keyId, checkValue);
  }
}
