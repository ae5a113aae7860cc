package io.filterd.nbd;

import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.UnixDomainSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
import java.time.Duration;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * A place where a server listens, and what the clients there may do. What idle or hostile clients
 * use up here, they use up for this listener only.
 *
 * @param place where
 * @param limits null for those of the {@link NbdServerConfig}
 * @param tlsMode whether clients here must use TLS; null for the mode of the configuration's {@link
 *     Tls}, which has the credentials for all listeners
 */
public record Listener(Place place, @Nullable Limits limits, Tls.@Nullable Mode tlsMode) {
  /** The kernel's limit for the name of a Unix socket, in bytes. */
  static final int MAX_UNIX_NAME_BYTES = 107;

  /** Where a server can listen. */
  public sealed interface Place {}

  /**
   * A TCP address, of IPv4 or IPv6. The unspecified address of IPv6 takes clients of both, all
   * others those of their own version.
   *
   * @param address port 0 takes a free one
   */
  public record Tcp(InetSocketAddress address) implements Place {}

  /**
   * A Unix socket in the file system. It appears with its mode and owners, never without; its
   * folder must allow this process to make a folder in it.
   *
   * @param path the socket; if nobody listens on it any more it is replaced
   * @param mode its permissions; null for the configuration's
   * @param owner the user, by name or number; null for the one of this process
   * @param group the group, by name or number; null for the one that the folder gives it
   */
  public record Unix(
      Path path,
      @Nullable Set<PosixFilePermission> mode,
      @Nullable String owner,
      @Nullable String group)
      implements Place {
    /** Keeps a copy of the mode. */
    public Unix {
      mode = mode == null ? null : Set.copyOf(mode);
    }
  }

  /**
   * A Unix socket in the abstract namespace (unix(7)), which every process of the network namespace
   * may connect to.
   *
   * @param name at most 107 bytes, without the leading NUL
   */
  public record AbstractUnix(String name) implements Place {
    /** Checks the name. */
    public AbstractUnix {
      int bytes = name.getBytes(StandardCharsets.UTF_8).length;
      if (bytes < 1 || bytes > MAX_UNIX_NAME_BYTES) {
        throw new IllegalArgumentException(
            "name: " + bytes + " bytes (expected: 1.." + MAX_UNIX_NAME_BYTES + ")");
      }
    }
  }

  /**
   * Sockets that systemd has opened for this process (sd_listen_fds(3)): TCP or Unix, listening.
   * They belong to the server from then on, so they can be had once.
   *
   * @param name their {@code FileDescriptorName=}; empty for all
   */
  public record Systemd(String name) implements Place {}

  /**
   * What clients may do; see {@link NbdServerConfig} for each.
   *
   * @param maxConnections at once, on this listener
   * @param handshakeTimeout from one option to the next
   * @param idleTimeout how long a client may send nothing after the handshake; zero for ever
   * @param maxOptions in one handshake
   * @param maxRequestsInFlight of one connection
   * @param maxBytesInFlight of one connection
   */
  public record Limits(
      int maxConnections,
      Duration handshakeTimeout,
      Duration idleTimeout,
      int maxOptions,
      int maxRequestsInFlight,
      int maxBytesInFlight) {
    /** Checks the limits. */
    public Limits {
      NbdServerConfig.atLeast("maxConnections", maxConnections, 1);
      NbdServerConfig.positive("handshakeTimeout", handshakeTimeout);
      if (idleTimeout.isNegative()) {
        throw new IllegalArgumentException("idleTimeout: " + idleTimeout + " (expected: >= 0)");
      }
      NbdServerConfig.atLeast("maxOptions", maxOptions, 4);
      NbdServerConfig.atLeast("maxRequestsInFlight", maxRequestsInFlight, 1);
    }
  }

  /**
   * Listens there, with the configuration's limits.
   *
   * @param address {@code InetSocketAddress} or {@code UnixDomainSocketAddress}
   */
  public static Listener on(SocketAddress address) {
    Place place =
        switch (address) {
          case InetSocketAddress inet -> new Tcp(inet);
          case UnixDomainSocketAddress unix -> new Unix(unix.getPath(), null, null, null);
          default ->
              throw new IllegalArgumentException(
                  "address: " + address + " (expected: of TCP or a Unix socket)");
        };
    return at(place);
  }

  /** Listens there, with the configuration's limits. */
  public static Listener at(Place place) {
    return new Listener(place, null, null);
  }

  /** The same place with limits of its own. */
  public Listener with(Limits own) {
    return new Listener(place, own, tlsMode);
  }

  /**
   * The same place with a TLS mode of its own: a Unix socket may do without what TCP requires.
   * Other modes than OFF need credentials in the configuration.
   */
  public Listener with(Tls.Mode own) {
    return new Listener(place, limits, own);
  }
}
