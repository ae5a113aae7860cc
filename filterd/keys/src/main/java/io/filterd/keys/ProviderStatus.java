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
 * @param needs what has to be there for its keys to be had
 */
public record ProviderStatus(
    String name, String type, State state, List<String> details, ProviderNeeds needs) {
  /** A provider's state in one word. */
  public enum State {
    /** Makes keys and hands them out. */
    READY,
    /** Makes keys and hands them out, but not all that it needs is well. */
    DEGRADED,
    /** Hands keys out, but makes none before it was backed up. */
    NOT_BACKED_UP,
    /** Not opened: it waits for its passphrase or another credential. */
    LOCKED,
    /** Cannot be reached or read. */
    UNAVAILABLE,
    /** Closed: its secrets are wiped. */
    CLOSED
  }

  /** How a provider is, in vSphere's colours. */
  public enum Health {
    /** As it should be. */
    GREEN,
    /** Its keys can be had, but something needs looking after. */
    YELLOW,
    /** Its keys can't be had. */
    RED
  }

  /** Of a provider that does not say what it needs. */
  public ProviderStatus(String name, String type, State state, List<String> details) {
    this(name, type, state, details, ProviderNeeds.UNKNOWN);
  }

  /** Copies {@code details}. */
  public ProviderStatus {
    Objects.requireNonNull(name);
    Objects.requireNonNull(type);
    Objects.requireNonNull(state);
    Objects.requireNonNull(needs);
    details = List.copyOf(details);
  }

  /** How it is, in one colour. */
  public Health health() {
    return switch (state) {
      case READY -> Health.GREEN;
      case DEGRADED, NOT_BACKED_UP -> Health.YELLOW;
      case LOCKED, UNAVAILABLE, CLOSED -> Health.RED;
    };
  }
}
