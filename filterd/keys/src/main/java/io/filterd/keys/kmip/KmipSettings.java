package io.filterd.keys.kmip;

import io.filterd.keys.KeyException;
import io.filterd.keys.KeyException.Reason;
import io.filterd.kmip.Attribute;
import io.filterd.kmip.KmipVersion;
import io.filterd.kmip.cert.Fingerprint;
import io.filterd.kmip.cert.FingerprintFile;
import io.filterd.kmip.cert.IdentityException;
import io.filterd.kmip.client.VersionRange;
import io.filterd.kmip.net.ServerAddress;
import io.filterd.kmip.net.ServerTrust;
import io.filterd.kmip.net.Timeouts;
import java.io.IOException;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * What the configuration says of a KMIP provider.
 *
 * @param servers the cluster, in the order in which its servers are tried
 * @param folder the client's certificate ({@link io.filterd.kmip.cert.IdentityFolder}), and the
 *     fingerprints of servers that an operator has trusted
 * @param serverCa the authority of the servers' certificates; empty if they are pinned
 * @param protocols TLS versions
 * @param suites cipher suites; empty for the JDK's
 * @param timeouts of each step
 * @param versions of KMIP
 * @param readBack on how many servers a new key is read before it is used first; at least 1, and
 *     never more than there are
 * @param labels whether the KMS is told what a key is for
 * @param attributes what some servers want of a new key, so that other clients may read it
 * @param user a user's name and the file of the password, for servers that ask for them
 */
record KmipSettings(
    List<ServerAddress> servers,
    Path folder,
    @Nullable Path serverCa,
    List<String> protocols,
    List<String> suites,
    Timeouts timeouts,
    VersionRange versions,
    int readBack,
    boolean labels,
    List<Attribute> attributes,
    @Nullable User user) {
  private static final int MAX_SERVERS = 16;
  private static final Pattern SEPARATORS = Pattern.compile("[\\s,]+");
  private static final Pattern DURATION = Pattern.compile("([1-9][0-9]{0,6})(ms|s|m)");
  private static final Set<String> KNOWN =
      new TreeSet<>(
          Set.of(
              "servers",
              "folder",
              "serverCaFile",
              "protocols",
              "cipherSuites",
              "connectTimeout",
              "handshakeTimeout",
              "answerTimeout",
              "versions",
              "readBack",
              "labels",
              "objectGroup",
              "operationPolicyName",
              "user",
              "passwordFile"));

  /** The file of trusted servers in the folder. */
  static final String TRUSTED = "trusted-servers";

  /** Whom a server knows by a password, beside the certificate. */
  record User(String name, Path passwordFile) {}

  KmipSettings {
    attributes = List.copyOf(attributes);
    servers = List.copyOf(servers);
    protocols = List.copyOf(protocols);
    suites = List.copyOf(suites);
  }

  /**
   * Reads the settings of the provider of this name.
   *
   * @throws KeyException with {@code PROTOCOL} for a setting that is missing, unknown or wrong
   */
  static KmipSettings of(String name, Map<String, String> settings) throws KeyException {
    for (String key : settings.keySet()) {
      if (!KNOWN.contains(key)) {
        throw bad(name, key, "unknown (expected: one of " + String.join(", ", KNOWN) + ")");
      }
    }
    List<ServerAddress> servers =
        parsed(
            name,
            "servers",
            settings.getOrDefault("servers", ""),
            text -> words(text).map(ServerAddress::parse).toList());
    if (servers.isEmpty()
        || servers.size() > MAX_SERVERS
        || servers.size() != Set.copyOf(servers).size()) {
      throw bad(
          name,
          "servers",
          servers.size() + " servers (expected: 1.." + MAX_SERVERS + ", each once)");
    }
    String ca = settings.getOrDefault("serverCaFile", "");
    Timeouts usual = Timeouts.defaults();
    Timeouts timeouts =
        parsed(
            name,
            "timeouts",
            "",
            none ->
                new Timeouts(
                    duration(settings, "connectTimeout", usual.connect()),
                    duration(settings, "handshakeTimeout", usual.handshake()),
                    duration(settings, "answerTimeout", usual.answer())));
    return new KmipSettings(
        servers,
        path(name, "folder", settings.getOrDefault("folder", "")),
        ca.isEmpty() ? null : path(name, "serverCaFile", ca),
        words(settings.getOrDefault("protocols", "TLSv1.3, TLSv1.2")).toList(),
        words(settings.getOrDefault("cipherSuites", "")).toList(),
        timeouts,
        parsed(name, "versions", settings.getOrDefault("versions", ""), KmipSettings::versions),
        readBack(name, settings.getOrDefault("readBack", "all"), servers.size()),
        flag(name, "labels", settings.getOrDefault("labels", "true")),
        attributes(settings),
        user(name, settings.getOrDefault("user", ""), settings.getOrDefault("passwordFile", "")));
  }

  private static List<Attribute> attributes(Map<String, String> settings) {
    List<Attribute> attributes = new ArrayList<>();
    String group = settings.getOrDefault("objectGroup", "");
    if (!group.isEmpty()) {
      attributes.add(Attribute.objectGroup(group));
    }
    String policy = settings.getOrDefault("operationPolicyName", "");
    if (!policy.isEmpty()) {
      attributes.add(Attribute.operationPolicyName(policy));
    }
    return attributes;
  }

  private static @Nullable User user(String name, String user, String passwordFile)
      throws KeyException {
    if (user.isEmpty() != passwordFile.isEmpty()) {
      throw bad(name, user.isEmpty() ? "user" : "passwordFile", "missing (expected: both or none)");
    }
    return user.isEmpty() ? null : new User(user, path(name, "passwordFile", passwordFile));
  }

  private static VersionRange versions(String text) {
    if (text.isEmpty()) {
      return VersionRange.defaults();
    }
    String[] ends = text.split("-", 2);
    return new VersionRange(version(ends[0]), version(ends[ends.length - 1]));
  }

  private static KmipVersion version(String text) {
    String digits = text.strip();
    if (!digits.matches("[0-9]\\.[0-9]")) {
      throw new IllegalArgumentException("no version (expected: such as 1.4, or 1.1-2.1)");
    }
    return new KmipVersion(digits.charAt(0) - '0', digits.charAt(2) - '0');
  }

  /**
   * Why the servers' certificates are believed: the authority's file, or the fingerprints that an
   * operator has trusted.
   */
  ServerTrust trust(String name) throws KeyException {
    if (serverCa != null) {
      return new ServerTrust.SignedBy(serverCa);
    }
    Set<Fingerprint> trusted = trusted();
    if (trusted.isEmpty()) {
      throw new KeyException(
          Reason.DENIED,
          "key provider %s trusts no server yet: look at their fingerprints with `filterd provider trust %s`, or set serverCaFile"
              .formatted(name, name));
    }
    return new ServerTrust.Pinned(trusted);
  }

  /** The fingerprints that an operator has trusted. */
  Set<Fingerprint> trusted() throws KeyException {
    try {
      return trustedServers().read();
    } catch (IdentityException wrong) {
      throw new KeyException(Reason.PROTOCOL, String.valueOf(wrong.getMessage()), wrong);
    } catch (IOException unreadable) {
      throw new KeyException(
          Reason.UNAVAILABLE,
          folder.resolve(TRUSTED) + ": can't be read: " + unreadable,
          unreadable);
    }
  }

  /** The file that they are in. */
  FingerprintFile trustedServers() {
    return new FingerprintFile(folder.resolve(TRUSTED));
  }

  private static Stream<String> words(String text) {
    return SEPARATORS.splitAsStream(text).filter(word -> !word.isEmpty());
  }

  private static Path path(String name, String setting, String text) throws KeyException {
    if (text.isEmpty()) {
      throw bad(name, setting, "missing (expected: a file's name)");
    }
    try {
      return Path.of(text);
    } catch (InvalidPathException invalid) {
      throw bad(name, setting, "no file's name: " + invalid.getReason());
    }
  }

  private static int readBack(String name, String text, int servers) throws KeyException {
    if (text.equals("all")) {
      return servers;
    }
    if (text.matches("[1-9][0-9]?") && Integer.parseInt(text) <= servers) {
      return Integer.parseInt(text);
    }
    throw bad(name, "readBack", "not so many (expected: all, or 1.." + servers + ")");
  }

  private static boolean flag(String name, String setting, String text) throws KeyException {
    return switch (text) {
      case "true" -> true;
      case "false" -> false;
      default -> throw bad(name, setting, "neither true nor false");
    };
  }

  private static Duration duration(Map<String, String> settings, String key, Duration usual) {
    String text = settings.get(key);
    if (text == null) {
      return usual;
    }
    Matcher parts = DURATION.matcher(text);
    if (!parts.matches()) {
      throw new IllegalArgumentException(
          key + ": no such time (expected: such as 500ms, 5s or 1m)");
    }
    long count = Long.parseLong(parts.group(1));
    return switch (parts.group(2)) {
      case "ms" -> Duration.ofMillis(count);
      case "s" -> Duration.ofSeconds(count);
      default -> Duration.ofMinutes(count);
    };
  }

  private static <T> T parsed(String name, String setting, String text, Function<String, T> parser)
      throws KeyException {
    try {
      return parser.apply(text);
    } catch (IllegalArgumentException wrong) {
      throw bad(name, setting, String.valueOf(wrong.getMessage()));
    }
  }

  private static KeyException bad(String name, String setting, String problem) {
    return new KeyException(
        Reason.PROTOCOL, "key provider %s: setting %s: %s".formatted(name, setting, problem));
  }
}
