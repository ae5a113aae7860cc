package io.filterd.daemon;

import io.filterd.keys.KeyDescription;
import io.filterd.keys.KeyException;
import io.filterd.keys.KeyReference;
import io.filterd.keys.ProviderStatus;
import io.filterd.keys.ProviderStatus.State;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.jspecify.annotations.Nullable;

/**
 * Asks key providers how keys and they themselves are: all providers side by side, each for a few
 * keys at a time, and no longer than it answers.
 */
final class KeyQuestions {
  private static final int AT_ONCE = 4;

  /** From one answer of a provider to the next. */
  private static final Duration PATIENCE = Duration.ofSeconds(10);

  private final DaemonConfig.Keys config;
  private final KeyAccess keys;

  KeyQuestions(DaemonConfig.Keys config, KeyAccess keys) {
    this.config = config;
    this.keys = keys;
  }

  /**
   * How a key is.
   *
   * @param status as in {@link io.filterd.daemon.control.KeyCare.Key}
   * @param description what the provider says, if it says something
   * @param detail a sentence, or null
   */
  record Answer(String status, @Nullable KeyDescription description, @Nullable String detail) {
    /** Whether data keys can be unwrapped with it. */
    boolean unwraps() {
      return description != null && description.state().unwraps();
    }
  }

  /** Asks for keys. */
  Map<KeyReference, Answer> ask(Collection<KeyReference> wanted) throws InterruptedException {
    Map<String, List<KeyReference>> byProvider = new TreeMap<>();
    for (KeyReference key : wanted) {
      byProvider.computeIfAbsent(key.provider(), name -> new ArrayList<>()).add(key);
    }
    Map<KeyReference, Answer> answers = new ConcurrentHashMap<>();
    Map<String, Callable<Boolean>> asking = new LinkedHashMap<>();
    byProvider.forEach(
        (provider, ofIts) ->
            asking.put(
                provider,
                () -> {
                  ask(provider, ofIts, answers);
                  return true;
                }));
    var _ = sideBySide(asking, Integer.MAX_VALUE, Duration.ofHours(1));
    return answers;
  }

  private void ask(String provider, List<KeyReference> wanted, Map<KeyReference, Answer> answers)
      throws InterruptedException {
    if (!config.providers().containsKey(provider)) {
      Answer unknown =
          new Answer(
              "provider-unknown", null, "no key provider " + provider + " in the configuration");
      wanted.forEach(key -> answers.put(key, unknown));
      return;
    }
    ExecutorService workers = workers(AT_ONCE);
    try {
      List<Future<Answer>> asked = new ArrayList<>();
      wanted.forEach(key -> asked.add(workers.submit(() -> ask(key))));
      Answer known = null;
      for (int i = 0; i < asked.size(); i++) {
        Answer answer = known == null ? await(provider, asked.get(i)) : known;
        answers.put(wanted.get(i), answer);
        if (answer.status().equals("provider-unavailable")) {
          known = answer; // It would be so of all others too, each after its time limits.
        }
      }
    } finally {
      workers.shutdownNow();
    }
  }

  private static Answer await(String provider, Future<Answer> asked) throws InterruptedException {
    try {
      return asked.get(PATIENCE.toMillis(), TimeUnit.MILLISECONDS);
    } catch (TimeoutException late) {
      return new Answer("provider-unavailable", null, silence(provider));
    } catch (ExecutionException failure) {
      return new Answer("provider-unavailable", null, String.valueOf(failure.getCause()));
    }
  }

  private static String silence(String provider) {
    return "key provider " + provider + ": no answer within " + PATIENCE.toSeconds() + " s";
  }

  private Answer ask(KeyReference key) {
    try {
      KeyDescription description = keys.verify(key);
      if (description.state().wraps()) {
        return new Answer("available", description, null);
      }
      return description.state().unwraps()
          ? new Answer("not-active", description, "it only unwraps: give its disks another key")
          : new Answer("missing-in-provider", description, "it was destroyed");
    } catch (KeyException failure) {
      String status =
          switch (failure.reason()) {
            case NOT_FOUND -> "missing-in-provider";
            case WRONG_KEY -> "wrong-check-value";
            case UNAVAILABLE -> "provider-unavailable";
            case DENIED, NOT_BACKED_UP, NOT_ACTIVE, NO_ROOM, UNSUPPORTED, PROTOCOL ->
                "provider-refuses";
          };
      return new Answer(status, null, failure.getMessage());
    }
  }

  /** Asks all providers of the configuration how they are. */
  Map<String, ProviderStatus> probe() throws InterruptedException {
    Map<String, Callable<ProviderStatus>> probes = new LinkedHashMap<>();
    config.providers().forEach((name, provider) -> probes.put(name, () -> probe(name)));
    Map<String, ProviderStatus> answers = sideBySide(probes, AT_ONCE, PATIENCE);
    Map<String, ProviderStatus> all = new LinkedHashMap<>();
    config
        .providers()
        .forEach(
            (name, provider) ->
                all.put(
                    name,
                    answers.getOrDefault(
                        name,
                        new ProviderStatus(
                            name,
                            provider.type(),
                            State.UNAVAILABLE,
                            List.of(silence(name) + ".")))));
    return all;
  }

  private ProviderStatus probe(String name) {
    try {
      return keys.probe(name);
    } catch (KeyException failure) {
      DaemonConfig.Provider provider = config.providers().get(name);
      return new ProviderStatus(
          name,
          provider == null ? "" : provider.type(),
          failure.reason() == KeyException.Reason.DENIED ? State.LOCKED : State.UNAVAILABLE,
          List.of(failure.getMessage() + "."));
    }
  }

  /** The answers of those who answer in time. */
  private static <R> Map<String, R> sideBySide(
      Map<String, Callable<R>> questions, int atOnce, Duration patience)
      throws InterruptedException {
    Map<String, R> answers = new HashMap<>();
    ExecutorService workers = workers(Math.clamp(questions.size(), 1, atOnce));
    try {
      Map<String, Future<R>> asked = new LinkedHashMap<>();
      questions.forEach((name, question) -> asked.put(name, workers.submit(question)));
      for (Map.Entry<String, Future<R>> each : asked.entrySet()) {
        try {
          answers.put(
              each.getKey(), each.getValue().get(patience.toMillis(), TimeUnit.MILLISECONDS));
        } catch (TimeoutException late) {
          each.getValue().cancel(true);
        } catch (ExecutionException failure) {
          throw new IllegalStateException("key provider " + each.getKey(), failure.getCause());
        }
      }
    } finally {
      workers.shutdownNow();
    }
    return answers;
  }

  private static ExecutorService workers(int count) {
    return Executors.newFixedThreadPool(
        count, Thread.ofPlatform().daemon().name("ask-key-", 0).factory());
  }

  /** A word of an enumeration, as programs are told. */
  static String word(Enum<?> value) {
    return value.name().toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
