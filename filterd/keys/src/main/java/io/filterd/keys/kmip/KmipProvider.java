package io.filterd.keys.kmip;

import io.filterd.crypto.SecretBytes;
import io.filterd.keys.ExportingProvider;
import io.filterd.keys.KeyDescription;
import io.filterd.keys.KeyEncryptionKey;
import io.filterd.keys.KeyException;
import io.filterd.keys.KeyException.Reason;
import io.filterd.keys.KeyLabel;
import io.filterd.keys.KeyReference;
import io.filterd.keys.KeyState;
import io.filterd.keys.ProviderNeeds;
import io.filterd.keys.ProviderStatus;
import io.filterd.keys.ProviderStatus.Health;
import io.filterd.keys.ProviderStatus.State;
import io.filterd.kmip.Attribute;
import io.filterd.kmip.Attributes;
import io.filterd.kmip.RevocationReasonCode;
import io.filterd.kmip.cert.ClientIdentity;
import io.filterd.kmip.client.FetchedKey;
import io.filterd.kmip.client.KeySpec;
import io.filterd.kmip.client.KmipClient;
import io.filterd.kmip.client.KmsException;
import io.filterd.kmip.ttlv.Tag;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Keys in a KMS, reached by KMIP: a cluster of servers that replicate the same keys, tried in
 * order. Every key that is fetched is verified by its check value, since two servers that do not
 * replicate may both know a key "1". A key that is missing is never made anew. Safe for many
 * threads; calls take as long as the time limits of all servers together at most.
 */
public final class KmipProvider implements ExportingProvider {
  /** The type's name in the configuration. */
  public static final String TYPE = "kmip";

  private static final Logger LOG = LoggerFactory.getLogger(KmipProvider.class);

  /** How often, and after which pauses, a server is asked for a key that another has just made. */
  private static final int READ_BACK_TRIES = 10;

  private static final Duration READ_BACK_PAUSE = Duration.ofMillis(500);

  private final String name;
  private final Cluster cluster;
  private final int readBack;
  private final boolean labels;
  private final List<Attribute> attributes;
  private final ClientIdentity identity;
  private final List<Path> files;
  private final @Nullable SecretBytes password;
  private final Clock clock;
  private volatile boolean closed;

  KmipProvider(
      String name,
      Cluster cluster,
      KmipSettings settings,
      ClientIdentity identity,
      List<Path> files,
      @Nullable SecretBytes password,
      Clock clock) {
    this.name = name;
    this.cluster = cluster;
    this.readBack = settings.readBack();
    this.labels = settings.labels();
    this.attributes = settings.attributes();
    this.identity = identity;
    this.files = List.copyOf(files);
    this.password = password;
    this.clock = clock;
  }

  @Override
  public String name() {
    return name;
  }

  /**
   * {@inheritDoc}
   *
   * <p>The key is active then, and has been read from as many servers as the configuration says.
   *
   * @throws KeyException with {@code UNAVAILABLE} if too few servers have the key; it is left in
   *     the KMS, and nothing uses it
   */
  @Override
  public KeyReference create(KeyLabel label) throws KeyException {
    KeySpec spec = KeySpec.aes256().with(attributes);
    AtomicBoolean perhapsMade = new AtomicBoolean();
    List<KmipClient> maker = new ArrayList<>();
    KeyReference made =
        cluster.ask(
            "a new key",
            client -> {
              String id = perhapsMade.get() ? client.find(spec.name()).orElse(null) : null;
              try {
                if (id == null) {
                  id = client.create(spec);
                  perhapsMade.set(true);
                }
                client.activate(id);
                try (KeyEncryptionKey key = KeyEncryptionKey.owning(name, id, fetch(client, id))) {
                  maker.add(client);
                  return key.reference();
                }
              } catch (KmsException failure) {
                perhapsMade.compareAndSet(false, failure.maybeDone());
                throw failure;
              }
            });
    LOG.info("provider={} keyId={} server={}: made", name, made.keyId(), maker.getLast().server());
    readBack(made, maker.getLast());
    if (labels) {
      label(maker.getLast(), made.keyId(), label);
    }
    return made;
  }

  /** Makes sure that the key outlives the server that made it, before anything depends on it. */
  private void readBack(KeyReference made, KmipClient maker) throws KeyException {
    int have = 1;
    List<String> missing = new ArrayList<>();
    KeyException last = null;
    for (ClusterServer server : cluster.order()) {
      if (have == readBack) {
        return;
      }
      if (server.client() == maker) {
        continue;
      }
      try {
        readBack(made, server);
        have++;
      } catch (KeyException failure) {
        missing.add(String.valueOf(failure.getMessage()));
        last = failure;
      }
    }
    if (have < readBack) {
      throw new KeyException(
          last != null && last.reason() == Reason.WRONG_KEY ? Reason.WRONG_KEY : Reason.UNAVAILABLE,
          "key provider %s: the new key %s is on %d of %d servers (readBack: %d), so it is not used: %s"
              .formatted(
                  name,
                  made.keyId(),
                  have,
                  cluster.servers().size(),
                  readBack,
                  String.join("; ", missing)),
          last);
    }
  }

  private void readBack(KeyReference made, ClusterServer server) throws KeyException {
    for (int attempt = 1; ; attempt++) {
      try {
        cluster.ask(server, client -> verified(client, made)).close();
        return;
      } catch (KeyException failure) {
        // Replication takes a moment; everything else does not get better by waiting.
        if (failure.reason() != Reason.NOT_FOUND
            || attempt == READ_BACK_TRIES
            || Thread.currentThread().isInterrupted()) {
          throw failure;
        }
        LockSupport.parkNanos(READ_BACK_PAUSE.toNanos());
      }
    }
  }

  private KeyEncryptionKey verified(KmipClient client, KeyReference reference)
      throws KmsException, KeyException {
    return KeyEncryptionKey.verified(reference, fetch(client, reference.keyId()));
  }

  private SecretBytes fetch(KmipClient client, String id) throws KmsException, KeyException {
    try (FetchedKey fetched = client.get(id)) {
      if (fetched.bytes().byteSize() != KeyEncryptionKey.LENGTH_BYTES) {
        throw new KeyException(
            Reason.PROTOCOL,
            "key %s: %d bytes (expected: %d, AES-256)"
                .formatted(id, fetched.bytes().byteSize(), KeyEncryptionKey.LENGTH_BYTES));
      }
      return SecretBytes.copyOf(fetched.bytes());
    }
  }

  /** For the KMS's own operators; many servers refuse such words. */
  private void label(KmipClient client, String id, KeyLabel label) {
    String component =
        switch (label.scope()) {
          case VM -> "Virtual Machine";
          case DISK -> "Virtual Disk";
          case TENANT -> "Tenant";
        };
    try {
      var _ =
          client.label(id, Attribute.custom("x-Product", "filterd"))
              && client.label(id, Attribute.custom("x-Component", component))
              && client.label(id, Attribute.custom("x-Name", label.name()));
    } catch (KmsException failure) {
      LOG.debug("provider={} keyId={}: not labelled", name, id, failure);
    }
  }

  @Override
  public KeyEncryptionKey open(KeyReference reference) throws KeyException {
    checkOurs(reference);
    return cluster.ask("key " + reference.keyId(), client -> verified(client, reference));
  }

  @Override
  public KeyDescription describe(KeyReference reference) throws KeyException {
    checkOurs(reference);
    return cluster.ask(
        "state of key " + reference.keyId(),
        client -> {
          Attributes said =
              client.attributes(
                  reference.keyId(),
                  List.of("State", "Initial Date", "Deactivation Date", "Protect Stop Date"));
          Optional<Instant> end =
              Stream.of(said.date(Tag.DEACTIVATION_DATE), said.date(Tag.PROTECT_STOP_DATE))
                  .flatMap(Optional::stream)
                  .min(Instant::compareTo);
          return new KeyDescription(reference, state(said), said.date(Tag.INITIAL_DATE), end);
        });
  }

  private static KeyState state(Attributes said) throws KeyException {
    io.filterd.kmip.State known =
        said.state()
            .map(io.filterd.kmip.EnumValue::known)
            .orElseThrow(
                () ->
                    new KeyException(
                        Reason.PROTOCOL, "state: not in the answer, or unknown (expected: one)"));
    return switch (known) {
      case PRE_ACTIVE -> KeyState.PRE_ACTIVE;
      case ACTIVE -> KeyState.ACTIVE;
      case DEACTIVATED -> KeyState.DEACTIVATED;
      case COMPROMISED -> KeyState.COMPROMISED;
      case DESTROYED, DESTROYED_COMPROMISED -> KeyState.DESTROYED;
    };
  }

  @Override
  public void revoke(KeyReference reference) throws KeyException {
    open(reference).close(); // That it is the key that is meant.
    var _ =
        cluster.ask(
            "end of key " + reference.keyId(),
            client -> {
              client.deactivate(
                  reference.keyId(),
                  RevocationReasonCode.SUPERSEDED,
                  "filterd: another key is used");
              return true;
            });
    LOG.info("provider={} keyId={}: revoked", name, reference.keyId());
  }

  /** {@inheritDoc} The key is revoked first, as KMIP asks for. */
  @Override
  public void destroy(KeyReference reference) throws KeyException {
    revoke(reference);
    var _ =
        cluster.ask(
            "destruction of key " + reference.keyId(),
            client -> {
              client.destroy(reference.keyId());
              return true;
            });
    LOG.info("provider={} keyId={}: destroyed", name, reference.keyId());
  }

  private void checkOurs(KeyReference reference) throws KeyException {
    if (closed) {
      throw new KeyException(Reason.UNAVAILABLE, "key provider " + name + " is closed");
    }
    if (!reference.provider().equals(name)) {
      throw new KeyException(
          Reason.NOT_FOUND,
          "key provider %s has no keys of provider %s".formatted(name, reference.provider()));
    }
  }

  @Override
  public ProviderStatus status() {
    List<String> details = new ArrayList<>();
    cluster.servers().forEach(server -> details.add(server.describe()));
    Instant end = identity.certificate().getNotAfter().toInstant();
    boolean endsSoon = end.isBefore(clock.instant().plus(ClusterServer.EXPIRES_SOON));
    details.add(
        "The client's certificate (%s) %s at %s%s"
            .formatted(
                ClusterServer.printable(identity.certificate().getSubjectX500Principal().getName()),
                end.isBefore(clock.instant()) ? "ended" : "ends",
                end,
                endsSoon
                    ? ": renew it, from `filterd provider certificate request %s` on."
                        .formatted(name)
                    : "."));
    return new ProviderStatus(name, TYPE, state(endsSoon), details, needs());
  }

  private State state(boolean certificateEndsSoon) {
    if (closed) {
      return State.CLOSED;
    }
    List<Health> each = cluster.servers().stream().map(ClusterServer::health).toList();
    if (each.stream().allMatch(health -> health == Health.RED)) {
      return State.UNAVAILABLE;
    }
    return certificateEndsSoon || each.stream().anyMatch(health -> health != Health.GREEN)
        ? State.DEGRADED
        : State.READY;
  }

  private ProviderNeeds needs() {
    return new ProviderNeeds(
        cluster.servers().stream().map(ClusterServer::state).toList(),
        files,
        ProviderNeeds.Keeping.ELSEWHERE);
  }

  @Override
  public ProviderStatus probe() {
    List<Thread> threads =
        cluster.servers().stream().map(server -> Thread.ofVirtual().start(server::probe)).toList();
    try {
      for (Thread thread : threads) {
        thread.join();
      }
    } catch (InterruptedException stop) {
      Thread.currentThread().interrupt();
    }
    return status();
  }

  @Override
  public void close() {
    closed = true;
    cluster.close();
    if (password != null) {
      password.close();
    }
  }

  @Override
  public String toString() {
    return "KmipProvider[" + name + "]";
  }
}
