package io.filterd.keys.kmip;

import io.filterd.keys.KeyException;
import io.filterd.keys.KeyException.Reason;
import io.filterd.keys.ProviderStatus.Health;
import io.filterd.kmip.client.KmipClient;
import io.filterd.kmip.client.KmsException;
import io.filterd.kmip.net.TransportException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;

/**
 * Servers that have the same keys, each of which will do. They are tried in their order, but the
 * one that worked last is tried first; one that failed is left alone for a moment. That a server
 * does not know a key is no answer as long as there is another to ask. Safe for many threads.
 */
final class Cluster implements AutoCloseable {
  /** What one server is asked for. */
  @FunctionalInterface
  interface Call<T> {
    T on(KmipClient client) throws KmsException, KeyException;
  }

  private final String provider;
  private final List<ClusterServer> servers;
  private volatile int lastGood;

  Cluster(String provider, List<ClusterServer> servers) {
    this.provider = provider;
    this.servers = List.copyOf(servers);
  }

  /** Its servers, in their order. */
  List<ClusterServer> servers() {
    return servers;
  }

  /** Its servers in the order in which they are tried now. */
  List<ClusterServer> order() {
    List<ClusterServer> order = new ArrayList<>(servers);
    order.add(0, order.remove(lastGood));
    return order;
  }

  /**
   * What the first server says that answers.
   *
   * @param doing what for, to follow "key provider NAME, "
   * @throws KeyException what all of them said; with {@code UNAVAILABLE} if one could not be asked,
   *     since trying again may then help
   */
  <T> T ask(String doing, Call<T> call) throws KeyException {
    List<KeyException> failures = new ArrayList<>();
    for (ClusterServer server : order()) {
      Duration pause = server.pause();
      if (!pause.isZero()) {
        // It is the same for whoever comes next, in the same words, so that one alarm does for all.
        failures.add(new KeyException(reason(server.failure()), server.state().detail()));
        continue;
      }
      try {
        T answer = ask(server, call);
        lastGood = servers.indexOf(server);
        return answer;
      } catch (KeyException failure) {
        failures.add(failure);
        if (Thread.currentThread().isInterrupted()) {
          break;
        }
      }
    }
    throw summary(doing, failures);
  }

  /** What one server says, whether it is to be left alone or not. */
  <T> T ask(ClusterServer server, Call<T> call) throws KeyException {
    try {
      T answer = call.on(server.client());
      server.answered();
      return answer;
    } catch (KmsException failure) {
      Reason reason = reason(failure.reason());
      if (!isOurs(failure)) {
        if (isTheServers(failure.reason())) {
          server.failed(failure);
        } else {
          server.answered();
        }
      }
      throw new KeyException(reason, String.valueOf(failure.getMessage()), failure);
    } catch (KeyException failure) {
      if (failure.reason() == Reason.WRONG_KEY) {
        server.lies(String.valueOf(failure.getMessage()));
      }
      throw new KeyException(
          failure.reason(), "KMS " + server.name() + ": " + failure.getMessage(), failure);
    }
  }

  /** Whether a failure says nothing of the server: we had no time, or no connection left. */
  private static boolean isOurs(KmsException failure) {
    return failure.getCause() instanceof TransportException transport
        && switch (transport.reason()) {
          case BUSY, INTERRUPTED, SHUT_DOWN -> true;
          default -> false;
        };
  }

  /** Whether a failure says something of the server rather than of the key. */
  private static boolean isTheServers(KmsException.Reason reason) {
    return switch (reason) {
      case UNAVAILABLE, NOT_TRUSTED, PROTOCOL -> true;
      case NOT_FOUND, DENIED, WRONG_STATE, NOT_SUPPORTED -> false;
    };
  }

  private static Reason reason(KmsException.Reason reason) {
    return switch (reason) {
      case NOT_FOUND -> Reason.NOT_FOUND;
      case DENIED, NOT_TRUSTED -> Reason.DENIED;
      case WRONG_STATE -> Reason.NOT_ACTIVE;
      case UNAVAILABLE -> Reason.UNAVAILABLE;
      case NOT_SUPPORTED -> Reason.UNSUPPORTED;
      case PROTOCOL -> Reason.PROTOCOL;
    };
  }

  /** The most telling reason first. */
  private static final List<Reason> WEIGHT =
      List.of(
          Reason.UNAVAILABLE,
          Reason.WRONG_KEY,
          Reason.PROTOCOL,
          Reason.DENIED,
          Reason.NOT_ACTIVE,
          Reason.UNSUPPORTED,
          Reason.NOT_FOUND);

  private KeyException summary(String doing, List<KeyException> failures) {
    KeyException telling = failures.getFirst();
    for (KeyException failure : failures) {
      if (WEIGHT.indexOf(failure.reason()) < WEIGHT.indexOf(telling.reason())) {
        telling = failure;
      }
    }
    KeyException summary =
        new KeyException(
            telling.reason(),
            "key provider %s%s: %s"
                .formatted(
                    provider,
                    isOfAll(telling.reason()) ? "" : ", " + doing,
                    failures.stream()
                        .map(failure -> String.valueOf(failure.getMessage()))
                        .collect(Collectors.joining("; "))),
            telling);
    for (KeyException failure : failures) {
      if (failure != telling) {
        summary.addSuppressed(failure);
      }
    }
    return summary;
  }

  /** Whether a failure says of no key in particular why it can't be had. */
  private boolean isOfAll(Reason reason) {
    return switch (reason) {
      case UNAVAILABLE, DENIED, PROTOCOL ->
          servers.stream().allMatch(server -> server.health() == Health.RED);
      default -> false;
    };
  }

  @Override
  public void close() {
    servers.forEach(ClusterServer::close);
  }
}
