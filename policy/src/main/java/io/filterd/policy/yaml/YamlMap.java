package io.filterd.policy.yaml;

import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.snakeyaml.engine.v2.api.LoadSettings;
import org.snakeyaml.engine.v2.api.lowlevel.Compose;
import org.snakeyaml.engine.v2.exceptions.MarkedYamlEngineException;
import org.snakeyaml.engine.v2.exceptions.YamlEngineException;
import org.snakeyaml.engine.v2.nodes.MappingNode;
import org.snakeyaml.engine.v2.nodes.Node;
import org.snakeyaml.engine.v2.nodes.NodeTuple;
import org.snakeyaml.engine.v2.nodes.ScalarNode;
import org.snakeyaml.engine.v2.nodes.SequenceNode;

/**
 * A mapping of a YAML file. Values are asked for by key and type; a value that is missing or wrong
 * is a problem, and the answer is then the default, so that reading goes on to the next problem. At
 * the end {@link #end()} makes a problem of every key that nobody asked for. For one thread.
 */
public final class YamlMap {
  /** More text than this is no configuration. */
  private static final int MAX_TEXT_CHARS = 256 << 10;

  private static final int MAX_DEPTH = 12;

  private final Problems problems;
  private final String path;
  private final int line;
  private final Map<String, Node> values = new LinkedHashMap<>();
  private final Map<String, Integer> lines = new LinkedHashMap<>();
  private final Set<String> asked = new LinkedHashSet<>();

  private YamlMap(Problems problems, String path, int line) {
    this.problems = problems;
    this.path = path;
    this.line = line;
  }

  /** Reads a file's text; what is no mapping is a problem, and reads as an empty one. */
  public static YamlMap parse(String text, Problems problems) {
    YamlMap empty = new YamlMap(problems, "", 0);
    if (text.length() > MAX_TEXT_CHARS) {
      problems.add(0, "", "more than " + MAX_TEXT_CHARS + " characters");
      return empty;
    }
    try {
      LoadSettings settings =
          LoadSettings.builder()
              .setAllowDuplicateKeys(true)
              .setMaxAliasesForCollections(0)
              .setCodePointLimit(MAX_TEXT_CHARS)
              .setUseMarks(true)
              .build();
      Optional<Node> root = new Compose(settings).composeString(text);
      if (root.isEmpty()) {
        problems.add(0, "", "the file is empty");
        return empty;
      }
      return of(root.get(), problems, "");
    } catch (MarkedYamlEngineException malformed) {
      problems.add(
          malformed.getProblemMark().map(mark -> mark.getLine() + 1).orElse(0),
          "",
          "not YAML: " + malformed.getProblem());
    } catch (YamlEngineException malformed) {
      problems.add(0, "", "not YAML: " + malformed.getMessage());
    } catch (StackOverflowError deep) {
      problems.add(0, "", "nested too deeply");
    }
    return empty;
  }

  private static YamlMap of(Node node, Problems problems, String path) {
    YamlMap map = new YamlMap(problems, path, lineOf(node));
    if (node.getAnchor().isPresent()) {
      problems.add(lineOf(node), path, "anchors and aliases are not taken");
    } else if (path.chars().filter(c -> c == '.').count() > MAX_DEPTH) {
      problems.add(lineOf(node), path, "nested too deeply");
    } else if (node instanceof MappingNode mapping) {
      mapping.getValue().forEach(map::take);
    } else {
      problems.add(lineOf(node), path, "expected: KEY: VALUE lines");
    }
    return map;
  }

  private void take(NodeTuple tuple) {
    int at = lineOf(tuple.getKeyNode());
    if (!(tuple.getKeyNode() instanceof ScalarNode key)) {
      problems.add(at, path, "a key must be a word");
    } else if (values.containsKey(key.getValue())) {
      problems.add(
          at, at(key.getValue()), "stands twice (first in line " + lines.get(key.getValue()) + ")");
    } else {
      values.put(key.getValue(), tuple.getValueNode());
      lines.put(key.getValue(), at);
    }
  }

  private static int lineOf(Node node) {
    return node.getStartMark().map(mark -> mark.getLine() + 1).orElse(0);
  }

  private String at(String key) {
    return path.isEmpty() ? key : path + "." + key;
  }

  /** The keys, in the order of the file. */
  public Set<String> keys() {
    return new LinkedHashSet<>(values.keySet());
  }

  /** Whether the key is there. Does not count as asking for it. */
  public boolean has(String key) {
    return values.containsKey(key);
  }

  /** Adds a problem at a key of this mapping, which need not be there. */
  public void problem(String key, String message) {
    asked.add(key);
    problems.add(lines.getOrDefault(key, line), key.isEmpty() ? path : at(key), message);
  }

  private @Nullable Node node(String key) {
    asked.add(key);
    return values.get(key);
  }

  private @Nullable String scalar(String key, String expected) {
    Node node = node(key);
    if (node == null) {
      return null;
    }
    if (node instanceof ScalarNode scalar && node.getAnchor().isEmpty()) {
      if (!scalar.getValue().isEmpty()) {
        return scalar.getValue();
      }
      problem(key, "has no value (expected: " + expected + ")");
    } else {
      problem(key, "is no single value (expected: " + expected + ")");
    }
    return null;
  }

  /** The text of a key, or null if it is not there. */
  public @Nullable String text(String key) {
    return scalar(key, "a text");
  }

  /** The text of a key that must be there; empty after a problem. */
  public String requiredText(String key) {
    if (!has(key)) {
      problem(key, "is missing");
      return "";
    }
    String text = text(key);
    return text == null ? "" : text;
  }

  /** A mapping; an empty one if it is not there. */
  public YamlMap map(String key) {
    Node node = node(key);
    if (node == null || (node instanceof ScalarNode scalar && scalar.getValue().isEmpty())) {
      return new YamlMap(problems, at(key), lines.getOrDefault(key, line));
    }
    return of(node, problems, at(key));
  }

  /** A list of mappings; empty if it is not there. */
  public List<YamlMap> maps(String key) {
    List<YamlMap> maps = new ArrayList<>();
    List<Node> nodes = list(key, "a list of KEY: VALUE lines");
    for (int i = 0; i < nodes.size(); i++) {
      maps.add(of(nodes.get(i), problems, at(key) + "[" + i + "]"));
    }
    return maps;
  }

  private List<Node> list(String key, String expected) {
    Node node = node(key);
    if (node == null) {
      return List.of();
    }
    if (node instanceof SequenceNode sequence && node.getAnchor().isEmpty()) {
      return sequence.getValue();
    }
    problem(key, "expected: " + expected);
    return List.of();
  }

  /** A switch. */
  public boolean enabled(String key, boolean otherwise) {
    String text = scalar(key, "true or false");
    if (text == null) {
      return otherwise;
    }
    if (!text.equals("true") && !text.equals("false")) {
      problem(key, text + " (expected: true or false)");
      return otherwise;
    }
    return text.equals("true");
  }

  /** A whole number between {@code least} and {@code most}. */
  public long count(String key, long otherwise, long least, long most) {
    return number(key, otherwise, least, most, Quantities::count, "a whole number");
  }

  /** A size in bytes between {@code least} and {@code most}. */
  public long bytes(String key, long otherwise, long least, long most) {
    return number(
        key, otherwise, least, most, Quantities::bytes, "a size in B, KiB, MiB, GiB or TiB");
  }

  /** A rate of bytes between {@code least} and {@code most}. */
  public long bytesPerSecond(String key, long otherwise, long least, long most) {
    return number(
        key, otherwise, least, most, Quantities::bytesPerSecond, "a rate such as 200MiB/s");
  }

  /** A rate of operations between {@code least} and {@code most}. */
  public long operationsPerSecond(String key, long otherwise, long least, long most) {
    return number(
        key, otherwise, least, most, Quantities::operationsPerSecond, "a rate such as 5000/s");
  }

  private long number(
      String key,
      long otherwise,
      long least,
      long most,
      Function<String, OptionalLong> parser,
      String expected) {
    String text = scalar(key, expected);
    if (text == null) {
      return otherwise;
    }
    OptionalLong value = parser.apply(text);
    if (value.isEmpty()) {
      problem(key, text + " (expected: " + expected + ")");
      return otherwise;
    }
    if (value.getAsLong() < least || value.getAsLong() > most) {
      problem(key, text + " (expected: between " + least + " and " + most + ")");
      return otherwise;
    }
    return value.getAsLong();
  }

  /** A time between {@code least} and {@code most}. */
  public Duration duration(String key, Duration otherwise, Duration least, Duration most) {
    String expected = "a time in ms, s, m, h or d";
    String text = scalar(key, expected);
    if (text == null) {
      return otherwise;
    }
    Duration value = Quantities.duration(text);
    if (value == null) {
      problem(key, text + " (expected: " + expected + ")");
      return otherwise;
    }
    if (value.compareTo(least) < 0 || value.compareTo(most) > 0) {
      problem(
          key,
          text + " (expected: between " + least.toMillis() + "ms and " + most.toMillis() + "ms)");
      return otherwise;
    }
    return value;
  }

  /** One word of a list of words. */
  public String choice(String key, String otherwise, List<String> choices) {
    String text = scalar(key, "one of " + String.join(", ", choices));
    if (text == null) {
      return otherwise;
    }
    if (!choices.contains(text)) {
      problem(key, text + " (expected: one of " + String.join(", ", choices) + ")");
      return otherwise;
    }
    return text;
  }

  /** Makes a problem of every key that nobody asked for. */
  public void end() {
    for (String key : values.keySet()) {
      if (!asked.contains(key)) {
        String nearest = nearest(key, asked);
        problems.add(
            lines.getOrDefault(key, line),
            at(key),
            "is unknown"
                + (nearest == null
                    ? " (expected: one of " + String.join(", ", asked) + ")"
                    : " (did you mean " + nearest + "?)"));
      }
    }
  }

  /** The name that is at most two edits away from {@code word}, or null. */
  public static @Nullable String nearest(String word, Iterable<String> names) {
    String best = null;
    int bestDistance = 3;
    for (String name : names) {
      int distance = distance(word, name);
      if (distance < bestDistance) {
        bestDistance = distance;
        best = name;
      }
    }
    return best;
  }

  /** Levenshtein's distance, for words of bounded length. */
  private static int distance(String a, String b) {
    if (Math.abs(a.length() - b.length()) > 2) {
      return 3;
    }
    int[] row = new int[b.length() + 1];
    for (int j = 0; j <= b.length(); j++) {
      row[j] = j;
    }
    for (int i = 1; i <= a.length(); i++) {
      int diagonal = row[0];
      row[0] = i;
      for (int j = 1; j <= b.length(); j++) {
        int substitute = diagonal + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
        diagonal = row[j];
        row[j] = Math.min(substitute, Math.min(row[j], row[j - 1]) + 1);
      }
    }
    return row[b.length()];
  }
}
