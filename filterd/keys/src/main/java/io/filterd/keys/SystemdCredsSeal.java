package io.filterd.keys;

import io.filterd.crypto.SecretBytes;
import io.filterd.keys.KeyException.Reason;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * A random secret that {@code systemd-creds} has encrypted with the host's key, its TPM's, or both.
 * Needs root.
 *
 * @param file where the credential is
 * @param key what new ones are encrypted with: {@code auto}, {@code host}, {@code tpm2} or {@code
 *     host+tpm2}
 */
record SystemdCredsSeal(Path file, String key) implements Seal {
  static final String KIND = "systemd-creds";
  static final List<String> KEYS = List.of("auto", "host", "tpm2", "host+tpm2");

  private static final String PROGRAM = "systemd-creds";
  private static final String NAME = "--name=filterd-native";
  private static final int MAX_FILE_BYTES = 16384;

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
    return "Its state is sealed by a credential of systemd (key: " + key + ").";
  }

  @Override
  public SecretBytes make() throws KeyException {
    if (Files.exists(file)) {
      throw SealedKeyFile.exists(file, null);
    }
    SecretBytes secret = SecretBytes.random(SealTool.SECRET_BYTES);
    boolean done = false;
    try {
      byte[] credential =
          SealTool.inFolder(
              folder -> {
                Path made = folder.resolve("credential");
                SealTool.feed(
                    List.of(PROGRAM, "encrypt", "--with-key=" + key, NAME, "-", made.toString()),
                    secret);
                return SealedKeyFile.read(made, MAX_FILE_BYTES);
              });
      SealedKeyFile.create(file, credential);
      done = true;
      return secret;
    } catch (SealTool.Failed failure) {
      throw new KeyException(
          Reason.UNAVAILABLE,
          "%s: systemd-creds does not make it: %s".formatted(file, failure.lastLine()),
          failure);
    } finally {
      if (!done) {
        secret.close();
      }
    }
  }

  @Override
  public SecretBytes open() throws KeyException {
    if (!Files.exists(file)) {
      throw new KeyException(Reason.NOT_FOUND, file + ": there is no such file");
    }
    try {
      return SealTool.read(List.of(PROGRAM, "decrypt", NAME, file.toString(), "-"));
    } catch (SealTool.Failed failure) {
      throw new KeyException(
          Reason.DENIED,
          "%s: systemd-creds does not open it: %s; if this is not the host that made it, or its key was changed: %s"
              .formatted(file, failure.lastLine(), SealedKeyFile.RESTORE_SENTENCE),
          failure);
    }
  }

  @Override
  public void discard() throws KeyException {
    SealedKeyFile.delete(file);
  }

  @Override
  public String refusal() {
    return "the secret in the credential %s does not open it: they do not belong together, or it was changed"
        .formatted(file);
  }
}
