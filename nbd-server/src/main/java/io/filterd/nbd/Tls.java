package io.filterd.nbd;

import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * How a server does TLS (proto.md, "TLS support"). The files are looked at again for each
 * connection that asks for TLS, so that they can be replaced while the server runs.
 *
 * @param mode whether clients must, at listeners that do not say it themselves
 * @param credentials what the server proves itself with, and clients themselves
 */
public record Tls(Mode mode, Credentials credentials) {
  /** Whether clients must use TLS. */
  public enum Mode {
    /** There is none: only listeners that say otherwise have it ({@link Listener#with(Mode)}). */
    OFF,
    /**
     * They may (SELECTIVETLS); the owner of the exports can require it for single ones, see {@link
     * TlsRequiredException}.
     */
    ON,
    /** Without it, a client gets nothing (FORCEDTLS). */
    REQUIRE
  }

  /** What the two sides prove themselves with. */
  public sealed interface Credentials {}

  /**
   * The server shows an X.509 certificate. All files are PEM.
   *
   * @param certificate the server's own, and behind it those that lead to its authority
   * @param privateKey of the server's own certificate, without a passphrase
   * @param clientAuthorities who must have signed the certificate that a client has to show; null
   *     if clients need none
   */
  public record Certificates(Path certificate, Path privateKey, @Nullable Path clientAuthorities)
      implements Credentials {}

  /**
   * Both sides know a key.
   *
   * @param file lines {@code identity:key}, the key in hexadecimal, as GnuTLS's psktool writes them
   */
  public record PreSharedKeys(Path file) implements Credentials {}
}
