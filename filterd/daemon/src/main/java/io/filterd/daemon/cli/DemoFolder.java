package io.filterd.daemon.cli;

import io.filterd.daemon.DaemonConfig;
import io.filterd.daemon.Host;
import io.filterd.daemon.control.Operation;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.Progress;
import io.filterd.daemon.control.Requests;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.SecureRandom;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.stream.Stream;

/** A folder with all that a daemon needs: configuration, passphrase, key provider, disks. */
final class DemoFolder {
  private DemoFolder() {}

  /**
   * Writes the configuration, and the passphrase where it is not there yet.
   *
   * @param listen where to serve NBD, as the configuration says it
   */
  static DaemonConfig prepare(Path folder, String listen) throws OperationException, IOException {
    Path passphrase = folder.resolve("native.passphrase");
    if (!Files.exists(passphrase)) {
      byte[] random = new byte[24];
      new SecureRandom().nextBytes(random);
      Files.createFile(
          passphrase,
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
      Files.writeString(
          passphrase, HexFormat.of().formatHex(random) + "\n", StandardOpenOption.WRITE);
    }
    Path config = folder.resolve("filterd.yaml");
    Files.writeString(
        config,
        """
        version: 1
        state: .
        policies: %s
        control: {socket: control.sock}
        nbd: {listen: %s}
        keys:
          providers:
            native: {type: native, backup: waived}
        """
            .formatted(policies(), listen),
        StandardCharsets.UTF_8);
    return DaemonConfig.load(config);
  }

  private static String policies() {
    String home = System.getenv("FILTERD_HOME");
    return Path.of(home == null ? "." : home, "conf", "policies").toAbsolutePath().toString();
  }

  /** Makes the key provider, where it is not there yet. */
  static void makeProvider(DaemonConfig config) throws OperationException {
    if (!Files.exists(config.state().resolve("native.provider"))) {
      try (Host host = Host.openOffline(config)) {
        host.call(Operation.PROVIDER_INIT, new Requests.Provider(null), Progress.NONE);
      }
    }
  }

  /** Makes an encrypted thin disk, and the key provider for it. */
  static void makeDisk(DaemonConfig config, String name, long sizeBytes) throws OperationException {
    makeProvider(config);
    try (Host host = Host.openOffline(config)) {
      host.call(
          Operation.DISK_CREATE,
          new Requests.CreateDisk(name, sizeBytes, "encrypted", null, true),
          Progress.NONE);
    }
  }

  /** Removes the folder with all in it. */
  static void remove(Path folder) throws IOException {
    try (Stream<Path> files = Files.walk(folder)) {
      files
          .sorted(Comparator.reverseOrder())
          .forEach(
              file -> {
                try {
                  Files.delete(file);
                } catch (IOException failure) {
                  throw new UncheckedIOException(failure);
                }
              });
    } catch (UncheckedIOException failure) {
      throw failure.getCause();
    }
  }
}
