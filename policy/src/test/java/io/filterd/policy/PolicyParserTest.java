package io.filterd.policy;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.filterd.policy.StoragePolicy.EncryptionRule;
import io.filterd.policy.StoragePolicy.FilterUse;
import io.filterd.policy.StoragePolicy.KekScope;
import io.filterd.policy.yaml.Problem;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class PolicyParserTest {
  /** Like the filters that come with filterd. */
  private static final List<FilterDescription> BUILT_IN =
      List.of(
          new FilterDescription("inspection", "INSPECTION", 0, true, true, List.of()),
          new FilterDescription(
              "qos",
              "QOS",
              1,
              true,
              true,
              List.of(
                  new ParameterDescription(
                      "operations",
                      ParameterDescription.Type.OPERATIONS_PER_SECOND,
                      "0/s",
                      1,
                      100_000_000),
                  new ParameterDescription(
                      "bandwidth",
                      ParameterDescription.Type.BYTES_PER_SECOND,
                      "0B/s",
                      1 << 20,
                      1L << 50),
                  new ParameterDescription(
                      "burst", ParameterDescription.Type.DURATION, "100ms", 1, 600_000))),
          new FilterDescription("encryption", "ENCRYPTION", 4, true, true, List.of()));

  private static final FilterCatalog CATALOG =
      new FilterCatalog(
          Stream.concat(
                  BUILT_IN.stream(),
                  Stream.of(
                      foreign(
                          "fast-cache",
                          "CACHE",
                          2,
                          new ParameterDescription(
                              "size", ParameterDescription.Type.BYTES, null, 4096, 1L << 40)),
                      foreign("trace", "INSPECTION", 0),
                      new FilterDescription("seal", "INTEGRITY", 5, false, false, List.of()),
                      foreign(
                          "mirror",
                          "REPLICATION",
                          3,
                          new ParameterDescription(
                              "copies", ParameterDescription.Type.COUNT, "1", 1, 8),
                          new ParameterDescription(
                              "wait", ParameterDescription.Type.SWITCH, "true", 0, 0),
                          new ParameterDescription(
                              "target", ParameterDescription.Type.TEXT, "nowhere", 0, 0))))
              .toList());

  private static FilterDescription foreign(
      String name, String filterClass, int order, ParameterDescription... parameters) {
    return new FilterDescription(name, filterClass, order, true, false, List.of(parameters));
  }

  private static StoragePolicy policy(String text) {
    PolicyResult result = PolicyParser.parse("p.yaml", text, CATALOG);
    assertThat(result.problems()).isEmpty();
    return result.policy().orElseThrow();
  }

  private static List<String> problems(String text) {
    PolicyResult result = PolicyParser.parse("p.yaml", text, CATALOG);
    assertThat(result.policy()).isEmpty();
    return result.problems().stream().map(Problem::toString).toList();
  }

  @Test
  void refusesALimitBelowOneRequestButNotNone() {
    String text = "version: 1\nname: a\nfilters: {qos: {operations: 0/s, bandwidth: %s}}\n";

    assertThat(problems(text.formatted("1B/s")))
        .containsExactly(
            "p.yaml:3: filters.qos.bandwidth: 1B/s (expected: 1MiB/s to 1024TiB/s, or 0B/s)");
    assertThat(policy(text.formatted("0B/s")).filters().getFirst().settings())
        .containsEntry("bandwidth", 0L)
        .containsEntry("operations", 0L);
  }

  @Test
  void readsEveryKey() {
    StoragePolicy policy =
        policy(
            """
            version: 1
            name: gold-2
            description: All of it.
            filters:
              mirror: {copies: 2, wait: false, target: "there"}
              qos: {operations: 100/s, bandwidth: 1MiB/s, burst: 2s}
              trace: {}
            encryption:
              cipher: aes-256-xts
              unit: 512B
              provider: kms.example
              kek: per-disk
            allowFiltersBeforeEncryption: true
            rotation:
              kek: 90d
              auto: true
            """);

    assertThat(policy)
        .isEqualTo(
            new StoragePolicy(
                "gold-2",
                "All of it.",
                List.of(
                    new FilterUse("trace", Map.of()),
                    new FilterUse(
                        "qos",
                        Map.of(
                            "operations",
                            100L,
                            "bandwidth",
                            1L << 20,
                            "burst",
                            Duration.ofSeconds(2))),
                    new FilterUse(
                        "mirror", Map.of("copies", 2L, "wait", false, "target", "there"))),
                Optional.of(
                    new EncryptionRule(
                        "aes-256-xts", 512, Optional.of("kms.example"), KekScope.PER_DISK)),
                true,
                Optional.of(Duration.ofDays(90)),
                true));
  }

  @Test
  void fillsInDefaults() {
    StoragePolicy policy = policy("version: 1\nname: p\nfilters: {qos:, mirror: {}}\n");
    StoragePolicy encrypted = policy("version: 1\nname: p\nencryption: {}\n");

    assertThat(policy.filters())
        .containsExactly(
            new FilterUse(
                "qos", Map.of("operations", 0L, "bandwidth", 0L, "burst", Duration.ofMillis(100))),
            new FilterUse("mirror", Map.of("copies", 1L, "wait", true, "target", "nowhere")));
    assertThat(policy.encryption()).isEmpty();
    assertThat(encrypted.encryption())
        .hasValue(new EncryptionRule("aes-256-xts", 4096, Optional.empty(), KekScope.PER_VM));
    assertThat(encrypted.allowFiltersBeforeEncryption()).isFalse();
    assertThat(encrypted.kekRotation()).isEmpty();
    assertThat(encrypted.description()).isEmpty();
  }

  @Test
  void letsATenantShareAKeyThatIsKeptForAWhile() {
    String rule =
        "version: 1\nname: p\nencryption: {kek: per-tenant, tenant: acme, kekCache: 10m}\n";

    assertThat(policy(rule).encryption())
        .hasValue(
            new EncryptionRule(
                "aes-256-xts",
                4096,
                Optional.empty(),
                KekScope.PER_TENANT,
                Optional.of("acme"),
                Duration.ofMinutes(10)));
    assertThat(policy(rule).digest()).isNotEqualTo(policy(rule.replace("10m", "0s")).digest());
    assertThat(policy(rule).digest()).isNotEqualTo(policy(rule.replace("acme", "other")).digest());
    assertThat(problems(rule.replace("tenant: acme, ", "").replace("10m", "2d")))
        .containsExactly(
            "p.yaml:3: encryption.tenant: is missing (expected: the tenant's name, with kek:"
                + " per-tenant)",
            "p.yaml:3: encryption.kekCache: 2d (expected: 0ms to 1d)");
    assertThat(problems(rule.replace("per-tenant", "per-vm")))
        .containsExactly(
            "p.yaml:3: encryption.tenant: acme (expected: none without kek: per-tenant)");
    assertThat(problems(rule.replace("acme", "../x")))
        .containsExactly(
            "p.yaml:3: encryption.tenant: ../x"
                + " (expected: 1..63 letters, digits, dots, hyphens and underscores)");
  }

  @Test
  void rotatesByItselfOnlyAtAnAge() {
    assertThat(policy("version: 1\nname: p\nencryption: {}\nrotation: {kek: 90d}\n"))
        .satisfies(policy -> assertThat(policy.rotatesByItself()).isFalse());
    assertThat(problems("version: 1\nname: p\nencryption: {}\nrotation: {auto: true}\n"))
        .anyMatch(
            each -> each.endsWith("auto: true without an age (expected: kek, for example 365d)"));
  }

  @Test
  void tellsAllProblemsAtOnce() {
    assertThat(
            problems(
                """
                name: Upper
                filters:
                  inspektion: {}
                  qos: {operations: fast, brust: 1s, burst: 1h}
                  fast-cache: {}
                  encryption: {}
                  trace: {}
                  inspection: {}
                encryption:
                  cipher: rot13
                  unit: 8KiB
                  provider: "../kms"
                  kek: per-planet
                  unit: 4KiB
                allowFiltersBeforeEncryption: maybe
                rotation: {kek: 1h}
                colour: red
                """))
        .containsExactly(
            "p.yaml:1: version: is missing (expected: 1)",
            "p.yaml:1: name: Upper (expected: 1..63 lower case letters, digits and hyphens)",
            "p.yaml:3: filters.inspektion: is unknown (expected: fast-cache, inspection, mirror,"
                + " qos, seal, trace; did you mean inspection?)",
            "p.yaml:4: filters.qos.operations: fast (expected: a rate such as 5000/s)",
            "p.yaml:4: filters.qos.burst: 1h (expected: 1ms to 10m)",
            "p.yaml:4: filters.qos.brust: is unknown (expected: operations, bandwidth, burst;"
                + " did you mean burst?)",
            "p.yaml:5: filters.fast-cache: would see plaintext"
                + " (expected: allowFiltersBeforeEncryption: true, or no such filter)",
            "p.yaml:5: filters.fast-cache.size: is missing"
                + " (expected: a value, for there is no default)",
            "p.yaml:6: filters.encryption: is switched on by the encryption rule"
                + " (expected: encryption: ...)",
            "p.yaml:7: filters.trace: would see plaintext"
                + " (expected: allowFiltersBeforeEncryption: true, or no such filter)",
            "p.yaml:8: filters.inspection: is of the same class as trace"
                + " (expected: one filter of a class)",
            "p.yaml:10: encryption.cipher: rot13 (expected: aes-256-xts)",
            "p.yaml:11: encryption.unit: 8KiB (expected: 4KiB or 512B)",
            "p.yaml:12: encryption.provider: ../kms"
                + " (expected: 1..63 letters, digits, dots, hyphens and underscores)",
            "p.yaml:13: encryption.kek: per-planet (expected: per-vm, per-disk, per-tenant)",
            "p.yaml:14: encryption.unit: stands twice (first in line 11)",
            "p.yaml:15: allowFiltersBeforeEncryption: maybe (expected: true or false)",
            "p.yaml:16: rotation.kek: 1h (expected: 1d to 36500d)",
            "p.yaml:17: colour: is unknown (expected: version, name, description, encryption,"
                + " allowFiltersBeforeEncryption, filters, rotation)");
  }

  @Test
  void showsPlaintextToFiltersOfThirdPartiesOnlyWhereItMay() {
    String before = "version: 1\nname: p\nfilters: {trace: {}}\n";

    assertThat(problems(before + "encryption: {}\n"))
        .containsExactly(
            "p.yaml:3: filters.trace: would see plaintext"
                + " (expected: allowFiltersBeforeEncryption: true, or no such filter)");
    assertThat(policy(before + "encryption: {}\nallowFiltersBeforeEncryption: true\n").filters())
        .hasSize(1);
    // Nothing is encrypted: there is nothing to keep from it.
    assertThat(policy(before).filters()).hasSize(1);
    // Sees ciphertext only.
    assertThat(policy("version: 1\nname: p\nfilters: {seal: {}}\nencryption: {}\n").filters())
        .hasSize(1);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "version: 2   | 2 is newer than this filterd (expected: 1)",
        "version: 0   | 0 is too old (expected: 1)",
        "version: 1.0 | 1.0 (expected: a whole number)",
        "version:     | has no value (expected: a whole number)",
      })
  void tellsVersionsApart(String line, String message) {
    assertThat(problems(line + "\nname: p\n")).containsExactly("p.yaml:1: version: " + message);
  }

  @Test
  void doesNotJudgeWhatIsInAPolicyOfAnotherVersion() {
    assertThat(problems("version: 2\nname: p\nencryption: {cipher: serpent}\nnew: 1\n")).hasSize(1);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "- a\n- b\n",
        "just text",
        "version: 1\nname: a\nname: b\n",
        "version: 1\nname: &x a\n",
        "version: 1\nname: [a]\n",
        "version: 1\nname: -a\n",
        "version: 1\nname: a\nfilters: [inspection]\n",
        "version: 1\nname: a\nfilters: {inspection: true}\n",
        "version: 1\nname: a\nfilters: {inspection: {level: 1}}\n",
        "version: 1\nname: a\nencryption: aes\n",
        "version: 1\nname: a\nencryption: {unit: 4096}\n",
        "version: 1\nname: a\nrotation: {kek: 90d}\n",
        "version: 1\nname: a\n---\nversion: 1\n",
        "version: 1\nname: \"a\n",
        "a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: 1}}}}}}}}}}}}}}}"
      })
  void tellsOneProblemOfATextThatIsNoPolicy(String text) {
    assertThat(problems(text)).hasSize(1);
  }

  @Test
  void boundsNamesAndDescriptions() {
    String name = "n".repeat(63);

    assertThat(policy("version: 1\nname: " + name + "\n").name()).isEqualTo(name);
    assertThat(problems("version: 1\nname: " + name + "n\n")).hasSize(1);
    assertThat(problems("version: 1\nname: a\ndescription: " + "d".repeat(201) + "\n"))
        .containsExactly("p.yaml:3: description: 201 characters (expected: at most 200)");
  }

  @Test
  void refusesADescriptionOfAParameterWhoseDefaultIsWrong() {
    assertThatThrownBy(
            () ->
                new ParameterDescription(
                    "burst", ParameterDescription.Type.DURATION, "1h", 1, 1000))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("default of parameter burst: 1h (expected: DURATION between 1 and 1000)");
    assertThatThrownBy(
            () -> new ParameterDescription("fast", ParameterDescription.Type.SWITCH, "yes", 0, 0))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void makesAPolicyOrProblemsOfAnyText() throws Exception {
    String good = Files.readString(Path.of("../conf/policies/encrypted-limited.yaml"));
    long seed = Long.getLong("test.seed", new SecureRandom().nextInt());
    SplittableRandom random = new SplittableRandom(seed);
    String signs = "{}[]:,&*!|>'\"%@`#-? \n\t01ax\u0000\u2028\ud83d";
    for (int i = 0; i < 5000; i++) {
      StringBuilder text = new StringBuilder(good);
      for (int edits = random.nextInt(1, 6); edits > 0; edits--) {
        int at = random.nextInt(text.length());
        switch (random.nextInt(3)) {
          case 0 -> text.setCharAt(at, signs.charAt(random.nextInt(signs.length())));
          case 1 -> text.delete(at, Math.min(text.length(), at + random.nextInt(40)));
          default -> text.insert(at, good, 0, random.nextInt(good.length()));
        }
      }

      PolicyResult result = PolicyParser.parse("fuzz.yaml", text.toString(), CATALOG);

      assertThat(result.policy().isPresent())
          .as("-Dtest.seed=%d, step %d: %s", seed, i, text)
          .isEqualTo(result.problems().isEmpty());
    }
  }
}
