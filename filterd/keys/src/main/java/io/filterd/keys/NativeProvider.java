package io.filterd.keys;

import com.google.errorprone.annotations.concurrent.GuardedBy;
import io.filterd.crypto.SecretBytes;
import io.filterd.crypto.WrapException;
import io.filterd.keys.KeyException.Reason;
import io.filterd.keys.ProviderStatus.State;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.UUID;

/**
 * The embedded key provider: needs no server. Every key-encryption key is derived from one
 * key-derivation key and the key's id, and the key-derivation key lies in a state file, sealed by a
 * secret from elsewhere ({@link Seal}). The formats are described in
 * filterd/keys/docs/native-provider.md.
 *
 * <p>While it is open the key-derivation key is in secret memory; close wipes it. Safe for many
 * threads.
 */
public final class NativeProvider implements ExportingProvider {
  /** The type's name in the configuration. */
  public static final String TYPE = "native";

  private static final String DERIVATION_LABEL = "filterd-native-kek-v1";

  private final String name;
  private final Path stateFile;
  private final Seal seal;
  private final BackupRule rule;

  @GuardedBy("this")
  private final SecretBytes derivationKey;

  @GuardedBy("this")
  private SealedKey sealed;

  @GuardedBy("this")
  private boolean closed;

  private NativeProvider(
      String name,
      Path stateFile,
      Seal seal,
      BackupRule rule,
      SealedKey sealed,
      SecretBytes derivationKey) {
    this.name = name;
    this.stateFile = stateFile;
    this.seal = seal;
    this.rule = rule;
    this.sealed = sealed;
    this.derivationKey = derivationKey;
  }

  /**
   * Makes a new key-derivation key and writes its state file.
   *
   * @throws KeyException with {@code DENIED} if the state file is there already
   */
  public static void init(Path stateFile, Path passphraseFile) throws KeyException {
    init(stateFile, new PassphraseSeal(passphraseFile));
  }

  /** As {@link #init(Path, Path)}, under any seal, whose secret is made too. */
  public static void init(Path stateFile, Seal seal) throws KeyException {
    init(stateFile, seal, Clock.systemUTC());
  }

  static void init(Path stateFile, Path passphraseFile, Clock clock) throws KeyException {
    init(stateFile, new PassphraseSeal(passphraseFile), clock);
  }

  private static void init(Path stateFile, Seal seal, Clock clock) throws KeyException {
    try (SecretBytes key = SecretBytes.random(SealedKey.KEY_BYTES)) {
      create(
          stateFile,
          seal,
          UUID.randomUUID(),
          Instant.now(clock).truncatedTo(ChronoUnit.SECONDS),
          SealedKey.Backed.NO,
          key);
    }
  }

  private static void create(
      Path stateFile, Seal seal, UUID id, Instant created, SealedKey.Backed backed, SecretBytes key)
      throws KeyException {
    if (Files.exists(stateFile)) {
      // Before a seal's secret is made, which would be left over.
      throw SealedKeyFile.exists(stateFile, null);
    }
    try (SecretBytes secret = seal.make()) {
      SealedKeyFile.create(
          stateFile,
          SealedKey.seal(
              SealedKey.Kind.STATE,
              id,
              created,
              backed,
              SealedKey.Argon2Cost.DEFAULT,
              key,
              secret));
    }
  }

  /**
   * Opens the provider whose state file and passphrase file these are.
   *
   * @param name the provider's name in the configuration
   * @throws KeyException with {@code NOT_FOUND} if a file is missing, {@code DENIED} if the
   *     passphrase does not open the state
   */
  public static NativeProvider open(
      String name, Path stateFile, Path passphraseFile, BackupRule rule) throws KeyException {
    return open(name, stateFile, new PassphraseSeal(passphraseFile), rule);
  }

  /**
   * Opens the provider whose state file is under this seal.
   *
   * @throws KeyException as {@link #open(String, Path, Path, BackupRule)}
   */
  public static NativeProvider open(String name, Path stateFile, Seal seal, BackupRule rule)
      throws KeyException {
    KeyReference.checkText("name", name, KeyReference.MAX_PROVIDER_LENGTH);
    SealedKey sealed;
    try {
      sealed = SealedKeyFile.read(stateFile, SealedKey.Kind.STATE);
    } catch (KeyException failure) {
      throw failure.reason() == Reason.NOT_FOUND
          ? new KeyException(
              Reason.NOT_FOUND,
              "key provider %s: there is no state file %s: make one with `filterd provider init`, or restore a backup"
                  .formatted(name, stateFile),
              failure)
          : new KeyException(
              failure.reason(), "key provider " + name + ": " + failure.getMessage(), failure);
    }
    SecretBytes key = unseal(stateFile, sealed, seal);
    return new NativeProvider(name, stateFile, seal, rule, sealed, key);
  }

  private static SecretBytes unseal(Path file, SealedKey sealed, Seal seal) throws KeyException {
    try (SecretBytes secret = seal.open()) {
      return sealed.open(secret);
    } catch (WrapException failure) {
      throw new KeyException(Reason.DENIED, file + ": " + seal.refusal(), failure);
    }
  }

  /** What a state file says of itself, without opening it. */
  public static ProviderStatus inspect(String name, Path stateFile) {
    try {
      SealedKey sealed = SealedKeyFile.read(stateFile, SealedKey.Kind.STATE);
      return new ProviderStatus(
          name,
          TYPE,
          State.LOCKED,
          List.of(describe(sealed), backupSentence(sealed)),
          needs(sealed, List.of(stateFile), ""));
    } catch (KeyException failure) {
      return new ProviderStatus(
          name, TYPE, State.UNAVAILABLE, List.of(String.valueOf(failure.getMessage())));
    }
  }

  /**
   * Makes a state file from a backup, under a new passphrase.
   *
   * @throws KeyException with {@code DENIED} if the backup's passphrase does not open it, or the
   *     state file is there already
   */
  public static void restore(
      Path backupFile, Path backupPassphraseFile, Path stateFile, Path passphraseFile)
      throws KeyException {
    restore(backupFile, backupPassphraseFile, stateFile, new PassphraseSeal(passphraseFile));
  }

  /** As {@link #restore(Path, Path, Path, Path)}, under any seal, whose secret is made too. */
  public static void restore(Path backupFile, Path backupPassphraseFile, Path stateFile, Seal seal)
      throws KeyException {
    SealedKey backup = SealedKeyFile.read(backupFile, SealedKey.Kind.BACKUP);
    try (SecretBytes key = unseal(backupFile, backup, new PassphraseSeal(backupPassphraseFile))) {
      create(stateFile, seal, backup.id(), backup.created(), SealedKey.Backed.YES, key);
    }
  }

  /**
   * Puts a state file from under one seal under another of another kind. A crash leaves it under
   * either; the secret of the old one stays where it is.
   *
   * @throws KeyException with {@code UNSUPPORTED} if both are of one kind, else as the seals fail
   */
  public static void reseal(Path stateFile, Seal from, Seal to) throws KeyException {
    if (from.kind().equals(to.kind())) {
      throw new KeyException(
          Reason.UNSUPPORTED,
          "seal: from %s to %s (expected: another kind; go by way of one)"
              .formatted(from.kind(), to.kind()));
    }
    SealedKey sealed = SealedKeyFile.read(stateFile, SealedKey.Kind.STATE);
    try (SecretBytes key = unseal(stateFile, sealed, from)) {
      // What it may hold now does not open the state, which is under the other one.
      to.discard();
      try (SecretBytes secret = to.make()) {
        SealedKeyFile.replace(
            stateFile,
            SealedKey.seal(
                SealedKey.Kind.STATE,
                sealed.id(),
                sealed.created(),
                sealed.backedUp(),
                SealedKey.Argon2Cost.DEFAULT,
                key,
                secret));
      }
    }
  }

  /**
   * Writes a backup, sealed by a passphrase of its own, reads it back, and notes in the state file
   * that there is one.
   *
   * @throws KeyException with {@code DENIED} if the backup's file is there already
   */
  public synchronized void backup(Path backupFile, Path backupPassphraseFile) throws KeyException {
    checkOpen();
    SealedKey current = SealedKeyFile.read(stateFile, SealedKey.Kind.STATE);
    if (!current.id().equals(sealed.id())) {
      throw new KeyException(
          Reason.WRONG_KEY,
          "%s: holds key %s now (expected: %s, which is open)"
              .formatted(stateFile, current.id(), sealed.id()));
    }
    try (SecretBytes backupPassphrase = PassphraseFile.read(backupPassphraseFile);
        SecretBytes secret = seal.open()) {
      SealedKeyFile.create(backupFile, resealed(SealedKey.Kind.BACKUP, backupPassphrase));
      verifyBackup(backupFile, backupPassphraseFile);
      SealedKey noted = resealed(SealedKey.Kind.STATE, secret);
      SealedKeyFile.replace(stateFile, noted);
      sealed = noted;
    }
  }

  @GuardedBy("this")
  private SealedKey resealed(SealedKey.Kind kind, SecretBytes secret) {
    return SealedKey.seal(
        kind,
        sealed.id(),
        sealed.created(),
        SealedKey.Backed.YES,
        SealedKey.Argon2Cost.DEFAULT,
        derivationKey,
        secret);
  }

  @GuardedBy("this")
  private void verifyBackup(Path backupFile, Path backupPassphraseFile) throws KeyException {
    SealedKey written = SealedKeyFile.read(backupFile, SealedKey.Kind.BACKUP);
    try (SecretBytes key = unseal(backupFile, written, new PassphraseSeal(backupPassphraseFile))) {
      if (!key.sameAs(derivationKey)) {
        throw new KeyException(
            Reason.WRONG_KEY, backupFile + ": reads back as another key than was written");
      }
    }
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public synchronized KeyReference create(KeyLabel label) throws KeyException {
    checkOpen();
    if (rule == BackupRule.REQUIRED && sealed.backedUp() == SealedKey.Backed.NO) {
      throw new KeyException(
          Reason.NOT_BACKED_UP,
          "key provider %s has no backup yet, and losing %s would lose every disk: run `filterd provider backup` first"
              .formatted(name, stateFile));
    }
    String keyId = UUID.randomUUID().toString();
    try (KeyEncryptionKey key = KeyEncryptionKey.owning(name, keyId, derive(keyId))) {
      return key.reference();
    }
  }

  @Override
  public synchronized KeyEncryptionKey open(KeyReference reference) throws KeyException {
    checkOpen();
    if (!reference.provider().equals(name)) {
      throw new KeyException(
          Reason.NOT_FOUND,
          "key provider %s has no keys of provider %s".formatted(name, reference.provider()));
    }
    // There is no list of keys: one that this provider did not make has another check value.
    return KeyEncryptionKey.verified(reference, derive(reference.keyId()));
  }

  /** {@inheritDoc} Keys of this kind are active for ever. */
  @Override
  public KeyDescription describe(KeyReference reference) throws KeyException {
    try (KeyEncryptionKey key = open(reference)) {
      return new KeyDescription(
          key.reference(), KeyState.ACTIVE, Optional.empty(), Optional.empty());
    }
  }

  @GuardedBy("this")
  private SecretBytes derive(String keyId) {
    return HmacSha256.derive(derivationKey.segment(), keyId, DERIVATION_LABEL);
  }

  @GuardedBy("this")
  private void checkOpen() throws KeyException {
    if (closed) {
      throw new KeyException(Reason.UNAVAILABLE, "key provider " + name + " is closed");
    }
  }

  @Override
  public synchronized ProviderStatus status() {
    State state;
    if (closed) {
      state = State.CLOSED;
    } else if (sealed.backedUp() == SealedKey.Backed.NO && rule == BackupRule.REQUIRED) {
      state = State.NOT_BACKED_UP;
    } else {
      state = State.READY;
    }
    return status(state, List.of(describe(sealed), seal.sentence(), backupSentence(sealed)), "");
  }

  @GuardedBy("this")
  private ProviderStatus status(State state, List<String> details, String reopening) {
    return new ProviderStatus(name, TYPE, state, details, needs(sealed, files(), reopening));
  }

  private List<Path> files() {
    List<Path> files = new ArrayList<>(List.of(stateFile));
    files.addAll(seal.files());
    return files;
  }

  private static ProviderNeeds needs(SealedKey sealed, List<Path> files, String reopening) {
    return new ProviderNeeds(
        List.of(),
        files,
        sealed.backedUp() == SealedKey.Backed.YES
            ? ProviderNeeds.Keeping.HERE_WITH_BACKUP
            : ProviderNeeds.Keeping.HERE_ONLY,
        reopening);
  }

  /**
   * {@inheritDoc} Opens the state file once more: what is in memory would not outlast a restart.
   */
  @Override
  public synchronized ProviderStatus probe() {
    ProviderStatus inMemory = status();
    if (closed) {
      return inMemory;
    }
    try {
      SealedKey stored = SealedKeyFile.read(stateFile, SealedKey.Kind.STATE);
      try (SecretBytes key = unseal(stateFile, stored, seal)) {
        if (!key.sameAs(derivationKey)) {
          throw new KeyException(
              Reason.WRONG_KEY,
              "%s: holds key %s now (expected: %s, which is open)"
                  .formatted(stateFile, stored.id(), sealed.id()));
        }
      }
      return inMemory;
    } catch (KeyException failure) {
      List<String> details = new ArrayList<>(inMemory.details());
      details.add(
          "It is open, but could not be opened again after a restart: "
              + failure.getMessage()
              + ".");
      return status(State.DEGRADED, details, String.valueOf(failure.getMessage()));
    }
  }

  private static String describe(SealedKey sealed) {
    return "Its key-derivation key " + sealed.id() + " was made on " + sealed.created() + ".";
  }

  private static String backupSentence(SealedKey sealed) {
    return switch (sealed.backedUp()) {
      case YES -> "It has been backed up.";
      case NO ->
          "It has not been backed up: losing its state file would lose every disk; run `filterd"
              + " provider backup`.";
    };
  }

  @Override
  public synchronized void close() {
    closed = true;
    derivationKey.close();
  }

  @Override
  public String toString() {
    return "NativeProvider[" + name + ", " + stateFile + "]";
  }
}
