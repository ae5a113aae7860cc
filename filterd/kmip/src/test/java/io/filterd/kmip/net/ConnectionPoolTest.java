package io.filterd.kmip.net;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;
import static org.awaitility.Awaitility.await;

import io.filterd.kmip.cert.ClientIdentity;
import io.filterd.kmip.net.ConnectionPool.Repeat;
import io.filterd.kmip.net.TransportException.Reason;
import io.filterd.kmip.net.TransportException.Request;
import io.filterd.kmip.server.ScriptedKmipServer;
import io.filterd.kmip.server.ScriptedKmipServer.Script;
import io.filterd.kmip.server.TestPki;
import io.filterd.kmip.server.TestPki.Order;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Reuse, bounds, retries and the end of connections. */
class ConnectionPoolTest {
  private static final TestPki PKI = new TestPki("kms authority");
  private static final ClientIdentity SERVER = PKI.issue(Order.server());
  private static final ClientIdentity CLIENT = PKI.issue(Order.client("filterd"));
  private static final Script ECHO = ScriptedKmipServer.answering(Messages::echo);
  private static final PoolSettings LASTING =
      new PoolSettings(4, Duration.ofSeconds(60), Duration.ofSeconds(60), 1 << 20);

  @TempDir Path folder;

  private static ScriptedKmipServer server(Script script) {
    return ScriptedKmipServer.start(SERVER, PKI.certificate(), script);
  }

  private ConnectionPool pool(ScriptedKmipServer server, PoolSettings settings) throws IOException {
    return pool(server, settings, List.of("TLSv1.3", "TLSv1.2"));
  }

  private ConnectionPool pool(
      ScriptedKmipServer server, PoolSettings settings, List<String> protocols) throws IOException {
    return new ConnectionPool(
        new ServerAddress("localhost", server.port()),
        TlsSettings.of(new ServerTrust.SignedBy(PKI.writeTo(folder.resolve("ca.crt"))), CLIENT)
            .withProtocols(protocols),
        Timeouts.defaults(),
        settings);
  }

  private static void exchange(ConnectionPool pool, Repeat repeat) throws TransportException {
    byte[] request = Messages.request(64, 5);
    assertThat(Messages.exchange(pool, request, repeat)).isEqualTo(Messages.echo(request));
  }

  private static TransportException failure(ConnectionPool pool, Repeat repeat) {
    return catchThrowableOfType(TransportException.class, () -> exchange(pool, repeat));
  }

  @ParameterizedTest
  @ValueSource(strings = {"TLSv1.3", "TLSv1.2"})
  void usesAConnectionAgainAfterAPause(String protocol) throws IOException, InterruptedException {
    try (ScriptedKmipServer kms = server(ECHO);
        ConnectionPool pool = pool(kms, LASTING, List.of(protocol))) {
      exchange(pool, Repeat.NEVER);
      exchange(pool, Repeat.NEVER);
      // So long that it is probed before it is used.
      assertThat(new CountDownLatch(1).await(1200, TimeUnit.MILLISECONDS)).isFalse();
      exchange(pool, Repeat.NEVER);
      exchange(pool, Repeat.NEVER);
      assertThat(kms.connections()).isEqualTo(1);
      assertThat(kms.requests()).isEqualTo(4);
    }
  }

  @Test
  void closesWhatIsNotUsed() throws IOException {
    try (ScriptedKmipServer kms = server(ECHO);
        ConnectionPool pool =
            pool(
                kms,
                new PoolSettings(4, Duration.ofMillis(100), Duration.ofSeconds(60), 1 << 20))) {
      exchange(pool, Repeat.NEVER);
      await().untilAsserted(() -> assertThat(pool.openConnections()).isZero());
      await().untilAsserted(() -> assertThat(kms.openConnections()).isZero());
      exchange(pool, Repeat.NEVER);
      assertThat(kms.connections()).isEqualTo(2);
    }
  }

  @Test
  void noticesThatTheServerHasClosedAKeptConnection() throws IOException {
    try (ScriptedKmipServer kms =
            server(
                line -> {
                  line.shakeHands();
                  line.send(Messages.echo(line.request()));
                });
        ConnectionPool pool = pool(kms, LASTING)) {
      exchange(pool, Repeat.NEVER);
      await().untilAsserted(() -> assertThat(kms.openConnections()).isZero());
      exchange(pool, Repeat.NEVER);
      assertThat(kms.connections()).isEqualTo(2);
      assertThat(kms.requests()).isEqualTo(2);
    }
  }

  @Test
  void neverTakesWhatWasNotAskedForAsTheNextAnswer() throws IOException {
    CountDownLatch sent = new CountDownLatch(1);
    try (ScriptedKmipServer kms =
            server(
                line -> {
                  line.shakeHands();
                  byte[] request = line.request();
                  line.send(Messages.echo(request));
                  if (sent.getCount() > 0) {
                    line.send(Messages.answer(64, 99));
                    sent.countDown();
                    line.hold();
                  }
                });
        ConnectionPool pool = pool(kms, LASTING)) {
      exchange(pool, Repeat.NEVER);
      await().until(() -> sent.getCount() == 0);
      exchange(pool, Repeat.NEVER);
      assertThat(kms.connections()).isEqualTo(2);
    }
  }

  /** Answers the first request of the first connection, reads its second one and closes. */
  private static Script closingUnderTheSecondRequest() {
    AtomicInteger connections = new AtomicInteger();
    return line -> {
      boolean first = connections.getAndIncrement() == 0;
      line.shakeHands();
      for (byte[] request = line.nextRequest(); request != null; request = line.nextRequest()) {
        line.send(Messages.echo(request));
        if (first) {
          line.request();
          return;
        }
      }
    };
  }

  @Test
  void repeatsOnceOnANewConnectionWhatMayBeRepeated() throws IOException {
    try (ScriptedKmipServer kms = server(closingUnderTheSecondRequest());
        ConnectionPool pool = pool(kms, LASTING)) {
      exchange(pool, Repeat.ALLOWED);
      exchange(pool, Repeat.ALLOWED);
      assertThat(kms.connections()).isEqualTo(2);
      assertThat(kms.requests()).isEqualTo(3);
    }
  }

  @Test
  void neverRepeatsWhatMustNotBeRepeated() throws IOException {
    try (ScriptedKmipServer kms = server(closingUnderTheSecondRequest());
        ConnectionPool pool = pool(kms, LASTING)) {
      exchange(pool, Repeat.NEVER);
      TransportException failure = failure(pool, Repeat.NEVER);
      assertThat(failure.reason()).isEqualTo(Reason.CLOSED);
      assertThat(failure.request()).isEqualTo(Request.MAYBE_SENT);
      assertThat(pool.openConnections()).isZero();
      exchange(pool, Repeat.NEVER);
      assertThat(kms.connections()).isEqualTo(2);
    }
  }

  @Test
  void neverRepeatsOnANewConnection() throws IOException {
    try (ScriptedKmipServer kms = server(ScriptedKmipServer.answering(request -> null));
        ConnectionPool pool = pool(kms, LASTING)) {
      assertThat(failure(pool, Repeat.ALLOWED).reason()).isEqualTo(Reason.CLOSED);
      assertThat(kms.connections()).isEqualTo(1);
    }
  }

  @Test
  void wipesAnAnswerAndClosesTheConnectionOfOneThatMakesNoSense() throws IOException {
    try (ScriptedKmipServer kms = server(ECHO);
        ConnectionPool pool = pool(kms, LASTING)) {
      AtomicReference<@Nullable ByteBuffer> seen = new AtomicReference<>();
      ByteBuffer request = ByteBuffer.wrap(Messages.request(64, 5));
      assertThatThrownBy(
              () ->
                  pool.exchange(
                      request,
                      Repeat.ALLOWED,
                      answer -> {
                        assertThat(answer.isDirect()).isTrue();
                        seen.set(answer);
                        throw new IOException("answer: makes no sense");
                      }))
          .hasMessage("answer: makes no sense");
      assertThat(request.position()).isZero();
      assertThat(pool.openConnections()).isZero();
      ByteBuffer wiped = Objects.requireNonNull(seen.get());
      assertThatThrownBy(() -> wiped.get(0)).isInstanceOf(IllegalStateException.class);
    }
  }

  @Test
  void opensNoMoreThanItMay() throws ExecutionException, IOException, InterruptedException {
    AtomicInteger working = new AtomicInteger();
    AtomicInteger most = new AtomicInteger();
    try (ScriptedKmipServer kms =
            server(
                ScriptedKmipServer.answering(
                    request -> {
                      most.accumulateAndGet(working.incrementAndGet(), Math::max);
                      byte[] answer = Messages.echo(request);
                      working.decrementAndGet();
                      return answer;
                    }));
        ConnectionPool pool =
            pool(kms, new PoolSettings(3, Duration.ofSeconds(30), Duration.ofSeconds(60), 4096));
        ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
      List<Future<?>> all = new ArrayList<>();
      for (int i = 0; i < 40; i++) {
        all.add(
            threads.submit(
                (Callable<@Nullable Void>)
                    () -> {
                      exchange(pool, Repeat.NEVER);
                      return null;
                    }));
      }
      for (Future<?> each : all) {
        each.get();
      }
      assertThat(kms.requests()).isEqualTo(40);
      assertThat(kms.connections()).isBetween(1, 3);
      assertThat(most.get()).isLessThanOrEqualTo(3);
      assertThat(pool.openConnections()).isEqualTo(kms.connections());
    }
  }

  /** A server that reads requests and never answers, and says when it has read one. */
  private static Script mute(CountDownLatch read) {
    return line -> {
      line.shakeHands();
      line.request();
      read.countDown();
      line.hold();
    };
  }

  private static FutureTask<TransportException> failing(ConnectionPool pool) {
    return new FutureTask<>(() -> failure(pool, Repeat.NEVER));
  }

  @Test
  void saysThatAllConnectionsAreInUse()
      throws ExecutionException, IOException, InterruptedException {
    CountDownLatch read = new CountDownLatch(1);
    try (ScriptedKmipServer kms = server(mute(read));
        ConnectionPool pool =
            pool(kms, new PoolSettings(1, Duration.ofSeconds(30), Duration.ofMillis(50), 4096))) {
      FutureTask<TransportException> first = failing(pool);
      Thread.ofVirtual().start(first);
      read.await();
      TransportException second = failure(pool, Repeat.NEVER);
      assertThat(second)
          .hasMessage(
              "KMS localhost:"
                  + kms.port()
                  + ": connections: all 1 in use (expected: one free within 50 ms)");
      assertThat(second.reason()).isEqualTo(Reason.BUSY);
      assertThat(second.request()).isEqualTo(Request.NOT_SENT);
      kms.dropConnections();
      assertThat(first.get().reason()).isEqualTo(Reason.CLOSED);
    }
  }

  @Test
  void closesConnectionsInUse() throws ExecutionException, IOException, InterruptedException {
    CountDownLatch read = new CountDownLatch(1);
    try (ScriptedKmipServer kms = server(mute(read))) {
      ConnectionPool pool = pool(kms, LASTING);
      FutureTask<TransportException> exchange = failing(pool);
      Thread.ofPlatform().start(exchange);
      read.await();
      pool.close();
      assertThat(failure(pool, Repeat.NEVER).reason()).isEqualTo(Reason.SHUT_DOWN);
      assertThat(exchange.get().reason()).isEqualTo(Reason.SHUT_DOWN);
      await().untilAsserted(() -> assertThat(kms.openConnections()).isZero());
    }
  }

  @Test
  void endsTheExchangeOfAnInterruptedVirtualThread()
      throws ExecutionException, IOException, InterruptedException {
    CountDownLatch read = new CountDownLatch(1);
    try (ScriptedKmipServer kms = server(mute(read));
        ConnectionPool pool = pool(kms, LASTING)) {
      assertInterrupted(pool, read);
      assertThat(pool.openConnections()).isZero();
      await().untilAsserted(() -> assertThat(kms.openConnections()).isZero());
    }
  }

  @Test
  void givesAPermitBackWhenAWaitingThreadIsInterrupted()
      throws ExecutionException, IOException, InterruptedException {
    CountDownLatch read = new CountDownLatch(1);
    AtomicInteger connections = new AtomicInteger();
    Script muteThenEcho =
        line -> {
          if (connections.getAndIncrement() == 0) {
            mute(read).play(line);
          } else {
            ECHO.play(line);
          }
        };
    try (ScriptedKmipServer kms = server(muteThenEcho);
        ConnectionPool pool =
            pool(kms, new PoolSettings(1, Duration.ofSeconds(30), Duration.ofSeconds(60), 4096))) {
      FutureTask<TransportException> first = failing(pool);
      Thread.ofVirtual().start(first);
      read.await();
      assertInterrupted(pool, new CountDownLatch(0));
      kms.dropConnections();
      assertThat(first.get().reason()).isEqualTo(Reason.CLOSED);
      exchange(pool, Repeat.NEVER);
      assertThat(pool.openConnections()).isEqualTo(1);
    }
  }

  private static void assertInterrupted(ConnectionPool pool, CountDownLatch when)
      throws InterruptedException, ExecutionException {
    FutureTask<Boolean> flag =
        new FutureTask<>(
            () -> {
              TransportException failure = failure(pool, Repeat.ALLOWED);
              assertThat(failure.reason()).isEqualTo(Reason.INTERRUPTED);
              return Thread.currentThread().isInterrupted();
            });
    Thread thread = Thread.ofVirtual().start(flag);
    when.await();
    thread.interrupt();
    assertThat(flag.get()).isTrue();
  }
}
