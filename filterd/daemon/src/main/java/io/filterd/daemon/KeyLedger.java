package io.filterd.daemon;

import io.filterd.inventory.Inventory;
import io.filterd.inventory.KeyRecord;
import io.filterd.inventory.KeyRecord.State;
import io.filterd.keys.KeyLabel;
import io.filterd.keys.KeyReference;
import java.io.IOException;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.Optional;
import java.util.function.Predicate;

/**
 * Since when key-encryption keys are, and which of them are about to replace others. Kept in the
 * inventory, as not every provider knows. Safe for many threads.
 */
final class KeyLedger {
  /** No name of a VM has a colon. */
  private static final String TENANT = "tenant:";

  private final Inventory inventory;
  private final Clock clock;

  KeyLedger(Inventory inventory, Clock clock) {
    this.inventory = inventory;
    this.clock = clock;
  }

  /** Whom a key is for, in one word: {@code VM}, {@code VM/DISK} or {@code tenant:NAME}. */
  static String owner(KeyLabel label) {
    return label.scope() == KeyLabel.Scope.TENANT ? TENANT + label.name() : label.name();
  }

  /** What {@link #owner} was made of. */
  static KeyLabel label(String owner) {
    if (owner.startsWith(TENANT)) {
      return new KeyLabel(KeyLabel.Scope.TENANT, owner.substring(TENANT.length()));
    }
    return new KeyLabel(owner.contains("/") ? KeyLabel.Scope.DISK : KeyLabel.Scope.VM, owner);
  }

  private Instant now() {
    return clock.instant().truncatedTo(ChronoUnit.SECONDS);
  }

  /**
   * Notes a key that was made just now; durable when this returns.
   *
   * @param owner whom it is for, as {@link #owner} says
   */
  void made(KeyReference key, String owner, State state) throws IOException {
    if (state == State.NEXT) {
      settle(each -> each.owner().equals(owner) && each.provider().equals(key.provider()));
    }
    inventory.put(
        new KeyRecord(key.provider(), key.keyId(), key.checkValue(), owner, now(), state));
  }

  /**
   * Notes a key that was met in a disk, unless it is known.
   *
   * @param created when its provider says that it was made, if it does
   */
  void seen(KeyReference key, String owner, Optional<Instant> created) throws IOException {
    if (find(key).isEmpty()) {
      inventory.put(
          new KeyRecord(
              key.provider(),
              key.keyId(),
              key.checkValue(),
              owner,
              created.orElseGet(this::now),
              created.isPresent() ? State.MADE : State.SEEN));
    }
  }

  /** What is known of a key. */
  Optional<KeyRecord> find(KeyReference key) {
    return inventory.keys().stream().filter(each -> reference(each).equals(key)).findFirst();
  }

  /** How old a key is, at least; empty if it was never noted. */
  Optional<Duration> age(KeyReference key) {
    return find(key).map(each -> Duration.between(each.since(), clock.instant()));
  }

  /** The key that a provider has made to replace the owner's present one, if it has. */
  Optional<KeyReference> next(String owner, String provider) {
    return inventory.keys().stream()
        .filter(each -> each.state() == State.NEXT)
        .filter(each -> each.owner().equals(owner) && each.provider().equals(provider))
        .map(KeyLedger::reference)
        .findFirst();
  }

  /** No key is about to replace another any more. */
  void settle() throws IOException {
    settle(each -> true);
  }

  private void settle(Predicate<KeyRecord> which) throws IOException {
    for (KeyRecord each : inventory.keys()) {
      if (each.state() == State.NEXT && which.test(each)) {
        inventory.put(each.in(State.MADE));
      }
    }
  }

  private static KeyReference reference(KeyRecord each) {
    return new KeyReference(each.provider(), each.keyId(), each.checkValue());
  }
}
