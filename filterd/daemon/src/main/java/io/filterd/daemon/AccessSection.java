package io.filterd.daemon;

import io.filterd.daemon.AccessRule.Allow;
import io.filterd.daemon.AccessRule.Who;
import io.filterd.policy.yaml.YamlMap;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import javax.security.auth.x500.X500Principal;
import org.jspecify.annotations.Nullable;

/** Reads the rules of who may use which export. */
final class AccessSection {
  private static final List<String> WHO =
      List.of("tlsSubject", "pskIdentity", "unixUser", "anyone");
  private static final Pattern UID = Pattern.compile("\\d{1,10}");
  private static final Path USERS = Path.of("/etc/passwd");

  private AccessSection() {}

  /** The rules of {@code access:}, or null if it is not there. */
  static @Nullable AccessRules read(YamlMap nbd, Path file) {
    if (!nbd.has("access")) {
      return null;
    }
    List<AccessRule> rules = new ArrayList<>();
    for (YamlMap each : nbd.maps("access")) {
      Who who = who(each);
      List<String> exports = each.has("exports") ? each.texts("exports") : List.of("*");
      if (!each.has("allow")) {
        each.problem("allow", "is missing (expected: read-write, read-only or none)");
      }
      Allow allow =
          switch (each.choice("allow", "none", List.of("read-write", "read-only", "none"))) {
            case "read-write" -> Allow.READ_WRITE;
            case "read-only" -> Allow.READ_ONLY;
            default -> Allow.NONE;
          };
      if (who != null) {
        rules.add(new AccessRule(who, exports, allow));
      }
      each.end();
    }
    return new AccessRules(file, rules);
  }

  private static @Nullable Who who(YamlMap map) {
    List<String> said = WHO.stream().filter(map::has).toList();
    if (said.size() != 1) {
      map.problem(
          "", "names " + said.size() + " (expected: one of " + String.join(", ", WHO) + ")");
      said.forEach(map::text);
      return null;
    }
    String kind = said.getFirst();
    String text = map.requiredText(kind);
    if (text.isEmpty()) {
      return null;
    }
    return switch (kind) {
      case "tlsSubject" -> subject(map, text);
      case "pskIdentity" -> new AccessRule.PskIdentity(text);
      case "unixUser" -> user(map, text);
      default -> {
        if (!text.equals("true")) {
          map.problem("anyone", text + " (expected: true)");
        }
        yield new AccessRule.Anyone();
      }
    };
  }

  /** Without a pattern in it, a name may be written in every way that means the same. */
  private static @Nullable Who subject(YamlMap map, String text) {
    if (text.contains("*") || text.contains("?")) {
      return new AccessRule.TlsSubject(text);
    }
    try {
      return new AccessRule.TlsSubject(new X500Principal(text).getName());
    } catch (IllegalArgumentException noName) {
      map.problem("tlsSubject", text + " (expected: a name such as CN=host1,O=Example, or CN=*)");
      return null;
    }
  }

  private static @Nullable Who user(YamlMap map, String text) {
    OptionalInt uid;
    if (UID.matcher(text).matches()) {
      long number = Long.parseLong(text);
      uid = number >>> Integer.SIZE == 0 ? OptionalInt.of((int) number) : OptionalInt.empty();
    } else {
      uid = uid(text);
    }
    if (uid.isEmpty()) {
      map.problem("unixUser", text + " (expected: a user of " + USERS + ", or a user's number)");
      return null;
    }
    return new AccessRule.UnixUser(uid.getAsInt());
  }

  private static OptionalInt uid(String name) {
    try (Stream<String> lines = Files.lines(USERS, StandardCharsets.ISO_8859_1)) {
      return lines
          .map(line -> line.split(":", -1))
          .filter(
              fields ->
                  fields.length > 2 && fields[0].equals(name) && UID.matcher(fields[2]).matches())
          .mapToInt(fields -> (int) Long.parseLong(fields[2]))
          .findFirst();
    } catch (IOException unreadable) {
      return OptionalInt.empty();
    }
  }
}
