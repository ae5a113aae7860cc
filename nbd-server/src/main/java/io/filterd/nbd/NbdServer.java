package io.filterd.nbd;

import io.filterd.nbd.tls.CertificateFiles;
import io.filterd.nbd.tls.TlsKeys;
import io.netty.channel.Channel;
import io.netty.channel.ChannelFuture;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.WriteBufferWaterMark;
import io.netty.channel.epoll.EpollDomainSocketChannel;
import io.netty.channel.unix.PeerCredentials;
import io.netty.channel.uring.IoUringDomainSocketChannel;
import io.netty.util.concurrent.DefaultThreadFactory;
import io.netty.util.internal.PlatformDependent;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Serves block devices by the NBD protocol, on TCP and Unix sockets of its own and on those that
 * systemd hands over. Safe for many threads.
 */
public final class NbdServer implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(NbdServer.class);

  /** Replies that wait for a client to read them, before no more of its requests are read. */
  private static final WriteBufferWaterMark REPLIES =
      new WriteBufferWaterMark(256 << 10, 512 << 10);

  private final NbdServerConfig config;
  private final Sessions sessions;
  private final EventLoopGroup loops;
  private final AtomicBoolean closed = new AtomicBoolean();
  private final Listening listening;

  /** The addresses whose clients must use TLS. */
  private final Set<SocketAddress> tlsOnly = ConcurrentHashMap.newKeySet();

  private NbdServer(NbdServerConfig config, Exports exports, @Nullable TlsKeys tlsKeys) {
    this.config = config;
    Channels channels = Channels.of(config.transport(), config.tls() != null);
    this.loops =
        new MultiThreadIoEventLoopGroup(
            Math.max(1, Runtime.getRuntime().availableProcessors()),
            new DefaultThreadFactory("nbd-loop", true),
            channels.loops());
    this.listening = new Listening(channels, loops, config.unixSocketMode());
    this.sessions = new Sessions(config, exports, tlsKeys);
  }

  /**
   * Starts to listen everywhere the configuration says.
   *
   * @throws IOException if one place can't be had, for example because it is in use, or a
   *     certificate or key can't be used; then the server listens nowhere
   */
  public static NbdServer start(NbdServerConfig config, Exports exports) throws IOException {
    checkMemory(config);
    NbdServer server = new NbdServer(config, exports, tlsKeys(config.tls()));
    try {
      for (Listener listener : config.listen()) {
        Sessions ofListener = server.sessions.of(listener);
        int before = server.addresses().size();
        server.listening.open(listener.place(), channel -> server.accept(channel, ofListener));
        Tls tls = ofListener.config().tls();
        if (tls != null && tls.mode() == Tls.Mode.REQUIRE) {
          List<SocketAddress> all = server.addresses();
          server.tlsOnly.addAll(all.subList(before, all.size()));
        }
      }
    } catch (IOException failure) {
      server.close();
      throw failure;
    }
    return server;
  }

  private static @Nullable TlsKeys tlsKeys(@Nullable Tls tls) throws IOException {
    if (tls == null) {
      return null;
    }
    return switch (tls.credentials()) {
      case Tls.Certificates(Path certificate, Path privateKey, Path clientAuthorities) ->
          TlsKeys.of(new CertificateFiles(certificate, privateKey, clientAuthorities));
      case Tls.PreSharedKeys(Path file) -> TlsKeys.of(file);
    };
  }

  @SuppressWarnings("FutureReturnValueIgnored") // Nobody waits for a refused connection to be gone.
  private void accept(Channel channel, Sessions ofListener) {
    channel.config().setWriteBufferWaterMark(REPLIES);
    Client client = Client.from(origin(channel));
    if (!ofListener.admit(channel)) {
      if (!ofListener.stopping()) {
        int most = ofListener.config().maxConnections();
        ofListener
            .clientLog()
            .broke(channel, "peer=" + client + " refused: there are " + most + " others");
      }
      channel.close();
      return;
    }
    channel.pipeline().addLast(new Negotiation(ofListener, client));
  }

  /** Where a client is: an address, or who the kernel says has the other end. */
  private static Client.Origin origin(Channel channel) {
    try {
      PeerCredentials other =
          switch (channel) {
            case EpollDomainSocketChannel unix -> unix.peerCredentials();
            case IoUringDomainSocketChannel unix -> unix.peerCredentials();
            default -> null;
          };
      if (other != null) {
        return new Client.Origin.Unix(other.pid(), other.uid(), other.gids()[0]);
      }
    } catch (IOException gone) {
      return new Client.Origin.Unknown("unix");
    }
    return channel.remoteAddress() instanceof InetSocketAddress inet
        ? new Client.Origin.Tcp(inet)
        : new Client.Origin.Unknown("unix");
  }

  /**
   * Where the server listens, in the order of the configuration, with the ports it was given: as
   * {@code InetSocketAddress}, {@code UnixDomainSocketAddress}, or for an abstract name as Netty's
   * {@code DomainSocketAddress} that begins with a NUL.
   */
  public List<SocketAddress> addresses() {
    return listening.addresses();
  }

  /** Whether clients must use TLS at one of the {@link #addresses}. */
  public boolean needsTls(SocketAddress address) {
    return tlsOnly.contains(address);
  }

  /** Every client in the transmission phase. */
  public List<ConnectionInfo> connections() {
    return sessions.transmissions().map(Transmission::connection).toList();
  }

  /**
   * Ends every session of an export: requests in flight are finished and answered, new ones
   * refused. Returns when all have given back their leases; after the configured drain time the
   * rest are cut off, and are waited for once more.
   *
   * @return whether all are gone
   */
  public boolean disconnect(String export) throws InterruptedException {
    List<Hold> ending = new ArrayList<>();
    long deadline = System.nanoTime() + config.drainTimeout().toNanos();
    for (Hold hold : sessions.holds()) {
      switch (hold.revoke(export, deadline - System.nanoTime())) {
        case REVOKED -> ending.add(hold);
        case OTHER_EXPORT -> {}
        case UNKNOWN -> {
          return false;
        }
      }
    }
    return end(ending);
  }

  private boolean end(List<Hold> ending) throws InterruptedException {
    if (await(ending)) {
      return true;
    }
    LOG.warn("{} sessions cut off after {}", ending.size(), config.drainTimeout());
    for (Hold hold : ending) {
      Transmission user = hold.user();
      if (user != null) {
        user.kill();
      }
    }
    return await(ending);
  }

  private boolean await(List<Hold> ending) throws InterruptedException {
    long deadline = System.nanoTime() + config.drainTimeout().toNanos();
    for (Hold hold : ending) {
      if (!hold.awaitEnd(deadline - System.nanoTime())) {
        return false;
      }
    }
    return true;
  }

  /**
   * Stops accepting, lets requests in flight finish for the configured time, then closes. Does
   * nothing the second time.
   */
  @Override
  public void close() {
    if (!closed.compareAndSet(false, true)) {
      return;
    }
    sessions.stop();
    listening.close();
    try {
      List<Hold> holds = sessions.holds();
      holds.forEach(Hold::revoke);
      boolean drained = end(holds);
      awaitGone(holds);
      // All at once: in TLS, each may take seconds to say goodbye.
      List<ChannelFuture> closing = sessions.connections().stream().map(Channel::close).toList();
      for (ChannelFuture each : closing) {
        each.awaitUninterruptibly(config.drainTimeout().toMillis());
      }
      // The workers first: they hand their answers to the loops.
      sessions.workers().stop();
      if (!sessions.workers().awaitEnd(TimeUnit.SECONDS.toNanos(1)) || !drained) {
        LOG.warn("requests were still being worked on");
      }
      loops.shutdownGracefully(0, 1, TimeUnit.SECONDS).awaitUninterruptibly();
    } catch (InterruptedException stop) {
      Thread.currentThread().interrupt();
    }
  }

  /** Lets clients that were told all read it, before their connections are closed. */
  private static void awaitGone(List<Hold> holds) {
    long deadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(Transmission.LEAVING_MILLIS);
    for (Hold hold : holds) {
      Transmission user = hold.user();
      if (user != null) {
        user.awaitGone(Math.max(0, deadline - System.nanoTime()));
      }
    }
  }

  /** Says so if the limits allow clients more memory than there is. */
  private static void checkMemory(NbdServerConfig config) {
    long most = PlatformDependent.maxDirectMemory();
    if (config.maxTotalBytesInFlight() > most / 2) {
      LOG.warn(
          "maxTotalBytesInFlight: {} (expected: at most half of the {} bytes of native memory that"
              + " the JVM may use, see -XX:MaxDirectMemorySize)",
          config.maxTotalBytesInFlight(),
          most);
    }
  }
}
