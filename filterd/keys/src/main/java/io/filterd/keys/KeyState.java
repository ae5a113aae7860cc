package io.filterd.keys;

/** The states of a key, in the words of KMIP (1.4, section 3.22). */
public enum KeyState {
  /** Made, and not to be used yet. */
  PRE_ACTIVE,
  /** Wraps and unwraps. */
  ACTIVE,
  /** Revoked, or past its date: only unwraps. */
  DEACTIVATED,
  /** Somebody else may know it: only unwraps, and what it has wrapped needs another key. */
  COMPROMISED,
  /** Gone. */
  DESTROYED;

  /** Whether new data keys may be wrapped under such a key. */
  public boolean wraps() {
    return this == ACTIVE;
  }

  /** Whether data keys may be unwrapped with such a key. */
  public boolean unwraps() {
    return this != DESTROYED;
  }
}
