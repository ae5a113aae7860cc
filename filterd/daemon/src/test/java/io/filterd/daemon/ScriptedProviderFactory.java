package io.filterd.daemon;

import io.filterd.keys.KeyProvider;
import io.filterd.keys.KeyProviderFactory;
import java.nio.file.Path;
import java.util.Map;
import java.util.Objects;

/** Opens {@link ScriptedProvider}s; the setting {@code folder} says where they live. */
public final class ScriptedProviderFactory implements KeyProviderFactory {
  @Override
  public String type() {
    return ScriptedProvider.TYPE;
  }

  @Override
  public KeyProvider open(String name, Map<String, String> settings) {
    return new ScriptedProvider(name, Path.of(Objects.requireNonNull(settings.get("folder"))));
  }
}
