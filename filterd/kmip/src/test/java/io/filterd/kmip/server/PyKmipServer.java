package io.filterd.kmip.server;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Debian's PyKMIP server (package python3-pykmip), a real KMIP server: TLS 1.2 with client
 * certificates, KMIP 1.0 to 2.0. Several may share an authority, and a database, which makes them a
 * replicated cluster. Closing ends it.
 *
 * <p>The folder has its certificates in {@code pki}: {@code ca.crt}, and key and certificate of the
 * clients {@code filterd} and {@code other}, and of {@code noeku}, which lacks the use that the
 * server wants.
 */
public final class PyKmipServer implements AutoCloseable {
  private final Path folder;
  private final Path pki;
  private final Path database;
  private final String host;
  private final int port;

  private PyKmipServer(Path folder, Path pki, Path database, String host, int port) {
    this.folder = folder;
    this.pki = pki;
    this.database = database;
    this.host = host;
    this.port = port;
  }

  /** Starts one on 127.0.0.1 with everything of its own in {@code folder}. */
  public static PyKmipServer start(Path folder) {
    return started(
        new PyKmipServer(
            folder, folder.resolve("pki"), folder.resolve("pykmip.db"), "127.0.0.1", freePort()));
  }

  /** Starts another one of the same cluster: the same authority, the same keys. */
  public PyKmipServer startReplica(Path replicaFolder) {
    return started(new PyKmipServer(replicaFolder, pki, database, "127.0.0.2", freePort()));
  }

  /** Starts another one with the same authority and keys of its own. */
  public PyKmipServer startStranger(Path strangerFolder) {
    return started(
        new PyKmipServer(
            strangerFolder, pki, strangerFolder.resolve("pykmip.db"), "127.0.0.3", freePort()));
  }

  private static PyKmipServer started(PyKmipServer server) {
    server.up();
    return server;
  }

  private static int freePort() {
    try (ServerSocket free = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      return free.getLocalPort();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private void up() {
    run("pykmip-up.sh", Map.of("PKI_DIR", pki.toString(), "DATABASE", database.toString()));
  }

  /** Starts it again after {@link #kill}, with the keys it had. */
  public void restart() {
    up();
  }

  /** Kills it as a crash would. */
  public void kill() {
    run("pykmip-down.sh", Map.of("KILL", "KILL"));
  }

  /** Stops it from doing anything: its kernel still accepts connections. */
  public void freeze() {
    signal("STOP");
  }

  /** Lets it go on after {@link #freeze}. */
  public void thaw() {
    signal("CONT");
  }

  private void signal(String name) {
    try {
      String pid = Files.readString(folder.resolve("pykmip.pid")).strip();
      // Its process group: the server has helpers.
      execute(List.of("kill", "-" + name, "--", "-" + pid), Map.of());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Override
  public void close() {
    // A stopped group does not act on a polite signal.
    kill();
  }

  /** Where it listens. */
  public String host() {
    return host;
  }

  /** Where it listens. */
  public int port() {
    return port;
  }

  /** What it logs; of its latest start. */
  public Path log() {
    return folder.resolve("server.log");
  }

  /** The authority's certificate. */
  public Path authorities() {
    return pki.resolve("ca.crt");
  }

  /** The private key of a client, see above. */
  public Path key(String client) {
    return pki.resolve(client + ".key");
  }

  /** The certificate of a client, see above. */
  public Path certificate(String client) {
    return pki.resolve(client + ".crt");
  }

  /** Signs a certificate request as this server's authority, for a client; the certificate. */
  public Path sign(Path request) {
    Path extensions = folder.resolve("client.ext");
    Path certificate = folder.resolve(request.getFileName() + ".crt");
    try {
      Files.writeString(extensions, "extendedKeyUsage=clientAuth\n");
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    execute(
        List.of(
            "openssl",
            "x509",
            "-req",
            "-in",
            request.toString(),
            "-CA",
            authorities().toString(),
            "-CAkey",
            key("ca").toString(),
            "-CAcreateserial",
            "-days",
            "90",
            "-extfile",
            extensions.toString(),
            "-out",
            certificate.toString()),
        Map.of());
    return certificate;
  }

  private void run(String script, Map<String, String> environment) {
    try (InputStream text = PyKmipServer.class.getResourceAsStream("/pykmip/" + script)) {
      if (text == null) {
        throw new IllegalStateException(script + ": not in the test jar");
      }
      Files.createDirectories(folder);
      Path file = folder.resolve(script);
      Files.write(file, text.readAllBytes());
      Map<String, String> all = new HashMap<>(environment);
      execute(
          List.of("bash", file.toString(), folder.toString(), Integer.toString(port), host), all);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private void execute(List<String> command, Map<String, String> environment) {
    try {
      // To a file: the server inherits it and lives on, and a pipe would stay open.
      Path output = folder.resolve("command.log");
      ProcessBuilder builder =
          new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(output.toFile());
      builder.environment().putAll(environment);
      int status = builder.start().waitFor();
      if (status != 0) {
        throw new IllegalStateException(
            String.join(" ", command)
                + ": status "
                + status
                + "\n"
                + Files.readString(output, StandardCharsets.UTF_8));
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException(command.getFirst() + ": interrupted", e);
    }
  }
}
