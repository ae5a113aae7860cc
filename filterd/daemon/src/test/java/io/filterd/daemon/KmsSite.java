package io.filterd.daemon;

import io.filterd.daemon.control.ControlClient;
import io.filterd.daemon.control.Operation;
import io.filterd.daemon.control.OperationException;
import io.filterd.daemon.control.Progress;
import io.filterd.daemon.control.Requests;
import io.filterd.daemon.control.Results;
import io.filterd.keys.ExportingProvider;
import io.filterd.keys.KeyEncryptionKey;
import io.filterd.keys.KeyException;
import io.filterd.keys.KeyProviders;
import io.filterd.keys.KeyReference;
import io.filterd.kmip.cert.IdentityFolder;
import io.filterd.kmip.server.PyKmipServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Collectors;
import org.awaitility.Awaitility;

/** A daemon's folder, with the settings of a KMIP provider {@code kms}, and its real servers. */
record KmsSite(Path folder) {
  static final String PROVIDER = "kms";

  /** The certificate that the daemon shows: that of one of the servers' clients. */
  void shows(PyKmipServer server, String client) throws IOException {
    IdentityFolder identity = new IdentityFolder(identity());
    identity.upload(
        server.key(client), server.certificate(client), IdentityFolder.Subject.MAY_CHANGE);
    identity.switchToNext(next -> {});
  }

  private Path identity() {
    return folder.resolve(PROVIDER + ".kmip");
  }

  /**
   * Writes the section of keys.
   *
   * @param more settings, such as {@code , answerTimeout: 2s}
   */
  void uses(String more, Path authorities, PyKmipServer... servers) throws IOException {
    String addresses =
        Arrays.stream(servers)
            .map(server -> "\"" + server.host() + ":" + server.port() + "\"")
            .collect(Collectors.joining(", "));
    Files.writeString(
        folder.resolve(RunningFilterd.KEYS),
        "{providers: {%s: {type: kmip, servers: [%s], serverCaFile: \"%s\"%s}}}"
            .formatted(PROVIDER, addresses, authorities, more));
  }

  /** A key-encryption key, from a server. */
  byte[] secret(PyKmipServer server, KeyReference key) throws KeyException {
    byte[] secret = new byte[KeyEncryptionKey.LENGTH_BYTES];
    try (ExportingProvider provider =
            (ExportingProvider)
                KeyProviders.open(
                    "kmip",
                    PROVIDER,
                    Map.of(
                        "servers", server.host() + ":" + server.port(),
                        "folder", identity().toString(),
                        "serverCaFile", server.authorities().toString()));
        KeyEncryptionKey opened = provider.open(key)) {
      opened.copySecretTo(secret);
    }
    return secret;
  }

  /** Starts a server again; returns as soon as it accepts a connection. */
  static Return returns(PyKmipServer server) {
    CompletableFuture<Void> up = CompletableFuture.runAsync(server::restart);
    Awaitility.await()
        .atMost(Duration.ofSeconds(60))
        .pollInterval(Duration.ofMillis(20))
        .until(() -> up.isCompletedExceptionally() || accepts(server));
    return new Return(System.nanoTime(), up);
  }

  /** A server that has come back; {@code up} is done when its policies are read, too. */
  record Return(long nanos, CompletableFuture<Void> up) {
    long millisSince() {
      return (System.nanoTime() - nanos) / 1_000_000;
    }
  }

  private static boolean accepts(PyKmipServer server) {
    try (Socket probe = new Socket()) {
      probe.connect(new InetSocketAddress(server.host(), server.port()), 1000);
      return true;
    } catch (IOException notYet) {
      return false;
    }
  }

  /** How many connections a server has now: seen from there, since Java's are in tcp6. */
  static long connections(PyKmipServer server) throws IOException {
    String there = ":%04X".formatted(server.port());
    try (var lines = Files.lines(Path.of("/proc/net/tcp"))) {
      return lines
          .map(line -> line.strip().split("\\s+"))
          .filter(fields -> fields[1].endsWith(there) && fields[3].equals("01")) // Established.
          .count();
    }
  }

  /** The disks as the daemon lists them. */
  List<Results.Disk> disks() throws OperationException {
    return control().call(Operation.DISK_LIST, new Requests.None(), Progress.NONE).disks();
  }

  /** How many disks are served. */
  long attached() throws OperationException {
    return disks().stream().filter(disk -> disk.state().equals("attached")).count();
  }

  /** How the provider is. */
  Results.Provider provider() throws OperationException {
    return control()
        .call(Operation.PROVIDER_STATUS, new Requests.None(), Progress.NONE)
        .providers()
        .getFirst();
  }

  /** Makes a disk. */
  void create(String disk, long sizeBytes, String policy) throws OperationException {
    control()
        .call(
            Operation.DISK_CREATE,
            new Requests.CreateDisk(disk, sizeBytes, policy, null, false),
            Progress.NONE);
  }

  /** Serves a disk. */
  void attach(String disk) throws OperationException {
    control().call(Operation.DISK_ATTACH, new Requests.AttachDisk(disk, null), Progress.NONE);
  }

  ControlClient control() {
    return new ControlClient(folder.resolve("control.sock"));
  }

  /** Waits until so many disks are served. */
  void awaitAttached(int count, Duration patience) {
    Awaitility.await()
        .atMost(patience)
        .pollInterval(Duration.ofMillis(50))
        .until(() -> attached() == count);
  }
}
