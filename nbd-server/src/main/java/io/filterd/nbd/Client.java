package io.filterd.nbd;

import io.filterd.nbd.wire.Strings;
import io.netty.util.NetUtil;
import java.net.InetSocketAddress;

/**
 * Who is at the other end of a connection, as far as it is proven: where it connects from, and who
 * it has shown to be inside TLS. Its text names it for people and logs, on one line.
 *
 * @param origin where it connects from
 * @param inTls whether everything it sends and gets goes through TLS
 * @param identity who it has proven to be; {@link Identity.Unproven} without TLS
 */
public record Client(Origin origin, boolean inTls, Identity identity) {
  /** Where a client connects from. */
  public sealed interface Origin {
    /** A TCP connection from this address. */
    record Tcp(InetSocketAddress address) implements Origin {
      @Override
      public String toString() {
        return NetUtil.toSocketAddressString(address);
      }
    }

    /** A Unix socket, whose other end was opened by this process, as the kernel says. */
    record Unix(int pid, int uid, int gid) implements Origin {
      @Override
      public String toString() {
        return "unix:pid=" + pid + ",uid=" + uid;
      }
    }

    /** Another kind of socket, or a Unix socket of which the kernel says nothing. */
    record Unknown(String name) implements Origin {
      @Override
      public String toString() {
        return name;
      }
    }
  }

  /** Who a client has proven to be. */
  public sealed interface Identity {
    /** Nobody in particular: without TLS, or TLS without a certificate of the client. */
    record Unproven() implements Identity {
      @Override
      public String toString() {
        return "";
      }
    }

    /**
     * The holder of a certificate's key; the certificate is valid and signed by the configured
     * authority.
     *
     * @param subject its distinguished name, as RFC 2253 writes it
     * @param sha256 the fingerprint of the certificate, in lower-case hexadecimal
     */
    record Certificate(String subject, String sha256) implements Identity {
      @Override
      public String toString() {
        return "certificate:" + Strings.printable(subject);
      }
    }

    /** The holder of the pre-shared key of this name. */
    record PreSharedKey(String name) implements Identity {
      @Override
      public String toString() {
        return "psk:" + Strings.printable(name);
      }
    }
  }

  /** A client that has proven nothing. */
  static Client from(Origin origin) {
    return new Client(origin, false, new Identity.Unproven());
  }

  /** The same client inside TLS. */
  Client inTls(Identity proven) {
    return new Client(origin, true, proven);
  }

  @Override
  public String toString() {
    String who = identity.toString();
    return who.isEmpty() ? origin.toString() : origin + "/" + who;
  }
}
