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
import io.netty.channel.epoll.EpollIoHandler;
import io.netty.channel.epoll.EpollServerDomainSocketChannel;
import io.netty.channel.epoll.EpollServerSocketChannel;
import io.netty.channel.group.ChannelGroup;
import io.netty.channel.group.DefaultChannelGroup;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.nio.NioServerDomainSocketChannel;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.channel.unix.DomainSocketAddress;
import io.netty.util.concurrent.DefaultThreadFactory;
import io.netty.util.concurrent.GlobalEventExecutor;
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
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Serves block devices by the NBD protocol. Listens on TCP and Unix sockets; epoll where there is
 * one, else the JDK's own selector. Safe for many threads.
 */
public final class NbdServer implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(NbdServer.class);

  /** Replies that wait for a client to read them, before no more of its requests are read. */
  private static final WriteBufferWaterMark REPLIES = new WriteBufferWaterMark(512 << 10, 2 << 20);

  private final NbdServerConfig config;
  private final Sessions sessions;
  private final EventLoopGroup loops;
  private final ExecutorService workers;
  private final List<Channel> listeners = new ArrayList<>();

  private NbdServer(NbdServerConfig config, Exports exports) {
    this.config = config;
    boolean epoll = Epoll.isAvailable();
    this.loops =
        new MultiThreadIoEventLoopGroup(
            Math.max(1, Runtime.getRuntime().availableProcessors()),
            new DefaultThreadFactory("nbd-loop", true),
            epoll ? EpollIoHandler.newFactory() : NioIoHandler.newFactory());
    this.workers =
        Executors.newFixedThreadPool(
            config.workers(), Thread.ofPlatform().daemon().name("nbd-worker-", 0).factory());
    ChannelGroup channels = new DefaultChannelGroup(GlobalEventExecutor.INSTANCE);
    this.sessions = new Sessions(config, exports, workers, channels);
  }

  /**
   * Starts to listen on every address of the configuration.
   *
   * @throws IOException if one can't be had, for example because it is in use; then none is
   */
  public static NbdServer start(NbdServerConfig config, Exports exports) throws IOException {
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
    if (sessions.stopping() || sessions.channels().size() >= config.maxConnections()) {
      LOG.warn("peer={} refused: {} connections", channel.remoteAddress(), config.maxConnections());
      channel.close();
      return;
    }
    sessions.channels().add(channel);
    channel.pipeline().addLast(new Negotiation(sessions));
  }

  /** Where the server listens, in the order of the configuration, with the ports it was given. */
  public List<SocketAddress> addresses() {
    return listeners.stream().map(Channel::localAddress).toList();
  }

  /** Every client in the transmission phase. */
  public List<ConnectionInfo> connections() {
    return sessions.transmissions().stream().map(Transmission::connection).toList();
  }

  /**
   * Ends every session of an export: requests in flight are finished and answered, new ones
   * refused. Returns when all have given back their leases; after the configured drain time the
   * rest are cut off, and are waited for once more.
   *
   * @return whether all are gone
   */
  public boolean disconnect(String export) throws InterruptedException {
    List<Transmission> ending =
        sessions.transmissions().stream()
            .filter(session -> session.export().equals(export))
            .toList();
    return end(ending);
  }

  private boolean end(List<Transmission> ending) throws InterruptedException {
    ending.forEach(Transmission::shutDown);
    if (await(ending)) {
      return true;
    }
    LOG.warn("{} sessions cut off after {}", ending.size(), config.drainTimeout());
    ending.forEach(Transmission::kill);
    return await(ending);
  }

  private boolean await(List<Transmission> ending) throws InterruptedException {
    long deadline = System.nanoTime() + config.drainTimeout().toNanos();
    for (Transmission session : ending) {
      if (!session.awaitEnd(deadline - System.nanoTime())) {
        return false;
      }
    }
    return true;
  }

  /** Stops accepting, lets requests in flight finish for the configured time, then closes. */
  @Override
  public void close() {
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
      boolean drained = end(List.copyOf(sessions.transmissions()));
      sessions.channels().close().awaitUninterruptibly(config.drainTimeout().toMillis());
      loops.shutdownGracefully(0, 1, TimeUnit.SECONDS).awaitUninterruptibly();
      workers.shutdown();
      if (!drained || !workers.awaitTermination(1, TimeUnit.SECONDS)) {
        LOG.warn("requests were still being worked on");
      }
    } catch (InterruptedException stop) {
      Thread.currentThread().interrupt();
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
