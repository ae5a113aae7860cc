package io.filterd.policy;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A storage policy: which filters a disk's pipeline has, and how it is encrypted.
 *
 * @param name what disks name it by
 * @param description one line for people
 * @param filters the filters in the order of the pipeline, the one nearest the client first;
 *     encryption is not among them
 * @param encryption how the disk is encrypted, if it is
 * @param allowFiltersBeforeEncryption whether filters of third parties may see plaintext
 * @param kekRotation the age at which the key-encryption key should be replaced, if it should be
 */
public record StoragePolicy(
    String name,
    String description,
    List<FilterUse> filters,
    Optional<EncryptionRule> encryption,
    boolean allowFiltersBeforeEncryption,
    Optional<Duration> kekRotation) {
  /** Copies the list. */
  public StoragePolicy {
    filters = List.copyOf(filters);
  }

  /**
   * A filter and its settings.
   *
   * @param settings a value for every parameter of the filter, as its type says
   */
  public record FilterUse(String filter, Map<String, Object> settings) {
    /** Copies the map. */
    public FilterUse {
      settings = Map.copyOf(settings);
    }
  }

  /**
   * How a disk is encrypted.
   *
   * @param cipher {@code aes-256-xts}
   * @param unitBytes the data unit: 4096 or 512
   * @param provider the key provider; empty for the host's default
   * @param kekScope who shares a key-encryption key
   */
  public record EncryptionRule(
      String cipher, int unitBytes, Optional<String> provider, KekScope kekScope) {}

  /** Who shares a key-encryption key. */
  public enum KekScope {
    /** The disks of a VM. */
    PER_VM,
    /** Nobody. */
    PER_DISK
  }
}
