package io.filterd.policy.yaml;

import io.filterd.policy.yaml.YamlNode.Entry;
import io.filterd.policy.yaml.YamlNode.Mapping;
import io.filterd.policy.yaml.YamlNode.Refused;
import io.filterd.policy.yaml.YamlNode.Scalar;
import io.filterd.policy.yaml.YamlNode.Sequence;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.snakeyaml.engine.v2.api.LoadSettings;
import org.snakeyaml.engine.v2.api.lowlevel.Parse;
import org.snakeyaml.engine.v2.events.AliasEvent;
import org.snakeyaml.engine.v2.events.CollectionStartEvent;
import org.snakeyaml.engine.v2.events.DocumentStartEvent;
import org.snakeyaml.engine.v2.events.Event;
import org.snakeyaml.engine.v2.events.MappingEndEvent;
import org.snakeyaml.engine.v2.events.MappingStartEvent;
import org.snakeyaml.engine.v2.events.NodeEvent;
import org.snakeyaml.engine.v2.events.ScalarEvent;
import org.snakeyaml.engine.v2.events.SequenceEndEvent;
import org.snakeyaml.engine.v2.events.StreamEndEvent;
import org.snakeyaml.engine.v2.exceptions.MarkedYamlEngineException;
import org.snakeyaml.engine.v2.exceptions.ReaderException;
import org.snakeyaml.engine.v2.exceptions.YamlEngineException;

/**
 * Makes a tree of a file's text. Built from the parser's events, not from its own tree, so that
 * depth and number are bounded before anything recurses, and anchors, aliases and tags are refused
 * wherever they stand.
 */
final class YamlParser {
  /** More text than this is no configuration. */
  static final int MAX_CHARS = 64 << 10;

  private static final int MAX_DEPTH = 12;
  private static final int MAX_NODES = 5000;

  private final Problems problems;
  private final Iterator<Event> events;
  private int nodes;

  /** The file is beyond a limit: nothing more is read. */
  private static final class Unreadable extends Exception {
    private static final long serialVersionUID = 1L;

    private final int line;

    Unreadable(int line, String message) {
      super(message);
      this.line = line;
    }
  }

  private YamlParser(Iterator<Event> events, Problems problems) {
    this.events = events;
    this.problems = problems;
  }

  /** The file's one document, or null after problems. */
  static @Nullable YamlNode parse(String text, Problems problems) {
    if (text.length() > MAX_CHARS) {
      problems.add(
          0, "", text.length() + " characters of text (expected: at most " + MAX_CHARS + ")");
      return null;
    }
    LoadSettings settings =
        LoadSettings.builder().setCodePointLimit(MAX_CHARS).setUseMarks(true).build();
    try {
      Iterator<Event> events = new Parse(settings).parseString(text).iterator();
      return new YamlParser(events, problems).document();
    } catch (Unreadable beyond) {
      problems.add(beyond.line, "", String.valueOf(beyond.getMessage()));
    } catch (MarkedYamlEngineException malformed) {
      int line = malformed.getProblemMark().map(mark -> mark.getLine() + 1).orElse(0);
      problems.add(line, "", "is not YAML: " + sentence(malformed));
    } catch (ReaderException malformed) {
      problems.add(
          lineAt(text, malformed.getPosition()),
          "",
          String.format("is not YAML: character U+%04X is not allowed", malformed.getCodePoint()));
    } catch (YamlEngineException malformed) {
      problems.add(0, "", "is not YAML: " + malformed.getMessage());
    }
    return null;
  }

  private static String sentence(MarkedYamlEngineException malformed) {
    @Nullable String context = malformed.getContext();
    return (context == null ? "" : context + ", ") + malformed.getProblem();
  }

  private static int lineAt(String text, int codePoints) {
    int line = 1;
    int at = 0;
    for (int seen = 0; seen < codePoints && at < text.length(); seen++) {
      int codePoint = text.codePointAt(at);
      line += codePoint == '\n' ? 1 : 0;
      at += Character.charCount(codePoint);
    }
    return line;
  }

  private @Nullable YamlNode document() throws Unreadable {
    YamlNode root = null;
    while (events.hasNext()) {
      Event event = events.next();
      if (event instanceof DocumentStartEvent) {
        if (root != null) {
          throw new Unreadable(line(event), "a second document starts (expected: one)");
        }
        root = node(events.next(), 0);
      } else if (event instanceof StreamEndEvent && root == null) {
        problems.add(0, "", "is empty (expected: KEY: VALUE lines)");
      }
    }
    return root;
  }

  private YamlNode node(Event event, int depth) throws Unreadable {
    int line = line(event);
    if (++nodes > MAX_NODES) {
      throw new Unreadable(line, "too many values (expected: at most " + MAX_NODES + ")");
    }
    if (depth > MAX_DEPTH) {
      throw new Unreadable(line, "too deep (expected: at most " + MAX_DEPTH + " levels)");
    }
    if (event instanceof AliasEvent) {
      return new Refused("is an alias (expected: the value itself)", line);
    }
    YamlNode node =
        switch (event) {
          case ScalarEvent scalar -> new Scalar(scalar.getValue(), scalar.isPlain(), line);
          case MappingStartEvent start -> mapping(line, depth);
          default -> sequence(line, depth);
        };
    if (event instanceof NodeEvent marked && marked.getAnchor().isPresent()) {
      return new Refused("has an anchor (expected: a value without &NAME)", line);
    }
    return isTagged(event)
        ? new Refused("has a tag (expected: a value without !NAME)", line)
        : node;
  }

  private static boolean isTagged(Event event) {
    return switch (event) {
      case ScalarEvent scalar -> scalar.getTag().isPresent();
      case CollectionStartEvent start -> start.getTag().isPresent();
      default -> false;
    };
  }

  private Mapping mapping(int line, int depth) throws Unreadable {
    List<Entry> entries = new ArrayList<>();
    Event event = events.next();
    while (!(event instanceof MappingEndEvent)) {
      YamlNode key = node(event, depth + 1);
      entries.add(new Entry(key, node(events.next(), depth + 1)));
      event = events.next();
    }
    return new Mapping(entries, line);
  }

  private Sequence sequence(int line, int depth) throws Unreadable {
    List<YamlNode> items = new ArrayList<>();
    Event event = events.next();
    while (!(event instanceof SequenceEndEvent)) {
      items.add(node(event, depth + 1));
      event = events.next();
    }
    return new Sequence(items, line);
  }

  private static int line(Event event) {
    return event.getStartMark().map(mark -> mark.getLine() + 1).orElse(0);
  }
}
