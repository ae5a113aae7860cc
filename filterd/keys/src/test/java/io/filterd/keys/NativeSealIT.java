package io.filterd.keys;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.keys.KeyException.Reason;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.HashMap;
import java.util.Map;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * A native provider whose state is sealed by a TPM or systemd. Needs Debian's swtpm, swtpm-tools,
 * tpm2-tools, libtss2-tcti-swtpm0 and systemd, and root for the last.
 */
class NativeSealIT {
  private static final KeyLabel LABEL = new KeyLabel(KeyLabel.Scope.VM, "vm1");

  @TempDir Path folder;
  private Path state;
  private final Map<String, String> settings = new HashMap<>();

  @BeforeEach
  void writePassphrase() throws IOException {
    state = folder.resolve("native.provider");
    Path passphrase = folder.resolve("passphrase");
    Files.writeString(passphrase, "correct horse\n");
    Files.setPosixFilePermissions(passphrase, PosixFilePermissions.fromString("rw-------"));
    settings.put("stateFile", state.toString());
    settings.put("passphraseFile", passphrase.toString());
    settings.put("backup", "waived");
  }

  private Seal seal(String kind) throws KeyException {
    Map<String, String> changed = new HashMap<>(settings);
    changed.put("seal", kind);
    return NativeSettings.of("native", changed).seal();
  }

  private NativeProvider open(String kind) throws KeyException {
    return NativeProvider.open("native", state, seal(kind), BackupRule.WAIVED);
  }

  private static void assertFails(ThrowingCallable call, Reason reason, String message) {
    assertThatThrownBy(call)
        .isInstanceOfSatisfying(
            KeyException.class,
            failure -> assertThat(failure.reason()).as(String.valueOf(failure)).isEqualTo(reason))
        .hasMessageContaining(message);
  }

  private KeyReference made(String kind) throws KeyException {
    NativeProvider.init(state, seal(kind));
    try (NativeProvider provider = open(kind)) {
      return provider.create(LABEL);
    }
  }

  private void assertOpens(String kind, KeyReference reference) throws KeyException {
    // Its check value would tell another key.
    try (NativeProvider provider = open(kind);
        KeyEncryptionKey key = provider.open(reference)) {
      assertThat(key.reference()).isEqualTo(reference);
    }
  }

  @Test
  void aTpmOpensTheStateAfterARestartAndRefusesItWhenItsPcrsDiffer()
      throws IOException, InterruptedException, KeyException {
    try (SoftTpm tpm = new SoftTpm(folder.resolve("tpm"))) {
      settings.put("tcti", tpm.tcti());
      settings.put("pcrs", "sha256:7");
      KeyReference reference = made("tpm2");
      Path sealed = folder.resolve("native.provider.tpm2");
      assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(sealed)))
          .isEqualTo("rw-------");

      tpm.restart();
      for (int time = 0; time < 3; time++) {
        assertOpens("tpm2", reference);
      }

      tpm.tool("tpm2_pcrextend", "7:sha256=" + "ab".repeat(32));
      assertFails(
          () -> open("tpm2"),
          Reason.DENIED,
          sealed + ": the TPM does not unseal it: its PCRs are not what they were");
      assertFails(() -> open("tpm2"), Reason.DENIED, "run `filterd provider restore`");

      tpm.restart();
      assertOpens("tpm2", reference);

      tpm.stop();
      assertFails(() -> open("tpm2"), Reason.UNAVAILABLE, "Could not load tcti");
    }
  }

  @Test
  void aTpmThatWasClearedIsAnotherOneAndTheBackupHelps()
      throws IOException, InterruptedException, KeyException {
    try (SoftTpm tpm = new SoftTpm(folder.resolve("tpm"))) {
      settings.put("tcti", tpm.tcti());
      KeyReference reference = made("tpm2");
      Path backup = folder.resolve("backup");
      Path passphrase = folder.resolve("passphrase");
      try (NativeProvider provider = open("tpm2")) {
        provider.backup(backup, passphrase);
        assertThat(provider.status().details())
            .contains("Its state is sealed by this host's TPM.", "It has been backed up.");
      }
      assertOpens("tpm2", reference);

      tpm.tool("tpm2_clear");
      assertFails(() -> open("tpm2"), Reason.DENIED, "sealed by another TPM, or this one was");

      Files.delete(state);
      assertFails(
          () -> NativeProvider.restore(backup, passphrase, state, seal("tpm2")),
          Reason.DENIED,
          "is there already");
      Files.delete(folder.resolve("native.provider.tpm2"));
      NativeProvider.restore(backup, passphrase, state, seal("tpm2"));
      assertOpens("tpm2", reference);
    }
  }

  @Test
  void changesFromEachSealToEachOther() throws IOException, InterruptedException, KeyException {
    try (SoftTpm tpm = new SoftTpm(folder.resolve("tpm"))) {
      settings.put("tcti", tpm.tcti());
      settings.put("pcrs", "sha256:0,7");
      settings.put("credentialKey", "host");
      KeyReference reference = made("passphrase");
      String before = "passphrase";
      for (String next :
          new String[] {
            "tpm2", "systemd-creds", "passphrase", "systemd-creds", "tpm2", "passphrase"
          }) {
        NativeProvider.reseal(state, seal(before), seal(next));

        assertOpens(next, reference);
        String last = before;
        assertFails(() -> open(last), Reason.DENIED, state + ": the ");
        before = next;
      }
      assertFails(
          () -> NativeProvider.reseal(state, seal("passphrase"), seal("passphrase")),
          Reason.UNSUPPORTED,
          "expected: another kind");
    }
  }

  @Test
  void systemdOpensTheStateWithTheHostsKeyOnly() throws IOException, KeyException {
    settings.put("credentialKey", "host");
    KeyReference reference = made("systemd-creds");
    assertOpens("systemd-creds", reference);

    Path credential = folder.resolve("native.provider.systemd-creds");
    String text = Files.readString(credential);
    int at = text.length() / 2;
    char other = text.charAt(at) == 'A' ? 'B' : 'A';
    Files.writeString(credential, text.substring(0, at) + other + text.substring(at + 1));
    assertFails(() -> open("systemd-creds"), Reason.DENIED, "systemd-creds does not open it");

    Files.delete(credential);
    assertFails(() -> open("systemd-creds"), Reason.NOT_FOUND, "there is no such file");
  }

  @Test
  void refusesASealedSecretThatIsNotAsWritten() throws IOException, KeyException {
    NativeProvider.init(state, seal("passphrase"));
    Path sealed = folder.resolve("native.provider.tpm2");
    assertFails(() -> open("tpm2"), Reason.NOT_FOUND, "there is no such file");
    for (String text :
        new String[] {
          "",
          "format=filterd-tpm2-seal\nversion=2\npcrs=\npublic=00\nprivate=00\n",
          "format=filterd-tpm2-seal\nversion=1\npcrs=-x\npublic=00\nprivate=00\n",
          "format=filterd-tpm2-seal\nversion=1\npcrs=\npublic=0\nprivate=00\n",
          "format=filterd-tpm2-seal\nversion=1\npcrs=\npublic=00\nprivate=00\nmore\n"
        }) {
      Files.writeString(sealed, text);
      assertFails(() -> open("tpm2"), Reason.PROTOCOL, "not as written");
    }
    Files.writeString(sealed, "x".repeat(9000));
    assertFails(() -> open("tpm2"), Reason.PROTOCOL, "longer than");
  }
}
