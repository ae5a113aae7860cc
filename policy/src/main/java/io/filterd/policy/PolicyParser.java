package io.filterd.policy;

import io.filterd.policy.StoragePolicy.EncryptionRule;
import io.filterd.policy.StoragePolicy.FilterUse;
import io.filterd.policy.StoragePolicy.KekScope;
import io.filterd.policy.yaml.Problems;
import io.filterd.policy.yaml.Quantities;
import io.filterd.policy.yaml.YamlMap;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** Reads storage policies, whole: all problems at once. */
public final class PolicyParser {
  private static final long VERSION = 1;
  private static final Pattern NAME = Pattern.compile("[a-z0-9][a-z0-9-]{0,62}");
  private static final Duration SHORTEST_ROTATION = Duration.ofDays(1);
  private static final Duration LONGEST_ROTATION = Duration.ofDays(36_500);

  private record Placed(FilterDescription filter, FilterUse use) {}

  private PolicyParser() {}

  /**
   * Reads a policy.
   *
   * @param file its name, for the problems
   * @param catalog the filters it may name
   */
  public static PolicyResult parse(String file, String text, FilterCatalog catalog) {
    Problems problems = new Problems(file);
    YamlMap root = YamlMap.parse(text, problems);
    if (!problems.isEmpty() && root.keys().isEmpty()) {
      return new PolicyResult(Optional.empty(), problems.list());
    }
    version(root);
    String name = root.requiredText("name");
    if (root.has("name") && !name.isEmpty() && !NAME.matcher(name).matches()) {
      root.problem("name", name + " (expected: 1..63 lower case letters, digits and hyphens)");
    }
    String description = root.text("description");
    Optional<EncryptionRule> encryption = encryption(root);
    boolean allow = root.enabled("allowFiltersBeforeEncryption", false);
    List<FilterUse> filters = filters(root, catalog, encryption.isPresent() && !allow);
    Optional<Duration> rotation = rotation(root, encryption.isPresent());
    root.end();
    if (!problems.isEmpty()) {
      return new PolicyResult(Optional.empty(), problems.list());
    }
    return new PolicyResult(
        Optional.of(
            new StoragePolicy(
                name,
                description == null ? "" : description,
                filters,
                encryption,
                allow,
                rotation)),
        List.of());
  }

  private static void version(YamlMap root) {
    if (!root.has("version")) {
      root.problem("version", "is missing (expected: " + VERSION + ")");
      return;
    }
    long version = root.count("version", VERSION, 0, Integer.MAX_VALUE);
    if (version > VERSION) {
      root.problem("version", version + " is newer than this filterd (expected: " + VERSION + ")");
    } else if (version < VERSION) {
      root.problem("version", version + " is too old (expected: " + VERSION + ")");
    }
  }

  private static Optional<EncryptionRule> encryption(YamlMap root) {
    if (!root.has("encryption")) {
      return Optional.empty();
    }
    YamlMap rule = root.map("encryption");
    String cipher = rule.choice("cipher", "aes-256-xts", List.of("aes-256-xts"));
    long unitBytes = rule.bytes("unit", 4096, 0, Long.MAX_VALUE);
    if (unitBytes != 4096 && unitBytes != 512) {
      rule.problem("unit", unitBytes + " bytes (expected: 4KiB or 512B)");
      unitBytes = 4096;
    }
    String provider = rule.text("provider");
    String kek = rule.choice("kek", "per-vm", List.of("per-vm", "per-disk"));
    rule.end();
    return Optional.of(
        new EncryptionRule(
            cipher,
            (int) unitBytes,
            Optional.ofNullable(provider),
            kek.equals("per-vm") ? KekScope.PER_VM : KekScope.PER_DISK));
  }

  private static Optional<Duration> rotation(YamlMap root, boolean encrypted) {
    if (!root.has("rotation")) {
      return Optional.empty();
    }
    YamlMap ages = root.map("rotation");
    boolean given = ages.has("kek");
    Duration kek = ages.duration("kek", LONGEST_ROTATION, SHORTEST_ROTATION, LONGEST_ROTATION);
    ages.end();
    if (!encrypted) {
      root.problem("rotation", "has nothing to rotate (expected: an encryption rule)");
    }
    return given ? Optional.of(kek) : Optional.empty();
  }

  private static List<FilterUse> filters(
      YamlMap root, FilterCatalog catalog, boolean plaintextIsOurs) {
    YamlMap section = root.map("filters");
    List<Placed> placed = new ArrayList<>();
    Map<String, String> classes = new HashMap<>();
    for (String name : section.keys()) {
      Optional<FilterDescription> found = catalog.find(name);
      YamlMap settings = section.map(name);
      if (found.isEmpty()) {
        String nearest = YamlMap.nearest(name, catalog.names());
        section.problem(
            name,
            "there is no such filter ("
                + (nearest == null
                    ? "expected: one of " + String.join(", ", catalog.names())
                    : "did you mean " + nearest + "?")
                + ")");
        continue;
      }
      FilterDescription filter = found.get();
      String other = classes.putIfAbsent(filter.filterClass(), name);
      if (filter.filterClass().equals("ENCRYPTION")) {
        section.problem(name, "is switched on by the encryption rule (expected: encryption: ...)");
      } else if (other != null) {
        section.problem(
            name, "is of the same class as " + other + " (expected: one filter of a class)");
      }
      if (plaintextIsOurs && filter.seesPlaintext() && !filter.builtIn()) {
        section.problem(
            name,
            "would see plaintext (expected: allowFiltersBeforeEncryption: true, or no such filter)");
      }
      placed.add(new Placed(filter, new FilterUse(name, settings(settings, filter))));
    }
    return placed.stream()
        .sorted(Comparator.comparingInt(each -> each.filter().order()))
        .map(Placed::use)
        .toList();
  }

  private static Map<String, Object> settings(YamlMap section, FilterDescription filter) {
    Map<String, Object> settings = new HashMap<>();
    for (ParameterDescription parameter : filter.parameters()) {
      String name = parameter.name();
      if (!section.has(name) && parameter.defaultText() == null) {
        section.problem(name, "is missing");
        continue;
      }
      Object value = value(section, parameter);
      if (value != null) {
        settings.put(name, value);
      }
    }
    section.end();
    return settings;
  }

  private static @Nullable Object value(YamlMap section, ParameterDescription parameter) {
    String name = parameter.name();
    long least = parameter.minimum();
    long most = parameter.maximum();
    String otherwise = parameter.defaultText() == null ? "" : parameter.defaultText();
    return switch (parameter.type()) {
      case COUNT -> section.count(name, Quantities.count(otherwise).orElse(least), least, most);
      case BYTES -> section.bytes(name, Quantities.bytes(otherwise).orElse(least), least, most);
      case BYTES_PER_SECOND -> {
        OptionalLong rate = Quantities.bytesPerSecond(otherwise);
        yield section.bytesPerSecond(name, rate.orElse(least), least, most);
      }
      case OPERATIONS_PER_SECOND -> {
        OptionalLong rate = Quantities.operationsPerSecond(otherwise);
        yield section.operationsPerSecond(name, rate.orElse(least), least, most);
      }
      case DURATION -> {
        Duration time = Quantities.duration(otherwise);
        yield section.duration(
            name,
            time == null ? Duration.ofMillis(least) : time,
            Duration.ofMillis(least),
            Duration.ofMillis(most));
      }
      case SWITCH -> section.enabled(name, otherwise.equals("true"));
      case TEXT -> {
        String text = section.text(name);
        yield text == null ? otherwise : text;
      }
    };
  }
}
