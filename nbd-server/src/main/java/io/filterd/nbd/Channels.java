package io.filterd.nbd;

import io.filterd.nbd.NbdServerConfig.Transport;
import io.netty.channel.IoHandlerFactory;
import io.netty.channel.ServerChannel;
import io.netty.channel.epoll.Epoll;
import io.netty.channel.epoll.EpollIoHandler;
import io.netty.channel.epoll.EpollServerDomainSocketChannel;
import io.netty.channel.epoll.EpollServerSocketChannel;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.nio.NioServerDomainSocketChannel;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.channel.uring.IoUring;
import io.netty.channel.uring.IoUringIoHandler;
import io.netty.channel.uring.IoUringServerDomainSocketChannel;
import io.netty.channel.uring.IoUringServerSocketChannel;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The classes of one of Netty's transports.
 *
 * @param transport which; never AUTO
 * @param loops makes what an event loop waits with
 * @param tcp listens on TCP
 * @param unix listens on Unix sockets
 */
record Channels(
    Transport transport,
    IoHandlerFactory loops,
    Class<? extends ServerChannel> tcp,
    Class<? extends ServerChannel> unix) {
  /** What AUTO means, if this system property says so. */
  static final String PROPERTY = "io.filterd.nbd.transport";

  private static final Logger LOG = LoggerFactory.getLogger(Channels.class);

  /**
   * Those of the transport that is configured, or if the system has it not, of the next best.
   *
   * @param tls whether there will be TLS: with io_uring it stops answering under load, while empty
   *     buffers wait to be sent that never are (Netty 4.2.18)
   */
  static Channels of(Transport configured, boolean tls) {
    Transport wanted = configured == Transport.AUTO ? auto() : configured;
    if (wanted == Transport.IO_URING && tls) {
      Channels instead = epollOrNio();
      LOG.warn("transport: io_uring does no TLS ({} is used instead)", name(instead.transport));
      return instead;
    }
    Channels found =
        switch (wanted) {
          case IO_URING -> IoUring.isAvailable() ? ioUring() : epollOrNio();
          case AUTO, EPOLL -> epollOrNio();
          case NIO -> nio();
        };
    if (wanted != Transport.AUTO && found.transport != wanted) {
      LOG.warn(
          "transport: {} is not to be had here: {} ({} is used instead)",
          name(wanted),
          reason(wanted == Transport.IO_URING ? IoUring.unavailabilityCause() : noEpoll()),
          name(found.transport));
    }
    return found;
  }

  private static Transport auto() {
    String name = System.getProperty(PROPERTY, name(Transport.AUTO));
    for (Transport each : Transport.values()) {
      if (name(each).equals(name)) {
        return each;
      }
    }
    throw new IllegalArgumentException(
        PROPERTY + ": " + name + " (expected: auto, epoll, io_uring or nio)");
  }

  private static Throwable noEpoll() {
    return Epoll.unavailabilityCause();
  }

  /** The first cause: what the kernel said. */
  private static String reason(Throwable failure) {
    Throwable cause = failure;
    while (cause.getCause() != null) {
      cause = cause.getCause();
    }
    return String.valueOf(cause.getMessage());
  }

  /** The name of a transport in the configuration. */
  static String name(Transport transport) {
    return switch (transport) {
      case AUTO -> "auto";
      case EPOLL -> "epoll";
      case IO_URING -> "io_uring";
      case NIO -> "nio";
    };
  }

  private static Channels epollOrNio() {
    return Epoll.isAvailable()
        ? new Channels(
            Transport.EPOLL,
            EpollIoHandler.newFactory(),
            EpollServerSocketChannel.class,
            EpollServerDomainSocketChannel.class)
        : nio();
  }

  private static Channels ioUring() {
    return new Channels(
        Transport.IO_URING,
        IoUringIoHandler.newFactory(),
        IoUringServerSocketChannel.class,
        IoUringServerDomainSocketChannel.class);
  }

  private static Channels nio() {
    return new Channels(
        Transport.NIO,
        NioIoHandler.newFactory(),
        NioServerSocketChannel.class,
        NioServerDomainSocketChannel.class);
  }
}
