package io.filterd.keys.pkcs11;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import com.google.errorprone.annotations.concurrent.GuardedBy;
import io.filterd.crypto.SecretBytes;
import io.filterd.keys.KeyException;
import io.filterd.keys.KeyException.Reason;
import io.filterd.keys.PassphraseFile;
import io.filterd.keys.pkcs11.Cryptoki.Function;
import io.filterd.keys.pkcs11.Cryptoki.TokenInfo;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A token and the sessions with it: found, logged in to when it is first used, and again when it
 * went away and came back. A session is for one thread at a time; threads wait for one. Safe for
 * many threads.
 */
final class Token implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(Token.class);

  private static final long SERIAL_SESSION = 4;
  private static final long RW_SESSION = 2;
  private static final long USER = 1;
  private static final int TRIES = 3;

  private final String provider;
  private final Cryptoki module;
  private final TokenChoice choice;
  private final Path pinFile;
  private final Semaphore sessions;

  // Taken before the module's lock, whose holders take this object's monitor for a moment: so none
  // may hold the monitor while it waits for the module.
  private final ReentrantLock connecting = new ReentrantLock();

  private final AtomicLong attempts = new AtomicLong();

  @GuardedBy("connecting")
  private @Nullable KeyException lastFailure;

  @GuardedBy("this")
  private @Nullable Connection connection;

  @GuardedBy("this")
  private boolean closed;

  /** What is done with a session. */
  interface Work<T> {
    T with(long session) throws CryptokiException, KeyException;
  }

  /** Whether work only reads the token. */
  enum Access {
    READS(SERIAL_SESSION),
    WRITES(SERIAL_SESSION | RW_SESSION);

    private final long flags;

    Access(long flags) {
      this.flags = flags;
    }
  }

  /** Sessions that are good together; the first one keeps the login for as long as it is open. */
  private static final class Connection {
    private final long generation;
    private final long slot;
    private final TokenInfo token;
    private final long login;
    private final ArrayDeque<Long> idle = new ArrayDeque<>();

    Connection(long generation, long slot, TokenInfo token, long login) {
      this.generation = generation;
      this.slot = slot;
      this.token = token;
      this.login = login;
    }
  }

  /**
   * Nothing is asked of the token yet.
   *
   * @param provider the provider's name, for messages
   * @param sessions how many threads use the token at once
   */
  Token(String provider, Cryptoki module, TokenChoice choice, Path pinFile, int sessions) {
    this.provider = provider;
    this.module = module;
    this.choice = choice;
    this.pinFile = pinFile;
    this.sessions = new Semaphore(sessions, true);
  }

  /**
   * Does {@code work} with a session, and once more with a new one if the token or its sessions had
   * gone.
   *
   * @throws KeyException with {@code UNAVAILABLE} if the token is not there, {@code DENIED} if it
   *     refuses the PIN, or as {@code work} fails
   */
  <T> T use(Access access, Work<T> work) throws KeyException {
    sessions.acquireUninterruptibly();
    try {
      CryptokiException last = null;
      for (int i = 0; i < TRIES; i++) {
        Connection current = connected();
        try {
          return once(current, access, work);
        } catch (CryptokiException failure) {
          if (failure.value().kind() != ReturnValue.Kind.LOST) {
            throw failed(failure);
          }
          forget(current);
          last = failure;
        }
      }
      throw last == null ? closed() : failed(last);
    } finally {
      sessions.release();
    }
  }

  private <T> T once(Connection current, Access access, Work<T> work)
      throws CryptokiException, KeyException {
    module.shared().lock();
    try {
      if (current.generation != module.generation()) {
        throw new CryptokiException("C_OpenSession", ReturnValue.SESSION_HANDLE_INVALID);
      }
      long session = session(current, access);
      boolean good = false;
      try {
        T result = work.with(session);
        good = true;
        return result;
      } finally {
        // What failed may have left an operation behind that the next one would trip over.
        if (!good || !kept(current, access, session)) {
          closeQuietly(session);
        }
      }
    } finally {
      module.shared().unlock();
    }
  }

  private long session(Connection current, Access access) throws CryptokiException {
    if (access == Access.READS) {
      synchronized (this) {
        Long idle = current.idle.poll();
        if (idle != null) {
          return idle;
        }
      }
    }
    return open(current.slot, access);
  }

  private synchronized boolean kept(Connection current, Access access, long session) {
    return access == Access.READS && current == connection && current.idle.add(session);
  }

  private long open(long slot, Access access) throws CryptokiException {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment session = arena.allocate(JAVA_LONG);
      module.call(
          Function.OPEN_SESSION,
          slot,
          access.flags,
          MemorySegment.NULL,
          MemorySegment.NULL,
          session);
      return session.get(JAVA_LONG, 0);
    }
  }

  /** Its session may have gone with the token. */
  private void closeQuietly(long session) {
    try {
      module.call(Function.CLOSE_SESSION, session);
    } catch (CryptokiException gone) {
      LOG.debug("provider={}: {}", provider, gone.getMessage());
    }
  }

  private Connection connected() throws KeyException {
    Connection current = current();
    if (current != null) {
      return current;
    }
    long before = attempts.get();
    connecting.lock();
    try {
      current = current();
      if (current == null) {
        KeyException failed = lastFailure;
        if (failed != null && attempts.get() > before) {
          // Tried while this thread waited: many threads shall not each try in turn.
          throw new KeyException(failed.reason(), String.valueOf(failed.getMessage()), failed);
        }
        attempts.incrementAndGet();
        current = connectNoted();
        keep(current);
        LOG.info(
            "provider={} token={} serial={}: logged in", provider, choice, current.token.serial());
      }
      return current;
    } finally {
      connecting.unlock();
    }
  }

  @GuardedBy("connecting")
  private Connection connectNoted() throws KeyException {
    try {
      Connection current = connect();
      lastFailure = null;
      return current;
    } catch (KeyException failure) {
      lastFailure = failure;
      throw failure;
    }
  }

  private synchronized @Nullable Connection current() throws KeyException {
    if (closed) {
      throw closed();
    }
    Connection current = connection;
    return current != null && current.generation == module.generation() ? current : null;
  }

  private void keep(Connection current) throws KeyException {
    synchronized (this) {
      if (!closed) {
        connection = current;
        return;
      }
    }
    end(current);
    throw closed();
  }

  @GuardedBy("connecting")
  private Connection connect() throws KeyException {
    try {
      Connection found = find();
      if (found != null) {
        return found;
      }
    } catch (CryptokiException failure) {
      if (failure.value().kind() != ReturnValue.Kind.LOST) {
        throw failed(failure);
      }
    }
    try {
      // Many modules look for tokens only when they are initialised.
      module.reinitialise();
      Connection found = find();
      if (found != null) {
        return found;
      }
    } catch (CryptokiException failure) {
      throw failed(failure);
    }
    throw new KeyException(
        Reason.UNAVAILABLE,
        "key provider %s: no token with %s in the module (expected: one, initialised)"
            .formatted(provider, choice));
  }

  @GuardedBy("connecting")
  private @Nullable Connection find() throws CryptokiException, KeyException {
    module.shared().lock();
    try {
      List<Connection> found = new ArrayList<>();
      for (long slot : module.slots()) {
        TokenInfo token = module.tokenInfo(slot);
        if (choice.matches(token)) {
          found.add(new Connection(module.generation(), slot, token, 0));
        }
      }
      if (found.size() > 1) {
        throw new KeyException(
            Reason.PROTOCOL,
            "key provider %s: %d tokens with %s (expected: one: set tokenSerial)"
                .formatted(provider, found.size(), choice));
      }
      return found.isEmpty() ? null : loggedIn(found.getFirst());
    } finally {
      module.shared().unlock();
    }
  }

  @GuardedBy("connecting")
  private Connection loggedIn(Connection found) throws CryptokiException, KeyException {
    long session = open(found.slot, Access.READS);
    boolean done = false;
    try {
      if (found.token.has(TokenInfo.LOGIN_REQUIRED)) {
        login(found.token, session);
      }
      done = true;
      return new Connection(found.generation, found.slot, found.token, session);
    } finally {
      if (!done) {
        closeQuietly(session);
      }
    }
  }

  @GuardedBy("connecting")
  private void login(TokenInfo token, long session) throws CryptokiException, KeyException {
    RefusedPins.Version version = RefusedPins.version(pinFile);
    if (module.refusedPins.has(token.serial(), version)) {
      throw denied("has refused the PIN in %s: not tried again until that file is changed");
    }
    if (token.has(TokenInfo.PIN_LOCKED)) {
      throw denied("has locked its PIN: its security officer has to set a new one in %s");
    }
    if (token.has(TokenInfo.FINAL_TRY)) {
      throw denied(
          "would lock itself after one more wrong PIN: log in by hand with the one in %s first");
    }
    try (SecretBytes pin = PassphraseFile.read("PIN file", pinFile)) {
      module.call(Function.LOGIN, session, USER, pin.segment(), (long) pin.lengthBytes());
    } catch (CryptokiException failure) {
      if (failure.value() == ReturnValue.USER_ALREADY_LOGGED_IN) {
        return;
      }
      if (failure.value().kind() == ReturnValue.Kind.PIN_REFUSED) {
        module.refusedPins.add(token.serial(), version);
        throw new KeyException(
            Reason.DENIED,
            "key provider %s: the token with %s refuses the PIN in %s, which is not tried again until that file is changed: %s"
                .formatted(provider, choice, pinFile, failure.getMessage()),
            failure);
      }
      throw failure;
    }
  }

  private KeyException denied(String what) {
    return new KeyException(
        Reason.DENIED,
        "key provider %s: the token with %s ".formatted(provider, choice)
            + what.formatted(pinFile));
  }

  /** What {@code failure} means for a caller. */
  KeyException failed(CryptokiException failure) {
    ReturnValue.Kind kind = failure.value().kind();
    String what =
        kind == ReturnValue.Kind.LOST
            ? "key provider %s: the token with %s cannot be used now: %s"
            : "key provider %s: the token with %s: %s";
    return new KeyException(
        kind.reason(), what.formatted(provider, choice, failure.getMessage()), failure);
  }

  private KeyException closed() {
    return new KeyException(Reason.UNAVAILABLE, "key provider " + provider + " is closed");
  }

  /**
   * Checks that the token of a session is still there, since some modules of one that is gone say
   * only that it has no keys.
   */
  void checkPresent() throws CryptokiException {
    Connection current;
    synchronized (this) {
      current = connection;
    }
    if (current == null || !choice.matches(module.tokenInfo(current.slot))) {
      throw new CryptokiException("C_GetTokenInfo", ReturnValue.TOKEN_NOT_PRESENT);
    }
  }

  /** Forgets sessions that are good no more. */
  private void forget(Connection old) {
    synchronized (this) {
      if (connection != old) {
        return;
      }
      connection = null;
    }
    end(old);
  }

  private void end(Connection old) {
    module.shared().lock();
    try {
      if (old.generation == module.generation()) {
        List<Long> idle;
        synchronized (this) {
          idle = List.copyOf(old.idle);
          old.idle.clear();
        }
        idle.forEach(this::closeQuietly);
        closeQuietly(old.login);
      }
    } finally {
      module.shared().unlock();
    }
  }

  /** What is known of the token without asking it: empty if there are no sessions with it. */
  synchronized String connectedTo() {
    Connection current = connection;
    return current == null ? "" : current.token.serial();
  }

  synchronized boolean isClosed() {
    return closed;
  }

  /** Ends the sessions; those of work that is being done end with it. */
  @Override
  public void close() {
    Connection old;
    synchronized (this) {
      closed = true;
      old = connection;
    }
    if (old != null) {
      forget(old);
    }
  }
}
