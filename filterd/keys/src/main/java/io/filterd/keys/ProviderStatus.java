package io.filterd.keys;

import java.util.List;
import java.util.Objects;

/**
 * How a key provider is, for people and for the pre-flight checks.
 *
 * @param name the provider's name in the configuration
 * @param type the kind of provider, for example {@code native}
 * @param state in one word
 * @param details whole sentences: what the state means and what to do about it
 */
public record ProviderStatus(String name, String type, State state, List<String> details) {
  /** A provider's state in one word. */
  public enum State {
    /** Makes keys and hands them out. */
    READY,
    /** Hands keys out, but makes none before it was backed up. */
    NOT_BACKED_UP,
    /** Not opened: it waits for its passphrase or another credential. */
    LOCKED,
    /** Cannot be reached or read. */
    UNAVAILABLE,
    /** Closed: its secrets are wiped. */
    CLOSED
  }

  /** Copies {@code details}. */
  public ProviderStatus {
    Objects.requireNonNull(name);
    Objects.requireNonNull(type);
    Objects.requireNonNull(state);
    details = List.copyOf(details);
  }
}
