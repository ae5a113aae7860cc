package io.filterd.keys;

import io.filterd.keys.KeyException.Reason;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/**
 * What the configuration says about a native provider. Its settings: {@code stateFile}, a file's
 * name; {@code seal}, where the secret that seals it comes from: {@code passphrase} (default) from
 * {@code passphraseFile}; {@code tpm2} from this host's TPM, reached by {@code tcti}, bound to
 * {@code pcrs}; {@code systemd-creds}, encrypted with {@code credentialKey}; {@code backup},
 * whether a backup is {@code required} (default) or {@code waived}. What another seal needs may
 * stand there.
 *
 * @param stateFile where the sealed key-derivation key is
 * @param seal what it is sealed by
 * @param rule whether there must be a backup
 */
public record NativeSettings(Path stateFile, Seal seal, BackupRule rule) {
  private static final String STATE_FILE = "stateFile";
  private static final String SEAL = "seal";
  private static final String PASSPHRASE_FILE = "passphraseFile";
  private static final String TCTI = "tcti";
  private static final String PCRS = "pcrs";
  private static final String CREDENTIAL_KEY = "credentialKey";
  private static final String BACKUP = "backup";

  /** The kernel's resource manager of the first TPM. */
  private static final String DEFAULT_TCTI = "device:/dev/tpmrm0";

  /**
   * Checks the settings of a provider.
   *
   * @param name the provider's name, for messages
   * @throws KeyException with {@code PROTOCOL} for a setting that is missing, unknown or wrong
   */
  public static NativeSettings of(String name, Map<String, String> settings) throws KeyException {
    TreeSet<String> unknown = new TreeSet<>(settings.keySet());
    unknown.removeAll(
        Set.of(STATE_FILE, SEAL, PASSPHRASE_FILE, TCTI, PCRS, CREDENTIAL_KEY, BACKUP));
    if (!unknown.isEmpty()) {
      throw bad(
          name,
          KeyReference.quoted(unknown.first()),
          "unknown (expected: stateFile, passphraseFile, seal, tcti, pcrs, credentialKey or backup)");
    }
    Path stateFile = path(name, settings, STATE_FILE);
    return new NativeSettings(stateFile, seal(name, settings, stateFile), rule(name, settings));
  }

  private static Seal seal(String name, Map<String, String> settings, Path stateFile)
      throws KeyException {
    String kind = settings.getOrDefault(SEAL, PassphraseSeal.KIND);
    Path file = stateFile.resolveSibling(stateFile.getFileName() + "." + kind);
    return switch (kind) {
      case PassphraseSeal.KIND -> new PassphraseSeal(path(name, settings, PASSPHRASE_FILE));
      case Tpm2Seal.KIND -> new Tpm2Seal(file, tcti(name, settings), pcrs(name, settings));
      case SystemdCredsSeal.KIND -> new SystemdCredsSeal(file, credentialKey(name, settings));
      default ->
          throw bad(
              name,
              SEAL,
              KeyReference.quoted(kind) + " (expected: passphrase, tpm2 or systemd-creds)");
    };
  }

  private static String tcti(String name, Map<String, String> settings) throws KeyException {
    String tcti = settings.getOrDefault(TCTI, DEFAULT_TCTI);
    if (tcti.isEmpty() || tcti.startsWith("-")) {
      throw bad(
          name, TCTI, KeyReference.quoted(tcti) + " (expected: for example " + DEFAULT_TCTI + ")");
    }
    return tcti;
  }

  private static String pcrs(String name, Map<String, String> settings) throws KeyException {
    String pcrs = settings.getOrDefault(PCRS, "");
    if (!Tpm2Seal.PCRS.matcher(pcrs).matches()) {
      throw bad(name, PCRS, KeyReference.quoted(pcrs) + " (expected: for example sha256:0,7)");
    }
    return pcrs;
  }

  private static String credentialKey(String name, Map<String, String> settings)
      throws KeyException {
    String key = settings.getOrDefault(CREDENTIAL_KEY, "auto");
    if (!SystemdCredsSeal.KEYS.contains(key)) {
      throw bad(
          name,
          CREDENTIAL_KEY,
          KeyReference.quoted(key)
              + " (expected: one of "
              + String.join(", ", SystemdCredsSeal.KEYS)
              + ")");
    }
    return key;
  }

  private static Path path(String name, Map<String, String> settings, String setting)
      throws KeyException {
    String value = settings.get(setting);
    if (value == null || value.isEmpty()) {
      throw bad(name, setting, "missing (expected: a file's name)");
    }
    try {
      return Path.of(value);
    } catch (InvalidPathException invalid) {
      throw bad(name, setting, KeyReference.quoted(value) + " (expected: a file's name)");
    }
  }

  private static BackupRule rule(String name, Map<String, String> settings) throws KeyException {
    String value = settings.getOrDefault(BACKUP, "required");
    return switch (value) {
      case "required" -> BackupRule.REQUIRED;
      case "waived" -> BackupRule.WAIVED;
      default ->
          throw bad(name, BACKUP, KeyReference.quoted(value) + " (expected: required or waived)");
    };
  }

  private static KeyException bad(String name, String setting, String problem) {
    return new KeyException(
        Reason.PROTOCOL, "key provider " + name + ": setting " + setting + ": " + problem);
  }
}
