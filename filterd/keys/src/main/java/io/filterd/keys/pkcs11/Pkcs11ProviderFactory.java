package io.filterd.keys.pkcs11;

import io.filterd.keys.KeyException;
import io.filterd.keys.KeyException.Reason;
import io.filterd.keys.KeyProvider;
import io.filterd.keys.KeyProviderFactory;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/**
 * Opens providers of keys in PKCS#11 tokens. Settings: {@code module}, the absolute name of the
 * module's shared library; {@code tokenLabel} or {@code tokenSerial} or both, which token; {@code
 * pinFile}, the file with the user's PIN (mode 0600); {@code sessions}, how many threads use the
 * token at once (1..64, 8 by default).
 */
public final class Pkcs11ProviderFactory implements KeyProviderFactory {
  private static final String MODULE = "module";
  private static final String LABEL = "tokenLabel";
  private static final String SERIAL = "tokenSerial";
  private static final String PIN_FILE = "pinFile";
  private static final String SESSIONS = "sessions";
  private static final int MAX_SESSIONS = 64;

  @Override
  public String type() {
    return Pkcs11Provider.TYPE;
  }

  /** {@inheritDoc} Loads the module, and does not ask the token yet. */
  @Override
  public KeyProvider open(String name, Map<String, String> settings) throws KeyException {
    TreeSet<String> unknown = new TreeSet<>(settings.keySet());
    unknown.removeAll(Set.of(MODULE, LABEL, SERIAL, PIN_FILE, SESSIONS));
    if (!unknown.isEmpty()) {
      throw bad(
          name,
          unknown.first(),
          "unknown (expected: module, tokenLabel, tokenSerial, pinFile or sessions)");
    }
    TokenChoice choice =
        new TokenChoice(settings.getOrDefault(LABEL, ""), settings.getOrDefault(SERIAL, ""));
    if (choice.label().isEmpty() && choice.serial().isEmpty()) {
      throw bad(name, LABEL, "missing (expected: the token's label, or tokenSerial)");
    }
    Path file = path(name, settings, MODULE);
    if (!file.isAbsolute()) {
      throw bad(name, MODULE, file + " (expected: an absolute name)");
    }
    Path pinFile = path(name, settings, PIN_FILE);
    int sessions = sessions(name, settings.getOrDefault(SESSIONS, "8"));
    Cryptoki module = Cryptoki.load(file.normalize());
    return new Pkcs11Provider(
        name,
        "the token with %s of %s".formatted(choice, file),
        module,
        new Token(name, module, choice, pinFile, sessions));
  }

  private static Path path(String name, Map<String, String> settings, String setting)
      throws KeyException {
    String value = settings.getOrDefault(setting, "");
    if (value.isEmpty()) {
      throw bad(name, setting, "missing (expected: a file's name)");
    }
    try {
      return Path.of(value);
    } catch (InvalidPathException invalid) {
      throw bad(name, setting, "no file's name: " + invalid.getReason());
    }
  }

  private static int sessions(String name, String text) throws KeyException {
    if (text.matches("[1-9][0-9]?")) {
      int sessions = Integer.parseInt(text);
      if (sessions <= MAX_SESSIONS) {
        return sessions;
      }
    }
    throw bad(name, SESSIONS, "not so many (expected: 1.." + MAX_SESSIONS + ")");
  }

  private static KeyException bad(String name, String setting, String problem) {
    return new KeyException(
        Reason.PROTOCOL, "key provider %s: setting %s: %s".formatted(name, setting, problem));
  }
}
