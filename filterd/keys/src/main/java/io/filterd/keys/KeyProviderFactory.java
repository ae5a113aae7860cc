package io.filterd.keys;

import java.util.List;
import java.util.Map;

/** Opens key providers of one type. Found by {@link java.util.ServiceLoader}. */
public interface KeyProviderFactory {
  /** The type's name in the configuration: lower-case letters, digits and hyphens. */
  String type();

  /**
   * Opens a provider; the caller closes it.
   *
   * @param name the provider's name in the configuration
   * @param settings what the configuration says about it; the values never hold a secret, only
   *     names of files that do
   * @throws KeyException with {@code PROTOCOL} for a setting that is missing, unknown or wrong,
   *     otherwise as the provider fails
   */
  KeyProvider open(String name, Map<String, String> settings) throws KeyException;

  /**
   * Says how a provider is that is not open, as far as this host knows without asking the network
   * and without its credentials.
   */
  default ProviderStatus inspect(String name, Map<String, String> settings) {
    return new ProviderStatus(
        name,
        type(),
        ProviderStatus.State.LOCKED,
        List.of("Not open: that is done when a key is needed."));
  }
}
