package io.filterd.keys.kmip;

import io.filterd.keys.ProviderNeeds;
import io.filterd.keys.ProviderStatus.Health;
import io.filterd.kmip.client.KmipClient;
import io.filterd.kmip.client.KmsException;
import io.filterd.kmip.net.Peer;
import java.security.SecureRandom;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** One server of a cluster: how it was when it was last asked, and when to ask it again. */
final class ClusterServer implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(ClusterServer.class);

  private static final SecureRandom JITTER = new SecureRandom();

  /** A certificate that ends sooner is to be renewed. */
  static final Duration EXPIRES_SOON = Duration.ofDays(30);

  private final String provider;
  private final KmipClient client;
  private final Clock clock;
  private final Backoff backoff = new Backoff(System::nanoTime, JITTER::nextDouble);

  private volatile Health health = Health.YELLOW;
  private volatile String detail = "Not asked yet.";
  private volatile KmsException.Reason failure = KmsException.Reason.UNAVAILABLE;

  /** Once it has handed out a wrong key, it is red until the provider is opened anew. */
  private volatile boolean lied;

  ClusterServer(String provider, KmipClient client, Clock clock) {
    this.provider = provider;
    this.client = client;
    this.clock = clock;
  }

  KmipClient client() {
    return client;
  }

  String name() {
    return client.server().toString();
  }

  /** How long to leave it alone; zero if it may be asked. */
  Duration pause() {
    return backoff.remaining();
  }

  /** It did what it was asked for, or refused it for a reason that is the key's and not its own. */
  void answered() {
    backoff.worked();
    if (!lied) {
      is(Health.GREEN, "");
    }
  }

  /** Why it could not be asked the last time that it could not. */
  KmsException.Reason failure() {
    return failure;
  }

  /** It could not be asked. */
  void failed(KmsException how) {
    failure = how.reason();
    backoff.failed();
    is(Health.RED, String.valueOf(how.getMessage()));
  }

  /** It hands out another key under the id of one of ours. */
  void lies(String how) {
    backoff.worked();
    is(
        Health.RED,
        how
            + ": it does not replicate the keys of the other servers; take it out of the"
            + " configuration, or have it replicate.");
    lied = true;
  }

  /** Asks it who it is: only that shows that both sides trust each other. */
  void probe() {
    try {
      client.probe();
      backoff.worked();
      Instant end =
          client
              .peer()
              .map(Peer::certificate)
              .map(certificate -> certificate.getNotAfter().toInstant())
              .orElse(Instant.MAX);
      if (lied) {
        return;
      }
      if (end.isBefore(clock.instant().plus(EXPIRES_SOON))) {
        is(Health.YELLOW, "Its certificate ends at " + end + ": it has to be renewed there.");
      } else {
        is(Health.GREEN, "");
      }
    } catch (KmsException how) {
      failed(how);
    }
  }

  private synchronized void is(Health next, String why) {
    if (next != health) {
      if (next == Health.GREEN) {
        LOG.info("provider={} server={} health=green", provider, name());
      } else {
        LOG.warn("provider={} server={} health={}: {}", provider, name(), next, why);
      }
    }
    health = next;
    detail = why;
  }

  /** How it was when it was last asked. */
  ProviderNeeds.Server state() {
    return new ProviderNeeds.Server(name(), health, detail);
  }

  Health health() {
    return health;
  }

  /** A sentence for people. */
  String describe() {
    String said = detail;
    if (health == Health.GREEN) {
      String peer = client.peer().map(p -> ", " + p.protocol() + ", " + p.suite()).orElse("");
      String version = client.version().map(v -> ", KMIP " + v).orElse("");
      String end =
          client
              .peer()
              .map(p -> ", its certificate ends at " + p.certificate().getNotAfter().toInstant())
              .orElse("");
      return name() + ": green, both sides trust each other" + version + peer + end + ".";
    }
    String colour = health == Health.YELLOW ? "yellow" : "red";
    return name() + ": " + colour + ": " + said + (said.endsWith(".") ? "" : ".");
  }

  /** What a certificate says, without what would not be shown but done by a terminal. */
  static String printable(String text) {
    return text.replaceAll("[\\p{Cc}\\p{Cf}\\p{Zl}\\p{Zp}]", "?");
  }

  @Override
  public void close() {
    client.close();
  }
}
