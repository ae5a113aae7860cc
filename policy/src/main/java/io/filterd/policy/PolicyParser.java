package io.filterd.policy;

import io.filterd.policy.StoragePolicy.EncryptionRule;
import io.filterd.policy.StoragePolicy.FilterUse;
import io.filterd.policy.StoragePolicy.KekScope;
import io.filterd.policy.yaml.Problems;
import io.filterd.policy.yaml.YamlMap;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * Reads storage policies, whole: all problems at once.
 *
 * <pre>{@code
 * version: 1
 * name: encrypted             # 1..63 lower case letters, digits and hyphens
 * description: One line.      # optional
 * filters:                    # by name; run in the order of their classes
 *   inspection: {}
 *   qos: {operations: 5000/s, bandwidth: 200MiB/s, burst: 100ms}
 * encryption:                 # without it the disk is not encrypted
 *   cipher: aes-256-xts       # the only one, and the default
 *   unit: 4KiB                # or 512B
 *   provider: native          # a key provider; without it the host's default one
 *   kek: per-vm               # or per-disk, or per-tenant with the next line
 *   tenant: example           # only with per-tenant
 *   kekCache: 0s              # how long the key-encryption key is kept after it was fetched
 * allowFiltersBeforeEncryption: false
 * rotation: {kek: 365d, auto: true}  # only with encryption; auto: without a command
 * }</pre>
 */
public final class PolicyParser {
  private static final long VERSION = 1;
  private static final Pattern NAME = Pattern.compile("[a-z0-9][a-z0-9-]{0,62}");
  private static final Pattern PROVIDER = Pattern.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,62}");
  private static final int MAX_DESCRIPTION_CHARS = 200;
  private static final Duration SHORTEST_ROTATION = Duration.ofDays(1);
  private static final Duration LONGEST_ROTATION = Duration.ofDays(36_500);
  private static final Duration LONGEST_KEK_CACHE = Duration.ofDays(1);

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
    if (!isOfThisVersion(root)) {
      // What else is in a policy of another version can't be judged here.
      return new PolicyResult(Optional.empty(), problems.list());
    }
    String name = name(root);
    String description = description(root);
    Optional<EncryptionRule> encryption = encryption(root);
    boolean allow = root.enabled("allowFiltersBeforeEncryption", false);
    List<FilterUse> filters = filters(root, catalog, encryption.isPresent() && !allow);
    Rotation rotation = rotation(root, encryption.isPresent());
    root.end();
    if (!problems.isEmpty()) {
      return new PolicyResult(Optional.empty(), problems.list());
    }
    return new PolicyResult(
        Optional.of(
            new StoragePolicy(
                name, description, filters, encryption, allow, rotation.kek(), rotation.auto())),
        List.of());
  }

  private static boolean isOfThisVersion(YamlMap root) {
    if (!root.has("version")) {
      root.problem("version", "is missing (expected: " + VERSION + ")");
      return true;
    }
    long version = root.count("version", VERSION, 0, Integer.MAX_VALUE);
    if (version > VERSION) {
      root.problem("version", version + " is newer than this filterd (expected: " + VERSION + ")");
    } else if (version < VERSION) {
      root.problem("version", version + " is too old (expected: " + VERSION + ")");
    }
    return version == VERSION;
  }

  private static String name(YamlMap root) {
    String name = root.requiredText("name");
    if (!name.isEmpty() && !NAME.matcher(name).matches()) {
      root.problem("name", name + " (expected: 1..63 lower case letters, digits and hyphens)");
    }
    return name;
  }

  private static String description(YamlMap root) {
    String description = root.text("description");
    if (description == null) {
      return "";
    }
    if (description.length() > MAX_DESCRIPTION_CHARS) {
      root.problem(
          "description",
          description.length() + " characters (expected: at most " + MAX_DESCRIPTION_CHARS + ")");
    }
    return description;
  }

  private static Optional<EncryptionRule> encryption(YamlMap root) {
    if (!root.has("encryption")) {
      return Optional.empty();
    }
    YamlMap rule = root.map("encryption");
    String cipher = rule.choice("cipher", "aes-256-xts", List.of("aes-256-xts"));
    long unitBytes = rule.bytes("unit", 4096, 0, Long.MAX_VALUE);
    if (unitBytes != 4096 && unitBytes != 512) {
      rule.problem("unit", rule.text("unit") + " (expected: 4KiB or 512B)");
      unitBytes = 4096;
    }
    String provider = rule.text("provider");
    if (provider != null && !PROVIDER.matcher(provider).matches()) {
      rule.problem(
          "provider",
          provider + " (expected: 1..63 letters, digits, dots, hyphens and underscores)");
    }
    KekScope scope =
        switch (rule.choice("kek", "per-vm", List.of("per-vm", "per-disk", "per-tenant"))) {
          case "per-disk" -> KekScope.PER_DISK;
          case "per-tenant" -> KekScope.PER_TENANT;
          default -> KekScope.PER_VM;
        };
    Optional<String> tenant = tenant(rule, scope);
    Duration kekCache = rule.duration("kekCache", Duration.ZERO, Duration.ZERO, LONGEST_KEK_CACHE);
    rule.end();
    return Optional.of(
        new EncryptionRule(
            cipher, (int) unitBytes, Optional.ofNullable(provider), scope, tenant, kekCache));
  }

  private static Optional<String> tenant(YamlMap rule, KekScope scope) {
    String tenant = rule.text("tenant");
    boolean wanted = scope == KekScope.PER_TENANT;
    if (tenant == null) {
      if (wanted) {
        rule.problem("tenant", "is missing (expected: the tenant's name, with kek: per-tenant)");
      }
    } else if (!wanted) {
      rule.problem("tenant", tenant + " (expected: none without kek: per-tenant)");
    } else if (!PROVIDER.matcher(tenant).matches()) {
      rule.problem(
          "tenant", tenant + " (expected: 1..63 letters, digits, dots, hyphens and underscores)");
    }
    return Optional.ofNullable(tenant);
  }

  /** When keys are to be replaced, and whether that needs a command. */
  private record Rotation(Optional<Duration> kek, boolean auto) {}

  private static Rotation rotation(YamlMap root, boolean encrypted) {
    if (!root.has("rotation")) {
      return new Rotation(Optional.empty(), false);
    }
    YamlMap ages = root.map("rotation");
    boolean given = ages.has("kek");
    Duration kek = ages.duration("kek", LONGEST_ROTATION, SHORTEST_ROTATION, LONGEST_ROTATION);
    boolean auto = ages.enabled("auto", false);
    if (auto && !given) {
      ages.problem("auto", "true without an age (expected: kek, for example 365d)");
    }
    ages.end();
    if (!encrypted) {
      root.problem("rotation", "has nothing to rotate (expected: an encryption rule)");
    }
    return new Rotation(given ? Optional.of(kek) : Optional.empty(), auto);
  }

  private static List<FilterUse> filters(
      YamlMap root, FilterCatalog catalog, boolean plaintextIsOurs) {
    YamlMap section = root.map("filters");
    List<Placed> placed = new ArrayList<>();
    Map<String, String> classes = new HashMap<>();
    for (String name : section.keys()) {
      Optional<FilterDescription> found = catalog.find(name);
      if (found.isEmpty()) {
        section.problem(name, "is unknown (" + expected(name, catalog) + ")");
        continue;
      }
      FilterDescription filter = found.get();
      if (filter.filterClass().equals(FilterDescription.ENCRYPTION)) {
        section.problem(name, "is switched on by the encryption rule (expected: encryption: ...)");
        continue;
      }
      String other = classes.putIfAbsent(filter.filterClass(), name);
      if (other != null) {
        section.problem(
            name, "is of the same class as " + other + " (expected: one filter of a class)");
      }
      if (plaintextIsOurs && filter.seesPlaintext() && !filter.builtIn()) {
        section.problem(
            name,
            "would see plaintext (expected: allowFiltersBeforeEncryption: true, or no such filter)");
      }
      placed.add(new Placed(filter, new FilterUse(name, settings(section.map(name), filter))));
    }
    return placed.stream()
        .sorted(Comparator.comparingInt(each -> each.filter().order()))
        .map(Placed::use)
        .toList();
  }

  private static String expected(String name, FilterCatalog catalog) {
    String nearest = YamlMap.nearest(name, catalog.names());
    return "expected: "
        + String.join(", ", catalog.names())
        + (nearest == null ? "" : "; did you mean " + nearest + "?");
  }

  private static Map<String, Object> settings(YamlMap section, FilterDescription filter) {
    Map<String, Object> settings = new HashMap<>();
    for (ParameterDescription parameter : filter.parameters()) {
      Object value = value(section, parameter);
      if (value != null) {
        settings.put(parameter.name(), value);
      }
    }
    section.end();
    return settings;
  }

  /** The value of a parameter, given or by default; null after a problem. */
  private static @Nullable Object value(YamlMap section, ParameterDescription parameter) {
    String name = parameter.name();
    if (!section.has(name)) {
      Optional<Object> otherwise = parameter.defaultValue();
      if (otherwise.isEmpty()) {
        section.problem(name, "is missing (expected: a value, for there is no default)");
      }
      return otherwise.orElse(null);
    }
    long least = parameter.minimum();
    long most = parameter.maximum();
    long otherwise = parameter.defaultValue().orElse(least) instanceof Long number ? number : least;
    return switch (parameter.type()) {
      case COUNT -> section.count(name, otherwise, least, most);
      case BYTES -> section.bytes(name, otherwise, least, most);
      case BYTES_PER_SECOND -> section.bytesPerSecond(name, otherwise, least, most);
      case OPERATIONS_PER_SECOND -> section.operationsPerSecond(name, otherwise, least, most);
      case DURATION -> {
        Duration shortest = Duration.ofMillis(least);
        yield section.duration(name, shortest, shortest, Duration.ofMillis(most));
      }
      case SWITCH -> section.enabled(name, false);
      case TEXT -> section.text(name);
    };
  }
}
