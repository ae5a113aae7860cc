package io.filterd.keys;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.keys.KeyException.Reason;
import io.filterd.keys.ProviderStatus.State;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Map;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class NativeProviderTest {
  private static final KeyLabel LABEL = new KeyLabel(KeyLabel.Scope.VM, "vm1");

  @TempDir Path folder;

  private Path state;
  private Path passphrase;
  private Path backup;
  private Path backupPassphrase;

  @BeforeEach
  void nameFiles() throws IOException {
    state = folder.resolve("native.state");
    backup = folder.resolve("native.backup");
    passphrase = passphrase("passphrase", "correct horse\n");
    backupPassphrase = passphrase("backup-passphrase", "battery staple\n");
  }

  private Path passphrase(String name, String text) throws IOException {
    Path file = folder.resolve(name);
    Files.writeString(file, text);
    Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rw-------"));
    return file;
  }

  private NativeProvider open(BackupRule rule) throws KeyException {
    return NativeProvider.open("native", state, passphrase, rule);
  }

  private static void assertFails(ThrowingCallable call, Reason reason, String message) {
    assertThatThrownBy(call)
        .isInstanceOfSatisfying(
            KeyException.class, failure -> assertThat(failure.reason()).isEqualTo(reason))
        .hasMessageContaining(message);
  }

  private static byte[] secret(ExportingProvider provider, KeyReference reference)
      throws KeyException {
    try (KeyEncryptionKey key = provider.open(reference)) {
      byte[] copy = new byte[KeyEncryptionKey.LENGTH_BYTES];
      key.copySecretTo(copy);
      return copy;
    }
  }

  @Test
  void handsOutTheSameKeyAfterReopening() throws KeyException {
    NativeProvider.init(state, passphrase);
    KeyReference first;
    KeyReference second;
    byte[] secret;
    try (NativeProvider provider = open(BackupRule.WAIVED)) {
      first = provider.create(LABEL);
      second = provider.create(LABEL);
      secret = secret(provider, first);
      assertThat(secret(provider, second)).isNotEqualTo(secret);
    }

    try (NativeProvider provider = open(BackupRule.WAIVED)) {
      assertThat(secret(provider, first)).isEqualTo(secret);
    }
    assertThat(first.provider()).isEqualTo("native");
    assertThat(first.keyId()).isNotEqualTo(second.keyId());
    assertThat(first.checkValue()).isNotEqualTo(second.checkValue());
  }

  @Test
  void refusesKeysThatItDidNotMake() throws KeyException {
    NativeProvider.init(state, passphrase);
    try (NativeProvider provider = open(BackupRule.WAIVED)) {
      KeyReference made = provider.create(LABEL);

      assertFails(
          () -> provider.open(new KeyReference("native", "k-1", made.checkValue())),
          Reason.WRONG_KEY,
          "key provider native, key k-1: its check value is ");
      assertFails(
          () -> provider.open(new KeyReference("other", made.keyId(), made.checkValue())),
          Reason.NOT_FOUND,
          "no keys of provider other");
    }
  }

  @Test
  void keepsItsStateFileToItsOwnerAndNeverOverwritesIt() throws Exception {
    NativeProvider.init(state, passphrase);
    String before = Files.readString(state);

    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(state)))
        .isEqualTo("rw-------");
    assertFails(() -> NativeProvider.init(state, passphrase), Reason.DENIED, "never overwritten");
    assertThat(state).hasContent(before);
  }

  @Test
  void makesNoKeyBeforeItIsBackedUpUnlessThatIsWaived() throws Exception {
    NativeProvider.init(state, passphrase);
    KeyReference waived;
    try (NativeProvider provider = open(BackupRule.WAIVED)) {
      assertThat(provider.status().state()).isEqualTo(State.READY);
      waived = provider.create(LABEL);
    }

    try (NativeProvider provider = open(BackupRule.REQUIRED)) {
      assertFails(
          () -> provider.create(LABEL),
          Reason.NOT_BACKED_UP,
          "run `filterd provider backup` first");
      assertThat(provider.status().state()).isEqualTo(State.NOT_BACKED_UP);
      assertThat(secret(provider, waived)).hasSize(32);

      provider.backup(backup, backupPassphrase);

      assertThat(provider.status().state()).isEqualTo(State.READY);
      assertThat(secret(provider, provider.create(LABEL))).hasSize(32);
    }
    try (NativeProvider provider = open(BackupRule.REQUIRED)) {
      assertThat(provider.create(LABEL).keyId()).isNotEmpty();
      assertThat(secret(provider, waived)).hasSize(32);
    }
    for (Path file : new Path[] {state, backup}) {
      assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(file)))
          .isEqualTo("rw-------");
    }
    assertThat(folder.resolve("native.state.new")).doesNotExist();
  }

  @Test
  void comesBackFromABackupUnderANewPassphrase() throws Exception {
    NativeProvider.init(state, passphrase);
    KeyReference reference;
    byte[] secret;
    try (NativeProvider provider = open(BackupRule.REQUIRED)) {
      provider.backup(backup, backupPassphrase);
      reference = provider.create(LABEL);
      secret = secret(provider, reference);
    }
    Files.delete(state);
    Path newPassphrase = passphrase("new-passphrase", "quite another");

    assertFails(
        () -> NativeProvider.restore(backup, passphrase, state, newPassphrase),
        Reason.DENIED,
        "does not open it, or the file was changed");
    assertThat(state).doesNotExist();
    NativeProvider.restore(backup, backupPassphrase, state, newPassphrase);

    try (NativeProvider provider =
        NativeProvider.open("native", state, newPassphrase, BackupRule.REQUIRED)) {
      assertThat(secret(provider, reference)).isEqualTo(secret);
      assertThat(provider.status().state()).isEqualTo(State.READY);
    }
    assertFails(
        () -> NativeProvider.restore(backup, backupPassphrase, state, newPassphrase),
        Reason.DENIED,
        "never overwritten");
  }

  @Test
  void neverOverwritesABackup() throws Exception {
    NativeProvider.init(state, passphrase);
    Files.writeString(backup, "precious");
    try (NativeProvider provider = open(BackupRule.REQUIRED)) {
      assertFails(
          () -> provider.backup(backup, backupPassphrase), Reason.DENIED, "never overwritten");
      assertThat(provider.status().state()).isEqualTo(State.NOT_BACKED_UP);
    }
    assertThat(backup).hasContent("precious");
  }

  @Test
  void takesNoStateForABackupOrABackupForAState() throws Exception {
    NativeProvider.init(state, passphrase);
    try (NativeProvider provider = open(BackupRule.REQUIRED)) {
      provider.backup(backup, backupPassphrase);
    }

    assertFails(
        () -> NativeProvider.restore(state, passphrase, folder.resolve("restored"), passphrase),
        Reason.PROTOCOL,
        "kind: \"state\" (expected: backup)");
    assertFails(
        () -> NativeProvider.open("native", backup, backupPassphrase, BackupRule.REQUIRED),
        Reason.PROTOCOL,
        "kind: \"backup\" (expected: state)");
    // With the word changed it is the authentication that refuses it.
    Files.writeString(state, Files.readString(backup).replace("kind=backup", "kind=state"));
    assertFails(
        () -> NativeProvider.open("native", state, backupPassphrase, BackupRule.REQUIRED),
        Reason.DENIED,
        "does not open it, or the file was changed");
  }

  @Test
  void saysWhatIsWrongWithItsFilesInOneSentence() throws Exception {
    assertFails(
        () -> open(BackupRule.REQUIRED), Reason.NOT_FOUND, "make one with `filterd provider init`");

    NativeProvider.init(state, passphrase);
    Path wrong = passphrase("wrong", "wrong");
    assertFails(
        () -> NativeProvider.open("native", state, wrong, BackupRule.REQUIRED),
        Reason.DENIED,
        state + ": the passphrase in " + wrong + " does not open it, or the file was changed");

    Files.writeString(state, "x".repeat(5000));
    assertFails(() -> open(BackupRule.REQUIRED), Reason.PROTOCOL, "longer than 4096 bytes");

    Files.writeString(state, "");
    assertFails(() -> open(BackupRule.REQUIRED), Reason.PROTOCOL, "line 1");

    Files.delete(state);
    Files.createDirectory(state);
    assertFails(() -> open(BackupRule.REQUIRED), Reason.UNAVAILABLE, "cannot read it");
  }

  @Test
  void leavesTheStateFileWhenItIsNotItsOwnAnyMore() throws Exception {
    NativeProvider.init(state, passphrase);
    try (NativeProvider provider = open(BackupRule.REQUIRED)) {
      Files.delete(state);
      NativeProvider.init(state, passphrase);
      String other = Files.readString(state);

      assertFails(() -> provider.backup(backup, backupPassphrase), Reason.WRONG_KEY, "expected: ");

      assertThat(state).hasContent(other);
      assertThat(backup).doesNotExist();
    }
  }

  @Test
  void tellsItsStateWithoutThePassphrase() throws Exception {
    assertThat(NativeProvider.inspect("native", state).state()).isEqualTo(State.UNAVAILABLE);

    NativeProvider.init(state, passphrase);
    ProviderStatus status = NativeProvider.inspect("native", state);

    assertThat(status.state()).isEqualTo(State.LOCKED);
    assertThat(status.type()).isEqualTo("native");
    assertThat(String.join(" ", status.details()))
        .contains("was made on 20")
        .contains("It has not been backed up");
  }

  @Test
  void refusesEveryUseAfterClose() throws Exception {
    NativeProvider.init(state, passphrase);
    NativeProvider provider = open(BackupRule.WAIVED);
    KeyReference reference = provider.create(LABEL);

    provider.close();
    provider.close();

    assertFails(() -> provider.create(LABEL), Reason.UNAVAILABLE, "is closed");
    assertFails(() -> provider.open(reference), Reason.UNAVAILABLE, "is closed");
    assertFails(() -> provider.backup(backup, backupPassphrase), Reason.UNAVAILABLE, "is closed");
    assertThat(provider.status().state()).isEqualTo(State.CLOSED);
  }

  @Test
  void isFoundByItsType() throws Exception {
    NativeProvider.init(state, passphrase);
    Map<String, String> settings =
        Map.of(
            "stateFile", state.toString(),
            "passphraseFile", passphrase.toString(),
            "backup", "waived");

    try (ExportingProvider provider =
        (ExportingProvider) KeyProviders.open("native", "mine", settings)) {
      assertThat(provider.name()).isEqualTo("mine");
      assertThat(provider.create(LABEL).provider()).isEqualTo("mine");
    }
  }

  @Test
  void saysWhichSettingIsWrong() {
    assertFails(
        () -> KeyProviders.open("magic", "mine", Map.of()),
        Reason.NOT_FOUND,
        "key provider mine: type \"magic\" (expected: one of kmip, native");
    assertFails(
        () -> KeyProviders.open("native", "mine", Map.of("stateFile", "s", "typo", "x")),
        Reason.PROTOCOL,
        "setting \"typo\": unknown");
    assertFails(
        () -> KeyProviders.open("native", "mine", Map.of("stateFile", "s")),
        Reason.PROTOCOL,
        "setting passphraseFile: missing");
    assertFails(
        () ->
            KeyProviders.open(
                "native",
                "mine",
                Map.of("stateFile", "s", "passphraseFile", "p", "backup", "later")),
        Reason.PROTOCOL,
        "(expected: required or waived)");
  }

  @Test
  void saysWhenItCouldNotBeOpenedAgain() throws Exception {
    NativeProvider.init(state, passphrase);
    try (NativeProvider provider =
        NativeProvider.open("native", state, passphrase, BackupRule.WAIVED)) {
      assertThat(provider.probe().health()).isEqualTo(ProviderStatus.Health.GREEN);
      assertThat(provider.probe().needs().files()).containsExactly(state, passphrase);
      assertThat(provider.probe().needs().keeping()).isEqualTo(ProviderNeeds.Keeping.HERE_ONLY);

      Path away = Files.move(passphrase, passphrase.resolveSibling("away"));

      assertThat(provider.status().health()).isEqualTo(ProviderStatus.Health.GREEN);
      assertThat(provider.probe().health()).isEqualTo(ProviderStatus.Health.YELLOW);
      assertThat(provider.probe().details().getLast()).contains("could not be opened again");
      Files.move(away, passphrase);
      assertThat(provider.probe().health()).isEqualTo(ProviderStatus.Health.GREEN);
    }
  }
}
