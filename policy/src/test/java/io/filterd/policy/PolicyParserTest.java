package io.filterd.policy;

import static org.assertj.core.api.Assertions.assertThat;

import io.filterd.policy.StoragePolicy.FilterUse;
import io.filterd.policy.yaml.Problem;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class PolicyParserTest {
  private static final FilterCatalog CATALOG =
      new FilterCatalog(
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
                          0,
                          100_000_000),
                      new ParameterDescription(
                          "bandwidth",
                          ParameterDescription.Type.BYTES_PER_SECOND,
                          "0B/s",
                          0,
                          1L << 50),
                      new ParameterDescription(
                          "burst", ParameterDescription.Type.DURATION, "100ms", 1, 600_000))),
              new FilterDescription(
                  "other-cache",
                  "CACHE",
                  2,
                  true,
                  false,
                  List.of(
                      new ParameterDescription(
                          "size", ParameterDescription.Type.BYTES, null, 1, 1L << 40)))));

  @ParameterizedTest
  @ValueSource(strings = {"encrypted", "encrypted-512", "encrypted-limited", "plain"})
  void readsThePoliciesThatComeWithFilterd(String name) throws Exception {
    Path file = Path.of("../conf/policies/" + name + ".yaml");

    PolicyResult result = PolicyParser.parse(file.toString(), Files.readString(file), CATALOG);

    assertThat(result.problems()).isEmpty();
    assertThat(result.policy().orElseThrow().name()).isEqualTo(name);
  }

  @Test
  void putsFiltersInTheOrderOfTheirClasses() {
    PolicyResult result =
        PolicyParser.parse(
            "p.yaml",
            "version: 1\nname: p\nfilters: {qos: {operations: 100/s, burst: 2s}, inspection: {}}\n",
            CATALOG);

    assertThat(result.problems()).isEmpty();
    assertThat(result.policy().orElseThrow().filters())
        .containsExactly(
            new FilterUse("inspection", Map.of()),
            new FilterUse(
                "qos",
                Map.of("operations", 100L, "bandwidth", 0L, "burst", Duration.ofSeconds(2))));
  }

  @Test
  void tellsAllProblemsAtOnce() {
    String text =
        """
        version: 1
        name: Upper
        filters:
          inspektion: {}
          qos: {operations: fast, brust: 1s}
          other-cache: {}
        encryption:
          unit: 8KiB
          kek: per-planet
        colour: red
        """;

    List<Problem> problems = PolicyParser.parse("bad.yaml", text, CATALOG).problems();

    assertThat(problems)
        .extracting(Problem::line, Problem::key)
        .containsExactlyInAnyOrder(
            org.assertj.core.groups.Tuple.tuple(2, "name"),
            org.assertj.core.groups.Tuple.tuple(4, "filters.inspektion"),
            org.assertj.core.groups.Tuple.tuple(5, "filters.qos.operations"),
            org.assertj.core.groups.Tuple.tuple(5, "filters.qos.brust"),
            org.assertj.core.groups.Tuple.tuple(6, "filters.other-cache.size"),
            org.assertj.core.groups.Tuple.tuple(6, "filters.other-cache"),
            org.assertj.core.groups.Tuple.tuple(8, "encryption.unit"),
            org.assertj.core.groups.Tuple.tuple(9, "encryption.kek"),
            org.assertj.core.groups.Tuple.tuple(10, "colour"));
    assertThat(problems.toString()).contains("did you mean inspection?", "did you mean burst?");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "- a\n- b\n",
        "just text",
        "version: 1\nname: a\nname: b\n",
        "version: 2\nname: a\n",
        "version: 0\nname: a\n",
        "name: a\n",
        "version: 1\nname: &x a\ndescription: *x\n",
        "version: 1\nname: [a]\n",
        "version: 1\nname: a\nfilters: [inspection]\n",
        "version: 1\nname: a\nfilters: {encryption: {}}\n",
        "version: 1\nname: a\nrotation: {kek: 90d}\n",
        "version: 1\nname: a\n---\nversion: 1\n",
        "version: 1\nname: \"a\n",
        "a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: 1}}}}}}}}}}}}}}}"
      })
  void refusesWhatIsNoPolicy(String text) {
    PolicyResult result = PolicyParser.parse("bad.yaml", text, CATALOG);

    assertThat(result.policy()).isEmpty();
    assertThat(result.problems()).isNotEmpty();
  }

  @Test
  void survivesAnyText() throws Exception {
    String good = Files.readString(Path.of("../conf/policies/encrypted-limited.yaml"));
    long seed = Long.getLong("test.seed", System.nanoTime());
    Random random = new Random(seed);
    String signs = "{}[]:,&*!|>'\"%@`#-? \n\t01ax\u0000\u2028";
    for (int i = 0; i < 3000; i++) {
      StringBuilder text = new StringBuilder(good);
      for (int edits = random.nextInt(1, 6); edits > 0; edits--) {
        int at = random.nextInt(text.length());
        text.setCharAt(at, signs.charAt(random.nextInt(signs.length())));
      }

      PolicyResult result = PolicyParser.parse("fuzz.yaml", text.toString(), CATALOG);

      assertThat(result.policy().isPresent())
          .as("seed %d, step %d: %s", seed, i, text)
          .isEqualTo(result.problems().isEmpty());
    }
  }
}
