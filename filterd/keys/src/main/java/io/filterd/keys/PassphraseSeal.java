package io.filterd.keys;

import io.filterd.crypto.SecretBytes;
import java.nio.file.Path;
import java.util.List;

/** A passphrase in a file, which the operator makes. */
record PassphraseSeal(Path file) implements Seal {
  static final String KIND = "passphrase";

  @Override
  public List<Path> files() {
    return List.of(file);
  }

  @Override
  public String kind() {
    return KIND;
  }

  @Override
  public String sentence() {
    return "Its state is sealed by the passphrase in " + file + ".";
  }

  @Override
  public SecretBytes open() throws KeyException {
    return PassphraseFile.read(file);
  }

  @Override
  public SecretBytes make() throws KeyException {
    return PassphraseFile.read(file);
  }

  @Override
  public void discard() {
    // It is the operator's.
  }

  @Override
  public String refusal() {
    return "the passphrase in " + file + " does not open it, or the file was changed";
  }
}
