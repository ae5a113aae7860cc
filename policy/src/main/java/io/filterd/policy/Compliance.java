package io.filterd.policy;

import io.filterd.policy.AppliedPolicy.AppliedEncryption;
import io.filterd.policy.StoragePolicy.EncryptionRule;
import io.filterd.policy.StoragePolicy.FilterUse;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.TreeMap;

/**
 * Whether a disk is what its policy asks for.
 *
 * @param reasons why the verdict is not {@link Verdict#COMPLIANT}, in sentences for people
 */
public record Compliance(Verdict verdict, List<String> reasons) {
  /** The verdicts, in vSphere's words. */
  public enum Verdict {
    /** The disk is as the policy says. */
    COMPLIANT,
    /** The policy was changed or exchanged after it was applied: applying it makes it so. */
    OUT_OF_DATE,
    /** The disk is not as the policy says, and applying the policy again does not help. */
    NON_COMPLIANT,
    /** Nobody knows what the disk should be. */
    UNKNOWN
  }

  /** Copies the list. */
  public Compliance {
    reasons = List.copyOf(reasons);
  }

  /** Compares what a disk should be with what it is. */
  public static Compliance compare(StoragePolicy wanted, AppliedPolicy running) {
    if (running.name().isEmpty()) {
      return new Compliance(Verdict.UNKNOWN, List.of("the disk names no policy"));
    }
    List<String> broken = dataDifferences(wanted, running.encryption());
    compareProvider(wanted, running.encryption(), broken);
    compareAge(wanted, running.encryption(), broken);
    List<String> outdated = new ArrayList<>();
    if (!running.name().get().equals(wanted.name())) {
      outdated.add(
          "the disk has policy " + running.name().get() + " (expected: " + wanted.name() + ")");
    } else if (running.digest().isPresent() && !running.digest().get().equals(wanted.digest())) {
      outdated.add("policy " + wanted.name() + " was changed after it was applied");
    }
    List<FilterUse> filters = running.filters().orElse(wanted.filters());
    if (!filters.equals(wanted.filters())) {
      (outdated.isEmpty() ? broken : outdated)
          .add(
              "filters that run: " + text(filters) + " (expected: " + text(wanted.filters()) + ")");
    }
    Verdict verdict =
        !broken.isEmpty()
            ? Verdict.NON_COMPLIANT
            : !outdated.isEmpty() ? Verdict.OUT_OF_DATE : Verdict.COMPLIANT;
    broken.addAll(outdated);
    return new Compliance(verdict, broken);
  }

  /**
   * What of a disk's encryption is not as a policy says, and only writing its data anew could
   * change: a pipeline under that policy can't serve the disk. Sentences for people; empty if it
   * can.
   */
  public static List<String> dataDifferences(
      StoragePolicy wanted, Optional<AppliedEncryption> actual) {
    List<String> differences = new ArrayList<>();
    Optional<EncryptionRule> rule = wanted.encryption();
    if (rule.isPresent() && actual.isPresent()) {
      differ("cipher", actual.get().cipher(), rule.get().cipher(), differences);
      differ("data unit in bytes", actual.get().unitBytes(), rule.get().unitBytes(), differences);
    } else if (rule.isPresent()) {
      differences.add("the disk is not encrypted (expected: " + rule.get().cipher() + ")");
    } else if (actual.isPresent()) {
      differences.add("the disk is encrypted (expected: no encryption)");
    }
    return differences;
  }

  private static void compareProvider(
      StoragePolicy wanted, Optional<AppliedEncryption> actual, List<String> broken) {
    Optional<String> provider = wanted.encryption().flatMap(EncryptionRule::provider);
    if (provider.isPresent() && actual.isPresent()) {
      differ("key provider", actual.get().provider(), provider.get(), broken);
    }
  }

  private static void compareAge(
      StoragePolicy wanted, Optional<AppliedEncryption> actual, List<String> broken) {
    Optional<Duration> age = actual.flatMap(AppliedEncryption::kekAge);
    Optional<Duration> limit = wanted.kekRotation();
    if (age.isPresent() && limit.isPresent() && age.get().compareTo(limit.get()) > 0) {
      broken.add(
          "key-encryption key is %d d old (policy: %d d)"
              .formatted(age.get().toDays(), limit.get().toDays()));
    }
  }

  private static void differ(String what, Object actual, Object wanted, List<String> broken) {
    if (!actual.equals(wanted)) {
      broken.add(what + ": " + actual + " (expected: " + wanted + ")");
    }
  }

  private static String text(List<FilterUse> filters) {
    return filters.isEmpty()
        ? "none"
        : String.join(
            ", ",
            filters.stream().map(use -> use.filter() + new TreeMap<>(use.settings())).toList());
  }
}
