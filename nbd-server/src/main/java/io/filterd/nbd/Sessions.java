package io.filterd.nbd;

import io.filterd.block.BlockException;
import io.filterd.nbd.tls.TlsKeys;
import io.filterd.nbd.wire.Strings;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandler;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executor;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What all sessions of a server share, as those of one listener see it: with its limits. Safe for
 * many threads.
 */
final class Sessions {
  private static final Logger LOG = LoggerFactory.getLogger(Sessions.class);

  /** How long a client waits for a place that another may be about to leave. */
  private static final long PLACE_PATIENCE_NANOS = TimeUnit.MILLISECONDS.toNanos(500);

  /** An export that can be listed. */
  record Listed(String name, String description) {}

  /** What became of opening an export. */
  sealed interface Opening {
    /** It is open; whoever gets this closes the hold. */
    record Opened(Hold hold) implements Opening {}

    /** There is none of this name. */
    record Unknown() implements Opening {}

    /** It can be had inside TLS only. */
    record NeedsTls(String message) implements Opening {}

    /** The client may not use it. */
    record Denied(String export, NoAccessException why) implements Opening {}

    /** It can't be had now. */
    record Refused(BlockException.Reason reason, String message) implements Opening {}
  }

  private final NbdServerConfig config;
  private final Exports exports;
  private final @Nullable TlsKeys tlsKeys;
  private final Workers workers;
  private final ByteBudget budget;
  private final Set<Channel> connections;
  private final AtomicLong lastConnection;
  private final Places places;
  private final Set<Hold> holds;

  /**
   * Runs what opens and closes exports. Not the workers: an export that takes long to open must not
   * keep threads from the devices. There are no more of these threads than connections.
   */
  private final Executor openers;

  private final AtomicBoolean stopping;

  // The listener's own.
  private final AtomicInteger connectionCount = new AtomicInteger();
  private final ClientLog clientLog;

  /**
   * State for the sessions of a server.
   *
   * @param tlsKeys null if it does no TLS
   */
  Sessions(NbdServerConfig config, Exports exports, @Nullable TlsKeys tlsKeys) {
    this.config = config;
    this.exports = exports;
    this.tlsKeys = tlsKeys;
    this.workers = new Workers(config.workers());
    this.budget = new ByteBudget(config.maxTotalBytesInFlight());
    this.connections = ConcurrentHashMap.newKeySet();
    this.lastConnection = new AtomicLong();
    this.places = new Places();
    this.holds = ConcurrentHashMap.newKeySet();
    this.openers =
        Executors.newThreadPerTaskExecutor(Thread.ofVirtual().name("nbd-open-", 0).factory());
    this.stopping = new AtomicBoolean();
    this.clientLog = new ClientLog(config.maxClientLogLines());
  }

  private Sessions(Sessions all, Listener listener) {
    this.config = all.config.with(listener);
    this.exports = all.exports;
    this.tlsKeys = all.tlsKeys;
    this.workers = all.workers;
    this.budget = all.budget;
    this.connections = all.connections;
    this.lastConnection = all.lastConnection;
    this.places = all.places;
    this.holds = all.holds;
    this.openers = all.openers;
    this.stopping = all.stopping;
    this.clientLog = new ClientLog(config.maxClientLogLines());
  }

  /** The same, for the sessions of a listener. */
  Sessions of(Listener listener) {
    return new Sessions(this, listener);
  }

  /** Where its clients are named. */
  ClientLog clientLog() {
    return clientLog;
  }

  NbdServerConfig config() {
    return config;
  }

  Workers workers() {
    return workers;
  }

  ByteBudget budget() {
    return budget;
  }

  boolean stopping() {
    return stopping.get();
  }

  /** From now on nothing new is begun. */
  void stop() {
    stopping.set(true);
  }

  /** Counts a connection until it is closed; false if the listener has too many already. */
  boolean admit(Channel channel) {
    if (stopping() || connectionCount.incrementAndGet() > config.maxConnections()) {
      connectionCount.decrementAndGet();
      return false;
    }
    connections.add(channel);
    channel
        .closeFuture()
        .addListener(
            closed -> {
              connections.remove(channel);
              connectionCount.decrementAndGet();
            });
    return true;
  }

  /** Every open connection. */
  Set<Channel> connections() {
    return connections;
  }

  /** A number for a connection that no other has. */
  long nextConnection() {
    return lastConnection.incrementAndGet();
  }

  /** Whether clients may use TLS. */
  boolean offersTls() {
    Tls tls = config.tls();
    return tls != null && tls.mode() != Tls.Mode.OFF;
  }

  /** Whether this client has to use TLS before anything else. */
  boolean needsTls(Client client) {
    Tls tls = config.tls();
    return tls != null && tls.mode() == Tls.Mode.REQUIRE && !client.inTls();
  }

  /** Makes the TLS of a connection; the answer comes on another thread, empty for a bug. */
  void tlsHandler(Consumer<Optional<ChannelHandler>> then) {
    TlsKeys keys = tlsKeys;
    if (keys == null) {
      throw new IllegalStateException("no TLS");
    }
    openers.execute(
        () -> {
          Optional<ChannelHandler> handler = Optional.empty();
          try {
            handler = Optional.of(keys.newHandler(config.handshakeTimeout(), openers));
          } catch (RuntimeException bug) {
            LOG.error("TLS can't be started", bug);
          }
          then.accept(handler);
        });
  }

  /** Asks which exports a client may list; the answer comes on another thread, empty for a bug. */
  void list(Client client, Consumer<Optional<List<Listed>>> then) {
    openers.execute(
        () -> {
          Optional<List<Listed>> listed = Optional.empty();
          try {
            listed =
                Optional.of(
                    exports.names(client).stream()
                        .map(name -> new Listed(name, exports.description(name, client)))
                        .toList());
          } catch (RuntimeException bug) {
            LOG.error("exports could not be listed", bug);
          }
          then.accept(listed);
        });
  }

  /**
   * Opens an export for a client; the answer comes on another thread.
   *
   * @param toUse whether a client is to use it, and needs a place
   */
  void open(String name, Client client, boolean toUse, Consumer<Opening> then) {
    Hold hold = new Hold(name);
    holds.add(hold);
    openers.execute(() -> then.accept(openNow(name, client, toUse, hold)));
  }

  private Opening openNow(String name, Client client, boolean toUse, Hold hold) {
    Opening answer;
    try {
      Optional<Exports.Lease> lease = exports.open(name, client);
      if (lease.isPresent()) {
        opened(hold, lease.get());
        if (!toUse || takePlace(hold)) {
          return new Opening.Opened(hold);
        }
        close(hold);
        return noPlace(lease.get());
      }
      answer = new Opening.Unknown();
    } catch (TlsRequiredException plain) {
      answer = new Opening.NeedsTls(String.valueOf(plain.getMessage()));
    } catch (NoAccessException denied) {
      answer = new Opening.Denied(name, denied);
    } catch (BlockException known) {
      answer = new Opening.Refused(known.reason(), String.valueOf(known.getMessage()));
    } catch (RuntimeException bug) {
      LOG.error("export={} could not be opened", Strings.printable(name), bug);
      answer =
          new Opening.Refused(
              BlockException.Reason.IO_ERROR, "the export could not be opened: see the server log");
    }
    holds.remove(hold);
    hold.ended();
    return answer;
  }

  private static void opened(Hold hold, Exports.Lease lease) {
    try {
      hold.opened(lease);
    } catch (IllegalStateException bug) {
      lease.close();
      throw bug;
    }
  }

  private boolean takePlace(Hold hold) {
    Exports.Lease lease = hold.lease();
    if (lease.maxClients() == Integer.MAX_VALUE) {
      return true;
    }
    try {
      if (!places.take(lease.name(), lease.maxClients(), PLACE_PATIENCE_NANOS)) {
        return false;
      }
    } catch (InterruptedException stop) {
      Thread.currentThread().interrupt();
      return false;
    }
    hold.tookPlace();
    return true;
  }

  private static Opening noPlace(Exports.Lease lease) {
    return new Opening.Refused(
        BlockException.Reason.NO_SPACE,
        "clients of export "
            + lease.name()
            + ": "
            + lease.maxClients()
            + " already (expected: at most "
            + lease.maxClients()
            + " at a time)");
  }

  /** Closes the lease of a hold, some time. */
  void close(Hold hold) {
    openers.execute(
        () -> {
          try {
            hold.lease().close();
          } catch (RuntimeException bug) {
            LOG.error(
                "export={} lease could not be closed", Strings.printable(hold.lease().name()), bug);
          } finally {
            if (hold.hasPlace()) {
              places.leave(hold.lease().name());
            }
            holds.remove(hold);
            hold.ended();
          }
        });
  }

  /** Every hold on an export at this moment. */
  List<Hold> holds() {
    return List.copyOf(holds);
  }

  /** Every session in the transmission phase. */
  Stream<Transmission> transmissions() {
    return holds.stream()
        .flatMap(
            hold -> {
              Transmission user = hold.user();
              return user == null ? Stream.empty() : Stream.of(user);
            });
  }
}
