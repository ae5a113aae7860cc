package io.filterd.kmip.net;

import io.filterd.kmip.net.TransportException.Reason;
import io.filterd.kmip.net.TransportException.Request;
import io.filterd.kmip.ttlv.Item;
import io.filterd.kmip.ttlv.Tag;
import io.filterd.kmip.ttlv.TtlvException;
import io.filterd.kmip.ttlv.TtlvLimits;
import io.filterd.kmip.ttlv.TtlvReader;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.ByteBuffer;
import java.security.cert.Certificate;
import java.security.cert.X509Certificate;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import javax.net.ssl.SSLSession;
import javax.net.ssl.SSLSocket;
import org.jspecify.annotations.Nullable;

/**
 * One TLS connection with at most one request in flight. For one thread at a time, but for {@link
 * #abort}. After any failure it is closed and stays so.
 *
 * <p>Bytes of a message pass through arrays of the Java heap: ours, which are wiped, and those of
 * the JDK's TLS, which can't be and are garbage once the connection is closed.
 */
final class Connection {
  private static final int CHUNK_BYTES = 16 * 1024;
  private static final Duration PROBE_LIMIT = Duration.ofSeconds(1);

  private final ServerAddress address;
  private final Timeouts timeouts;
  private final TtlvLimits limits;
  private final List<String> protocols;
  private final Socket raw;
  private final SSLSocket socket;
  private final Peer peer;
  private final byte[] chunk = new byte[CHUNK_BYTES];
  private volatile boolean aborted;

  private Connection(
      ServerAddress address,
      TlsClient tls,
      Timeouts timeouts,
      TtlvLimits limits,
      Socket raw,
      SSLSocket socket)
      throws IOException {
    this.address = address;
    this.timeouts = timeouts;
    this.limits = limits;
    this.protocols = tls.protocols();
    this.raw = raw;
    this.socket = socket;
    this.peer = peer(socket.getSession());
  }

  /** Connects and shakes hands, each within its limit. */
  static Connection open(ServerAddress address, TlsClient tls, Timeouts timeouts, TtlvLimits limits)
      throws TransportException {
    Socket raw = Dialer.connect(address, timeouts.connect());
    Watchdog watchdog = Watchdog.over(raw, timeouts.handshake());
    IOException failure;
    try {
      SSLSocket socket = tls.over(raw, address);
      socket.startHandshake();
      Connection connection = new Connection(address, tls, timeouts, limits, raw, socket);
      if (watchdog.inTime()) {
        return connection;
      }
      failure = new SocketTimeoutException();
    } catch (IOException e) {
      failure = e;
    }
    boolean inTime = watchdog.inTime();
    close(raw, failure);
    throw inTime
        ? Failures.of(address, "TLS handshake", tls.protocols(), Request.NOT_SENT, failure)
        : timedOut(address, "TLS handshake", timeouts.handshake(), Request.NOT_SENT, failure);
  }

  private static Peer peer(SSLSession session) throws IOException {
    List<X509Certificate> chain = new ArrayList<>();
    for (Certificate certificate : session.getPeerCertificates()) {
      chain.add((X509Certificate) certificate);
    }
    return new Peer(session.getProtocol(), session.getCipherSuite(), chain);
  }

  /** The server, as it was at the handshake. */
  Peer peer() {
    return peer;
  }

  /**
   * Sends one request and waits for its answer. If it throws, the connection is not to be used
   * again.
   *
   * @param request from its position to its limit; both stay as they are
   * @return the whole answer, which the caller closes
   */
  MessageBuffer exchange(ByteBuffer request) throws TransportException {
    Watchdog watchdog = Watchdog.over(raw, timeouts.answer());
    IOException failure;
    try {
      write(request);
      MessageBuffer answer = read();
      if (watchdog.inTime()) {
        return answer;
      }
      answer.close();
      failure = new SocketTimeoutException();
    } catch (IOException e) {
      failure = e;
    } finally {
      watchdog.close();
      Arrays.fill(chunk, (byte) 0);
    }
    boolean inTime = watchdog.inTime();
    close(raw, failure);
    if (failure instanceof TransportException clear) {
      throw clear;
    }
    if (!inTime) {
      throw timedOut(address, "answer", timeouts.answer(), Request.MAYBE_SENT, failure);
    }
    if (aborted) {
      throw failed(Reason.SHUT_DOWN, "answer: given up, the connections are being closed", failure);
    }
    if (Thread.currentThread().isInterrupted()) {
      throw failed(Reason.INTERRUPTED, "answer: interrupted", failure);
    }
    throw Failures.of(address, "answer", protocols, Request.MAYBE_SENT, failure);
  }

  private void write(ByteBuffer request) throws IOException {
    // In one piece: a server may give up a request whose end is late, and be out of step then.
    byte[] bytes = new byte[request.remaining()];
    try {
      request.duplicate().get(bytes);
      OutputStream out = socket.getOutputStream();
      out.write(bytes);
      out.flush();
    } finally {
      Arrays.fill(bytes, (byte) 0);
    }
  }

  private MessageBuffer read() throws IOException {
    InputStream in = socket.getInputStream();
    ByteBuffer header = ByteBuffer.allocate(Item.HEADER_BYTES);
    fill(in, header);
    MessageBuffer answer = MessageBuffer.allocate(lengthBytes(header.flip()));
    boolean whole = false;
    try {
      ByteBuffer bytes = answer.bytes().put(header);
      fill(in, bytes);
      whole = true;
      return answer;
    } finally {
      if (!whole) {
        answer.close();
      }
    }
  }

  private int lengthBytes(ByteBuffer header) throws TransportException {
    try {
      return TtlvReader.messageBytes(header, Tag.RESPONSE_MESSAGE, limits);
    } catch (TtlvException e) {
      throw failed(Reason.PROTOCOL, "answer: " + e.getMessage(), e);
    }
  }

  private void fill(InputStream in, ByteBuffer target) throws IOException {
    while (target.hasRemaining()) {
      int count = in.read(chunk, 0, Math.min(target.remaining(), chunk.length));
      if (count < 0) {
        throw new EOFException(
            "answer: ends " + target.remaining() + " bytes too early (expected: a whole message)");
      }
      target.put(chunk, 0, count);
    }
  }

  /**
   * Whether a connection that was idle for {@code idle} may be used again: the server has not
   * closed it and has sent nothing that was not asked for, which would be taken for the next
   * answer. Closes it if not.
   */
  boolean isUsable(Duration idle) {
    try (Watchdog watchdog = Watchdog.over(raw, PROBE_LIMIT)) {
      if (socket.getInputStream().available() == 0 && (isQuiet(idle) || hasNothingToSay())) {
        return watchdog.inTime();
      }
      closeInPeace();
      return false;
    } catch (IOException e) {
      close(raw, e);
      return false;
    }
  }

  private boolean isQuiet(Duration idle) throws IOException {
    return idle.compareTo(PROBE_LIMIT) < 0 && raw.getInputStream().available() == 0;
  }

  private boolean hasNothingToSay() throws IOException {
    raw.setSoTimeout(1);
    try {
      // Either the end, or bytes nobody asked for.
      socket.getInputStream().read();
      return false;
    } catch (SocketTimeoutException e) {
      raw.setSoTimeout(0);
      return true;
    }
  }

  /** Closes an idle connection, and tells the server so. */
  void closeInPeace() {
    try {
      socket.close();
    } catch (IOException e) {
      close(raw, e);
    }
  }

  /** Closes the connection at once, also under a thread that uses it. */
  void abort() {
    aborted = true;
    close(raw, null);
  }

  private static void close(Socket raw, @Nullable IOException because) {
    try {
      raw.close();
    } catch (IOException e) {
      if (because != null) {
        because.addSuppressed(e);
      }
    }
  }

  private TransportException failed(Reason reason, String what, @Nullable IOException cause) {
    return Failures.failed(address, reason, Request.MAYBE_SENT, what, cause);
  }

  private static TransportException timedOut(
      ServerAddress address, String what, Duration limit, Request request, IOException cause) {
    return Failures.failed(
        address,
        Reason.TIMED_OUT,
        request,
        what + ": not done (expected: within " + limit.toMillis() + " ms)",
        cause);
  }
}
