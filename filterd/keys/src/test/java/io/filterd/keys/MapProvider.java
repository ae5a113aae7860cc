package io.filterd.keys;

import io.filterd.crypto.SecretBytes;
import io.filterd.keys.KeyException.Reason;
import io.filterd.keys.ProviderStatus.State;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** Keeps its keys in a map, and can be told to fail. */
final class MapProvider implements ExportingProvider {
  private final String name;
  final Map<String, SecretBytes> keys = new HashMap<>();
  @Nullable Reason failure;
  KeyState state = KeyState.ACTIVE;
  int opened;
  boolean closed;

  MapProvider(String name) {
    this.name = name;
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public KeyReference create(KeyLabel label) {
    String keyId = "k-" + (keys.size() + 1);
    keys.put(keyId, SecretBytes.random(KeyEncryptionKey.LENGTH_BYTES));
    try (KeyEncryptionKey key = KeyEncryptionKey.owning(name, keyId, copy(keyId))) {
      return key.reference();
    }
  }

  private SecretBytes copy(String keyId) {
    SecretBytes key = keys.get(keyId);
    if (key == null) {
      throw new IllegalStateException(keyId);
    }
    return key.copy();
  }

  @Override
  public KeyEncryptionKey open(KeyReference reference) throws KeyException {
    opened++;
    return find(reference);
  }

  private KeyEncryptionKey find(KeyReference reference) throws KeyException {
    if (failure != null) {
      throw new KeyException(failure, "told to fail");
    }
    if (!keys.containsKey(reference.keyId())) {
      throw new KeyException(Reason.NOT_FOUND, "no such key");
    }
    return KeyEncryptionKey.verified(reference, copy(reference.keyId()));
  }

  @Override
  public KeyDescription describe(KeyReference reference) throws KeyException {
    try (KeyEncryptionKey key = find(reference)) {
      return new KeyDescription(key.reference(), state, Optional.empty(), Optional.empty());
    }
  }

  @Override
  public ProviderStatus status() {
    return new ProviderStatus(name, "map", State.READY, List.of());
  }

  @Override
  public void close() {
    closed = true;
    keys.values().forEach(SecretBytes::close);
  }
}
