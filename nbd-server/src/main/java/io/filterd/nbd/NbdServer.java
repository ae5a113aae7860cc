package io.filterd.nbd;

import io.netty.bootstrap.ServerBootstrap;
import io.netty.channel.Channel;
import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.ChannelOption;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.ServerChannel;
import io.netty.channel.WriteBufferWaterMark;
import io.netty.channel.epoll.Epoll;
import io.netty.channel.epoll.EpollDomainSocketChannel;
import io.netty.channel.epoll.EpollIoHandler;
import io.netty.channel.epoll.EpollServerDomainSocketChannel;
import io.netty.channel.epoll.EpollServerSocketChannel;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.nio.NioServerDomainSocketChannel;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.channel.unix.DomainSocketAddress;
import io.netty.channel.unix.PeerCredentials;
import io.netty.util.concurrent.DefaultThreadFactory;
import io.netty.util.internal.PlatformDependent;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Serves block devices by the NBD protocol. Listens on TCP and Unix sockets; epoll where there is
 * one, else the JDK's own selector. Safe for many threads.
 */
public final class NbdServer implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(NbdServer.class);

  /** Replies that wait for a client to read them, before no more of its requests are read. */
  private static final WriteBufferWaterMark REPLIES =
      new WriteBufferWaterMark(256 << 10, 512 << 10);

  private final NbdServerConfig config;
  private final Sessions sessions;
  private final EventLoopGroup loops;
  private final List<Channel> listeners = new ArrayList<>();
  private final AtomicBoolean closed = new AtomicBoolean();

  private NbdServer(NbdServerConfig config, Exports exports) {
    this.config = config;
    boolean epoll = Epoll.isAvailable();
    this.loops =
        new MultiThreadIoEventLoopGroup(
            Math.max(1, Runtime.getRuntime().availableProcessors()),
            new DefaultThreadFactory("nbd-loop", true),
            epoll ? EpollIoHandler.newFactory() : NioIoHandler.newFactory());
    this.sessions = new Sessions(config, exports);
  }

  /**
   * Starts to listen on every address of the configuration.
   *
   * @throws IOException if one can't be had, for example because it is in use; then none is
   */
  public static NbdServer start(NbdServerConfig config, Exports exports) throws IOException {
    checkMemory(config);
    NbdServer server = new NbdServer(config, exports);
    try {
      for (SocketAddress address : config.listen()) {
        server.listen(address);
      }
    } catch (IOException failure) {
      server.close();
      throw failure;
    }
    return server;
  }

  private void listen(SocketAddress address) throws IOException {
    boolean epoll = Epoll.isAvailable();
    ServerBootstrap bootstrap =
        new ServerBootstrap()
            .group(loops)
            .option(ChannelOption.SO_BACKLOG, 128)
            .childOption(ChannelOption.WRITE_BUFFER_WATER_MARK, REPLIES)
            .childHandler(
                new ChannelInitializer<Channel>() {
                  @Override
                  protected void initChannel(Channel channel) {
                    accept(channel);
                  }
                });
    SocketAddress bind = address;
    if (address instanceof UnixDomainSocketAddress unix) {
      removeStale(unix.getPath());
      if (epoll) {
        bind = new DomainSocketAddress(unix.getPath().toFile());
      }
      bootstrap.channel(
          epoll ? EpollServerDomainSocketChannel.class : NioServerDomainSocketChannel.class);
    } else {
      Class<? extends ServerChannel> type =
          epoll ? EpollServerSocketChannel.class : NioServerSocketChannel.class;
      bootstrap
          .channel(type)
          .option(ChannelOption.SO_REUSEADDR, true)
          .childOption(ChannelOption.TCP_NODELAY, true);
    }
    ChannelFuture bound = bootstrap.bind(bind).awaitUninterruptibly();
    if (!bound.isSuccess()) {
      Throwable cause = bound.cause();
      throw new IOException("can't listen on " + text(address) + ": " + reason(cause), cause);
    }
    listeners.add(bound.channel());
    if (address instanceof UnixDomainSocketAddress unix) {
      Files.setPosixFilePermissions(unix.getPath(), config.unixSocketMode());
    }
    LOG.info("listening on {}", text(address));
  }

  private static String reason(Throwable cause) {
    String message = String.valueOf(cause.getMessage());
    return message.contains("Address already in use") ? "the address is in use" : message;
  }

  private static String text(SocketAddress address) {
    return address instanceof InetSocketAddress inet
        ? inet.getHostString() + ":" + inet.getPort()
        : String.valueOf(address);
  }

  /** Removes the file of a Unix socket that nobody listens on any more. */
  private static void removeStale(Path socket) throws IOException {
    if (!Files.exists(socket)) {
      return;
    }
    try (SocketChannel probe = SocketChannel.open(StandardProtocolFamily.UNIX)) {
      probe.connect(UnixDomainSocketAddress.of(socket));
    } catch (IOException nobodyListens) {
      Files.delete(socket);
      return;
    }
    throw new IOException("can't listen on " + socket + ": somebody else does");
  }

  @SuppressWarnings("FutureReturnValueIgnored") // Nobody waits for a refused connection to be gone.
  private void accept(Channel channel) {
    Client client = Client.from(origin(channel));
    if (!sessions.admit(channel)) {
      LOG.warn("peer={} refused: {} connections", client, config.maxConnections());
      channel.close();
      return;
    }
    channel.pipeline().addLast(new Negotiation(sessions, client));
  }

  /** Where a client is: an address, or who the kernel says has the other end. */
  private static Client.Origin origin(Channel channel) {
    if (channel instanceof EpollDomainSocketChannel unix) {
      try {
        PeerCredentials other = unix.peerCredentials();
        return new Client.Origin.Unix(other.pid(), other.uid(), other.gids()[0]);
      } catch (IOException gone) {
        return new Client.Origin.Unknown("unix");
      }
    }
    return channel.remoteAddress() instanceof InetSocketAddress inet
        ? new Client.Origin.Tcp(inet)
        : new Client.Origin.Unknown("unix");
  }

  /** Where the server listens, in the order of the configuration, with the ports it was given. */
  public List<SocketAddress> addresses() {
    return listeners.stream().map(Channel::localAddress).toList();
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
    for (Channel listener : listeners) {
      SocketAddress address = listener.localAddress();
      listener.close().syncUninterruptibly();
      if (address instanceof DomainSocketAddress unix) {
        deleteSocket(Path.of(unix.path()));
      } else if (address instanceof UnixDomainSocketAddress unix) {
        deleteSocket(unix.getPath());
      }
    }
    try {
      List<Hold> holds = sessions.holds();
      holds.forEach(Hold::revoke);
      boolean drained = end(holds);
      for (Channel connection : sessions.connections()) {
        connection.close().awaitUninterruptibly(config.drainTimeout().toMillis());
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

  private static void deleteSocket(Path socket) {
    try {
      Files.deleteIfExists(socket);
    } catch (IOException left) {
      LOG.debug("socket file left: {}", left.toString());
    }
  }
}
