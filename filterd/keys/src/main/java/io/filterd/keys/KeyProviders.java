package io.filterd.keys;

import io.filterd.keys.KeyException.Reason;
import java.util.List;
import java.util.Map;
import java.util.ServiceLoader;
import java.util.TreeMap;

/** The types of key providers that this installation has. */
public final class KeyProviders {
  private KeyProviders() {}

  /**
   * Opens a provider of the given type; the caller closes it.
   *
   * @throws KeyException with {@code NOT_FOUND} if there is no such type, otherwise as {@link
   *     KeyProviderFactory#open}
   */
  public static KeyProvider open(String type, String name, Map<String, String> settings)
      throws KeyException {
    return factory(type, name).open(name, Map.copyOf(settings));
  }

  /** Says how a provider is that is not open ({@link KeyProviderFactory#inspect}). */
  public static ProviderStatus inspect(String type, String name, Map<String, String> settings) {
    try {
      return factory(type, name).inspect(name, Map.copyOf(settings));
    } catch (KeyException noSuchType) {
      return new ProviderStatus(
          name,
          type,
          ProviderStatus.State.UNAVAILABLE,
          List.of(String.valueOf(noSuchType.getMessage())));
    }
  }

  private static KeyProviderFactory factory(String type, String name) throws KeyException {
    TreeMap<String, KeyProviderFactory> byType = new TreeMap<>();
    for (KeyProviderFactory factory : ServiceLoader.load(KeyProviderFactory.class)) {
      byType.putIfAbsent(factory.type(), factory);
    }
    KeyProviderFactory factory = byType.get(type);
    if (factory == null) {
      throw new KeyException(
          Reason.NOT_FOUND,
          "key provider %s: type %s (expected: one of %s)"
              .formatted(name, KeyReference.quoted(type), String.join(", ", byType.keySet())));
    }
    return factory;
  }
}
