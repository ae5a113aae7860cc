package io.filterd.keys;

import java.time.Instant;
import java.util.Objects;
import java.util.Optional;

/**
 * What a provider says of a key.
 *
 * @param key the key
 * @param state its state now
 * @param created when it was made, if the provider knows
 * @param endsAt when it stops to wrap by itself, if a date is set
 */
public record KeyDescription(
    KeyReference key, KeyState state, Optional<Instant> created, Optional<Instant> endsAt) {
  /** Keeps the parts. */
  public KeyDescription {
    Objects.requireNonNull(key);
    Objects.requireNonNull(state);
    Objects.requireNonNull(created);
    Objects.requireNonNull(endsAt);
  }
}
