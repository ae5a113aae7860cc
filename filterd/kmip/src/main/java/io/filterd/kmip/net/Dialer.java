package io.filterd.kmip.net;

import io.filterd.kmip.net.TransportException.Reason;
import io.filterd.kmip.net.TransportException.Request;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.net.UnknownHostException;
import java.time.Duration;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** Makes TCP connections within a limit that includes the lookup of the name. */
final class Dialer {
  private Dialer() {}

  /** A connected socket, which the caller closes. Tries all addresses of the name in turn. */
  static Socket connect(ServerAddress address, Duration limit) throws TransportException {
    long end = System.nanoTime() + limit.toNanos();
    InetAddress[] candidates = lookUp(address, limit);
    TransportException failure = null;
    for (int i = 0; i < candidates.length; i++) {
      // What is left is shared, so that a dead first address leaves time for the others.
      long share = (end - System.nanoTime()) / (candidates.length - i);
      int shareMillis = (int) Math.max(1, TimeUnit.NANOSECONDS.toMillis(share));
      try {
        return connect(new InetSocketAddress(candidates[i], address.port()), shareMillis);
      } catch (IOException e) {
        TransportException next = failed(address, limit, e);
        if (failure != null) {
          next.addSuppressed(failure);
        }
        failure = next;
      }
    }
    if (failure == null) {
      throw new IllegalStateException("addresses of " + address + ": none (expected: some)");
    }
    throw failure;
  }

  // The socket is the caller's once it is connected.
  @SuppressWarnings("resource")
  private static Socket connect(InetSocketAddress target, int limitMillis) throws IOException {
    Socket socket = new Socket();
    try {
      socket.setTcpNoDelay(true);
      socket.setKeepAlive(true);
      socket.connect(target, limitMillis);
      return socket;
    } catch (IOException e) {
      socket.close();
      throw e;
    }
  }

  private static TransportException failed(
      ServerAddress address, Duration limit, IOException failure) {
    if (Thread.currentThread().isInterrupted()) {
      return interrupted(address, failure);
    }
    return failure instanceof SocketTimeoutException
        ? timedOut(address, limit, failure)
        : Failures.failed(
            address,
            Reason.UNREACHABLE,
            Request.NOT_SENT,
            "connect: " + failure.getMessage() + " (expected: a listening server)",
            failure);
  }

  private static InetAddress[] lookUp(ServerAddress address, Duration limit)
      throws TransportException {
    // A lookup can neither be interrupted nor limited: if it takes too long it is left to itself.
    FutureTask<InetAddress[]> lookup =
        new FutureTask<>(() -> InetAddress.getAllByName(address.host()));
    Thread.ofPlatform().name("kmip-lookup").daemon().start(lookup);
    try {
      return lookup.get(limit.toNanos(), TimeUnit.NANOSECONDS);
    } catch (TimeoutException e) {
      throw timedOut(address, limit, e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw interrupted(address, e);
    } catch (ExecutionException e) {
      if (e.getCause() instanceof UnknownHostException unknown) {
        throw Failures.failed(
            address,
            Reason.UNREACHABLE,
            Request.NOT_SENT,
            "host: unknown (expected: a name with an address)",
            unknown);
      }
      throw new IllegalStateException("lookup of " + address.host(), e);
    }
  }

  private static TransportException interrupted(ServerAddress address, Throwable cause) {
    return Failures.failed(
        address, Reason.INTERRUPTED, Request.NOT_SENT, "connect: interrupted", cause);
  }

  private static TransportException timedOut(
      ServerAddress address, Duration limit, Throwable cause) {
    return Failures.failed(
        address,
        Reason.TIMED_OUT,
        Request.NOT_SENT,
        "connect: not done (expected: within " + limit.toMillis() + " ms)",
        cause);
  }
}
