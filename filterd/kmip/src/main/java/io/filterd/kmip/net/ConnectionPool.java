package io.filterd.kmip.net;

import com.google.errorprone.annotations.concurrent.GuardedBy;
import io.filterd.kmip.net.TransportException.Reason;
import io.filterd.kmip.net.TransportException.Request;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Future;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * The connections to one KMIP server: made when needed, at most so many, each for one request at a
 * time, kept for a while and checked before they are used again. Whoever waits longest is served
 * first. Safe for many threads; calls block, each for no longer than the settings say in sum.
 *
 * <p>A thread that is interrupted while it waits for a connection, or a virtual thread anywhere,
 * gets a {@link TransportException} at once, with its interrupt flag set; the exchange of a
 * platform thread goes on to its end or its timeout.
 */
public final class ConnectionPool implements AutoCloseable {
  /** Whether a request may be sent a second time without harm. */
  public enum Repeat {
    /** It changes something each time it is carried out, as Create does. */
    NEVER,
    /** Carrying it out twice is as good as once. */
    ALLOWED
  }

  /** Makes sense of an answer while its bytes are there. */
  @FunctionalInterface
  public interface AnswerReader<T, E extends Exception> {
    /**
     * Reads what it needs; keeps nothing of the buffer, which is wiped afterwards.
     *
     * @param answer one whole message, in native memory
     * @throws E if this is no answer to the request: the connection is closed then
     */
    T read(ByteBuffer answer) throws E;
  }

  private static final class Idle {
    private final Connection connection;
    private final long sinceNanos = System.nanoTime();
    private @Nullable Future<?> end;

    Idle(Connection connection) {
      this.connection = connection;
    }

    /** Calls the end off, so that the timer holds nothing of a connection that is gone. */
    Connection taken() {
      if (end != null) {
        end.cancel(false);
      }
      return connection;
    }
  }

  private final ServerAddress address;
  private final TlsClient tls;
  private final Timeouts timeouts;
  private final PoolSettings settings;
  private final Semaphore permits;

  // Never held while anything is sent, received or opened.
  private final Object lock = new Object();

  @GuardedBy("lock")
  private final Deque<Idle> idle = new ArrayDeque<>();

  @GuardedBy("lock")
  private final Set<Connection> busy = new HashSet<>();

  @GuardedBy("lock")
  private boolean closed;

  @GuardedBy("lock")
  private @Nullable Peer peer;

  /**
   * Connects to nothing yet.
   *
   * @throws IOException if the file of the trusted authorities can't be read
   */
  public ConnectionPool(
      ServerAddress address, TlsSettings tls, Timeouts timeouts, PoolSettings settings)
      throws IOException {
    this.address = address;
    this.tls = TlsClient.of(tls);
    this.timeouts = timeouts;
    this.settings = settings;
    this.permits = new Semaphore(settings.maximumConnections(), true);
  }

  /** The server. */
  public ServerAddress address() {
    return address;
  }

  /** The server as it was at the latest handshake that succeeded, if there was one. */
  public Optional<Peer> peer() {
    synchronized (lock) {
      return Optional.ofNullable(peer);
    }
  }

  /** How many connections are open now. */
  public int openConnections() {
    synchronized (lock) {
      return idle.size() + busy.size();
    }
  }

  /**
   * Sends one request and waits for its answer.
   *
   * <p>If a connection that was kept turns out to be dead, a new one is tried once: always when
   * nothing of the request was sent, and if {@code repeat} allows it also when some was.
   *
   * @param request one whole message, from position to limit; both stay as they are
   */
  public <T, E extends Exception> T exchange(
      ByteBuffer request, Repeat repeat, AnswerReader<T, E> reader) throws TransportException, E {
    acquire();
    try {
      Connection kept = takeIdle();
      if (kept != null) {
        try {
          return exchange(kept, request, reader);
        } catch (TransportException e) {
          if (e.reason() != Reason.CLOSED || repeat == Repeat.NEVER) {
            throw e;
          }
        }
      }
      return exchange(open(), request, reader);
    } finally {
      permits.release();
    }
  }

  private void acquire() throws TransportException {
    try {
      if (!permits.tryAcquire(settings.waiting().toNanos(), TimeUnit.NANOSECONDS)) {
        throw Failures.failed(
            address,
            Reason.BUSY,
            Request.NOT_SENT,
            "connections: all "
                + settings.maximumConnections()
                + " in use (expected: one free within "
                + settings.waiting().toMillis()
                + " ms)",
            null);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw Failures.failed(
          address, Reason.INTERRUPTED, Request.NOT_SENT, "connections: interrupted", e);
    }
  }

  private <T, E extends Exception> T exchange(
      Connection connection, ByteBuffer request, AnswerReader<T, E> reader)
      throws TransportException, E {
    boolean done = false;
    try (MessageBuffer answer = connection.exchange(request)) {
      T read = reader.read(answer.bytes());
      done = true;
      return read;
    } finally {
      if (done) {
        keep(connection);
      } else {
        forget(connection);
      }
    }
  }

  /** A connection that was kept and still works, now busy. */
  private @Nullable Connection takeIdle() throws TransportException {
    while (true) {
      Idle candidate;
      synchronized (lock) {
        checkOpen();
        // The one used last is the least likely to be dead, and the others get to be closed.
        candidate = idle.pollFirst();
        if (candidate == null) {
          return null;
        }
        busy.add(candidate.taken());
      }
      Duration unused = Duration.ofNanos(System.nanoTime() - candidate.sinceNanos);
      if (candidate.connection.isUsable(unused)) {
        return candidate.connection;
      }
      forget(candidate.connection);
    }
  }

  private Connection open() throws TransportException {
    synchronized (lock) {
      checkOpen();
    }
    Connection connection = Connection.open(address, tls, timeouts, settings.answerLimits());
    synchronized (lock) {
      if (!closed) {
        busy.add(connection);
        peer = connection.peer();
        return connection;
      }
    }
    connection.abort();
    throw shutDown();
  }

  private void keep(Connection connection) {
    synchronized (lock) {
      busy.remove(connection);
      if (!closed) {
        Idle kept = new Idle(connection);
        idle.addFirst(kept);
        kept.end = Watchdog.after(settings.idle(), () -> closeIdle(kept));
        return;
      }
    }
    connection.closeInPeace();
  }

  private void closeIdle(Idle kept) {
    synchronized (lock) {
      if (!idle.remove(kept)) {
        return;
      }
    }
    kept.connection.closeInPeace();
  }

  private void forget(Connection connection) {
    synchronized (lock) {
      busy.remove(connection);
    }
    connection.abort();
  }

  @GuardedBy("lock")
  private void checkOpen() throws TransportException {
    if (closed) {
      throw shutDown();
    }
  }

  private TransportException shutDown() {
    return Failures.failed(
        address, Reason.SHUT_DOWN, Request.NOT_SENT, "connections: closed (expected: open)", null);
  }

  /** Closes all connections, also those in use, whose exchanges fail. */
  @Override
  public void close() {
    List<Connection> resting;
    List<Connection> working;
    synchronized (lock) {
      closed = true;
      resting = idle.stream().map(Idle::taken).toList();
      idle.clear();
      working = List.copyOf(busy);
    }
    resting.forEach(Connection::closeInPeace);
    working.forEach(Connection::abort);
  }
}
