package io.filterd.kmip.client;

import io.filterd.kmip.Attribute;
import io.filterd.kmip.Attributes;
import io.filterd.kmip.Credential;
import io.filterd.kmip.EnumValue;
import io.filterd.kmip.KeyWrapping;
import io.filterd.kmip.KmipAnswer;
import io.filterd.kmip.KmipException;
import io.filterd.kmip.KmipRequest;
import io.filterd.kmip.KmipVersion;
import io.filterd.kmip.Operation;
import io.filterd.kmip.QueryFunction;
import io.filterd.kmip.ResultReason;
import io.filterd.kmip.RevocationReasonCode;
import io.filterd.kmip.State;
import io.filterd.kmip.client.KmsException.Reason;
import io.filterd.kmip.net.ConnectionPool;
import io.filterd.kmip.net.ConnectionPool.Repeat;
import io.filterd.kmip.net.Peer;
import io.filterd.kmip.net.ServerAddress;
import io.filterd.kmip.ttlv.Tag;
import io.filterd.kmip.ttlv.TtlvLimits;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * The keys of one KMIP server. Agrees with it on a version, and remembers what it can't do. Safe
 * for many threads; calls block, within the timeouts of the pool. Owns its pool.
 *
 * <p>Identifiers are the server's own words. A key is handed out as {@link FetchedKey} and is in no
 * text, log or exception.
 */
public final class KmipClient implements AutoCloseable {
  /** The most objects {@link #locate} looks at. */
  public static final int MAX_LOCATED = 1000;

  /** How many keys of one name are looked at; there should be one. */
  private static final int SAME_NAME = 16;

  private final Channel channel;
  private final Negotiation negotiation;
  private final Set<Operation> unsupported = ConcurrentHashMap.newKeySet();

  /**
   * Connects to nothing yet.
   *
   * @param credential a user's name and password, in memory that stays its owner's; null for none
   */
  public KmipClient(ConnectionPool pool, VersionRange versions, @Nullable Credential credential) {
    this.channel = new Channel(pool, credential, TtlvLimits.DEFAULT);
    this.negotiation = new Negotiation(channel, versions);
  }

  /** The server. */
  public ServerAddress server() {
    return channel.server();
  }

  /** The server's side of TLS as of the latest handshake, if there was one. */
  public Optional<Peer> peer() {
    return channel.pool().peer();
  }

  /** The version that is spoken, if it has been agreed on. */
  public Optional<KmipVersion> version() {
    return Optional.ofNullable(negotiation.known());
  }

  /** What the server has said it can't do. */
  public Set<Operation> unsupported() {
    return Set.copyOf(unsupported);
  }

  /**
   * Asks the server who it is. Only an answer to this shows that both sides trust each other: some
   * servers shake hands with everybody and refuse each message.
   */
  public KmipAnswer.Server probe() throws KmsException {
    return ask(
        new KmipRequest.Query(
            Set.of(
                QueryFunction.OPERATIONS, QueryFunction.OBJECTS, QueryFunction.SERVER_INFORMATION)),
        Repeat.ALLOWED,
        answer -> answer);
  }

  /**
   * Makes a key, which is not active yet. If the answer is lost, the key is looked for by its name,
   * since it may have been made.
   *
   * @return its id
   * @throws KmsException {@link KmsException#maybeDone} tells whether there may be a key of this
   *     name all the same; {@link #find} finds it later
   */
  public String create(KeySpec spec) throws KmsException {
    try {
      return ask(new KmipRequest.Create(spec.attributes()), Repeat.NEVER, KmipAnswer.ObjectId::id);
    } catch (KmsException e) {
      if (!e.maybeDone() || Thread.currentThread().isInterrupted()) {
        throw e;
      }
      return foundAgain(spec, e);
    }
  }

  private String foundAgain(KeySpec spec, KmsException lost) throws KmsException {
    try {
      Optional<String> made = find(spec.name());
      if (made.isPresent()) {
        return made.get();
      }
    } catch (KmsException e) {
      lost.addSuppressed(e);
    }
    throw lost;
  }

  /**
   * The key of this name, if there is one; the oldest if there are several: not every server keeps
   * names unique.
   */
  public Optional<String> find(String name) throws KmsException {
    record Dated(String id, Instant made) {}
    List<Dated> keys = new ArrayList<>();
    for (KmipAnswer.Described hit : look(List.of(Attribute.name(name)), SAME_NAME)) {
      keys.add(
          new Dated(
              hit.id(),
              attributes(hit.id(), List.of("Initial Date"))
                  .date(Tag.INITIAL_DATE)
                  .orElse(Instant.MAX)));
    }
    return keys.stream().min(Comparator.comparing(Dated::made)).map(Dated::id);
  }

  /**
   * The objects that have all these attributes. Each is looked at, since a server may answer with
   * everything it has if it does not know an attribute.
   *
   * @param maximum 1..{@link #MAX_LOCATED}
   */
  public List<String> locate(List<Attribute> attributes, int maximum) throws KmsException {
    if (maximum < 1 || maximum > MAX_LOCATED) {
      throw new IllegalArgumentException(
          "maximum: " + maximum + " (expected: 1.." + MAX_LOCATED + ")");
    }
    return look(attributes, maximum).stream().map(KmipAnswer.Described::id).toList();
  }

  private List<KmipAnswer.Described> look(List<Attribute> attributes, int maximum)
      throws KmsException {
    List<String> ids =
        ask(new KmipRequest.Locate(maximum, attributes), Repeat.ALLOWED, KmipAnswer.Located::ids);
    List<String> names = attributes.stream().map(Attribute::name).distinct().toList();
    List<KmipAnswer.Described> hits = new ArrayList<>();
    for (String id : ids.subList(0, Math.min(ids.size(), maximum))) {
      Attributes actual = attributes(id, names);
      if (attributes.stream().allMatch(wanted -> has(actual, wanted))) {
        hits.add(new KmipAnswer.Described(id, actual));
      }
    }
    return hits;
  }

  private static boolean has(Attributes actual, Attribute wanted) {
    return actual.all().stream()
        .anyMatch(each -> each.name().equals(wanted.name()) && each.value().equals(wanted.value()));
  }

  /** Attributes of an object, by their names of KMIP 1.x; those it does not have are left out. */
  public Attributes attributes(String id, List<String> names) throws KmsException {
    return ask(
        new KmipRequest.GetAttributes(id, names), Repeat.ALLOWED, KmipAnswer.Described::attributes);
  }

  /** The state of a key. */
  public EnumValue<State> state(String id) throws KmsException {
    return attributes(id, List.of("State"))
        .state()
        .orElseThrow(
            () ->
                KmsException.of(
                    Reason.PROTOCOL,
                    server(),
                    "state of key '" + id + "': not in the answer (expected: one)"));
  }

  /** Makes a key active, if it is not so already. */
  public void activate(String id) throws KmsException {
    untilIn(Set.of(State.ACTIVE), new KmipRequest.Activate(id), id);
  }

  /** Makes a key deactivated, if it is not so already: it still decrypts what it has encrypted. */
  public void deactivate(String id, RevocationReasonCode reason, String message)
      throws KmsException {
    untilIn(
        Set.of(State.DEACTIVATED, State.COMPROMISED),
        new KmipRequest.Revoke(id, reason, message, null),
        id);
  }

  /** Makes a key compromised, if it is not so already. */
  public void compromise(String id, Instant since, String message) throws KmsException {
    untilIn(
        Set.of(State.COMPROMISED),
        new KmipRequest.Revoke(id, RevocationReasonCode.KEY_COMPROMISE, message, since),
        id);
  }

  /** Refusals of a change that is there already differ among servers, so the state decides. */
  private void untilIn(Set<State> wanted, KmipRequest<KmipAnswer.ObjectId> change, String id)
      throws KmsException {
    try {
      ask(change, Repeat.ALLOWED, KmipAnswer.ObjectId::id);
    } catch (KmsException e) {
      boolean perhapsThere =
          e.reason() == Reason.DENIED
              || e.reason() == Reason.WRONG_STATE
              || e.reason() == Reason.NOT_SUPPORTED;
      if (!perhapsThere || !isIn(wanted, id, e)) {
        throw e;
      }
    }
  }

  private boolean isIn(Set<State> wanted, String id, KmsException refusal) {
    try {
      State now = state(id).known();
      return now != null && wanted.contains(now);
    } catch (KmsException e) {
      refusal.addSuppressed(e);
      return false;
    }
  }

  /**
   * A key in the clear, whatever its state.
   *
   * @return closed by the caller, as soon as the key is where it is kept
   */
  public FetchedKey get(String id) throws KmsException {
    return ask(new KmipRequest.Get(id), Repeat.ALLOWED, FetchedKey::new);
  }

  /** A key as another key of the server wraps it. */
  public FetchedKey getWrapped(String id, KeyWrapping wrapping) throws KmsException {
    return ask(new KmipRequest.Get(id, null, wrapping), Repeat.ALLOWED, FetchedKey::new);
  }

  /**
   * Puts a label on a key, if the server takes it: many don't, and nothing may depend on it.
   *
   * @return whether it was taken
   * @throws KmsException if the server can't be asked
   */
  public boolean label(String id, Attribute attribute) throws KmsException {
    try {
      ask(new KmipRequest.AddAttribute(id, attribute), Repeat.NEVER, KmipAnswer.ObjectId::id);
      return true;
    } catch (KmsException e) {
      if (e.is(ResultReason.INVALID_MESSAGE)) {
        // So says a server that does not even know the operation.
        unsupported.add(Operation.ADD_ATTRIBUTE);
      }
      if (e.getCause() instanceof KmipException || e.reason() == Reason.NOT_SUPPORTED) {
        return false;
      }
      throw e;
    }
  }

  /**
   * Asks the server's policy.
   *
   * @param usageMask what the key is to be used for, bits of {@code UsageMask}
   * @return whether all of it is allowed
   */
  public boolean allows(String id, int usageMask) throws KmsException {
    int refused =
        ask(
            new KmipRequest.Check(id, usageMask),
            Repeat.ALLOWED,
            KmipAnswer.Checked::refusedUsageMask);
    return (refused & usageMask) == 0;
  }

  /**
   * Has the server make a successor of a key, which takes over its name and is active from now on.
   *
   * @return the successor's id
   */
  public String rekey(String id) throws KmsException {
    String successor =
        ask(new KmipRequest.ReKey(id, 0, List.of()), Repeat.NEVER, KmipAnswer.ObjectId::id);
    if (successor.equals(id)) {
      throw KmsException.of(
          Reason.PROTOCOL,
          server(),
          "successor of key '" + id + "': the same id (expected: another one)");
    }
    return successor;
  }

  /** Destroys a key for good: nothing that it has encrypted can be read again. */
  public void destroy(String id) throws KmsException {
    ask(new KmipRequest.Destroy(id), Repeat.NEVER, KmipAnswer.ObjectId::id);
  }

  private <A extends KmipAnswer, T> T ask(
      KmipRequest<A> request, Repeat repeat, Channel.Keeping<A, T> keeping) throws KmsException {
    Operation operation = request.operation();
    if (unsupported.contains(operation)) {
      throw KmsException.of(
          Reason.NOT_SUPPORTED,
          server(),
          operation + ": not supported by this server, as it said before");
    }
    KmipVersion version = negotiation.version();
    try {
      return channel.ask(version, request, repeat, keeping);
    } catch (KmipException e) {
      if (e.is(ResultReason.OPERATION_NOT_SUPPORTED)) {
        unsupported.add(operation);
      }
      if (e.is(ResultReason.UNSUPPORTED_PROTOCOL_VERSION)) {
        negotiation.forget();
      }
      throw KmsException.of(server(), e);
    }
  }

  /** Closes the connections, also those in use. */
  @Override
  public void close() {
    channel.close();
  }
}
