package io.filterd.policy.yaml;

import io.filterd.policy.yaml.YamlNode.Entry;
import io.filterd.policy.yaml.YamlNode.Mapping;
import io.filterd.policy.yaml.YamlNode.Refused;
import io.filterd.policy.yaml.YamlNode.Scalar;
import io.filterd.policy.yaml.YamlNode.Sequence;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.Set;
import java.util.function.Function;
import java.util.function.LongFunction;
import org.jspecify.annotations.Nullable;

/**
 * A mapping of a YAML file. Values are asked for by key and type; a value that is missing or wrong
 * is a problem, and the answer is then the default, so that reading goes on to the next problem. At
 * the end {@link #end()} makes a problem of every key that nobody asked for. What could not be read
 * at all is one problem: the mapping that stands for it has no keys and adds no further ones. For
 * one thread.
 */
public final class YamlMap {
  /** Longer than any path, name or sentence we have use for. */
  private static final int MAX_TEXT_CHARS = 4096;

  private static final int MAX_SHOWN_CHARS = 60;

  /** The most that is listed of what is expected, where one of it is near. */
  private static final int MAX_LISTED_CHARS = 200;

  private final Problems problems;
  private final String path;
  private final int line;

  /** Whether the file says something else where this should be, which is a problem already. */
  private final boolean unreadable;

  private final Map<String, YamlNode> values = new LinkedHashMap<>();
  private final Map<String, Integer> lines = new LinkedHashMap<>();
  private final Set<String> asked = new LinkedHashSet<>();

  private YamlMap(Problems problems, String path, int line, boolean unreadable) {
    this.problems = problems;
    this.path = path;
    this.line = line;
    this.unreadable = unreadable;
  }

  /** Reads a file's text: one document, at most 64 Ki characters, without anchors and tags. */
  public static YamlMap parse(String text, Problems problems) {
    YamlNode root = YamlParser.parse(text, problems);
    return root == null ? new YamlMap(problems, "", 0, true) : of(root, problems, "");
  }

  private static YamlMap of(YamlNode node, Problems problems, String path) {
    YamlMap map = new YamlMap(problems, path, node.line(), !(node instanceof Mapping));
    switch (node) {
      case Mapping mapping -> mapping.entries().forEach(map::take);
      case Refused refused -> problems.add(node.line(), path, refused.message());
      case Scalar _, Sequence _ ->
          problems.add(node.line(), path, "is something else (expected: KEY: VALUE lines)");
    }
    return map;
  }

  private void take(Entry entry) {
    int at = entry.key().line();
    if (!(entry.key() instanceof Scalar key) || key.isNothing()) {
      problems.add(at, path, "has a key that is no word (expected: KEY: VALUE lines)");
    } else if (values.containsKey(key.text())) {
      problems.add(
          at, at(key.text()), "stands twice (first in line " + lines.get(key.text()) + ")");
    } else {
      values.put(key.text(), entry.value());
      lines.put(key.text(), at);
    }
  }

  private String at(String key) {
    return path.isEmpty() ? key : path + "." + key;
  }

  /** The keys, in the order of the file. */
  public Set<String> keys() {
    return new LinkedHashSet<>(values.keySet());
  }

  /** Whether the key is there. Counts as asking for it. */
  public boolean has(String key) {
    asked.add(key);
    return values.containsKey(key);
  }

  /**
   * Adds a problem at a key of this mapping, which need not be there; the empty key is the mapping
   * itself.
   */
  public void problem(String key, String message) {
    if (key.isEmpty()) {
      add(line, path, message);
    } else {
      asked.add(key);
      add(lineOf(key), at(key), message);
    }
  }

  private void add(int at, String key, String message) {
    if (!unreadable) {
      problems.add(at, key, message);
    }
  }

  private int lineOf(String key) {
    return lines.getOrDefault(key, line);
  }

  private @Nullable YamlNode node(String key) {
    asked.add(key);
    return values.get(key);
  }

  private @Nullable String scalar(String key, String expected) {
    YamlNode node = node(key);
    switch (node) {
      case null -> {
        return null;
      }
      case Scalar scalar when scalar.isNothing() || scalar.text().isBlank() ->
          problem(key, "has no value (expected: " + expected + ")");
      case Scalar scalar when scalar.text().length() > MAX_TEXT_CHARS ->
          problem(key, "is too long (expected: at most " + MAX_TEXT_CHARS + " characters)");
      case Scalar scalar -> {
        // A block scalar ends with the line break of its last line.
        String text = scalar.text().stripTrailing();
        if (text.chars().noneMatch(Character::isISOControl)) {
          return text;
        }
        problem(key, "holds a control character or a line break (expected: " + expected + ")");
      }
      case Refused refused -> problem(key, refused.message());
      case Mapping _, Sequence _ -> problem(key, "is no single value (expected: " + expected + ")");
    }
    return null;
  }

  /** The text of a key, one line, or null if it is not there. */
  public @Nullable String text(String key) {
    return scalar(key, "a line of text");
  }

  /** The text of a key that must be there; empty after a problem. */
  public String requiredText(String key) {
    if (!has(key)) {
      problem(key, "is missing (expected: a line of text)");
      return "";
    }
    String text = text(key);
    return text == null ? "" : text;
  }

  /** A mapping; an empty one if it is not there. */
  public YamlMap map(String key) {
    YamlNode node = node(key);
    if (node == null || (node instanceof Scalar scalar && scalar.isNothing())) {
      return new YamlMap(problems, at(key), lineOf(key), unreadable);
    }
    return of(node, problems, at(key));
  }

  /** A list of mappings; empty if it is not there. */
  public List<YamlMap> maps(String key) {
    List<YamlMap> maps = new ArrayList<>();
    switch (node(key)) {
      case null -> {}
      case Sequence sequence -> {
        for (int i = 0; i < sequence.items().size(); i++) {
          maps.add(of(sequence.items().get(i), problems, at(key) + "[" + i + "]"));
        }
      }
      case Refused refused -> problem(key, refused.message());
      case Scalar _, Mapping _ -> problem(key, "is no list (expected: a list of KEY: VALUE lines)");
    }
    return maps;
  }

  /** A list of texts, each one line; empty if it is not there. */
  public List<String> texts(String key) {
    List<String> texts = new ArrayList<>();
    switch (node(key)) {
      case null -> {}
      case Sequence sequence -> {
        for (YamlNode item : sequence.items()) {
          if (item instanceof Scalar scalar
              && !scalar.text().isBlank()
              && !scalar.isNothing()
              && scalar.text().length() <= MAX_TEXT_CHARS
              && scalar.text().chars().noneMatch(Character::isISOControl)) {
            texts.add(scalar.text());
          } else {
            add(item.line(), at(key), "holds something else (expected: lines of text)");
          }
        }
      }
      case Refused refused -> problem(key, refused.message());
      case Scalar _, Mapping _ -> problem(key, "is no list (expected: a list of texts)");
    }
    return texts;
  }

  /** A switch. */
  public boolean enabled(String key, boolean otherwise) {
    String text = choice(key, Boolean.toString(otherwise), List.of("true", "false"));
    return text.equals("true");
  }

  private static boolean isWithin(long number, long least, long most) {
    return number >= least && number <= most;
  }

  /** A whole number between {@code least} and {@code most}, or {@code otherwise}. */
  public long count(String key, long otherwise, long least, long most) {
    return number(key, otherwise, least, most, Quantities::count, "a whole number", Long::toString);
  }

  /** A size in bytes between {@code least} and {@code most}, or {@code otherwise}. */
  public long bytes(String key, long otherwise, long least, long most) {
    return number(
        key,
        otherwise,
        least,
        most,
        Quantities::bytes,
        "a size in B, KiB, MiB, GiB or TiB, such as 4KiB",
        Quantities::bytesText);
  }

  /** A rate of bytes between {@code least} and {@code most}, or {@code otherwise}. */
  public long bytesPerSecond(String key, long otherwise, long least, long most) {
    return number(
        key,
        otherwise,
        least,
        most,
        Quantities::bytesPerSecond,
        "a rate in B/s, KiB/s, MiB/s, GiB/s or TiB/s, such as 200MiB/s",
        bytes -> Quantities.bytesText(bytes) + "/s");
  }

  /** A rate of operations between {@code least} and {@code most}, or {@code otherwise}. */
  public long operationsPerSecond(String key, long otherwise, long least, long most) {
    return number(
        key,
        otherwise,
        least,
        most,
        Quantities::operationsPerSecond,
        "a rate such as 5000/s",
        operations -> operations + "/s");
  }

  private long number(
      String key,
      long otherwise,
      long least,
      long most,
      Function<String, OptionalLong> parser,
      String expected,
      LongFunction<String> inUnits) {
    String text = scalar(key, expected);
    if (text == null) {
      return otherwise;
    }
    OptionalLong value = parser.apply(text);
    if (value.isEmpty()) {
      problem(key, shown(text) + " (expected: " + expected + ")");
    } else if (!isWithin(value.getAsLong(), least, most) && value.getAsLong() != otherwise) {
      problem(
          key,
          shown(text)
              + " (expected: "
              + inUnits.apply(least)
              + " to "
              + inUnits.apply(most)
              + (isWithin(otherwise, least, most) ? "" : ", or " + inUnits.apply(otherwise))
              + ")");
    } else {
      return value.getAsLong();
    }
    return otherwise;
  }

  /** A time between {@code least} and {@code most}. */
  public Duration duration(String key, Duration otherwise, Duration least, Duration most) {
    String expected = "a time in ms, s, m, h or d, such as 30s";
    String text = scalar(key, expected);
    if (text == null) {
      return otherwise;
    }
    Duration value = Quantities.duration(text);
    if (value == null) {
      problem(key, shown(text) + " (expected: " + expected + ")");
    } else if (value.compareTo(least) < 0 || value.compareTo(most) > 0) {
      problem(
          key,
          shown(text)
              + " (expected: "
              + Quantities.durationText(least)
              + " to "
              + Quantities.durationText(most)
              + ")");
    } else {
      return value;
    }
    return otherwise;
  }

  /** One word of a list of words. */
  public String choice(String key, String otherwise, List<String> choices) {
    String expected = String.join(choices.size() == 2 ? " or " : ", ", choices);
    String text = scalar(key, expected);
    if (text == null) {
      return otherwise;
    }
    if (!choices.contains(text)) {
      problem(key, shown(text) + " (expected: " + suggestion(text, choices, expected) + ")");
      return otherwise;
    }
    return text;
  }

  /** A value as it is shown in a message, which must have room for what is expected. */
  private static String shown(String value) {
    return value.length() <= MAX_SHOWN_CHARS ? value : value.substring(0, MAX_SHOWN_CHARS) + "...";
  }

  /** Makes a problem of every key that nobody asked for. */
  public void end() {
    for (String key : values.keySet()) {
      if (!asked.contains(key)) {
        String expected = asked.isEmpty() ? "nothing here" : String.join(", ", asked);
        add(
            lineOf(key),
            at(key),
            "is unknown (expected: " + suggestion(key, asked, expected) + ")");
      }
    }
  }

  /**
   * What to expect in place of {@code word}, for a message.
   *
   * @param expected what to say if none of the names is near
   */
  private static String suggestion(String word, Collection<String> names, String expected) {
    String nearest = nearest(word, names);
    if (nearest == null) {
      return expected;
    }
    // The guess says more than a long list, which would push it out of the message.
    return (expected.length() > MAX_LISTED_CHARS ? "a known word" : expected)
        + "; did you mean "
        + nearest
        + "?";
  }

  /** The name that is at most two edits away from {@code word}, and half of it, or null. */
  public static @Nullable String nearest(String word, Iterable<String> names) {
    String best = null;
    int bestDistance = Math.min(2, word.length() / 2) + 1;
    for (String name : names) {
      int distance = distance(word, name);
      if (distance < bestDistance) {
        bestDistance = distance;
        best = name;
      }
    }
    return best;
  }

  /** Levenshtein's distance, for words whose lengths are near; else 3. */
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
