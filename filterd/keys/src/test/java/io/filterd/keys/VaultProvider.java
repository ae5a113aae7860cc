package io.filterd.keys;

import io.filterd.crypto.KeyWrap;
import io.filterd.crypto.SecretBytes;
import io.filterd.crypto.WrapException;
import io.filterd.keys.KeyException.Reason;
import io.filterd.keys.ProviderStatus.State;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** Wraps with keys that it keeps in a map and never shows. */
final class VaultProvider implements WrappingProvider {
  private final String name;
  private final Map<String, SecretBytes> keys = new HashMap<>();

  VaultProvider(String name) {
    this.name = name;
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public String algorithm() {
    return "vault-v1";
  }

  @Override
  public KeyReference create(KeyLabel label) {
    String keyId = "v-" + (keys.size() + 1);
    keys.put(keyId, SecretBytes.random(KeyWrap.KEK_BYTES));
    return new KeyReference(name, keyId, "00000000000000%02x".formatted(keys.size()));
  }

  private SecretBytes key(KeyReference reference) throws KeyException {
    SecretBytes key = keys.get(reference.keyId());
    if (key == null) {
      throw new KeyException(Reason.NOT_FOUND, "no such key");
    }
    return key;
  }

  @Override
  public byte[] wrap(KeyReference kek, SecretBytes dek, byte[] associatedData) throws KeyException {
    return KeyWrap.wrap(key(kek), dek, associatedData);
  }

  @Override
  public SecretBytes unwrap(KeyReference kek, byte[] wrapped, byte[] associatedData)
      throws KeyException {
    try {
      return KeyWrap.unwrap(key(kek), wrapped, associatedData);
    } catch (WrapException failure) {
      throw new KeyException(Reason.WRONG_KEY, "it does not authenticate", failure);
    }
  }

  @Override
  public KeyDescription describe(KeyReference reference) throws KeyException {
    key(reference);
    return new KeyDescription(reference, KeyState.ACTIVE, Optional.empty(), Optional.empty());
  }

  @Override
  public ProviderStatus status() {
    return new ProviderStatus(name, "vault", State.READY, List.of());
  }

  @Override
  public void close() {
    keys.values().forEach(SecretBytes::close);
  }
}
