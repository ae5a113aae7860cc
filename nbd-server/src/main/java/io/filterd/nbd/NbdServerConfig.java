package io.filterd.nbd;

import java.net.SocketAddress;
import java.nio.file.attribute.PosixFilePermission;
import java.time.Duration;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Where a server listens, and the limits it puts on clients. {@link #on} has the defaults, {@link
 * #toBuilder} changes single ones.
 *
 * @param listen where; those that have no limits of their own take the ones below
 * @param transport how the kernel is asked
 * @param unixSocketMode the permissions of Unix socket files that say no others
 * @param maxConnections connections at once on each listener; more are closed at once
 * @param handshakeTimeout from one option to the next, and for the first one; with the time it
 *     takes to open an export
 * @param idleTimeout how long a client may send nothing after the handshake, with nothing of its in
 *     hand; zero for ever
 * @param stallTimeout how long a client may pause inside a request or leave its replies unread; at
 *     most 5 s while other clients wait for {@code maxTotalBytesInFlight}
 * @param drainTimeout how long requests in flight may take when a session is ended
 * @param maxOptions options in one handshake
 * @param maxOptionBytes data of one option; longer options are refused
 * @param maxPayloadBytes data of one read or write, if {@code maxBytesInFlight} is not less; longer
 *     ones are refused. What is longer than a device takes at once is given to it in pieces
 * @param maxRequestsInFlight requests of one connection that are being worked on; more are not read
 *     from its socket before one of these is answered
 * @param maxBytesInFlight data of one connection's requests that are being worked on, or wait for
 *     the client to read them
 * @param maxTotalBytesInFlight the same for all connections together; each may have 64 KiB more, so
 *     that small requests always go on
 * @param inlineBytes requests up to this long are tried on the event loop, without blocking
 * @param maxClientLogLines lines a minute about bad clients, for each listener; what is left out is
 *     counted
 * @param workers threads that all exports share for requests that block or are long; a slow export
 *     never takes the last ones, and each has two of its own besides
 * @param tls how clients may or must use TLS, where their listener does not say it; null if they
 *     can't
 */
public record NbdServerConfig(
    List<Listener> listen,
    Transport transport,
    Set<PosixFilePermission> unixSocketMode,
    int maxConnections,
    Duration handshakeTimeout,
    Duration idleTimeout,
    Duration stallTimeout,
    Duration drainTimeout,
    int maxOptions,
    int maxOptionBytes,
    int maxPayloadBytes,
    int maxRequestsInFlight,
    int maxBytesInFlight,
    long maxTotalBytesInFlight,
    int maxClientLogLines,
    int inlineBytes,
    int workers,
    @Nullable Tls tls) {
  /** How the kernel is asked for what happens on sockets. */
  public enum Transport {
    /**
     * Epoll, and where there is none, the JDK's own selector; or what the system property {@code
     * io.filterd.nbd.transport} says: epoll, io_uring or nio.
     */
    AUTO,
    EPOLL,
    /** Takes no sockets from systemd. A server that has TLS uses epoll instead. */
    IO_URING,
    /** The JDK's own selector: neither abstract names nor sockets from systemd. */
    NIO
  }

  /**
   * What clients may send that negotiate no block sizes (proto.md, "Block size constraints"): the
   * least that {@code maxPayloadBytes} and {@code maxBytesInFlight} can be.
   */
  public static final int LEAST_PAYLOAD_BYTES = 32 << 20;

  /** Checks the limits. */
  public NbdServerConfig {
    listen = List.copyOf(listen);
    unixSocketMode = Set.copyOf(unixSocketMode);
    positive("stallTimeout", stallTimeout);
    positive("drainTimeout", drainTimeout);
    // LIST_META_CONTEXT carries a name and queries of 4096 bytes each (proto.md, "Conventions").
    atLeast("maxOptionBytes", maxOptionBytes, 16 << 10);
    atLeast("maxPayloadBytes", maxPayloadBytes, LEAST_PAYLOAD_BYTES);
    atMost("maxPayloadBytes", maxPayloadBytes, 1 << 30);
    check(
        new Listener.Limits(
            maxConnections,
            handshakeTimeout,
            idleTimeout,
            maxOptions,
            maxRequestsInFlight,
            maxBytesInFlight),
        maxTotalBytesInFlight);
    for (Listener each : listen) {
      Listener.Limits own = each.limits();
      if (own != null) {
        check(own, maxTotalBytesInFlight);
      }
      if (tls == null && each.tlsMode() != null && each.tlsMode() != Tls.Mode.OFF) {
        throw new IllegalArgumentException(
            "tlsMode: " + each.tlsMode() + " without credentials (expected: OFF, or tls)");
      }
    }
    atLeast("maxClientLogLines", maxClientLogLines, 1);
    atLeast("inlineBytes", inlineBytes, 0);
    atLeast("workers", workers, 2);
  }

  private static void check(Listener.Limits limits, long maxTotalBytesInFlight) {
    atLeast("maxBytesInFlight", limits.maxBytesInFlight(), LEAST_PAYLOAD_BYTES);
    atLeast("maxTotalBytesInFlight", maxTotalBytesInFlight, limits.maxBytesInFlight());
  }

  static void atLeast(String name, long value, long least) {
    if (value < least) {
      throw new IllegalArgumentException(name + ": " + value + " (expected: >= " + least + ")");
    }
  }

  private static void atMost(String name, long value, long most) {
    if (value > most) {
      throw new IllegalArgumentException(name + ": " + value + " (expected: <= " + most + ")");
    }
  }

  static void positive(String name, Duration value) {
    if (value.isNegative() || value.isZero()) {
      throw new IllegalArgumentException(name + ": " + value + " (expected: > 0)");
    }
  }

  /** Listens there, with the limits that fit a host of disks. */
  public static NbdServerConfig on(List<SocketAddress> listen) {
    return new NbdServerConfig(
        listen.stream().map(Listener::on).toList(),
        Transport.AUTO,
        Set.of(PosixFilePermission.OWNER_READ, PosixFilePermission.OWNER_WRITE),
        1024,
        Duration.ofSeconds(10),
        Duration.ZERO,
        Duration.ofSeconds(60),
        Duration.ofSeconds(20),
        4096,
        64 << 10,
        64 << 20,
        128,
        64 << 20,
        96 << 20,
        60,
        256 << 10,
        32,
        null);
  }

  /** The longest read or write that a client may ask for, in bytes. */
  int longestPayloadBytes() {
    return Math.min(maxPayloadBytes, maxBytesInFlight);
  }

  /** What a listener's clients may do, if it says nothing else. */
  public Listener.Limits limits() {
    return new Listener.Limits(
        maxConnections,
        handshakeTimeout,
        idleTimeout,
        maxOptions,
        maxRequestsInFlight,
        maxBytesInFlight);
  }

  /** This configuration, with the limits and the TLS mode of one listener. */
  NbdServerConfig with(Listener listener) {
    Listener.Limits own = listener.limits() == null ? limits() : listener.limits();
    return toBuilder()
        .tls(
            tls == null || listener.tlsMode() == null
                ? tls
                : new Tls(listener.tlsMode(), tls.credentials()))
        .maxConnections(own.maxConnections())
        .handshakeTimeout(own.handshakeTimeout())
        .idleTimeout(own.idleTimeout())
        .maxOptions(own.maxOptions())
        .maxRequestsInFlight(own.maxRequestsInFlight())
        .maxBytesInFlight(own.maxBytesInFlight())
        .build();
  }

  /** Starts from this configuration. */
  public Builder toBuilder() {
    return new Builder(this);
  }

  /** Changes single settings; the names are those of the record. For one thread. */
  public static final class Builder {
    private List<Listener> listen;
    private Transport transport;
    private Set<PosixFilePermission> unixSocketMode;
    private int maxConnections;
    private Duration handshakeTimeout;
    private Duration idleTimeout;
    private Duration stallTimeout;
    private Duration drainTimeout;
    private int maxOptions;
    private int maxOptionBytes;
    private int maxPayloadBytes;
    private int maxRequestsInFlight;
    private int maxBytesInFlight;
    private long maxTotalBytesInFlight;
    private int maxClientLogLines;
    private int inlineBytes;
    private int workers;
    private @Nullable Tls tls;

    private Builder(NbdServerConfig start) {
      this.listen = start.listen;
      this.transport = start.transport;
      this.unixSocketMode = start.unixSocketMode;
      this.maxConnections = start.maxConnections;
      this.handshakeTimeout = start.handshakeTimeout;
      this.idleTimeout = start.idleTimeout;
      this.stallTimeout = start.stallTimeout;
      this.drainTimeout = start.drainTimeout;
      this.maxOptions = start.maxOptions;
      this.maxOptionBytes = start.maxOptionBytes;
      this.maxPayloadBytes = start.maxPayloadBytes;
      this.maxRequestsInFlight = start.maxRequestsInFlight;
      this.maxBytesInFlight = start.maxBytesInFlight;
      this.maxTotalBytesInFlight = start.maxTotalBytesInFlight;
      this.maxClientLogLines = start.maxClientLogLines;
      this.inlineBytes = start.inlineBytes;
      this.workers = start.workers;
      this.tls = start.tls;
    }

    public Builder listen(List<Listener> value) {
      listen = value;
      return this;
    }

    public Builder transport(Transport value) {
      transport = value;
      return this;
    }

    public Builder unixSocketMode(Set<PosixFilePermission> value) {
      unixSocketMode = value;
      return this;
    }

    public Builder maxConnections(int value) {
      maxConnections = value;
      return this;
    }

    public Builder handshakeTimeout(Duration value) {
      handshakeTimeout = value;
      return this;
    }

    public Builder idleTimeout(Duration value) {
      idleTimeout = value;
      return this;
    }

    public Builder stallTimeout(Duration value) {
      stallTimeout = value;
      return this;
    }

    public Builder drainTimeout(Duration value) {
      drainTimeout = value;
      return this;
    }

    public Builder maxOptions(int value) {
      maxOptions = value;
      return this;
    }

    public Builder maxOptionBytes(int value) {
      maxOptionBytes = value;
      return this;
    }

    public Builder maxPayloadBytes(int value) {
      maxPayloadBytes = value;
      return this;
    }

    public Builder maxRequestsInFlight(int value) {
      maxRequestsInFlight = value;
      return this;
    }

    public Builder maxBytesInFlight(int value) {
      maxBytesInFlight = value;
      return this;
    }

    public Builder maxTotalBytesInFlight(long value) {
      maxTotalBytesInFlight = value;
      return this;
    }

    public Builder maxClientLogLines(int value) {
      maxClientLogLines = value;
      return this;
    }

    public Builder inlineBytes(int value) {
      inlineBytes = value;
      return this;
    }

    public Builder workers(int value) {
      workers = value;
      return this;
    }

    public Builder tls(@Nullable Tls value) {
      tls = value;
      return this;
    }

    /** The configuration, checked. */
    public NbdServerConfig build() {
      return new NbdServerConfig(
          listen,
          transport,
          unixSocketMode,
          maxConnections,
          handshakeTimeout,
          idleTimeout,
          stallTimeout,
          drainTimeout,
          maxOptions,
          maxOptionBytes,
          maxPayloadBytes,
          maxRequestsInFlight,
          maxBytesInFlight,
          maxTotalBytesInFlight,
          maxClientLogLines,
          inlineBytes,
          workers,
          tls);
    }
  }
}
