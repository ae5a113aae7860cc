package io.filterd.keys;

import io.filterd.crypto.SecretBytes;
import java.nio.file.Path;
import java.util.List;

/**
 * Where the secret comes from that seals a native provider's state file: a passphrase file, the
 * host's TPM, or systemd's credentials. The state file's format is the same for all: what the kinds
 * differ in is who gives the passphrase.
 */
public interface Seal {
  /** The kind's name in the configuration. */
  String kind();

  /** The files of this host that the secret comes from. */
  List<Path> files();

  /** Where the secret is, as a whole sentence for people. */
  String sentence();

  /**
   * The secret. The caller closes it.
   *
   * @throws KeyException with {@code DENIED} if this host does not give it any more, {@code
   *     NOT_FOUND} if there is none yet, {@code UNAVAILABLE} if it can't just now
   */
  SecretBytes open() throws KeyException;

  /**
   * Makes a new secret, if it is one of this kind's own making, and returns it. The caller closes
   * it.
   *
   * @throws KeyException with {@code DENIED} if there is one already
   */
  SecretBytes make() throws KeyException;

  /** Forgets the secret, if it is one of this kind's own making, so that a new one can be made. */
  void discard() throws KeyException;

  /** What it means that the secret does not open the state file: the end of a sentence about it. */
  String refusal();
}
