package io.filterd.policy;

import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.policy.AppliedPolicy.AppliedEncryption;
import io.filterd.policy.Compliance.Verdict;
import io.filterd.policy.StoragePolicy.EncryptionRule;
import io.filterd.policy.StoragePolicy.FilterUse;
import io.filterd.policy.StoragePolicy.KekScope;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class ComplianceTest {
  private static final FilterUse INSPECTION = new FilterUse("inspection", Map.of());
  private static final EncryptionRule RULE =
      new EncryptionRule("aes-256-xts", 4096, Optional.of("native"), KekScope.PER_VM);
  private static final AppliedEncryption ENCRYPTION =
      new AppliedEncryption("aes-256-xts", 4096, "native");
  private static final StoragePolicy WANTED = policy("gold", limitedTo(5000));

  private static FilterUse limitedTo(long operations) {
    return new FilterUse("qos", Map.of("operations", operations, "burst", Duration.ofSeconds(2)));
  }

  private static StoragePolicy policy(String name, FilterUse qos) {
    return new StoragePolicy(
        name, "", List.of(INSPECTION, qos), Optional.of(RULE), false, Optional.empty());
  }

  private static AppliedPolicy applied(StoragePolicy policy, AppliedEncryption encryption) {
    return new AppliedPolicy(
        Optional.of(policy.name()),
        Optional.of(policy.digest()),
        Optional.of(policy.filters()),
        Optional.of(encryption));
  }

  @Test
  void findsADiskUnderItsPolicyCompliant() {
    assertThat(Compliance.compare(WANTED, applied(WANTED, ENCRYPTION)))
        .isEqualTo(new Compliance(Verdict.COMPLIANT, List.of()));
  }

  @Test
  void findsAKeyThatIsTooOld() {
    StoragePolicy rotating =
        new StoragePolicy(
            "gold",
            "",
            List.of(),
            Optional.of(RULE),
            false,
            Optional.of(Duration.ofDays(90)),
            true);

    assertThat(Compliance.compare(rotating, applied(rotating, aged(Duration.ofDays(97)))))
        .isEqualTo(
            new Compliance(
                Verdict.NON_COMPLIANT, List.of("key-encryption key is 97 d old (policy: 90 d)")));
    assertThat(Compliance.compare(rotating, applied(rotating, aged(Duration.ofDays(90)))).verdict())
        .isEqualTo(Verdict.COMPLIANT);
    assertThat(Compliance.compare(rotating, applied(rotating, ENCRYPTION)).verdict())
        .isEqualTo(Verdict.COMPLIANT);
  }

  private static AppliedEncryption aged(Duration age) {
    return new AppliedEncryption("aes-256-xts", 4096, "native", Optional.of(age));
  }

  @Test
  void judgesADetachedDiskByWhatItIs() {
    AppliedPolicy detached =
        new AppliedPolicy(
            Optional.of("gold"), Optional.empty(), Optional.empty(), Optional.of(ENCRYPTION));

    assertThat(Compliance.compare(WANTED, detached).verdict()).isEqualTo(Verdict.COMPLIANT);
  }

  @Test
  void findsADiskUnderAnOlderTextOutOfDate() {
    StoragePolicy older = policy("gold", limitedTo(1000));

    assertThat(Compliance.compare(WANTED, applied(older, ENCRYPTION)))
        .isEqualTo(
            new Compliance(
                Verdict.OUT_OF_DATE,
                List.of(
                    "policy gold was changed after it was applied",
                    "filters that run: inspection{}, qos{burst=PT2S, operations=1000}"
                        + " (expected: inspection{}, qos{burst=PT2S, operations=5000})")));
  }

  @Test
  void findsADiskUnderAnotherPolicyOutOfDate() {
    StoragePolicy other = policy("silver", limitedTo(5000));

    assertThat(Compliance.compare(WANTED, applied(other, ENCRYPTION)))
        .isEqualTo(
            new Compliance(
                Verdict.OUT_OF_DATE, List.of("the disk has policy silver (expected: gold)")));
  }

  @Test
  void findsADiskThatRunsSomethingElseNonCompliant() {
    AppliedPolicy bypassed =
        new AppliedPolicy(
            Optional.of("gold"),
            Optional.of(WANTED.digest()),
            Optional.of(List.of()),
            Optional.of(ENCRYPTION));

    assertThat(Compliance.compare(WANTED, bypassed).verdict()).isEqualTo(Verdict.NON_COMPLIANT);
  }

  @Test
  void findsADiskThatIsEncryptedOtherwiseNonCompliant() {
    AppliedEncryption other = new AppliedEncryption("aes-256-xts", 512, "kms1");

    assertThat(Compliance.compare(WANTED, applied(WANTED, other)))
        .isEqualTo(
            new Compliance(
                Verdict.NON_COMPLIANT,
                List.of(
                    "data unit in bytes: 512 (expected: 4096)",
                    "key provider: kms1 (expected: native)")));
  }

  @Test
  void countsAnotherProviderAsADifferenceOfTheKeyAndNotOfTheData() {
    AppliedEncryption other = new AppliedEncryption("aes-256-xts", 4096, "kms1");

    assertThat(Compliance.dataDifferences(WANTED, Optional.of(other))).isEmpty();
    assertThat(Compliance.compare(WANTED, applied(WANTED, other)).verdict())
        .isEqualTo(Verdict.NON_COMPLIANT);
  }

  @Test
  void findsAPlainDiskNonCompliantWhateverElseIsOutdated() {
    AppliedPolicy plain =
        new AppliedPolicy(
            Optional.of("silver"), Optional.empty(), Optional.empty(), Optional.empty());

    assertThat(Compliance.compare(WANTED, plain))
        .isEqualTo(
            new Compliance(
                Verdict.NON_COMPLIANT,
                List.of(
                    "the disk is not encrypted (expected: aes-256-xts)",
                    "the disk has policy silver (expected: gold)")));
  }

  @Test
  void findsAnEncryptedDiskUnderAPlainPolicyNonCompliant() {
    StoragePolicy plain =
        new StoragePolicy("gold", "", List.of(), Optional.empty(), false, Optional.empty());

    assertThat(Compliance.compare(plain, applied(plain, ENCRYPTION)).reasons())
        .containsExactly("the disk is encrypted (expected: no encryption)");
  }

  @Test
  void knowsNothingOfADiskWithoutAPolicy() {
    AppliedPolicy none =
        new AppliedPolicy(
            Optional.empty(), Optional.empty(), Optional.empty(), Optional.of(ENCRYPTION));

    assertThat(Compliance.compare(WANTED, none).verdict()).isEqualTo(Verdict.UNKNOWN);
  }

  @Test
  void fingerprintsWhatAPolicyAsksForAndNothingElse() {
    StoragePolicy renamed =
        new StoragePolicy(
            "other", "Text.", WANTED.filters(), WANTED.encryption(), false, Optional.empty());
    StoragePolicy rotated =
        new StoragePolicy(
            "gold",
            "",
            WANTED.filters(),
            WANTED.encryption(),
            false,
            Optional.of(Duration.ofDays(1)));

    // Fixed: an upgrade must not make every disk look outdated.
    assertThat(WANTED.digest())
        .isEqualTo("ab39ad6588e40a328630bb88583e66c75cd3cbd3431cda17feaf4b8da9aa2cfd");
    assertThat(renamed.digest()).isEqualTo(WANTED.digest());
    assertThat(rotated.digest()).isNotEqualTo(WANTED.digest());
    assertThat(policy("gold", limitedTo(5001)).digest()).isNotEqualTo(WANTED.digest());
  }
}
