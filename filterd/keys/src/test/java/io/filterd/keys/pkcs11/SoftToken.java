package io.filterd.keys.pkcs11;

import io.filterd.keys.OutsideTool;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.UUID;
import java.util.stream.Stream;

/**
 * A token of SoftHSM2 (Debian's softhsm2) in the folder that SOFTHSM2_CONF leads to, with another
 * eye on it: pkcs11-tool (Debian's opensc).
 */
final class SoftToken {
  static final String MODULE = "/usr/lib/softhsm/libsofthsm2.so";
  static final String PIN = "482915";

  private final String label = "t-" + UUID.randomUUID().toString().substring(0, 8);
  private final Path tokens;
  private final Path folder;
  private final Path pinFile;

  /** Makes one; its PIN file goes to {@code home}. */
  SoftToken(Path home) throws IOException, InterruptedException {
    Path configuration = Path.of(Objects.requireNonNull(System.getenv("SOFTHSM2_CONF")));
    this.tokens = configuration.resolveSibling("tokens");
    Files.createDirectories(tokens);
    Files.writeString(
        configuration,
        "directories.tokendir = " + tokens + "\nobjectstore.backend = file\nlog.level = ERROR\n");
    List<Path> before = folders();
    OutsideTool.run(
        "softhsm2-util",
        "--init-token",
        "--free",
        "--label",
        label,
        "--so-pin",
        "87654321",
        "--pin",
        PIN);
    List<Path> after = folders();
    after.removeAll(before);
    this.folder = after.getFirst();
    this.pinFile = home.resolve("pin");
    writePin(PIN);
  }

  private List<Path> folders() throws IOException {
    try (Stream<Path> all = Files.list(tokens)) {
      return new ArrayList<>(all.toList());
    }
  }

  String label() {
    return label;
  }

  /** Where SoftHSM keeps it: to be moved away and back. */
  Path folder() {
    return folder;
  }

  Path pinFile() {
    return pinFile;
  }

  void writePin(String pin) throws IOException {
    Files.deleteIfExists(pinFile);
    Files.writeString(pinFile, pin + "\n");
    Files.setPosixFilePermissions(pinFile, PosixFilePermissions.fromString("rw-------"));
  }

  Map<String, String> settings() {
    return Map.of("module", MODULE, "tokenLabel", label, "pinFile", pinFile.toString());
  }

  /** What pkcs11-tool says, logged in with {@code pin}. */
  String tool(String pin, String... arguments) throws IOException, InterruptedException {
    List<String> command =
        new ArrayList<>(
            List.of(
                "pkcs11-tool",
                "--module",
                MODULE,
                "--token-label",
                label,
                "--login",
                "--pin",
                pin));
    command.addAll(List.of(arguments));
    return OutsideTool.run(command.toArray(String[]::new));
  }
}
