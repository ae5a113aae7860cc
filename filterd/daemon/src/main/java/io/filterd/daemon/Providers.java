package io.filterd.daemon;

import io.filterd.daemon.control.Requests;
import io.filterd.daemon.control.Results;
import io.filterd.keys.BackupRule;
import io.filterd.keys.KeyException;
import io.filterd.keys.KeyProviders;
import io.filterd.keys.NativeProvider;
import io.filterd.keys.NativeSettings;
import io.filterd.keys.ProviderStatus;
import io.filterd.keys.Seal;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.ToIntFunction;
import org.jspecify.annotations.Nullable;

/** Makes, backs up, restores and describes the configuration's key providers. */
final class Providers {
  private final DaemonConfig.Keys config;
  private final KeyAccess keys;

  /** How many disks are locked until a provider answers. */
  private final ToIntFunction<String> waitingDisks;

  Providers(DaemonConfig.Keys config, KeyAccess keys, ToIntFunction<String> waitingDisks) {
    this.config = config;
    this.keys = keys;
    this.waitingDisks = waitingDisks;
  }

  private String providerName(@Nullable String named) {
    return named == null ? config.defaultProvider() : named;
  }

  /** The settings of a native provider, which alone is made and backed up by this host. */
  private NativeSettings settings(String name, Map<String, String> changes) throws KeyException {
    DaemonConfig.Provider provider = keys.provider(name);
    if (!provider.type().equals(NativeProvider.TYPE)) {
      throw new KeyException(
          KeyException.Reason.UNSUPPORTED,
          "key provider %s: type %s (expected: native: others are set up and backed up by their own means)"
              .formatted(name, provider.type()));
    }
    Map<String, String> settings = new HashMap<>(provider.settings());
    settings.putAll(changes);
    return NativeSettings.of(name, settings);
  }

  /** Makes a provider's secret. */
  Results.Done init(Requests.Provider request) throws KeyException {
    String name = providerName(request.provider());
    NativeSettings settings = settings(name, Map.of());
    Path state = settings.stateFile();
    NativeProvider.init(state, settings.seal());
    return new Results.Done(
        "Made key provider "
            + name
            + " in "
            + state
            + ". Back it up before the first disk: filterd provider backup FILE --passphrase-file FILE");
  }

  /** Copies a provider's secret to a backup. */
  Results.Done backup(Requests.ProviderBackup request) throws KeyException {
    String name = providerName(request.provider());
    try (NativeProvider provider = openNative(name)) {
      provider.backup(Path.of(request.file()), Path.of(request.passphraseFile()));
    }
    keys.reopen(name); // An open provider would not know that it was backed up.
    return new Results.Done(
        "Backed up key provider "
            + name
            + " to "
            + request.file()
            + ". Keep it and its passphrase away from this host, and apart.");
  }

  private NativeProvider openNative(String name) throws KeyException {
    NativeSettings settings = settings(name, Map.of());
    return NativeProvider.open(name, settings.stateFile(), settings.seal(), BackupRule.REQUIRED);
  }

  /** Restores a provider's secret from a backup. */
  Results.Done restore(Requests.ProviderBackup request) throws KeyException {
    String name = providerName(request.provider());
    NativeSettings settings = settings(name, Map.of());
    NativeProvider.restore(
        Path.of(request.file()),
        Path.of(request.passphraseFile()),
        settings.stateFile(),
        settings.seal());
    return new Results.Done("Restored key provider " + name + " from " + request.file() + ".");
  }

  /** Puts a provider's secret from under another seal under the one that is configured. */
  Results.Done reseal(Requests.ProviderReseal request) throws KeyException {
    String name = providerName(request.provider());
    NativeSettings settings = settings(name, Map.of());
    Seal from = settings(name, Map.of("seal", request.from())).seal();
    NativeProvider.reseal(settings.stateFile(), from, settings.seal());
    return new Results.Done(
        "Resealed key provider "
            + name
            + ": "
            + settings.seal().sentence()
            + " What the old seal ("
            + from.kind()
            + ") needed is not needed any more.");
  }

  /** Says how the providers are, without opening or asking one. */
  Results.Providers status() {
    Map<String, ProviderStatus> open = new HashMap<>();
    keys.opened().forEach(status -> open.put(status.name(), status));
    List<Results.Provider> results = new ArrayList<>();
    config
        .providers()
        .forEach(
            (name, provider) ->
                results.add(
                    result(
                        Optional.ofNullable(open.get(name))
                            .orElseGet(
                                () ->
                                    KeyProviders.inspect(
                                        provider.type(), name, provider.settings())))));
    return new Results.Providers(results);
  }

  /** What a program is told of a provider. */
  Results.Provider result(ProviderStatus status) {
    return new Results.Provider(
        status.name(),
        status.type(),
        status.state().name().toLowerCase(Locale.ROOT).replace('_', '-'),
        status.health().name().toLowerCase(Locale.ROOT),
        status.name().equals(config.defaultProvider()),
        waitingDisks.applyAsInt(status.name()),
        status.details());
  }
}
