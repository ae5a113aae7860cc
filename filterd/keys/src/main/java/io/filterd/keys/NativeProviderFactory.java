package io.filterd.keys;

import io.filterd.keys.KeyException.Reason;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/**
 * Opens {@link NativeProvider}s. Settings: {@code stateFile} and {@code passphraseFile}, names of
 * files; {@code backup}, whether a backup is {@code required} (default) or {@code waived}.
 */
public final class NativeProviderFactory implements KeyProviderFactory {
  private static final String STATE_FILE = "stateFile";
  private static final String PASSPHRASE_FILE = "passphraseFile";
  private static final String BACKUP = "backup";

  @Override
  public String type() {
    return NativeProvider.TYPE;
  }

  @Override
  public KeyProvider open(String name, Map<String, String> settings) throws KeyException {
    TreeSet<String> unknown = new TreeSet<>(settings.keySet());
    unknown.removeAll(Set.of(STATE_FILE, PASSPHRASE_FILE, BACKUP));
    if (!unknown.isEmpty()) {
      throw bad(
          name,
          KeyReference.quoted(unknown.first()),
          "unknown (expected: " + STATE_FILE + ", " + PASSPHRASE_FILE + " or " + BACKUP + ")");
    }
    Path stateFile = path(name, settings, STATE_FILE);
    Path passphraseFile = path(name, settings, PASSPHRASE_FILE);
    return NativeProvider.open(name, stateFile, passphraseFile, rule(name, settings));
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
