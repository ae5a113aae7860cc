package io.filterd.daemon;

import io.filterd.daemon.control.Requests;
import io.filterd.daemon.control.Results;
import io.filterd.keys.BackupRule;
import io.filterd.keys.KeyException;
import io.filterd.keys.NativeProvider;
import io.filterd.keys.ProviderStatus;
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

  private static Path setting(DaemonConfig.Provider provider, String key) {
    String value = provider.settings().get(key);
    if (value == null) {
      throw new IllegalStateException("provider setting: no " + key);
    }
    return Path.of(value);
  }

  /** Makes a provider's secret. */
  Results.Done init(Requests.Provider request) throws KeyException {
    String name = providerName(request.provider());
    DaemonConfig.Provider provider = keys.provider(name);
    Path state = setting(provider, "stateFile");
    NativeProvider.init(state, setting(provider, "passphraseFile"));
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
    DaemonConfig.Provider provider = keys.provider(name);
    return NativeProvider.open(
        name,
        setting(provider, "stateFile"),
        setting(provider, "passphraseFile"),
        BackupRule.REQUIRED);
  }

  /** Restores a provider's secret from a backup. */
  Results.Done restore(Requests.ProviderBackup request) throws KeyException {
    String name = providerName(request.provider());
    DaemonConfig.Provider provider = keys.provider(name);
    NativeProvider.restore(
        Path.of(request.file()),
        Path.of(request.passphraseFile()),
        setting(provider, "stateFile"),
        setting(provider, "passphraseFile"));
    return new Results.Done("Restored key provider " + name + " from " + request.file() + ".");
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
                            .orElseGet(() -> unopened(name, provider)))));
    return new Results.Providers(results);
  }

  private static ProviderStatus unopened(String name, DaemonConfig.Provider provider) {
    if (provider.type().equals(NativeProvider.TYPE)) {
      return NativeProvider.inspect(name, setting(provider, "stateFile"));
    }
    return new ProviderStatus(
        name,
        provider.type(),
        ProviderStatus.State.LOCKED,
        List.of("It is opened when it is first needed."));
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
