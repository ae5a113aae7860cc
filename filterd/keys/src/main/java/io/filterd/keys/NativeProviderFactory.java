package io.filterd.keys;

import io.filterd.keys.ProviderStatus.State;
import java.util.List;
import java.util.Map;

/** Opens {@link NativeProvider}s. Settings: {@link NativeSettings}. */
public final class NativeProviderFactory implements KeyProviderFactory {
  @Override
  public String type() {
    return NativeProvider.TYPE;
  }

  @Override
  public KeyProvider open(String name, Map<String, String> settings) throws KeyException {
    NativeSettings checked = NativeSettings.of(name, settings);
    return NativeProvider.open(name, checked.stateFile(), checked.seal(), checked.rule());
  }

  /** {@inheritDoc} Reads the state file. */
  @Override
  public ProviderStatus inspect(String name, Map<String, String> settings) {
    try {
      return NativeProvider.inspect(name, NativeSettings.of(name, settings).stateFile());
    } catch (KeyException wrong) {
      return new ProviderStatus(
          name, type(), State.UNAVAILABLE, List.of(String.valueOf(wrong.getMessage())));
    }
  }
}
