package io.filterd.policy.yaml;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class YamlMapTest {
  private final Problems problems = new Problems("f.yaml");

  private YamlMap read(String text) {
    return YamlMap.parse(text, problems);
  }

  private List<String> told() {
    return problems.list().stream().map(Problem::toString).toList();
  }

  @Test
  void readsValuesOfEveryType() {
    YamlMap root =
        read(
            """
            # A comment.
            text: some words
            quoted: "a: b"
            folded: >
              one line
              of two
            switch: true
            count: 8
            size: 4KiB
            bandwidth: 1MiB/s
            operations: 100/s
            time: 30s
            word: red
            map: {a: 1}
            nothing:
            list:
              - {a: 1}
              - a: 2
            """);

    assertThat(root.text("text")).isEqualTo("some words");
    assertThat(root.requiredText("quoted")).isEqualTo("a: b");
    assertThat(root.text("folded")).isEqualTo("one line of two");
    assertThat(root.enabled("switch", false)).isTrue();
    assertThat(root.count("count", 1, 0, 10)).isEqualTo(8);
    assertThat(root.bytes("size", 0, 0, 8192)).isEqualTo(4096);
    assertThat(root.bytesPerSecond("bandwidth", 0, 0, 1 << 20)).isEqualTo(1 << 20);
    assertThat(root.operationsPerSecond("operations", 0, 0, 1000)).isEqualTo(100);
    assertThat(root.duration("time", Duration.ZERO, Duration.ZERO, Duration.ofHours(1)))
        .isEqualTo(Duration.ofSeconds(30));
    assertThat(root.choice("word", "blue", List.of("red", "blue"))).isEqualTo("red");
    assertThat(root.map("map").count("a", 0, 0, 9)).isEqualTo(1);
    assertThat(root.map("nothing").keys()).isEmpty();
    assertThat(root.maps("list"))
        .extracting(map -> map.count("a", 0, 0, 9))
        .containsExactly(1L, 2L);
    root.end();
    assertThat(told()).isEmpty();
  }

  @Test
  void givesTheDefaultOfWhatIsNotThere() {
    YamlMap root = read("a: 1\n");

    assertThat(root.text("text")).isNull();
    assertThat(root.enabled("switch", true)).isTrue();
    assertThat(root.count("count", 7, 0, 10)).isEqualTo(7);
    assertThat(root.map("map").text("text")).isNull();
    assertThat(root.maps("list")).isEmpty();
    assertThat(told()).isEmpty();
  }

  @Test
  void tellsWhatIsWrongWithValues() {
    YamlMap root =
        read(
            """
            count: many
            size: 4096
            far: 1GiB
            time: 1w
            short: 1ms
            switch: yes
            word: rad
            text: [a]
            empty:
            null: ~
            line: "a\\nb"
            map: 1
            list: {a: 1}
            """);

    assertThat(root.count("count", 1, 0, 10)).isEqualTo(1);
    assertThat(root.bytes("size", 2, 0, 10)).isEqualTo(2);
    assertThat(root.bytes("far", 3, 512, 1 << 20)).isEqualTo(3);
    assertThat(root.duration("time", Duration.ZERO, Duration.ZERO, Duration.ZERO)).isZero();
    assertThat(root.duration("short", Duration.ZERO, Duration.ofSeconds(1), Duration.ofMinutes(10)))
        .isZero();
    assertThat(root.enabled("switch", true)).isTrue();
    assertThat(root.choice("word", "blue", List.of("red", "green", "blue"))).isEqualTo("blue");
    assertThat(root.text("text")).isNull();
    assertThat(root.text("empty")).isNull();
    assertThat(root.text("line")).isNull();
    assertThat(root.map("map").requiredText("needed")).isEmpty();
    assertThat(root.maps("list")).isEmpty();
    assertThat(root.requiredText("needed")).isEmpty();
    root.end();

    assertThat(told())
        .containsExactly(
            "f.yaml:1: count: many (expected: a whole number)",
            "f.yaml:1: needed: is missing (expected: a line of text)",
            "f.yaml:2: size: 4096 (expected: a size in B, KiB, MiB, GiB or TiB, such as 4KiB)",
            "f.yaml:3: far: 1GiB (expected: 512B to 1MiB, or 3B)",
            "f.yaml:4: time: 1w (expected: a time in ms, s, m, h or d, such as 30s)",
            "f.yaml:5: short: 1ms (expected: 1s to 10m)",
            "f.yaml:6: switch: yes (expected: true or false)",
            "f.yaml:7: word: rad (expected: red, green, blue; did you mean red?)",
            "f.yaml:8: text: is no single value (expected: a line of text)",
            "f.yaml:9: empty: has no value (expected: a line of text)",
            "f.yaml:10: has a key that is no word (expected: KEY: VALUE lines)",
            "f.yaml:11: line: holds a control character or a line break"
                + " (expected: a line of text)",
            "f.yaml:12: map: is something else (expected: KEY: VALUE lines)",
            "f.yaml:13: list: is no list (expected: a list of KEY: VALUE lines)");
  }

  @Test
  void tellsKeysThatNobodyAskedFor() {
    YamlMap root = read("sise: 1\nsize: 2\nsize: 3\ninner: {deep: {x: 1}}\n");
    root.count("size", 0, 0, 9);
    YamlMap deep = root.map("inner").map("deep");
    deep.end();
    root.end();

    assertThat(told())
        .containsExactly(
            "f.yaml:1: sise: is unknown (expected: size, inner; did you mean size?)",
            "f.yaml:3: size: stands twice (first in line 2)",
            "f.yaml:4: inner.deep.x: is unknown (expected: nothing here)");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "a: &x 1        | a: has an anchor (expected: a value without &NAME)",
        "a: !!str 1     | a: has a tag (expected: a value without !NAME)",
        "a: !own {b: 1} | a: has a tag (expected: a value without !NAME)",
        "a: *x          | a: is an alias (expected: the value itself)",
        "!own {a: 1}    | has a tag (expected: a value without !NAME)",
        "{a: 1}: 1      | has a key that is no word (expected: KEY: VALUE lines)",
        "'- a'          | is something else (expected: KEY: VALUE lines)",
      })
  void refusesWhatMakesAFileMeanSomethingElse(String text, String message) {
    YamlMap root = read(text + "\n");
    String unused = root.text("a");

    assertThat(unused).isNull();
    assertThat(told()).containsExactly("f.yaml:1: " + message);
  }

  @Test
  void takesAMergeKeyForAnUnknownOne() {
    YamlMap root = read("a: 1\n<<: {b: 2}\n");
    root.count("a", 0, 0, 9);
    root.end();

    assertThat(told()).containsExactly("f.yaml:2: <<: is unknown (expected: a)");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "# Only a comment.\n",
        "a: 1\n---\na: 2\n",
        "a: \"1\n",
        "a:\n\t- 1\n",
        "a: [1\n",
        "a: \u0000\n",
        "%YAML 3.0\n---\na: 1\n",
      })
  void tellsOneProblemOfATextThatCannotBeRead(String text) {
    YamlMap root = read(text);
    String unused = root.requiredText("name");
    root.problem("other", "is missing");
    root.map("map").requiredText("name");
    root.end();

    assertThat(unused).isEmpty();
    assertThat(told()).hasSize(1);
  }

  @Test
  void namesTheLineOfACharacterThatIsNotAllowed() {
    String unused = read("a: 1\n😀b: 2\nc: \u0007\n").text("a");

    assertThat(unused).isNull();
    assertThat(told()).containsExactly("f.yaml:3: is not YAML: character U+0007 is not allowed");
  }

  @Test
  void boundsWhatItReads() {
    read("a: " + "x".repeat(64 << 10));
    read("[".repeat(30_000));
    read("{a: ".repeat(10_000));
    read("- ".repeat(10_000));
    read("a: [" + "1,".repeat(6000) + "]");
    read("a: " + "x".repeat(5000) + "\n").text("a");

    assertThat(told())
        .containsExactly(
            "f.yaml: 65539 characters of text (expected: at most 65536)",
            "f.yaml:1: too deep (expected: at most 12 levels)",
            "f.yaml:1: too deep (expected: at most 12 levels)",
            "f.yaml:1: too deep (expected: at most 12 levels)",
            "f.yaml:1: too many values (expected: at most 5000)",
            "f.yaml:1: a: is too long (expected: at most 4096 characters)");
  }

  @Test
  void countsTheProblemsThatAreTooMany() {
    StringBuilder text = new StringBuilder();
    for (int i = 0; i < 1000; i++) {
      text.append("key").append(i).append(": 1\n");
    }
    read(text.toString()).end();

    assertThat(told()).hasSize(201).last().isEqualTo("f.yaml: and 800 more");
  }

  @Test
  void showsNothingThatWouldDisturbATerminal() {
    YamlMap root = read("\"\\e[2J\": 1\n\"\\u202etxt\": 1\n? " + "k".repeat(500) + "\n: 1\n");
    root.end();

    assertThat(told())
        .containsExactly(
            "f.yaml:1: ?[2J: is unknown (expected: nothing here)",
            "f.yaml:2: ?txt: is unknown (expected: nothing here)",
            "f.yaml:3: " + "k".repeat(300) + "...: is unknown (expected: nothing here)");
  }

  @Test
  void suggestsOnlyWhatIsNear() {
    List<String> names = List.of("burst", "kek", "unit");

    assertThat(YamlMap.nearest("brust", names)).isEqualTo("burst");
    assertThat(YamlMap.nearest("units", names)).isEqualTo("unit");
    assertThat(YamlMap.nearest("key", names)).isEqualTo("kek");
    assertThat(YamlMap.nearest("on", names)).isNull();
    assertThat(YamlMap.nearest("x", names)).isNull();
    assertThat(YamlMap.nearest("bandwidth", names)).isNull();
  }
}
