package io.filterd.daemon;

import io.filterd.crypto.XtsEngines;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.OperationException.Code;
import io.filterd.nbd.Listener;
import io.filterd.nbd.NbdServerConfig;
import io.filterd.nbd.NbdServerConfig.Transport;
import io.filterd.nbd.Tls;
import io.filterd.policy.yaml.Problem;
import io.filterd.policy.yaml.Problems;
import io.filterd.policy.yaml.YamlMap;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
import java.time.Duration;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The daemon's configuration: one YAML file. Relative paths in it start at its folder, those of key
 * providers at the state folder.
 *
 * @param state the folder of the inventory and the providers' files
 * @param disks the folder where new disks go
 * @param policies the folder of storage policies
 * @param control how commands reach the daemon
 * @param nbd where disks are served
 * @param access who may use which of them; null if everybody who gets there may use all
 * @param keys where keys come from
 * @param engine the XTS engine: {@code auto} or a name
 */
public record DaemonConfig(
    Path state,
    Path disks,
    Path policies,
    Control control,
    NbdServerConfig nbd,
    @Nullable AccessRules access,
    Keys keys,
    String engine) {
  private static final int MAX_FILE_BYTES = 256 << 10;

  /** The keys that may stand at a listener, for its clients only. */
  private static final Set<String> LIMITS =
      Set.of(
          "maxConnections",
          "handshakeTimeout",
          "idleTimeout",
          "maxOptions",
          "maxRequestsInFlight",
          "maxBytesInFlight");

  private static final List<String> TLS_MODES = List.of("off", "on", "require");

  private static final Pattern MODE = Pattern.compile("0?[0-7]{3}");
  private static final Set<PosixFilePermission> OWNER_ONLY =
      Set.of(PosixFilePermission.OWNER_READ, PosixFilePermission.OWNER_WRITE);

  /**
   * How commands reach the daemon.
   *
   * @param socket the Unix socket
   * @param mode its permissions: who may open it may do everything
   */
  public record Control(Path socket, Set<PosixFilePermission> mode) {}

  /**
   * Where keys come from.
   *
   * @param defaultProvider the provider of policies that name none
   * @param cacheEntries data keys held at once: the most encrypted disks attached
   * @param providers by name
   */
  public record Keys(String defaultProvider, int cacheEntries, Map<String, Provider> providers) {}

  /**
   * A key provider.
   *
   * @param type its type
   * @param settings its own settings
   */
  public record Provider(String type, Map<String, String> settings) {}

  /** Reads a configuration. */
  public static DaemonConfig load(Path file) throws OperationException {
    String text;
    try {
      if (Files.size(file) > MAX_FILE_BYTES) {
        throw new OperationException(Code.INVALID, file + ": too large for a configuration");
      }
      text = Files.readString(file, StandardCharsets.UTF_8);
    } catch (NoSuchFileException missing) {
      throw new OperationException(
          Code.INVALID, "no configuration at " + file + ": name one with -c", missing);
    } catch (IOException failure) {
      throw new OperationException(
          Code.INVALID, "can't read the configuration: " + failure.getMessage(), failure);
    }
    Problems problems = new Problems(file.toString());
    DaemonConfig config = parse(YamlMap.parse(text, problems), file.toAbsolutePath());
    if (!problems.isEmpty()) {
      throw new OperationException(
          Code.INVALID,
          "the configuration has " + problems.list().size() + " problem(s):",
          problems.list().stream().map(Problem::toString).toList());
    }
    return config;
  }

  private static DaemonConfig parse(YamlMap root, Path file) {
    Path folder = file.resolveSibling("");
    long version = root.count("version", 0, 0, Integer.MAX_VALUE);
    if (version != 1) {
      root.problem("version", (root.has("version") ? version : "none") + " (expected: 1)");
    }
    Path state = path(root, "state", folder, "/var/lib/filterd");
    Path disks = path(root, "disks", folder, state.resolve("disks").toString());
    Path policies = path(root, "policies", folder, "policies");
    YamlMap control = root.map("control");
    Control controlConfig =
        new Control(
            path(control, "socket", folder, "/run/filterd/control.sock"), mode(control, "mode"));
    control.end();
    YamlMap served = root.map("nbd");
    AccessRules access = AccessSection.read(served, file);
    NbdServerConfig nbd = nbd(served, folder);
    Keys keys = keys(root.map("keys"), state);
    YamlMap crypto = root.map("crypto");
    String engine = crypto.text("engine");
    if (engine != null && !engine.equals(XtsEngines.AUTO) && !XtsEngines.names().contains(engine)) {
      crypto.problem(
          "engine",
          engine + " (expected: auto or one of " + String.join(", ", XtsEngines.names()) + ")");
    }
    crypto.end();
    root.end();
    return new DaemonConfig(
        state,
        disks,
        policies,
        controlConfig,
        nbd,
        access,
        keys,
        engine == null ? XtsEngines.AUTO : engine);
  }

  private static Path path(YamlMap map, String key, Path folder, String otherwise) {
    String text = map.text(key);
    return folder.resolve(text == null ? otherwise : text).normalize();
  }

  private static Set<PosixFilePermission> mode(YamlMap map, String key) {
    String text = map.text(key);
    if (text == null) {
      return OWNER_ONLY;
    }
    if (!MODE.matcher(text).matches()) {
      map.problem(key, text + " (expected: an octal mode such as \"0660\")");
      return OWNER_ONLY;
    }
    int bits = Integer.parseInt(text, 8);
    Set<PosixFilePermission> mode = EnumSet.noneOf(PosixFilePermission.class);
    PosixFilePermission[] all = PosixFilePermission.values();
    for (int i = 0; i < all.length; i++) {
      if ((bits & (1 << (all.length - 1 - i))) != 0) {
        mode.add(all[i]);
      }
    }
    return mode;
  }

  private static NbdServerConfig nbd(YamlMap map, Path folder) {
    NbdServerConfig defaults = NbdServerConfig.on(List.of());
    int maxPayloadBytes =
        (int)
            map.bytes(
                "maxPayloadBytes",
                defaults.maxPayloadBytes(),
                NbdServerConfig.LEAST_PAYLOAD_BYTES,
                256 << 20);
    Listener.Limits limits =
        limits(
            map,
            defaults.limits(),
            Math.max(defaults.maxBytesInFlight(), maxPayloadBytes),
            1 << 30);
    long maxTotalBytesInFlight =
        map.bytes(
            "maxTotalBytesInFlight",
            Math.max(defaults.maxTotalBytesInFlight(), limits.maxBytesInFlight()),
            limits.maxBytesInFlight(),
            1L << 36);
    Tls tls = map.has("tls") ? tls(map.map("tls"), folder) : null;
    List<Listener> listen = new ArrayList<>();
    for (YamlMap each : map.maps("listen")) {
      Listener.Place place = place(each, folder);
      if (place != null) {
        boolean own = LIMITS.stream().anyMatch(each::has);
        int most = (int) Math.min(maxTotalBytesInFlight, 1 << 30);
        Listener.Limits ofIts = limits(each, limits, limits.maxBytesInFlight(), most);
        listen.add(new Listener(place, own ? ofIts : null, tlsMode(each, tls)));
      }
      each.end();
    }
    if (listen.isEmpty() && !map.has("listen")) {
      listen.add(Listener.on(new InetSocketAddress(InetAddress.getLoopbackAddress(), 10809)));
    }
    NbdServerConfig config =
        new NbdServerConfig(
            listen,
            switch (map.choice("transport", "auto", List.of("auto", "epoll", "io_uring", "nio"))) {
              case "epoll" -> Transport.EPOLL;
              case "io_uring" -> Transport.IO_URING;
              case "nio" -> Transport.NIO;
              default -> Transport.AUTO;
            },
            mode(map, "unixMode"),
            limits.maxConnections(),
            limits.handshakeTimeout(),
            limits.idleTimeout(),
            map.duration(
                "stallTimeout",
                defaults.stallTimeout(),
                Duration.ofSeconds(1),
                Duration.ofHours(1)),
            map.duration(
                "drainTimeout",
                defaults.drainTimeout(),
                Duration.ofSeconds(1),
                Duration.ofMinutes(10)),
            limits.maxOptions(),
            (int) map.bytes("maxOptionBytes", defaults.maxOptionBytes(), 16 << 10, 1 << 20),
            maxPayloadBytes,
            limits.maxRequestsInFlight(),
            limits.maxBytesInFlight(),
            maxTotalBytesInFlight,
            (int) map.count("maxClientLogLines", defaults.maxClientLogLines(), 1, 100_000),
            (int) map.bytes("inlineBytes", defaults.inlineBytes(), 0, 1 << 20),
            (int) map.count("workers", defaults.workers(), 2, 1024),
            tls);
    map.end();
    return config;
  }

  /** The limits that a listener may have of its own. */
  private static Listener.Limits limits(
      YamlMap map, Listener.Limits defaults, int bytes, int mostBytes) {
    return new Listener.Limits(
        (int) map.count("maxConnections", defaults.maxConnections(), 1, 100_000),
        map.duration(
            "handshakeTimeout",
            defaults.handshakeTimeout(),
            Duration.ofSeconds(1),
            Duration.ofMinutes(10)),
        map.duration("idleTimeout", defaults.idleTimeout(), Duration.ZERO, Duration.ofDays(7)),
        (int) map.count("maxOptions", defaults.maxOptions(), 4, 10_000),
        (int) map.count("maxRequestsInFlight", defaults.maxRequestsInFlight(), 1, 4096),
        (int) map.bytes("maxBytesInFlight", bytes, NbdServerConfig.LEAST_PAYLOAD_BYTES, mostBytes));
  }

  private static Tls tls(YamlMap map, Path folder) {
    String mode = map.choice("mode", "require", TLS_MODES);
    Tls.Credentials credentials;
    if (map.has("psk") && !map.has("certificate")) {
      credentials = new Tls.PreSharedKeys(path(map, "psk", folder, ""));
    } else {
      if (map.has("psk")) {
        map.problem("psk", "stands beside certificate (expected: one of them)");
        map.text("psk");
      }
      map.requiredText("certificate");
      map.requiredText("key");
      credentials =
          new Tls.Certificates(
              path(map, "certificate", folder, ""),
              path(map, "key", folder, ""),
              map.has("clientCa") ? path(map, "clientCa", folder, "") : null);
    }
    map.end();
    return new Tls(tlsMode(mode), credentials);
  }

  private static Tls.Mode tlsMode(String name) {
    return switch (name) {
      case "off" -> Tls.Mode.OFF;
      case "on" -> Tls.Mode.ON;
      default -> Tls.Mode.REQUIRE;
    };
  }

  /** A listener's own TLS mode, or null. */
  private static Tls.@Nullable Mode tlsMode(YamlMap map, @Nullable Tls tls) {
    if (!map.has("tls")) {
      return null;
    }
    String mode = map.choice("tls", "off", TLS_MODES);
    if (tls == null && !mode.equals("off")) {
      map.problem("tls", mode + " (expected: off, or certificates or keys in nbd.tls)");
      return null;
    }
    return tlsMode(mode);
  }

  private static Listener.@Nullable Place place(YamlMap map, Path folder) {
    String tcp = map.text("tcp");
    String unix = map.text("unix");
    String systemd = map.text("systemd");
    if (Stream.of(tcp, unix, systemd).filter(Objects::nonNull).count() != 1) {
      map.problem("", "expected: one of tcp: HOST:PORT, unix: PATH, or systemd: NAME");
      return null;
    }
    if (unix != null) {
      return unix(map, unix, folder);
    }
    if (systemd != null) {
      return new Listener.Systemd(systemd.equals("true") ? "" : systemd);
    }
    return tcp == null ? null : tcp(map, tcp);
  }

  private static Listener.@Nullable Place unix(YamlMap map, String unix, Path folder) {
    boolean named = unix.startsWith("@");
    Path path = folder.resolve(unix).normalize();
    String name = named ? unix.substring(1) : path.toString();
    int bytes = name.getBytes(StandardCharsets.UTF_8).length;
    // The kernel's limit for the name of a socket.
    if (bytes < 1 || bytes > 107) {
      map.problem("unix", name + " (expected: 1 to 107 bytes)");
      return null;
    }
    return named
        ? new Listener.AbstractUnix(name)
        : new Listener.Unix(
            path, map.has("mode") ? mode(map, "mode") : null, map.text("owner"), map.text("group"));
  }

  @SuppressWarnings(
      "AddressSelection") // An address of this host, which has one or is a name for it.
  private static Listener.@Nullable Place tcp(YamlMap map, String tcp) {
    int colon = tcp.lastIndexOf(':');
    try {
      if (colon > 0) {
        String host = tcp.substring(0, colon).replaceAll("^\\[|\\]$", "");
        InetAddress[] found = InetAddress.getAllByName(host);
        return new Listener.Tcp(
            new InetSocketAddress(found[0], Integer.parseInt(tcp.substring(colon + 1))));
      }
    } catch (IllegalArgumentException | UnknownHostException notAnAddress) {
      // Told below, with the form that is expected.
    }
    map.problem("tcp", tcp + " (expected: HOST:PORT, for example 127.0.0.1:10809)");
    return null;
  }

  /**
   * Takes a provider's own settings, which its kind checks when it is opened. Those whose names end
   * in File are names of files.
   */
  private static void takeOthers(YamlMap settings, Path state, Map<String, String> values) {
    for (String key : settings.keys()) {
      if (!key.equals("type") && !values.containsKey(key)) {
        String text = settings.requiredText(key);
        values.put(key, key.endsWith("File") ? state.resolve(text).toString() : text);
      }
    }
  }

  private static Keys keys(YamlMap map, Path state) {
    Map<String, Provider> providers = new LinkedHashMap<>();
    YamlMap section = map.map("providers");
    for (String name : section.keys()) {
      YamlMap settings = section.map(name);
      String type = settings.has("type") ? settings.requiredText("type") : "native";
      Map<String, String> values = new LinkedHashMap<>();
      if (type.equals("native")) {
        values.put("stateFile", path(settings, "stateFile", state, name + ".provider").toString());
        values.put(
            "passphraseFile",
            path(settings, "passphraseFile", state, name + ".passphrase").toString());
        values.put("backup", settings.choice("backup", "required", List.of("required", "waived")));
      }
      if (type.equals("kmip")) {
        values.put("servers", String.join(" ", settings.texts("servers")));
        values.put("folder", path(settings, "folder", state, name + ".kmip").toString());
      }
      takeOthers(settings, state, values);
      settings.end();
      providers.put(name, new Provider(type, values));
    }
    section.end();
    if (!map.has("providers")) {
      providers.put(
          "native",
          new Provider(
              "native",
              Map.of(
                  "stateFile", state.resolve("native.provider").toString(),
                  "passphraseFile", state.resolve("native.passphrase").toString(),
                  "backup", "required")));
    }
    String named = map.text("default");
    String first = providers.isEmpty() ? "" : providers.keySet().iterator().next();
    String chosen = named == null ? first : named;
    if (!providers.containsKey(chosen)) {
      map.problem(
          "default", chosen + " (expected: one of " + String.join(", ", providers.keySet()) + ")");
    }
    int entries = (int) map.count("cacheEntries", 1024, 1, 1 << 20);
    map.end();
    return new Keys(chosen, entries, providers);
  }
}
