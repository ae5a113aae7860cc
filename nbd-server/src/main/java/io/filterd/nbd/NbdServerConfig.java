package io.filterd.nbd;

import java.net.SocketAddress;
import java.nio.file.attribute.PosixFilePermission;
import java.time.Duration;
import java.util.List;
import java.util.Set;

/**
 * Where a server listens, and the limits it puts on clients.
 *
 * @param listen the addresses: {@code InetSocketAddress} (port 0 takes a free one) or {@code
 *     UnixDomainSocketAddress}
 * @param unixSocketMode the permissions of Unix socket files
 * @param maxConnections connections at once; more are closed at once
 * @param handshakeTimeout from connecting to the transmission phase
 * @param stallTimeout how long a client may pause inside a request or leave its replies unread
 * @param drainTimeout how long requests in flight may take when a session is ended
 * @param maxOptions options in one handshake
 * @param maxOptionBytes data of one option
 * @param maxPayloadBytes data of one read or write
 * @param maxRequestsInFlight requests of one connection that are being worked on
 * @param maxBytesInFlight data of one connection's requests that are being worked on
 * @param inlineBytes requests up to this long are tried on the event loop, without blocking
 * @param workers threads for requests that block
 */
public record NbdServerConfig(
    List<SocketAddress> listen,
    Set<PosixFilePermission> unixSocketMode,
    int maxConnections,
    Duration handshakeTimeout,
    Duration stallTimeout,
    Duration drainTimeout,
    int maxOptions,
    int maxOptionBytes,
    int maxPayloadBytes,
    int maxRequestsInFlight,
    int maxBytesInFlight,
    int inlineBytes,
    int workers) {
  /** Checks the limits. */
  public NbdServerConfig {
    listen = List.copyOf(listen);
    unixSocketMode = Set.copyOf(unixSocketMode);
    atLeast("maxConnections", maxConnections, 1);
    atLeast("maxOptions", maxOptions, 4);
    // LIST_META_CONTEXT carries a name and queries of 4096 bytes each (proto.md, "Conventions").
    atLeast("maxOptionBytes", maxOptionBytes, 16 << 10);
    // Clients that negotiate no block sizes may send this much (proto.md, "Block size
    // constraints").
    atLeast("maxPayloadBytes", maxPayloadBytes, 32 << 20);
    atLeast("maxRequestsInFlight", maxRequestsInFlight, 1);
    atLeast("maxBytesInFlight", maxBytesInFlight, maxPayloadBytes);
    atLeast("inlineBytes", inlineBytes, 0);
    atLeast("workers", workers, 1);
  }

  private static void atLeast(String name, int value, int least) {
    if (value < least) {
      throw new IllegalArgumentException(name + ": " + value + " (expected: >= " + least + ")");
    }
  }

  /** Listens there, with the limits that fit a host of disks. */
  public static NbdServerConfig on(List<SocketAddress> listen) {
    return new NbdServerConfig(
        listen,
        Set.of(PosixFilePermission.OWNER_READ, PosixFilePermission.OWNER_WRITE),
        1024,
        Duration.ofSeconds(10),
        Duration.ofSeconds(60),
        Duration.ofSeconds(20),
        64,
        64 << 10,
        32 << 20,
        128,
        64 << 20,
        256 << 10,
        32);
  }
}
