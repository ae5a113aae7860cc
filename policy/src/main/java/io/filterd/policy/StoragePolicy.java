package io.filterd.policy;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

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
 * @param rotatesByItself whether it is then replaced without a command
 */
public record StoragePolicy(
    String name,
    String description,
    List<FilterUse> filters,
    Optional<EncryptionRule> encryption,
    boolean allowFiltersBeforeEncryption,
    Optional<Duration> kekRotation,
    boolean rotatesByItself) {
  /** Copies the list. */
  public StoragePolicy {
    filters = List.copyOf(filters);
  }

  /** A policy under which keys are replaced by command only. */
  public StoragePolicy(
      String name,
      String description,
      List<FilterUse> filters,
      Optional<EncryptionRule> encryption,
      boolean allowFiltersBeforeEncryption,
      Optional<Duration> kekRotation) {
    this(name, description, filters, encryption, allowFiltersBeforeEncryption, kekRotation, false);
  }

  /**
   * A filter and its settings.
   *
   * @param settings a value for every parameter of the filter: a {@link Long}, {@link Duration},
   *     {@link Boolean} or {@link String}, as the parameter's type says
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
   * @param tenant the tenant, if it is who shares it
   * @param kekCache how long a key-encryption key is kept after it was fetched; zero: no longer
   *     than it is used
   */
  public record EncryptionRule(
      String cipher,
      int unitBytes,
      Optional<String> provider,
      KekScope kekScope,
      Optional<String> tenant,
      Duration kekCache) {
    /** A rule without a tenant, under which keys are not kept. */
    public EncryptionRule(
        String cipher, int unitBytes, Optional<String> provider, KekScope kekScope) {
      this(cipher, unitBytes, provider, kekScope, Optional.empty(), Duration.ZERO);
    }
  }

  /** Who shares a key-encryption key. */
  public enum KekScope {
    /** The disks of a VM. */
    PER_VM,
    /** Nobody. */
    PER_DISK,
    /** The disks of a tenant. */
    PER_TENANT
  }

  /**
   * A fingerprint of what the policy asks for: the lower-case hexadecimal SHA-256 of everything but
   * the name and the description. The same in every release that can tell the same policies apart.
   */
  public String digest() {
    try {
      MessageDigest sha256 = MessageDigest.getInstance("SHA-256");
      return HexFormat.of()
          .formatHex(sha256.digest(canonicalText().getBytes(StandardCharsets.UTF_8)));
    } catch (NoSuchAlgorithmException missing) {
      throw new IllegalStateException("SHA-256: missing (expected: in every JDK)", missing);
    }
  }

  private String canonicalText() {
    StringBuilder text = new StringBuilder("filterd-policy-v1\n");
    for (FilterUse use : filters) {
      line(text, "filter", use.filter());
      new TreeMap<>(use.settings()).forEach((key, value) -> line(text, "filter." + key, value));
    }
    encryption.ifPresent(
        rule -> {
          line(text, "encryption.cipher", rule.cipher());
          line(text, "encryption.unitBytes", rule.unitBytes());
          rule.provider().ifPresent(provider -> line(text, "encryption.provider", provider));
          line(text, "encryption.kek", rule.kekScope());
          rule.tenant().ifPresent(tenant -> line(text, "encryption.tenant", tenant));
          if (rule.kekCache().isPositive()) {
            line(text, "encryption.kekCache", rule.kekCache());
          }
        });
    line(text, "allowFiltersBeforeEncryption", allowFiltersBeforeEncryption);
    kekRotation.ifPresent(age -> line(text, "rotation.kek", age));
    if (rotatesByItself) {
      line(text, "rotation.auto", true);
    }
    return text.toString();
  }

  /** The length keeps a value from looking like two. */
  private static void line(StringBuilder text, String key, Object value) {
    String shown = value.toString();
    text.append(key).append('=').append(shown.length()).append(':').append(shown).append('\n');
  }
}
