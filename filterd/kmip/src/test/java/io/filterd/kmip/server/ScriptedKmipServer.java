package io.filterd.kmip.server;

import io.filterd.kmip.cert.ClientIdentity;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.FilterOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.X509Certificate;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;
import org.jspecify.annotations.Nullable;

/**
 * A server that speaks mutual TLS and then does what a script says, right or wrong. Listens on
 * 127.0.0.1; each connection has a thread.
 */
public final class ScriptedKmipServer implements AutoCloseable {
  /** What the server does with the connections it accepts. */
  @FunctionalInterface
  public interface Script {
    /** Plays one connection; returning closes it. */
    void play(Line line) throws IOException;
  }

  /** Answers each request. */
  @FunctionalInterface
  public interface Answers {
    /** The answer to {@code request}, or null to close the connection without one. */
    byte @Nullable [] answer(byte[] request);
  }

  /** A script that shakes hands and answers each request. */
  public static Script answering(Answers answers) {
    return line -> {
      line.shakeHands();
      for (byte[] request = line.nextRequest(); request != null; request = line.nextRequest()) {
        byte[] answer = answers.answer(request);
        if (answer == null) {
          return;
        }
        line.send(answer);
      }
    };
  }

  /** A script that accepts and never says anything, not even in TLS. */
  public static Script silent() {
    return Line::hold;
  }

  /** One accepted connection. */
  public final class Line {
    private final TricklingSocket raw;
    private @Nullable SSLSocket tls;

    private Line(TricklingSocket raw) {
      this.raw = raw;
    }

    /** Does the server's side of TLS. */
    public void shakeHands() throws IOException {
      SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket(raw, null, false);
      tls = socket;
      socket.setNeedClientAuth(true);
      socket.setEnabledProtocols(protocols.toArray(new String[0]));
      try {
        socket.startHandshake();
      } catch (SSLException e) {
        // Closing with bytes unread is a reset, which may overtake the alert.
        raw.shutdownOutput();
        raw.getInputStream().transferTo(OutputStream.nullOutputStream());
        throw e;
      }
    }

    private SSLSocket tls() {
      if (tls == null) {
        throw new IllegalStateException("script: no handshake yet");
      }
      return tls;
    }

    /** The next whole request, or null if the client has closed. */
    public byte @Nullable [] nextRequest() throws IOException {
      // Never more than is asked for, so that a stream for each request loses nothing.
      DataInputStream in = new DataInputStream(tls().getInputStream());
      byte[] header = in.readNBytes(8);
      if (header.length < 8) {
        return null;
      }
      int length = ByteBuffer.wrap(header).getInt(4);
      byte[] message = new byte[8 + length];
      System.arraycopy(header, 0, message, 0, 8);
      in.readFully(message, 8, length);
      requests.incrementAndGet();
      return message;
    }

    /** The next whole request, which must come. */
    public byte[] request() throws IOException {
      byte[] request = nextRequest();
      if (request == null) {
        throw new EOFException("script: no request");
      }
      return request;
    }

    /** Sends bytes under TLS. */
    public void send(byte[] bytes) throws IOException {
      OutputStream out = tls().getOutputStream();
      out.write(bytes);
      out.flush();
    }

    /** Sends bytes without TLS. */
    public void sendRaw(byte[] bytes) throws IOException {
      raw.getOutputStream().write(bytes);
    }

    /** From now on sends each byte, also those of TLS itself, this long after the last. */
    public void trickle(int millis) {
      raw.pauseMillis = millis;
    }

    /** Keeps the connection open until the server or the client closes. */
    public void hold() throws IOException {
      if (raw.getInputStream().read() >= 0) {
        await(Integer.MAX_VALUE);
      }
    }
  }

  /** Sends byte by byte if it is told to. */
  private final class TricklingSocket extends Socket {
    private volatile int pauseMillis;

    @Override
    public OutputStream getOutputStream() throws IOException {
      return new FilterOutputStream(super.getOutputStream()) {
        @Override
        public void write(byte[] bytes, int from, int count) throws IOException {
          if (pauseMillis == 0) {
            out.write(bytes, from, count);
            return;
          }
          for (int i = from; i < from + count; i++) {
            await(pauseMillis);
            out.write(bytes, i, 1);
          }
        }
      };
    }
  }

  private final SSLContext context;
  private final List<String> protocols;
  private final Script script;
  private final ServerSocket listener;
  private final Set<Socket> sockets = ConcurrentHashMap.newKeySet();
  private final CountDownLatch closed = new CountDownLatch(1);
  private final AtomicInteger connections = new AtomicInteger();
  private final AtomicInteger requests = new AtomicInteger();

  private ScriptedKmipServer(
      ClientIdentity identity,
      X509Certificate clientAuthority,
      List<String> protocols,
      Script script) {
    this.context = context(identity, clientAuthority);
    this.protocols = protocols;
    this.script = script;
    try {
      this.listener =
          new ServerSocket(0, 50, InetAddress.getLoopbackAddress()) {
            @Override
            public Socket accept() throws IOException {
              TricklingSocket socket = new TricklingSocket();
              implAccept(socket);
              return socket;
            }
          };
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Starts one that speaks TLS 1.3 and 1.2. */
  public static ScriptedKmipServer start(
      ClientIdentity identity, X509Certificate clientAuthority, Script script) {
    return start(identity, clientAuthority, List.of("TLSv1.3", "TLSv1.2"), script);
  }

  /**
   * Starts one.
   *
   * @param identity what the server shows
   * @param clientAuthority who must have signed the clients' certificates
   */
  public static ScriptedKmipServer start(
      ClientIdentity identity,
      X509Certificate clientAuthority,
      List<String> protocols,
      Script script) {
    ScriptedKmipServer server =
        new ScriptedKmipServer(identity, clientAuthority, protocols, script);
    Thread.ofPlatform().daemon().name("scripted-kmip").start(server::serve);
    return server;
  }

  private static SSLContext context(ClientIdentity identity, X509Certificate clientAuthority) {
    char[] password = "test".toCharArray();
    try {
      KeyStore store = KeyStore.getInstance("PKCS12");
      store.load(null, null);
      store.setKeyEntry(
          "server", identity.key(), password, identity.chain().toArray(new X509Certificate[0]));
      store.setCertificateEntry("clients", clientAuthority);
      KeyManagerFactory keys = KeyManagerFactory.getInstance("PKIX");
      keys.init(store, password);
      TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
      trust.init(store);
      SSLContext context = SSLContext.getInstance("TLS");
      context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
      return context;
    } catch (GeneralSecurityException | IOException e) {
      throw new IllegalStateException("TLS for a test", e);
    }
  }

  private void serve() {
    while (closed.getCount() > 0) {
      try {
        TricklingSocket socket = (TricklingSocket) listener.accept();
        sockets.add(socket);
        connections.incrementAndGet();
        Thread.ofPlatform().daemon().name("scripted-kmip").start(() -> play(socket));
      } catch (IOException e) {
        return;
      }
    }
  }

  private void play(TricklingSocket socket) {
    Line line = new Line(socket);
    try (socket) {
      script.play(line);
      if (line.tls != null) {
        line.tls.close();
      }
    } catch (IOException e) {
      // The client refused us or gave up: tests look at the client's side.
    } finally {
      sockets.remove(socket);
    }
  }

  private void await(int millis) throws IOException {
    try {
      if (closed.await(millis, TimeUnit.MILLISECONDS)) {
        throw new EOFException("server: closed");
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new EOFException("server: interrupted");
    }
  }

  /** The port it listens on. */
  public int port() {
    return listener.getLocalPort();
  }

  /** How many connections it has accepted. */
  public int connections() {
    return connections.get();
  }

  /** How many requests it has read. */
  public int requests() {
    return requests.get();
  }

  /** How many connections are open now. */
  public int openConnections() {
    return sockets.size();
  }

  /** Closes all connections, but goes on accepting new ones. */
  public void dropConnections() {
    for (Socket socket : sockets) {
      try {
        socket.close();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }

  @Override
  public void close() {
    closed.countDown();
    try {
      listener.close();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    dropConnections();
  }
}
