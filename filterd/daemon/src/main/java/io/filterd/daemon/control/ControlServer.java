package io.filterd.daemon.control;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.exc.ValueInstantiationException;
import io.filterd.daemon.control.OperationException.Code;
import java.io.BufferedOutputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Answers commands on a Unix socket: one JSON line asks for one operation, JSON lines answer. Who
 * may open the socket file may ask for everything: its mode is the access rule.
 */
public final class ControlServer implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(ControlServer.class);

  /** A call is a few paths and names. */
  private static final int MAX_CALL_BYTES = 64 << 10;

  private static final int MAX_CONNECTIONS = 32;

  /** A program writes its call at once. */
  static final Duration CALL_PATIENCE = Duration.ofSeconds(30);

  private final Path socket;
  private final ServerSocketChannel listener;
  private final Operations operations;
  private final Map<String, Operation<?, ?>> known;
  private final Duration callPatience;

  /** Ends connections on which no call comes. */
  private final ScheduledExecutorService deadlines =
      Executors.newSingleThreadScheduledExecutor(
          Thread.ofPlatform().daemon().name("control-deadlines").factory());

  private final Semaphore slots = new Semaphore(MAX_CONNECTIONS);
  private final Set<SocketChannel> open = ConcurrentHashMap.newKeySet();

  private ControlServer(
      Path socket,
      ServerSocketChannel listener,
      Operations operations,
      List<Operation<?, ?>> known,
      Duration callPatience) {
    this.callPatience = callPatience;
    this.socket = socket;
    this.listener = listener;
    this.operations = operations;
    this.known = known.stream().collect(Collectors.toMap(Operation::name, Function.identity()));
  }

  /**
   * Starts to listen.
   *
   * @param socket where; a socket that nobody listens on any more is replaced
   * @param mode the socket file's permissions
   * @param known the operations that may be asked for
   */
  public static ControlServer start(
      Path socket,
      Set<PosixFilePermission> mode,
      Operations operations,
      List<Operation<?, ?>> known)
      throws IOException {
    return start(socket, mode, operations, known, CALL_PATIENCE);
  }

  /** As the public one, with the time that a client has for its call. */
  static ControlServer start(
      Path socket,
      Set<PosixFilePermission> mode,
      Operations operations,
      List<Operation<?, ?>> known,
      Duration callPatience)
      throws IOException {
    removeStale(socket);
    ServerSocketChannel listener = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
    try {
      bind(listener, socket, mode);
    } catch (IOException | RuntimeException failure) {
      listener.close();
      throw failure;
    }
    ControlServer server = new ControlServer(socket, listener, operations, known, callPatience);
    Thread.ofPlatform().daemon().name("control").start(server::accept);
    return server;
  }

  /** The socket appears with its mode, so that nobody can connect before it is set. */
  private static void bind(ServerSocketChannel listener, Path socket, Set<PosixFilePermission> mode)
      throws IOException {
    // Short, since a socket's path is at most 108 bytes.
    Path hidden =
        Files.createDirectory(
            socket
                .toAbsolutePath()
                .resolveSibling("." + Integer.toString(new SecureRandom().nextInt(1 << 24), 36)),
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
    Path made = hidden.resolve("s");
    try {
      listener.bind(UnixDomainSocketAddress.of(made));
      Files.setPosixFilePermissions(made, mode);
      Files.move(made, socket, StandardCopyOption.ATOMIC_MOVE);
    } finally {
      Files.deleteIfExists(made);
      Files.delete(hidden);
    }
  }

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
    throw new IOException("another filterd answers on " + socket);
  }

  private void accept() {
    try {
      while (true) {
        slots.acquireUninterruptibly();
        SocketChannel channel = listener.accept();
        open.add(channel);
        Thread.ofPlatform().daemon().name("control-call").start(() -> serve(channel));
      }
    } catch (IOException closed) {
      LOG.debug("control socket closed: {}", closed.toString());
    }
  }

  private void serve(SocketChannel channel) {
    try (channel) {
      OutputStream out = new BufferedOutputStream(Channels.newOutputStream(channel));
      byte @Nullable [] line = readCall(channel);
      if (line == null) {
        return;
      }
      answer(line, out);
    } catch (IOException gone) {
      LOG.debug("control client gone: {}", gone.toString());
    } finally {
      open.remove(channel);
      slots.release();
    }
  }

  private byte @Nullable [] readCall(SocketChannel channel) throws IOException {
    ScheduledFuture<?> deadline =
        deadlines.schedule(() -> end(channel), callPatience.toMillis(), TimeUnit.MILLISECONDS);
    try {
      return readLine(Channels.newInputStream(channel));
    } finally {
      deadline.cancel(false);
    }
  }

  private static void end(SocketChannel channel) {
    try {
      channel.close();
    } catch (IOException gone) {
      LOG.debug("control client gone: {}", gone.toString());
    }
  }

  private static byte @Nullable [] readLine(InputStream in) throws IOException {
    ByteArrayOutputStream line = new ByteArrayOutputStream();
    for (int next = in.read(); next != '\n'; next = in.read()) {
      if (next < 0 || line.size() == MAX_CALL_BYTES) {
        return null;
      }
      line.write(next);
    }
    return line.toByteArray();
  }

  private void answer(byte[] line, OutputStream out) throws IOException {
    Requests.Answer answer;
    try {
      Requests.@Nullable Call call = Json.MAPPER.readValue(line, Requests.Call.class);
      if (call == null) {
        throw new OperationException(Code.INVALID, "not a call: null (expected: an object)");
      }
      Operation<?, ?> operation = known.get(call.operation());
      if (operation == null) {
        throw new OperationException(
            Code.INVALID,
            "operation: "
                + call.operation()
                + " is unknown to this daemon: is it of this version?");
      }
      answer = new Requests.Answer(null, run(operation, call.arguments(), out), null);
    } catch (ValueInstantiationException refused) {
      answer = failure(new OperationException(Code.INVALID, "not a call: " + reason(refused)));
    } catch (JsonProcessingException malformed) {
      answer =
          failure(
              new OperationException(
                  Code.INVALID, "not a call: " + malformed.getOriginalMessage()));
    } catch (OperationException failure) {
      answer = failure(failure);
    } catch (RuntimeException bug) {
      LOG.error("operation failed", bug);
      answer = failure(new OperationException(Code.INTERNAL, "a bug in filterd: " + bug));
    }
    write(answer, out);
  }

  /** What the record said, without what Jackson says around it. */
  private static String reason(ValueInstantiationException refused) {
    Throwable cause = refused.getCause();
    return String.valueOf(cause == null ? refused.getOriginalMessage() : cause.getMessage());
  }

  private <A, R> JsonNode run(Operation<A, R> operation, JsonNode arguments, OutputStream out)
      throws OperationException, JsonProcessingException {
    A parsed = Json.MAPPER.treeToValue(arguments, operation.arguments());
    try (Steps steps = new Steps(step -> write(new Requests.Answer(step, null, null), out))) {
      return Json.MAPPER.valueToTree(operations.call(operation, parsed, steps));
    }
  }

  private static Requests.Answer failure(OperationException failure) {
    return new Requests.Answer(
        null,
        null,
        new Requests.Failure(
            failure.code(), String.valueOf(failure.getMessage()), failure.details()));
  }

  private static void write(Requests.Answer answer, OutputStream out) throws IOException {
    out.write(Json.MAPPER.writeValueAsBytes(answer));
    out.write('\n');
    out.flush();
  }

  /** Stops listening, ends open connections, removes the socket file. */
  @Override
  public void close() throws IOException {
    listener.close();
    deadlines.shutdownNow();
    for (SocketChannel channel : open) {
      channel.close();
    }
    Files.deleteIfExists(socket);
  }
}
