package io.filterd.nbd;

import io.filterd.nbd.InheritedSockets.Inherited;
import io.netty.bootstrap.ServerBootstrap;
import io.netty.channel.Channel;
import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.ChannelOption;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.epoll.EpollServerDomainSocketChannel;
import io.netty.channel.epoll.EpollServerSocketChannel;
import io.netty.channel.unix.DomainSocketAddress;
import io.netty.channel.unix.Socket;
import io.netty.util.NetUtil;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFileAttributeView;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.nio.file.attribute.UserPrincipalLookupService;
import java.nio.file.attribute.UserPrincipalNotFoundException;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Where a server listens. For one thread, except {@link #addresses}. */
final class Listening implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(Listening.class);
  private static final int BACKLOG = 128;

  // What st_mode says of a socket (inode(7)).
  private static final int FORMAT_MASK = 0xf000;
  private static final int FORMAT_SOCKET = 0xc000;

  // Names of four characters.
  private static final int NAME_RADIX = 36;
  private static final int LEAST_NAME = NAME_RADIX * NAME_RADIX * NAME_RADIX;
  private static final int NAMES = LEAST_NAME * (NAME_RADIX - 1);

  /**
   * One socket that listens.
   *
   * @param file the file of a Unix socket, which goes with it
   * @param key what tells this file from another that has taken its place
   */
  private record Door(
      Channel channel, SocketAddress address, @Nullable Path file, @Nullable Object key) {}

  private final Channels channels;
  private final EventLoopGroup loops;
  private final Set<PosixFilePermission> unixSocketMode;
  private final SecureRandom random = new SecureRandom();
  private final List<Door> doors = new ArrayList<>();
  private volatile List<SocketAddress> addresses = List.of();

  /** Will listen by these means; Unix sockets that say no mode get this one. */
  Listening(Channels channels, EventLoopGroup loops, Set<PosixFilePermission> unixSocketMode) {
    this.channels = channels;
    this.loops = loops;
    this.unixSocketMode = unixSocketMode;
  }

  /**
   * Listens at one more place.
   *
   * @param accept takes each connection, on its event loop
   */
  void open(Listener.Place place, Consumer<Channel> accept) throws IOException {
    switch (place) {
      case Listener.Tcp(InetSocketAddress address) -> {
        Channel channel = bind(tcp(accept).channel(channels.tcp()), address, text(address));
        add(new Door(channel, channel.localAddress(), null, null));
      }
      case Listener.Unix unix -> openUnix(unix, accept);
      case Listener.AbstractUnix(String name) -> {
        if (channels.transport() == NbdServerConfig.Transport.NIO) {
          throw new IOException(
              "can't listen on @" + name + ": abstract names need epoll or io_uring");
        }
        SocketAddress address = new DomainSocketAddress("\0" + name);
        Channel channel = bind(any(accept).channel(channels.unix()), address, "@" + name);
        add(new Door(channel, address, null, null));
      }
      case Listener.Systemd(String name) -> openInherited(name, accept);
    }
  }

  private void add(Door door) {
    doors.add(door);
    addresses = doors.stream().map(Door::address).toList();
    LOG.info("listening on {}", text(door.address()));
  }

  private ServerBootstrap any(Consumer<Channel> accept) {
    return new ServerBootstrap()
        .group(loops)
        .option(ChannelOption.SO_BACKLOG, BACKLOG)
        .childHandler(
            new ChannelInitializer<Channel>() {
              @Override
              protected void initChannel(Channel channel) {
                accept.accept(channel);
              }
            });
  }

  private ServerBootstrap tcp(Consumer<Channel> accept) {
    return any(accept)
        .option(ChannelOption.SO_REUSEADDR, true)
        .childOption(ChannelOption.TCP_NODELAY, true)
        // Finds out some time that the host of an idle client is gone.
        .childOption(ChannelOption.SO_KEEPALIVE, true);
  }

  private static Channel bind(ServerBootstrap bootstrap, SocketAddress address, String text)
      throws IOException {
    return await(bootstrap.bind(address), text);
  }

  private static Channel await(ChannelFuture opening, String text) throws IOException {
    opening.awaitUninterruptibly();
    if (!opening.isSuccess()) {
      Throwable cause = opening.cause();
      throw new IOException("can't listen on " + text + ": " + reason(cause), cause);
    }
    return opening.channel();
  }

  private static String reason(Throwable cause) {
    String message = String.valueOf(cause.getMessage());
    return message.contains("Address already in use") ? "the address is in use" : message;
  }

  private static String text(SocketAddress address) {
    return switch (address) {
      case InetSocketAddress inet -> NetUtil.toSocketAddressString(inet);
      case DomainSocketAddress unix -> unix.path().replace('\0', '@');
      default -> String.valueOf(address);
    };
  }

  /**
   * The socket is made in a folder that is ours alone, and moved to its place when it is as it has
   * to be: nobody can connect before. So it has another name in /proc/net/unix.
   */
  private void openUnix(Listener.Unix unix, Consumer<Channel> accept) throws IOException {
    Path path = unix.path().toAbsolutePath();
    checkPlace(path);
    // As short as it can be, for the limit on a socket's name.
    Path hidden =
        path.resolveSibling("." + Integer.toString(LEAST_NAME + random.nextInt(NAMES), NAME_RADIX));
    Path made = hidden.resolve("s");
    int bytes = made.toString().getBytes(StandardCharsets.UTF_8).length;
    if (bytes > Listener.MAX_UNIX_NAME_BYTES) {
      int most = Listener.MAX_UNIX_NAME_BYTES - "/.1234/s".length();
      throw new IOException(
          "can't listen on "
              + path
              + ": its folder's name is too long (expected: at most "
              + most
              + " bytes)");
    }
    Channel channel = null;
    boolean done = false;
    try {
      Files.createDirectory(
          hidden,
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
      try {
        SocketAddress address =
            channels.transport() == NbdServerConfig.Transport.NIO
                ? UnixDomainSocketAddress.of(made)
                : new DomainSocketAddress(made.toFile());
        channel = bind(any(accept).channel(channels.unix()), address, path.toString());
        own(made, unix);
        Object key = Files.readAttributes(made, "unix:ino").get("ino");
        Files.move(made, path, StandardCopyOption.ATOMIC_MOVE);
        add(new Door(channel, UnixDomainSocketAddress.of(path), path, key));
        done = true;
      } finally {
        if (!done && channel != null) {
          channel.close().syncUninterruptibly();
        }
        Files.deleteIfExists(made);
        Files.delete(hidden);
      }
    } catch (FileSystemException failure) {
      throw new IOException("can't listen on " + path + ": " + reason(failure), failure);
    }
  }

  private static String reason(FileSystemException failure) {
    return switch (failure) {
      case AccessDeniedException _ -> "this process may not make files in its folder";
      case NoSuchFileException _ -> "its folder is not there";
      default -> String.valueOf(failure.getMessage());
    };
  }

  private void own(Path socket, Listener.Unix wanted) throws IOException {
    PosixFileAttributeView view = Files.getFileAttributeView(socket, PosixFileAttributeView.class);
    UserPrincipalLookupService people = socket.getFileSystem().getUserPrincipalLookupService();
    String owner = wanted.owner();
    String group = wanted.group();
    if (owner != null) {
      try {
        view.setOwner(people.lookupPrincipalByName(owner));
      } catch (UserPrincipalNotFoundException unknown) {
        throw new IOException(
            "can't listen on " + wanted.path() + ": there is no user " + owner, unknown);
      }
    }
    if (group != null) {
      try {
        view.setGroup(people.lookupPrincipalByGroupName(group));
      } catch (UserPrincipalNotFoundException unknown) {
        throw new IOException(
            "can't listen on " + wanted.path() + ": there is no group " + group, unknown);
      }
    }
    Set<PosixFilePermission> mode = wanted.mode();
    view.setPermissions(mode == null ? unixSocketMode : mode);
  }

  /** Only a socket that nobody listens on any more may be replaced. */
  private static void checkPlace(Path path) throws IOException {
    if (!Files.exists(path, LinkOption.NOFOLLOW_LINKS)) {
      return;
    }
    int mode = (int) Files.getAttribute(path, "unix:mode", LinkOption.NOFOLLOW_LINKS);
    if ((mode & FORMAT_MASK) != FORMAT_SOCKET) {
      throw new IOException("can't listen on " + path + ": it is there, and no socket");
    }
    try (SocketChannel probe = SocketChannel.open(StandardProtocolFamily.UNIX)) {
      probe.connect(UnixDomainSocketAddress.of(path));
    } catch (IOException nobodyListens) {
      return;
    }
    throw new IOException("can't listen on " + path + ": somebody else does");
  }

  private void openInherited(String name, Consumer<Channel> accept) throws IOException {
    String what = "the sockets of systemd" + (name.isEmpty() ? "" : " named " + name);
    if (channels.transport() != NbdServerConfig.Transport.EPOLL) {
      throw new IOException(
          "can't listen on "
              + what
              + ": transport: "
              + Channels.name(channels.transport())
              + " (expected: epoll)");
    }
    List<Inherited> sockets;
    try {
      sockets = InheritedSockets.named(name, System.getenv(), ProcessHandle.current().pid());
    } catch (IOException none) {
      throw new IOException("can't listen on " + what + ": " + none.getMessage(), none);
    }
    for (Inherited socket : sockets) {
      openInherited(socket, accept);
    }
  }

  private void openInherited(Inherited socket, Consumer<Channel> accept) throws IOException {
    int descriptor = socket.descriptor();
    Socket opened = new Socket(descriptor);
    boolean unix;
    try {
      unix = InheritedSockets.prepare(opened);
    } catch (IOException unfit) {
      throw new IOException(
          "can't listen on descriptor "
              + descriptor
              + " ("
              + socket.name()
              + "): "
              + unfit.getMessage(),
          unfit);
    }
    String text = "descriptor " + descriptor;
    if (unix) {
      // The file is systemd's, and stays.
      SocketAddress address = unixAddress(opened.localDomainSocketAddress());
      Channel channel =
          await(
              any(accept)
                  .channelFactory(() -> new EpollServerDomainSocketChannel(descriptor, true))
                  .register(),
              text);
      add(new Door(channel, address, null, null));
    } else {
      Channel channel =
          await(
              tcp(accept).channelFactory(() -> new EpollServerSocketChannel(descriptor)).register(),
              text);
      add(new Door(channel, channel.localAddress(), null, null));
    }
  }

  private static SocketAddress unixAddress(DomainSocketAddress address) {
    return address.path().startsWith("\0") ? address : UnixDomainSocketAddress.of(address.path());
  }

  /** The addresses, in the order in which they were opened. */
  List<SocketAddress> addresses() {
    return addresses;
  }

  /** Stops listening; connections stay. */
  @Override
  public void close() {
    for (Door door : doors) {
      door.channel().close().syncUninterruptibly();
      Path file = door.file();
      if (file != null) {
        deleteIfOurs(file, door.key());
      }
    }
  }

  private static void deleteIfOurs(Path file, @Nullable Object key) {
    try {
      if (Files.exists(file, LinkOption.NOFOLLOW_LINKS)
          && Files.getAttribute(file, "unix:ino", LinkOption.NOFOLLOW_LINKS).equals(key)) {
        Files.deleteIfExists(file);
      }
    } catch (IOException left) {
      LOG.debug("socket file left: {}", left.toString());
    }
  }
}
