package io.filterd.policy;

import io.filterd.policy.StoragePolicy.FilterUse;
import java.time.Duration;
import java.util.List;
import java.util.Optional;

/**
 * What a disk has of a policy.
 *
 * @param name the policy that the disk names, if it names one
 * @param digest the {@link StoragePolicy#digest} of the policy when it was applied, if it is known
 * @param filters what runs, the filter nearest the client first, without encryption; empty if
 *     nothing runs because the disk is not attached
 * @param encryption how the disk is encrypted, if it is
 */
public record AppliedPolicy(
    Optional<String> name,
    Optional<String> digest,
    Optional<List<FilterUse>> filters,
    Optional<AppliedEncryption> encryption) {
  /**
   * How a disk is encrypted.
   *
   * @param unitBytes the data unit
   * @param provider the provider of the key-encryption key
   * @param kekAge how old the key-encryption key is, at least; empty if nobody knows
   */
  public record AppliedEncryption(
      String cipher, int unitBytes, String provider, Optional<Duration> kekAge) {
    /** With a key of unknown age. */
    public AppliedEncryption(String cipher, int unitBytes, String provider) {
      this(cipher, unitBytes, provider, Optional.empty());
    }
  }
}
